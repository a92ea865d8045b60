"""Families of continuous entries."""

import math

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.continuous_bernoulli import ContinuousBernoulli
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods.family import Family, bias_at_logit
from dgm_jax.distributions.student_t import StudentT

_MIN_VARIANCE = 1e-6  # Lakshminarayanan et al. (2017)


def make_gaussian_softplus() -> Family:
  """N(y; h_1, softplus(h_2) + 1e-6), a variance for every entry (Lakshminarayanan, Pritzel & Blundell, 2017)."""
  given = lambda loc, h: Factorised(distrax.Normal(loc, jnp.sqrt(jax.nn.softplus(h) + _MIN_VARIANCE)))
  return Family(given, lambda mean: (mean, jnp.log(jnp.expm1(1.0))), 2, min_scale=math.sqrt(_MIN_VARIANCE))


def make_gaussian_mixture(num_components: int = 5) -> Family:
  """sum_c softmax(h_1)_c N(y; h_2c, exp(h_3c)^2), as in a mixture density network (Bishop, 1994).

  Unbounded, as 'gaussian'.  The components start equally spaced over two units.
  """
  errors.require(
    num_components >= 1, f"num_components = {num_components} of likelihood 'gaussian_mixture' must be 1 or more"
  )

  def given(*h):
    logits, loc, log_scale = jnp.split(jnp.stack(h, -1), 3, -1)
    normal = distrax.Normal(loc, jnp.exp(log_scale))
    return Factorised(distrax.MixtureSameFamily(distrax.Categorical(logits), normal))

  def start(mean):
    apart = jnp.linspace(-1.0, 1.0, num_components) if num_components > 1 else jnp.zeros(1)
    return (0.0,) * num_components + tuple(mean + a for a in apart) + (0.0,) * num_components

  return Family(given, start, 3 * num_components, min_scale=0.0)


_MIN_SCALE, _MIN_DF = 1e-3, 3.0  # of a Student-t, as in MIWAE's code


_EDGE = 1e-6  # at 0 and 1 a beta density is 0 or infinite


def make_continuous_bernoulli() -> Family:
  """Continuous Bernoulli with lambda = sigmoid(h), a density on [0, 1] (Loaiza-Ganem & Cunningham, 2019)."""

  def start(mean):
    mean = jnp.clip(mean, 0.01, 0.99)

    def halve(_, bounds):
      low, high = bounds
      middle = (low + high) / 2
      below = ContinuousBernoulli(middle).mean() < mean
      return jnp.where(below, middle, low), jnp.where(below, high, middle)

    return (jax.lax.fori_loop(0, 40, halve, (jnp.full_like(mean, -110.0), jnp.full_like(mean, 110.0)))[0],)

  return Family(lambda logits: Factorised(ContinuousBernoulli(logits)), start, support=(0.0, 1.0))


class _ClippedBeta(distrax.Beta):
  def log_prob(self, value):
    return super().log_prob(jnp.clip(value, _EDGE, 1 - _EDGE))


def make_beta() -> Family:
  """Beta(x; softplus(h_1) + 0.001, softplus(h_2) + 0.001) on (0, 1).

  Exact zeros and ones are outside the support.  Values that rounding brings within 1e-6 of an end are evaluated at 1e-6
  from it.
  """

  def start(mean):
    mean = jnp.clip(mean, 0.05, 0.95)
    return _inverse_softplus(2 * mean), _inverse_softplus(2 * (1 - mean))  # uniform for a mean of 1/2

  positive = lambda h: jax.nn.softplus(h) + _MIN_SCALE
  given = lambda a, b: Factorised(_ClippedBeta(positive(a), positive(b)))
  return Family(given, start, 2, (_EDGE, 1 - _EDGE))


def _normal(loc: jax.Array, log_scale: jax.Array) -> Factorised:
  return Factorised(distrax.Normal(loc, jnp.broadcast_to(jnp.exp(log_scale), loc.shape)))


def _from_mean(mean: jax.Array) -> tuple:
  return mean, 0.0


def make_gaussian() -> Family:
  """N(x; h_1, exp(h_2)^2), a scale for every entry.  Where a scale can go to 0 the likelihood is unbounded."""
  return Family(_normal, _from_mean, 2, min_scale=0.0)


def make_gaussian_sigmoid() -> Family:
  """N(x; sigmoid(h_1), exp(h_2)), for grey levels: mean in [0, 1] and log-variance h_2 (Kingma & Welling, 2014).

  A density on the whole line, and unbounded, as 'gaussian', where a variance can go to 0.
  """
  start = lambda mean: (bias_at_logit(mean)(None, mean.shape, mean.dtype), 0.0)
  return Family(lambda h, log_variance: _normal(jax.nn.sigmoid(h), log_variance / 2), start, 2, min_scale=0.0)


def make_gaussian_shared() -> Family:
  """N(x; h, s^2) with one learned scale s for all entries and all z."""
  return Family(_normal, lambda mean: (mean,), shares_scale=True, min_scale=0.0)


def make_gaussian_fixed(scale: float = 1.0, mean: str = "linear") -> Family:
  """N(x; h, scale^2), or with mean = "sigmoid" N(x; sigmoid(h), scale^2), for grey levels.

  With scale = 1 / sqrt(2), -log p(x|z) is the squared error, summed, plus a constant of log(pi) / 2 for each entry.
  """
  errors.require(scale > 0, f"scale = {scale} of likelihood 'gaussian_fixed' must be positive")
  kinds = ("linear", "sigmoid")
  errors.require(mean in kinds, f"mean = {mean!r} of likelihood 'gaussian_fixed' must be one of {', '.join(kinds)}")
  if mean == "sigmoid":
    start = lambda at: (bias_at_logit(at)(None, at.shape, at.dtype),)
    return Family(lambda h: _normal(jax.nn.sigmoid(h), jnp.log(scale)), start)
  return Family(lambda loc: _normal(loc, jnp.log(scale)), lambda mean: (mean,))


def make_gaussian_bounded(min_scale: float = 0.01, max_scale: float = 100.0) -> Family:
  """N(x; h_1, s^2) with log s = log min_scale + sigmoid(h_2) log(max_scale / min_scale).

  Without min_scale the likelihood is unbounded for a decoder that fits one x exactly (Mattei & Frellsen, 2018).
  """
  bounds = f"min_scale = {min_scale}, max_scale = {max_scale} of likelihood 'gaussian_bounded'"
  errors.require(0 < min_scale < max_scale, f"{bounds} must satisfy 0 < min_scale < max_scale")
  low, high = math.log(min_scale), math.log(max_scale)
  return Family(lambda loc, h: _normal(loc, low + (high - low) * jax.nn.sigmoid(h)), _from_mean, 2, min_scale=min_scale)


def make_student_t() -> Family:
  """Student-t with loc h_1, scale softplus(h_2) + 0.001 and 3 + softplus(h_3) degrees of freedom.

  The parameterisation of MIWAE's code (Mattei & Frellsen, 2019): mean and variance exist.
  """

  def given(loc, scale, df):
    return Factorised(StudentT(_MIN_DF + jax.nn.softplus(df), loc, jax.nn.softplus(scale) + _MIN_SCALE))

  return Family(given, lambda mean: (mean, _inverse_softplus(jnp.asarray(1.0)), 0.0), 3, min_scale=_MIN_SCALE)


def _inverse_softplus(y: jax.Array) -> jax.Array:
  return y + jnp.log(-jnp.expm1(-y))
