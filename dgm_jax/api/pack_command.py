"""Packs a trained run into one file that dgm_jax.load reads anywhere, without the run's folder and without its data.

  python -m dgm_jax pack --workdir=runs/first --out=first.dgm
  python -m dgm_jax pack --workdir=runs/first --out=first.dgm --export --dtype=float16

The file holds the parameters, the config, statistics of the data, the results and a model card, each with a digest; it
holds no example of the data, and nothing in it is a pickle.  `unzip -p FILE card.md` shows the card.

Exit status: 0 the file is written, 2 a mistake in the command.
"""

import argparse
import functools

from dgm_jax.api.packing import DTYPES, SUFFIX, pack
from dgm_jax.core import paths


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax pack",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--workdir", required=True, type=paths.folder_of("--workdir"), metavar="RUN", help="folder of the run")
  add(
    "--out",
    required=True,
    type=functools.partial(paths.named, "--out"),
    metavar="FILE",
    help=f"the file to write, e.g. first{SUFFIX}",
  )
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--dtype", default="float32", choices=DTYPES, help="in which parameters are stored (default: float32)")
  add("--export", action="store_true", help="add sampler, encoder and log p(x) as programs that need JAX alone")
  add("--k", type=int, default=100, help="importance samples of the exported log p(x) (default: 100)")
  args = parser.parse_args(argv)
  path = pack(
    args.workdir, args.out, dtype=args.dtype, export_programs=args.export, k=args.k, checkpoint=args.checkpoint
  )
  print(f"{path}: {path.stat().st_size / 1e6:.2f} MB.")
  return 0
