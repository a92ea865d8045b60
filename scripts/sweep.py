"""Runs a sweep, or a search: the same as `python -m dgm_jax sweep`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.__main__ import run_named

if __name__ == "__main__":
  sys.exit(run_named("sweep", sys.argv[1:]))
