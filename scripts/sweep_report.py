"""Reports a sweep: a table with errors over seeds, curves, parallel coordinates, and all runs as CSV and Parquet.

  python scripts/sweep_report.py runs/rates
  python scripts/sweep_report.py runs/rates --metric=test/nll --out=reports/rates

It can also report a sweep that is still running.  Exit status: 0 success, 2 the sweep or the metric does not exist.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.core import errors
from dgm_jax.sweeps import report


def main(argv: list[str] | None = None) -> int:
  """Writes and prints the report; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("root", type=pathlib.Path, help="folder of the sweep")
  parser.add_argument("--metric", default="", help="metric to sort by (test/nll, if the sweep has it)")
  parser.add_argument("--out", type=pathlib.Path, help="folder of the report (ROOT/report)")
  args = parser.parse_args(argv)
  try:
    print(report.write(args.root, args.metric, args.out), flush=True)
  except errors.UserError as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
