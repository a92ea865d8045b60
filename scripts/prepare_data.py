"""Prepares data sets: the same as `python -m dgm_jax prepare-data`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.__main__ import run_named

if __name__ == "__main__":
  sys.exit(run_named("prepare-data", sys.argv[1:]))
