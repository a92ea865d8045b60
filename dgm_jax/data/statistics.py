"""Statistics of the training set that transforms need, computed in chunks: the set may be larger than memory."""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors, rng
from dgm_jax.core.batches import size

_CHUNK_BYTES = 2**25
_ROWS = 10_000  # rows used to calibrate the mechanisms of missing entries


def per_example(draw: Callable, name: str, seed: int, epoch: jax.Array, index: jax.Array) -> Callable:
  """x -> draw(key, x) for each example, with a key that depends only on (name, seed, epoch, index).

  Args:
    draw: (key, x of one example) -> array.
    name: name of the transform, so that different transforms draw independently.
    seed: seed of the data, not of the run: the same in every run.
    epoch, index: [B], or [] for a single example.
  """
  key = rng.stream(jax.random.key(seed), name)
  one = lambda e, i, x: draw(jax.random.fold_in(jax.random.fold_in(key, e), i), x)
  return lambda x: (jax.vmap(one) if jnp.ndim(index) else one)(epoch, index, x)


class Statistics:
  """Moments of the training set, range and labels of all splits, after the transforms so far.

  Only the moments affect the transformed x; range and labels are used to validate the data of all splits.

  Args:
    arrays: the training set.
    others: the other splits.
    expect: x -> x after the transforms so far, without their noise.
    keeps: mask -> the mask of the entries that these have left.
  """

  def __init__(
    self,
    arrays: dict,
    others: Sequence[dict] = (),
    expect: Callable = lambda x: x,
    keeps: Callable = lambda mask: mask,
  ):
    self._arrays, self._others, self._expect, self._keeps = arrays, others, expect, keeps
    first = expect(jnp.asarray(arrays["x"][:1]))
    self.shape, self.dtype = first.shape[1:], str(first.dtype)
    self.is_integer = jnp.issubdtype(first.dtype, jnp.integer) or first.dtype == bool

  def _composed(self, expect, keeps):
    return (lambda x, before=self._expect: expect(before(x))), (lambda a, before=self._keeps: keeps(before(a)))

  def after(self, expect: Callable, keeps: Callable = lambda mask: mask) -> "Statistics":
    """The statistics after one more transform, of which `keeps` takes a mask to that of the entries that remain."""
    return Statistics(self._arrays, self._others, *self._composed(expect, keeps))

  def _mask(self, arrays: dict, part: slice) -> np.ndarray | None:
    return np.asarray(self._keeps(arrays["mask"][part])) if "mask" in arrays else None

  def is_observed(self, column: int) -> bool:
    """Whether a column of x [N, D] has no missing entry in any split."""
    masks = (self._mask(arrays, slice(None)) for arrays in (self._arrays, *self._others))
    return all(mask is None or bool((mask[..., column] > 0).all()) for mask in masks)

  def _chunks(self, arrays: dict) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields (x, mask) of consecutive chunks of examples."""
    x = arrays["x"]
    rows = max(1, _CHUNK_BYTES // max(1, 4 * x[0].size))
    for start in range(0, len(x), rows):
      part = slice(start, start + rows)
      yield np.asarray(self._expect(jnp.asarray(x[part]))), self._mask(arrays, part)

  def rows(self) -> np.ndarray:
    """The first examples, flattened and standardised, with missing entries 0: float64 [n, D]."""
    n = min(_ROWS, size(self._arrays))
    x = np.asarray(self._expect(jnp.asarray(self._arrays["x"][:n])), np.float64)
    z = (x - self.mean) / self.std
    if (mask := self._mask(self._arrays, slice(n))) is not None:
      z = z * mask
    return z.reshape(n, -1)

  def calibrated(self, fit: Callable[[np.ndarray], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """fit(rows()): what a transform needs of single examples, so that they need not be kept with a model."""
    return fit(self.rows())

  @functools.cached_property
  def range(self) -> tuple[float, float]:
    """Minimum and maximum of the observed entries of all splits."""
    low, high = np.inf, -np.inf
    for arrays in (self._arrays, *self._others):
      for x, mask in self._chunks(arrays):
        values = x if mask is None else x[mask > 0]
        if values.size:
          low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high

  @functools.cached_property
  def is_whole(self) -> bool:
    """Whether all observed entries of all splits are integers, of any type."""
    if self.is_integer:
      return True
    chunks = (chunk for arrays in (self._arrays, *self._others) for chunk in self._chunks(arrays))
    return all(bool((x == np.floor(x))[... if mask is None else mask > 0].all()) for x, mask in chunks)

  @functools.cached_property
  def mean(self) -> np.ndarray:
    """Mean of each feature over its observed entries: float64 [...]."""
    total = count = 0.0
    for x, mask in self._chunks(self._arrays):
      total = total + (x if mask is None else x * mask).sum(0, dtype=np.float64)
      count = count + (len(x) if mask is None else mask.sum(0, dtype=np.float64))
    return total / np.maximum(count, 1)

  @functools.cached_property
  def std(self) -> np.ndarray:
    """Standard deviation of each feature over its observed entries, 1 for a constant feature: float64 [...]."""
    square = count = 0.0
    for x, mask in self._chunks(self._arrays):
      d = x - self.mean
      square = square + (d**2 if mask is None else d**2 * mask).sum(0)
      count = count + (len(x) if mask is None else mask.sum(0, dtype=np.float64))
    std = np.sqrt(square / np.maximum(count, 1))
    return np.where(std > 1e-7 * abs(self.mean), std, 1.0)

  @property
  def target_moments(self) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry of the training set's y, the latter 1 for constant entries: float64.

    Raises:
      UserError: y is missing, or text.
    """
    y = self._arrays.get("y")
    errors.require(
      y is not None and np.issubdtype(y.dtype, np.number),
      "Transform 'standardize_targets' needs a numeric y; this data set has none (y is missing, or text).",
    )
    mean, std = y.mean(0, dtype=np.float64), y.std(0, dtype=np.float64)
    return mean, np.where(std > 1e-7 * abs(mean), std, 1.0)

  @property
  def num_classes(self) -> int:
    """1 + the largest label y of all splits.

    Raises:
      UserError: y is missing or not a class label.
    """
    labels = [arrays.get("y") for arrays in (self._arrays, *self._others)]
    errors.require(
      all(y is not None and np.issubdtype(y.dtype, np.integer) and np.min(y) >= 0 for y in labels),
      "Transform 'condition' takes class labels; this data set has none (y is missing, or not a non-negative integer).",
    )
    return 1 + max(int(np.max(y)) for y in labels)
