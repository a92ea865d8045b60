"""Mixtures of normalising flows: components that one continuous map of a normal would join by bridges."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.models.base import require_at_least
from dgm_jax.models.flows import flow


class Model(nn.Module):
  """p(x) = sum_m pi_m p_m(x), each p_m a flow.Model with its own parameters, pi learned.

  Attributes:
    data_shape: the shape of one x.
    num_components: M.
    flow: options of flow.Model, shared by all components.
    spread: standard deviation of the random shifts of x that let the components start apart.
    dtype: not used, see flow.Model.
  """

  data_shape: Sequence[int]
  num_components: int = 4
  flow: Mapping[str, Any] = FrozenDict()
  spread: float = 1.0
  dtype: str = "float32"

  takes_real_numbers = True

  def setup(self):
    require_at_least(1, num_components=self.num_components)
    options.check("flow", flow.Model, self.flow, ("data_shape", "dtype", "parent", "name"))
    errors.require(
      self.flow.get("norm", "none") != "batch", "norm = 'batch' is not supported by a mixture: choose act or none"
    )
    self.parts = [flow.Model(self.data_shape, **self.flow) for _ in range(self.num_components)]
    self.logits = self.param("logits", nn.initializers.zeros, (self.num_components,))
    shape = (self.num_components, *self.data_shape)
    self.shift = self.param("shift", nn.initializers.normal(self.spread), shape)

  @property
  def num_examples_for_init(self) -> int:
    """How many examples `init` gets; 0 for the default."""
    return flow.Model(self.data_shape, **self.flow).num_examples_for_init

  def _each(self, batch, method):
    terms = [
      getattr(part, method)(batch | {"x": batch["x"] - shift})
      for part, shift in zip(self.parts, self.shift, strict=True)
    ]
    return jax.nn.log_softmax(self.logits)[:, None] + jnp.stack(terms)  # [M, B]

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x), nats, [B]."""
    return jax.nn.logsumexp(self._each(batch, "log_prob"), 0)

  def responsibilities(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(m|x), [B, M]."""
    return jax.nn.softmax(self._each(batch, "log_prob"), 0).T

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return jax.nn.logsumexp(self._each(batch, "__call__"), 0)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; also with `mean`, see flow.Model."""
    del mean
    key_m, key_x = jax.random.split(key)
    m = jax.random.categorical(key_m, self.logits, shape=(n,))
    keys = jax.random.split(key_x, self.num_components)
    drawn = [part.generate(key, n) + s for part, key, s in zip(self.parts, keys, self.shift, strict=True)]
    return jnp.stack(drawn)[m, jnp.arange(n)]
