"""Reads the values of --sweep.PATH=VALUES."""

import re
from collections.abc import Iterator
from typing import Any

from dgm_jax.core import errors
from dgm_jax.sweeps import axes


def _split(text: str) -> Iterator[str]:
  """Splits text at the commas outside brackets."""
  depth, start = 0, 0
  for i, c in enumerate(text):
    depth += (c in "([") - (c in ")]")
    if c == "," and depth == 0:
      yield text[start:i]
      start = i + 1
  yield text[start:]


def parse_values(path: str, text: str) -> list[Any]:
  """Parses the values of `--sweep.PATH=text`: plain texts, integer ranges a:b, or one distribution.

  definition.typed converts the texts to the type of the config's value at that path.
  """
  items = [item.strip() for item in _split(text)]
  errors.require(all(items), f"--sweep.{path}={text}: a value is missing.")
  values: list[Any] = []
  for item in items:
    is_range = re.fullmatch(r"-?[\d.e+]+:-?[\d.e+]+", item, re.IGNORECASE)
    if match := re.fullmatch(r"(-?\d+):(-?\d+)", item):
      a, b = map(int, match.groups())
      errors.require(
        b - a <= axes.MOST_RUNS,
        f"--sweep.{path}={text}: the range {item} has {b - a:,} values; a sweep has at most {axes.MOST_RUNS:,} runs.",
      )
      errors.require(a < b, f"--sweep.{path}={text}: the range {item} is empty; a:b means the integers a to b - 1.")
      values += range(a, b)
    elif match := re.fullmatch(r"([a-z_]+)\((.*)\)", item):
      errors.require(len(items) == 1, f"--sweep.{path}={text}: a distribution must be the only value.")
      values.append(_parse_distribution(path, *match.groups()))
    else:
      errors.require(not is_range, f"--sweep.{path}={text}: {item}: the ends of a range are integers, as in 0:8.")
      values.append(item)
  return values


def _parse_distribution(path: str, kind: str, inside: str) -> axes.Distribution:
  make = axes.DISTRIBUTIONS[errors.choose("distribution", kind, axes.DISTRIBUTIONS)]
  items = [item.strip() for item in _split(inside)]
  if kind == "choice":
    return axes.choice(items)
  try:
    low, high = (int(v) if kind == "integers" else float(v) for v in items)
  except ValueError:
    raise errors.UserError(f"--sweep.{path}={kind}({inside}): two numbers are needed, low and high.") from None
  return make(low, high)
