"""A former command: `python -m dgm_jax.impute` is now `python -m dgm_jax impute`."""

import sys

from dgm_jax.__main__ import moved

if __name__ == "__main__":
  sys.exit(moved("impute"))
