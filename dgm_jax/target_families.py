"""Families of likelihoods for targets of regression: counts, several modes, the variance of deep ensembles."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.distributions import Factorised
from dgm_jax.families import Family

_MIN_VARIANCE = 1e-6  # Lakshminarayanan et al. (2017)
_LEAST_MEAN = 1e-3  # of counts that a model starts from


class Poisson(distrax.Distribution):
  """P(y) = exp(y l - e^l) / y!, y = 0, 1, ...; l the log of the rate, event []."""

  def __init__(self, log_rate: jax.Array):
    super().__init__()
    self._log_rate = log_rate

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return self._log_rate.shape

  def _sample_n(self, key, n):
    return jax.random.poisson(key, jnp.exp(self._log_rate), (n, *self.batch_shape)).astype(self._log_rate.dtype)

  def log_prob(self, value: jax.Array) -> jax.Array:
    return value * self._log_rate - jnp.exp(self._log_rate) - jax.lax.lgamma(value + 1.0)

  def mean(self) -> jax.Array:
    return jnp.exp(self._log_rate)

  def variance(self) -> jax.Array:
    return self.mean()


def make_poisson() -> Family:
  """Poisson with rate exp(h): a probability of counts, which are integers from 0 on."""
  start = lambda mean: (jnp.log(jnp.maximum(mean, _LEAST_MEAN)),)
  return Family(lambda log_rate: Factorised(Poisson(log_rate)), start, support=(0.0, float("inf")))


def make_gaussian_softplus() -> Family:
  """N(y; h_1, softplus(h_2) + 1e-6), a variance for every entry (Lakshminarayanan, Pritzel & Blundell, 2017)."""
  given = lambda loc, h: Factorised(distrax.Normal(loc, jnp.sqrt(jax.nn.softplus(h) + _MIN_VARIANCE)))
  return Family(given, lambda mean: (mean, jnp.log(jnp.expm1(1.0))), 2)


def make_gaussian_mixture(num_components: int = 5) -> Family:
  """sum_c softmax(h_1)_c N(y; h_2c, exp(h_3c)^2), a mixture density network's (Bishop, 1994); unbounded as 'gaussian'.

  The components start apart from one another, equally spaced over two units.
  """
  if num_components < 1:
    raise ValueError(f"num_components = {num_components} of likelihood 'gaussian_mixture' must be 1 or more")

  def given(*h):
    logits, loc, log_scale = jnp.split(jnp.stack(h, -1), 3, -1)
    normal = distrax.Normal(loc, jnp.exp(log_scale))
    return Factorised(distrax.MixtureSameFamily(distrax.Categorical(logits), normal))

  def start(mean):
    apart = jnp.linspace(-1.0, 1.0, num_components) if num_components > 1 else jnp.zeros(1)
    return (0.0,) * num_components + tuple(mean + a for a in apart) + (0.0,) * num_components

  return Family(given, start, 3 * num_components)
