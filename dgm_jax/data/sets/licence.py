"""licence: the lines of this package's licence (Apache 2.0), a small text that needs no download; see `text`."""

import pathlib

from dgm_jax.data.sets import text
from dgm_jax.data.splits import Splits

_FILE = pathlib.Path(__file__).with_suffix(".txt")


def load(
  tokens: str = "word",
  vocabulary_size: int = 0,
  max_length: int = 0,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]; the arguments are those of `text`."""
  return text.load(str(_FILE), tokens, vocabulary_size, max_length, valid_fraction, test_fraction, split_seed)
