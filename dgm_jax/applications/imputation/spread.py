"""Tables with classes as arrays of numbers: standardised numbers, and the probabilities of the C classes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dgm_jax.applications.imputation.columns import Column


class Spread(NamedTuple):
  """The layout: column d takes features starts[d] .. starts[d] + widths[d] - 1 of F.

  Attributes:
    columns: the D columns, with the means and scales of the entries that are seen.
  """

  columns: tuple[Column, ...]

  @property
  def num_classes(self) -> list[int]:
    """0 for a number."""
    return [0 if c.numeric else len(c.classes) for c in self.columns]

  @property
  def widths(self) -> list[int]:
    return [max(1, c) for c in self.num_classes]

  def parts(self) -> Iterator[tuple[int, slice, bool]]:
    """(d, its features, whether it holds numbers) of each column."""
    start = 0
    for d, (column, width) in enumerate(zip(self.columns, self.widths, strict=True)):
      yield d, slice(start, start + width), column.numeric
      start += width

  def encode(self, x: np.ndarray) -> np.ndarray:
    """x [N, D] as features [N, F]; NaN where x is."""
    out = []
    for d, _, numeric in self.parts():
      column, values = self.columns[d], x[:, d]
      z = (values[:, None] - column.loc) / column.scale
      out.append(z if numeric else (values[:, None] == np.arange(len(column.classes))).astype(float))
      out[-1][np.isnan(values)] = np.nan
    return np.concatenate(out, 1)

  def repeat(self, mask: np.ndarray) -> np.ndarray:
    """A mask [N, D] of entries as that of their features, [N, F]."""
    return np.repeat(mask, self.widths, 1)

  def cells(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(standardised number or most probable class [N, D], probability of that class [N, D]) of features [N, F]."""
    values, probability = np.empty((2, len(features), len(self.columns)))
    for d, at, numeric in self.parts():
      values[:, d] = features[:, at.start] if numeric else features[:, at].argmax(1)
      probability[:, d] = features[:, at].max(1)
    return values, probability


def sizes(columns: Sequence[Column]) -> tuple[int, int, int]:
  """(numbers, columns of classes, largest number of classes), each padded, so that similar tables share programs."""
  classes = [len(c.classes) for c in columns if not c.numeric]
  return _padded(len(columns) - len(classes)), _padded(len(classes)), max(2, _padded(max(classes, default=2)))


def _padded(n: int) -> int:
  return 0 if n == 0 else max(4, 1 << (n - 1).bit_length())
