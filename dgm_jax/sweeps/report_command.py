"""Reports a sweep: a table with errors over seeds, curves, parallel coordinates, and all runs as CSV and Parquet.

  python -m dgm_jax sweep-report runs/rates
  python -m dgm_jax sweep-report runs/rates --metric=test/nll --out=reports/rates --format=pdf

It can also report a sweep that is still running.  Exit status: 0 success, 2 the sweep or the metric does not exist.
"""

import argparse

from dgm_jax.core import figure_style, paths
from dgm_jax.sweeps import report


def main(argv: list[str] | None = None) -> int:
  """Writes and prints the report; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax sweep-report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("root", type=paths.folder_of("the sweep's folder"), help="folder of the sweep")
  parser.add_argument("--metric", default="", help="metric to sort by (test/nll, if the sweep has it)")
  parser.add_argument("--out", type=paths.folder_of("--out"), help="folder of the report (ROOT/report)")
  parser.add_argument("--format", default="png", help="formats of the figures, such as pdf,svg,png (png)")
  args = parser.parse_args(argv)
  formats = figure_style.parse_formats(args.format)
  print(report.write(args.root, args.metric, args.out, formats), flush=True)
  return 0
