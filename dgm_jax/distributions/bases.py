"""Base distributions of flows over vectors [D]."""

import distrax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options
from dgm_jax.distributions.normals import NormalMixture, diagonal_normal, standard_normal


class Normal(nn.Module):
  """N(0, I).

  Attributes:
    dim: D.
  """

  dim: int

  def __call__(self) -> distrax.Distribution:
    return standard_normal(self.dim)


class Logistic(nn.Module):
  """Independent standard logistics (NICE, Dinh et al., 2015).

  Attributes:
    dim: D.
  """

  dim: int

  def __call__(self) -> distrax.Distribution:
    return distrax.Independent(distrax.Logistic(jnp.zeros(self.dim), jnp.ones(self.dim)), 1)


class Learned(nn.Module):
  """N(loc, diag(exp(log_scale))^2), both learned.

  Attributes:
    dim: D.
  """

  dim: int

  @nn.compact
  def __call__(self) -> distrax.Distribution:
    return diagonal_normal(self.param("loc_and_log_scale", nn.initializers.zeros, (2 * self.dim,)))


class Mixture(nn.Module):
  """A mixture of diagonal normals, all of it learned.

  Attributes:
    dim: D.
    num_components: M.
  """

  dim: int
  num_components: int = 10

  @nn.compact
  def __call__(self) -> distrax.Distribution:
    errors.require(
      self.num_components >= 1, f"num_components = {self.num_components} of base 'mixture' must be 1 or more"
    )
    shape = (self.num_components, self.dim)
    logits = self.param("logits", nn.initializers.zeros, shape[:1])
    loc = self.param("loc", nn.initializers.normal(1.0), shape)
    return NormalMixture(logits, loc, self.param("log_scale", nn.initializers.zeros, shape))


BASES = {"normal": Normal, "logistic": Logistic, "learned": Learned, "mixture": Mixture}


def make(name: str, dim: int, **given: int) -> nn.Module:
  """The base `name` over [D], with its attributes as options.

  Raises:
    UserError: no such base or option, or an invalid value.
  """
  errors.require(name in BASES, f"base = {name!r}; it must be one of {', '.join(BASES)}")
  return options.call(f"base {name!r}", BASES[name], dim, **given)
