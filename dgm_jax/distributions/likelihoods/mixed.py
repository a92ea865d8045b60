"""A likelihood family for each column of a table."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods.family import Family


class Mixed(NamedTuple):
  """The counterpart of Family for columns of several families; the decoder's outputs are ordered by group.

  Attributes:
    groups: (family, its columns), ...; together they cover all columns.
  """

  groups: tuple[tuple[Family, tuple[int, ...]], ...]

  num_classes = None
  shares_scale = False

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x of any column."""
    lows, highs = zip(*(family.support for family, _ in self.groups), strict=True)
    return min(lows), max(highs)

  @property
  def _order(self) -> tuple[int, ...]:
    """The position of each column in the concatenation of the groups."""
    columns = [d for _, members in self.groups for d in members]
    return tuple(columns.index(d) for d in range(len(columns)))

  def width(self, dim: int) -> int:
    """The number of the decoder's outputs.  Raises UserError if x has another number of columns."""
    columns = len(self._order)
    errors.require(columns == dim, f"the number of columns of likelihood 'mixed' is {columns}, but x has {dim}")
    return sum(family.width(len(members)) for family, members in self.groups)

  def num_features(self, dim: int) -> int:
    """The width of the encoder's input: a number, or a one-hot vector, per column."""
    del dim
    return sum(family.num_features(len(members)) for family, members in self.groups)

  def centre(self, dim: int) -> tuple[float, ...]:
    """The middles of the columns' supports, or 0."""
    del dim
    parts = [c for family, members in self.groups for c in family.centre(len(members))]
    return tuple(parts[i] for i in self._order)

  def bias(self, mean: jax.Array) -> jax.Array:
    """See Family.bias."""
    return self._each(lambda family, mean: family.bias(mean), mean)

  def features(self, x: jax.Array) -> jax.Array:
    """See Family.features."""
    return self._each(lambda family, x: family.features(x), x)

  def spread(self, mask: jax.Array) -> jax.Array:
    """See Family.spread."""
    return self._each(lambda family, mask: family.spread(mask), mask)

  def _each(self, f: Callable, a: jax.Array) -> jax.Array:
    """f(family, its columns of a [..., D]) of all groups, concatenated."""
    return jnp.concatenate([f(family, jnp.take(a, jnp.array(members), -1)) for family, members in self.groups], -1)

  def distribution(self, h: jax.Array) -> "Columns":
    """p(x|z) for outputs h [..., width]."""
    members = [columns for _, columns in self.groups]
    parts = _split(h, [family.width(len(columns)) for family, columns in self.groups])
    ds = [family.distribution(part) for (family, _), part in zip(self.groups, parts, strict=True)]
    return Columns(ds, members, self._order)


class Columns:
  """prod_g d_g(x_g), x_g the columns of group g, with the interface of Factorised; event [D]."""

  def __init__(self, groups: Sequence[Factorised], members: Sequence[tuple[int, ...]], order: tuple[int, ...]):
    self._groups, self._members, self._order = groups, members, order

  def log_prob(self, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """sum_d m_d log p_d(x_d), nats; see Factorised.log_prob."""
    take = lambda a, members: None if a is None else jnp.take(a, jnp.array(members), -1)
    pairs = zip(self._groups, self._members, strict=True)
    return sum(d.log_prob(take(value, members), take(mask, members)) for d, members in pairs)

  def _join(self, parts: Sequence[jax.Array]) -> jax.Array:
    return jnp.take(jnp.concatenate(parts, -1), jnp.array(self._order), -1)

  def mean(self) -> jax.Array:
    """E[x|z], [..., D]; for a class, the mean of its index."""
    return self._join([d.mean() for d in self._groups])

  def variance(self) -> jax.Array:
    """Var[x|z], [..., D]."""
    return self._join([d.variance() for d in self._groups])

  def sample(self, *, seed: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
    """x ~ p(x|z), float32 [*sample_shape, ..., D]."""
    keys = jax.random.split(seed, len(self._groups))
    draws = [d.sample(seed=key, sample_shape=sample_shape) for key, d in zip(keys, self._groups, strict=True)]
    return self._join([x.astype(jnp.float32) for x in draws])

  def expected_features(self) -> jax.Array:
    """See Factorised.expected_features."""
    return jnp.concatenate([d.expected_features() for d in self._groups], -1)

  def most_likely(self, features: jax.Array) -> jax.Array:
    """See Factorised.most_likely."""
    parts = _split(features, [d.expected_features().shape[-1] for d in self._groups])
    return self._join([d.most_likely(part) for d, part in zip(self._groups, parts, strict=True)])


def _split(a: jax.Array, widths: Sequence[int]) -> list[jax.Array]:
  ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
  return jnp.split(a, ends, -1)
