"""equations: the 100,000 expressions of Kusner et al. (Grammar VAE, ICML 2017), which are an enumeration.  No download.

Each is a o b + U + V with terms T = x, 1, 2, 3.  From the outermost loop: o in + * /, a, b in T, U, V.  U is f t ) for
f = (, sin(, exp( and t in T, then t alone.  V is, for each f, f s o t ) (o outermost, then s, then t) and f t ), then t
alone.  The first 100,000 of these lines, with a space between tokens, are the published file.

All lines are equally probable and different, so that the best mean log p(x) is -log 100,000 = -11.513 nats.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import tokenisation
from dgm_jax.data.splits import Splits, at_random, in_order

_TERMS, _OPERATORS, _FUNCTIONS = ("x", "1", "2", "3"), ("+", "*", "/"), ("(", "sin(", "exp(")
_NUM = 100_000
HELD_OUT = ("random", "last")


def _first() -> Iterator[list[str]]:
  """U."""
  for f, t in itertools.product(_FUNCTIONS, _TERMS):
    yield [f, t, ")"]
  yield from ([t] for t in _TERMS)


def _second() -> Iterator[list[str]]:
  """V."""
  for f in _FUNCTIONS:
    for o, s, t in itertools.product(_OPERATORS, _TERMS, _TERMS):
      yield [f, s, o, t, ")"]
    for t in _TERMS:
      yield [f, t, ")"]
  yield from ([t] for t in _TERMS)


def lines(count: int = _NUM) -> list[list[str]]:
  """The tokens of each of the first `count` expressions."""
  pairs = itertools.product(_OPERATORS, _TERMS, _TERMS, list(_first()), list(_second()))
  return [[a, o, b, "+", *u, "+", *v] for o, a, b, u, v in itertools.islice(pairs, count)]


def load(
  tokens: str = "rule",
  held_out: str = "random",
  num: int = _NUM,
  max_length: int = 0,
  valid_fraction: float = 0.0,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  data_dir: str | None = None,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]: 14 rules, or 19 characters with <end>, at most.

  Args:
    tokens: "rule" of the grammar `equations`, or "character".
    held_out: "random"; "last": the last lines, which begin with `1 /`, or with `x / 3` but for the first 400 of these,
      as Keras held them out (Kusner et al., 2017): none of the first kind is trained on.
    num: a random part of so many expressions, for quick experiments.
    max_length: see tokenisation.encode.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
    data_dir: where derivations are kept, see cache.data_dir.
  """
  errors.choose("value of data.tokens", tokens, ("rule", "character"))
  errors.choose("value of data.held_out", held_out, HELD_OUT)
  errors.require(10 <= num <= _NUM, f"data.num = {num}; it must be 10 to {_NUM:,}.")
  text = np.array(["".join(line) for line in lines()], object)
  if num < _NUM:
    text = text[np.sort(np.random.RandomState(0).permutation(_NUM)[:num])]
  arrays = {"text": text}
  if held_out == "last":
    splits = in_order(arrays, valid_fraction, test_fraction)
  else:
    splits = at_random(arrays, valid_fraction, test_fraction, split_seed)
  about = {"held_out": held_out}
  return tokenisation.encode(splits._replace(about=about), tokens, 0, max_length, "equations", data_dir)
