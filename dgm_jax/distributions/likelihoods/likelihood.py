"""The likelihood p(x|z) of D entries, given the decoder's outputs."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods.family import Family
from dgm_jax.distributions.likelihoods.mixed import Mixed


class EntriesOfX:
  """What models of p(x|z) tell encoders; a subclass has `dim`, D, and `family`, of the entries of x."""

  @property
  def num_features(self) -> int:
    """The width of the encoder's input."""
    return self.family.num_features(self.dim)

  def expected(self, mean: Sequence[float] | None) -> tuple[float, ...]:
    """The mean of the data [D]; for None, the middle of the support, or 0."""
    return self.family.centre(self.dim) if mean is None else tuple(mean)

  def features(self, x: jax.Array, mask: jax.Array | None = None, fill: float | jax.Array = 0) -> jax.Array:
    """The encoder's input [B, F] for x [B, D], with `fill` at unobserved entries (Mattei & Frellsen, 2019)."""
    seen = self.family.features(x)
    return seen if mask is None else jnp.where(self.family.spread(mask) > 0, seen, fill)


class Likelihood(EntriesOfX, nn.Module):
  """p(x|z) of D entries; the outputs of the decoder are P blocks of D.

  Attributes:
    dim: D.
    family: the family of all entries, or a Mixed of those of the columns, which orders the outputs by group.
  """

  dim: int
  family: Family | Mixed

  def setup(self):
    self.scale = (self.param("log_scale", nn.initializers.zeros, ()),) if self.family.shares_scale else ()

  @property
  def num_outputs(self) -> int:
    """The width of the decoder's last layer."""
    return self.family.width(self.dim)

  def output_bias(self, mean: Sequence[float] | None) -> Callable:
    """Initialiser of the decoder's output bias, so that E[x|z] is initially near `mean`; see `expected`."""

    def init(key, shape, dtype=jnp.float32):
      del key
      return self.family.bias(jnp.asarray(self.expected(mean), dtype)).reshape(shape)

    return init

  def draw(self, h: jax.Array, keys: jax.Array) -> jax.Array:
    """x ~ p(x|z), [B, D], each row with its own key of keys [B]; h [B, P D]."""
    scale = self.scale
    return jax.vmap(lambda h, key: self.family.distribution(h, *scale).sample(seed=key))(h, keys)

  def __call__(self, h: jax.Array) -> Factorised:
    """p(x|z), with log_prob(x, mask=None) [B], mean() = E[x|z] and sample(seed=) [B, D]; h [B, P D]."""
    return self.family.distribution(h, *self.scale)
