"""Options against signatures: what is accepted, and the sentence for everything else."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dgm_jax.core import errors, options

pytestmark = pytest.mark.smoke

FITS = [
  (3, int), (3, float), (0.5, float), (True, bool), ("a", str), (None, None), (None, int | None), (4, int | None),
  ((1, 2), Sequence[int]), ([1, 2], Sequence[int]), ((), Sequence[int]), (((1, 2), (3,)), Sequence[Sequence[int]]),
  ((1, 0.5), Sequence[float]), ((1, "a"), tuple[int, str]), ((1, 2, 3), tuple[int, ...]), ({"a": 1}, Mapping[str, Any]),
  ("SAME", int | str), (1, int | str), (object(), Any), (len, Sequence | Any),
]  # fmt: skip
DOES_NOT_FIT = [
  (0.5, int), (True, int), (True, float), (1, bool), (1, str), ("1", int), ("1", float), (None, int), ("a", int | None),
  (3, Sequence[int]), ("ab", Sequence[str]), ((1, "a"), Sequence[int]), ((1, 2, 3), tuple[int, str]),
  ((1,), tuple[int, str]), ((1, 2), Mapping[str, Any]), ((1, (2,)), Sequence[Sequence[int]]), (0.5, int | str),
]  # fmt: skip


@pytest.mark.parametrize("value,annotation", FITS)
def test_values_that_fit(value, annotation):
  assert options.fits(value, annotation)


@pytest.mark.parametrize("value,annotation", DOES_NOT_FIT)
def test_values_that_do_not_fit(value, annotation):
  assert not options.fits(value, annotation)


def make(dim: int, *, width: int, rates: Sequence[float] = (), label: str | None = None) -> tuple:
  return dim, width, rates, label


def open_ended(*common: Any, depth: int = 2, **more: Any) -> tuple:
  return common, depth, more


def test_valid_options_reach_the_function():
  assert options.call("net 'x'", make, 3, width=4, rates=(0.5, 1)) == (3, 4, (0.5, 1), None)
  assert options.call("net 'y'", open_ended, 1, 2, depth=3, other=4) == ((1, 2), 3, {"other": 4})


@pytest.mark.parametrize("given,sentence", [
  ({}, "net 'x' needs width"),
  ({"width": "4"}, "width = '4' of net 'x' must be of type int"),
  ({"width": 4, "rates": (1, "a")}, r"rates = \(1, 'a'\) of net 'x' must be of type Sequence\[float\]"),
  ({"width": 4, "rate": 1}, r"Unknown option of net 'x' 'rate'\. Did you mean 'rates'\?"),
  ({"width": 4, "label": 3}, r"label = 3 of net 'x' must be of type str \| None"),
])  # fmt: skip
def test_mistakes_get_a_sentence(given, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    options.call("net 'x'", make, 3, **given)
  with pytest.raises(errors.UserError, match="depth = 'a' of net 'y'"):
    options.call("net 'y'", open_ended, 1, depth="a")


def test_an_error_of_the_function_itself_is_no_mistake_of_the_options():
  def broken(width: int) -> int:
    return [width][width]

  with pytest.raises(IndexError):
    options.call("net 'z'", broken, width=1)
