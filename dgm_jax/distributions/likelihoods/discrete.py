"""Families of discrete entries: counts, binary values, classes and the levels of 8-bit images."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.discretised_logistic import MIN_LOG_SCALE, DiscretisedLogisticMixture, LogisticLevels
from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.distributions.likelihoods.family import Family, bias_at_logit

_MIN_MEAN = 1e-3  # smallest mean count from which a model starts


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
  """Poisson with rate exp(h), for counts 0, 1, ..."""
  start = lambda mean: (jnp.log(jnp.maximum(mean, _MIN_MEAN)),)
  return Family(lambda log_rate: Factorised(Poisson(log_rate)), start, support=(0.0, float("inf")), of_counts=True)


def make_bernoulli() -> Family:
  """p^x (1 - p)^(1 - x), p = sigmoid(h): a density for x in {0, 1}; between them, minus the cross-entropy."""
  start = lambda mean: (bias_at_logit(mean)(None, mean.shape, mean.dtype),)
  return Family(bernoulli, start, support=(0.0, 1.0), num_values=2)


@jax.custom_jvp
def _log_softmax_at(logits: jax.Array, value: jax.Array) -> jax.Array:
  """log softmax(l)_v, [...], of logits [..., C] and integers v [...]; -inf for v outside 0 .. C - 1.

  The entry is picked by comparing and adding up: a gather's gradient is a scatter, which is slow on the CPU.
  """
  picked = jnp.sum(jnp.where(value[..., None] == jnp.arange(logits.shape[-1]), logits, 0), -1)
  log_p = picked - jax.scipy.special.logsumexp(logits, -1)
  return jnp.where((value >= 0) & (value < logits.shape[-1]), log_p, -jnp.inf)


@_log_softmax_at.defjvp
def _log_softmax_at_jvp(primals, tangents):
  logits, value = primals
  picks = value[..., None] == jnp.arange(logits.shape[-1])
  slope = picks - jax.nn.softmax(logits, -1)
  return _log_softmax_at(logits, value), jnp.sum(slope * tangents[0], -1)


class _CategoricalNumber(distrax.Categorical):
  def __init__(self, logits):
    super().__init__(logits)
    self._given = logits  # distrax normalises its own

  def log_prob(self, value):
    value = jnp.broadcast_to(value, jnp.broadcast_shapes(value.shape, self.batch_shape))
    return _log_softmax_at(jnp.broadcast_to(self._given, (*value.shape, self.num_categories)), value.astype(jnp.int32))

  def mean(self):
    return self.probs @ jnp.arange(self.num_categories, dtype=self.probs.dtype)

  def variance(self):
    numbers = jnp.arange(self.num_categories, dtype=self.probs.dtype)
    return jnp.sum(self.probs * jnp.square(numbers - self.mean()[..., None]), -1)


def categorical(logits: jax.Array) -> Factorised:
  """prod_d softmax(l_d)_{x_d}, logits [..., D, C], event [D]."""
  return Factorised(_CategoricalNumber(logits))


def make_categorical(num_classes: int) -> Family:
  """P(x_d = c) = softmax(h_d)_c for c = 0..C-1; E[x|z] is the mean of the index c."""
  errors.require(num_classes >= 2, f"num_classes = {num_classes} of likelihood 'categorical' must be 2 or more")
  given = lambda *logits: categorical(jnp.stack(logits, -1))
  start = lambda mean: (0.0,) * num_classes  # a mean says little about classes
  return Family(given, start, num_classes, (0.0, num_classes - 1.0), num_classes, num_values=num_classes)


def make_discretised_logistic(num_components: int = 10, num_levels: int = 256) -> Family:
  """A mixture of discretised logistics on the levels k / (V - 1) of [0, 1]: 8-bit images as k / 255.

  The channels of a pixel are independent given z, not autoregressive as in Salimans et al. (2017).
  """
  numbers = f"num_components = {num_components}, num_levels = {num_levels} of likelihood 'discretised_logistic'"
  errors.require(num_components >= 1 and num_levels >= 2, f"{numbers} must be at least 1 and 2")

  def given(*h):
    logits, loc, log_scale = jnp.split(jnp.stack(h, -2), 3, -2)
    return Factorised(DiscretisedLogisticMixture(logits, loc, jnp.maximum(log_scale, MIN_LOG_SCALE), num_levels))

  start = lambda mean: tuple(h for h in (0.0, mean, -2.0) for _ in range(num_components))
  return Family(given, start, 3 * num_components, (0.0, 1.0), num_values=num_levels)


def make_logistic_levels(num_components: int = 10, num_levels: int = 256) -> Family:
  """A mixture of discretised logistics on the integers 0 .. V - 1, with parameters in units of (x + 1/2) / V.

  The same distributions as 'discretised_logistic' for x as stored.
  """
  numbers = f"num_components = {num_components}, num_levels = {num_levels} of likelihood 'logistic_levels'"
  errors.require(num_components >= 1 and num_levels >= 2, f"{numbers} must be at least 1 and 2")

  def given(*h):
    logits, loc, log_scale = jnp.split(jnp.stack(h, -2), 3, -2)
    return Factorised(LogisticLevels(logits, loc, jnp.maximum(log_scale, MIN_LOG_SCALE), num_levels))

  start = lambda mean: tuple(h for h in (0.0, (mean + 0.5) / num_levels, -2.0) for _ in range(num_components))
  return Family(given, start, 3 * num_components, (0.0, num_levels - 1.0), num_values=num_levels)
