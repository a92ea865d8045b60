"""A former command: `python -m dgm_jax.compare` is now `python -m dgm_jax compare`."""

import sys

from dgm_jax.__main__ import moved

if __name__ == "__main__":
  sys.exit(moved("compare"))
