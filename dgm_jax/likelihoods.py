"""Likelihoods p(x|z) = prod_d p(x_d | h_d), h the decoder's outputs; `likelihood` of a model names one of FAMILIES.

A family is made by a function of its options (`likelihood_args`) and says what is common to the entries of x; a
Likelihood is that of D entries.  Densities are in nats, x is flat, [B, D].
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions import ContinuousBernoulli, DiscretisedLogisticMixture, Factorised, StudentT, bernoulli
from dgm_jax.families import Family, Mixed
from dgm_jax.nets import bias_at_logit
from dgm_jax.target_families import make_gaussian_mixture, make_gaussian_softplus, make_poisson

_MIN_SCALE, _MIN_DF = 1e-3, 3.0  # of a Student-t: MIWAE's code
_EDGE = 1e-6  # at 0 and 1 a beta density is 0 or infinite


class Likelihood(nn.Module):
  """p(x|z) of D entries; the outputs of the decoder are P blocks of D.

  Attributes:
    dim: D.
    family: what the entries have in common; or of which families the columns are, then the outputs are their blocks.
  """

  dim: int
  family: Family | Mixed

  def setup(self):
    self.scale = (self.param("log_scale", nn.initializers.zeros, ()),) if self.family.shares_scale else ()

  @property
  def num_outputs(self) -> int:
    """The width of the decoder's last layer."""
    return self.family.width(self.dim)

  @property
  def num_features(self) -> int:
    """The width of what the encoder sees."""
    return self.family.num_features(self.dim)

  def expected(self, mean: Sequence[float] | None) -> tuple[float, ...]:
    """The data's mean [D]; where it is not known the middle of the support, or 0."""
    return self.family.centre(self.dim) if mean is None else tuple(mean)

  def output_bias(self, mean: Sequence[float] | None) -> Callable:
    """Initialiser of the decoder's output bias: before training E[x|z] is near `mean`, see `expected`."""

    def init(key, shape, dtype=jnp.float32):
      del key
      return self.family.bias(jnp.asarray(self.expected(mean), dtype)).reshape(shape)

    return init

  def features(self, x: jax.Array, mask: jax.Array | None = None, fill: float | jax.Array = 0) -> jax.Array:
    """What the encoder sees of x [B, D], [B, F], with `fill` where it is unobserved (Mattei & Frellsen, 2019)."""
    seen = self.family.features(x)
    return seen if mask is None else jnp.where(self.family.spread(mask) > 0, seen, fill)

  def draw(self, h: jax.Array, keys: jax.Array) -> jax.Array:
    """x ~ p(x|z), [B, D], each row by its own key; h [B, P D]."""
    scale = self.scale
    return jax.vmap(lambda h, key: self.family.distribution(h, *scale).sample(seed=key))(h, keys)

  def __call__(self, h: jax.Array) -> Factorised:
    """p(x|z), with log_prob(x, mask=None) [B], mean() = E[x|z] and sample(seed=) [B, D]; h [B, P D]."""
    return self.family.distribution(h, *self.scale)


def make_bernoulli() -> Family:
  """p^x (1 - p)^(1 - x), p = sigmoid(h): a density for x in {0, 1}; between them, minus the cross-entropy."""
  return Family(bernoulli, lambda mean: (bias_at_logit(mean)(None, mean.shape, mean.dtype),), support=(0.0, 1.0))


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

  Data with exact zeros or ones has no likelihood: it is outside the support.  What rounding brings within 1e-6 of an
  end counts as at 1e-6.
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
  return Family(_normal, _from_mean, 2)


def make_gaussian_sigmoid() -> Family:
  """N(x; sigmoid(h_1), exp(h_2)), the mean of grey levels in [0, 1] and a log-variance (Kingma & Welling, 2014).

  A density on the whole line, and unbounded, as 'gaussian', where a variance can go to 0.
  """
  start = lambda mean: (bias_at_logit(mean)(None, mean.shape, mean.dtype), 0.0)
  return Family(lambda h, log_variance: _normal(jax.nn.sigmoid(h), log_variance / 2), start, 2)


def make_gaussian_shared() -> Family:
  """N(x; h, s^2) with one learned scale s for all entries and all z."""
  return Family(_normal, lambda mean: (mean,), shares_scale=True)


def make_gaussian_fixed(scale: float = 1.0) -> Family:
  """N(x; h, scale^2)."""
  _require(scale > 0, f"scale = {scale} of likelihood 'gaussian_fixed' must be positive")
  return Family(lambda loc: _normal(loc, jnp.log(scale)), lambda mean: (mean,))


def make_gaussian_bounded(min_scale: float = 0.01, max_scale: float = 100.0) -> Family:
  """N(x; h_1, s^2) with log s = log min_scale + sigmoid(h_2) log(max_scale / min_scale).

  The floor bounds a likelihood that is else infinite for a decoder that fits one x (Mattei & Frellsen, 2018).
  """
  bounds = f"min_scale = {min_scale}, max_scale = {max_scale} of likelihood 'gaussian_bounded'"
  _require(0 < min_scale < max_scale, f"{bounds} must be 0 < min_scale < max_scale")
  low, high = math.log(min_scale), math.log(max_scale)
  return Family(lambda loc, h: _normal(loc, low + (high - low) * jax.nn.sigmoid(h)), _from_mean, 2)


def make_student_t() -> Family:
  """Student-t with loc h_1, scale softplus(h_2) + 0.001 and 3 + softplus(h_3) degrees of freedom.

  The parameters of MIWAE's code (Mattei & Frellsen, 2019): mean and variance exist.
  """

  def given(loc, scale, df):
    return Factorised(StudentT(_MIN_DF + jax.nn.softplus(df), loc, jax.nn.softplus(scale) + _MIN_SCALE))

  return Family(given, lambda mean: (mean, _inverse_softplus(jnp.asarray(1.0)), 0.0), 3)


class _CategoricalNumber(distrax.Categorical):
  def log_prob(self, value):
    return super().log_prob(value.astype(jnp.int32))

  def mean(self):
    return self.probs @ jnp.arange(self.num_categories, dtype=self.probs.dtype)

  def variance(self):
    numbers = jnp.arange(self.num_categories, dtype=self.probs.dtype)
    return jnp.sum(self.probs * jnp.square(numbers - self.mean()[..., None]), -1)


def make_categorical(num_classes: int) -> Family:
  """P(x_d = c) = softmax(h_d)_c for c = 0..C-1; E[x|z] is that of the number c."""
  _require(num_classes >= 2, f"num_classes = {num_classes} of likelihood 'categorical' must be 2 or more")
  given = lambda *logits: Factorised(_CategoricalNumber(jnp.stack(logits, -1)))
  start = lambda mean: (0.0,) * num_classes  # a mean says little about classes
  return Family(given, start, num_classes, (0.0, num_classes - 1.0), num_classes)


def make_discretised_logistic(num_components: int = 10, num_levels: int = 256) -> Family:
  """A mixture of discretised logistics at the levels k / (V - 1) of [0, 1]: 8-bit images as k / 255.

  The channels of a pixel are independent given z, without the autoregression over them of Salimans et al. (2017).
  """
  numbers = f"num_components = {num_components}, num_levels = {num_levels} of likelihood 'discretised_logistic'"
  _require(num_components >= 1 and num_levels >= 2, f"{numbers} must be 1 and 2 or more")

  def given(*h):
    logits, loc, log_scale = jnp.split(jnp.stack(h, -2), 3, -2)
    return Factorised(DiscretisedLogisticMixture(logits, loc, jnp.maximum(log_scale, -8.0), num_levels))

  start = lambda mean: tuple(h for h in (0.0, mean, -2.0) for _ in range(num_components))
  return Family(given, start, 3 * num_components, (0.0, 1.0))


FAMILIES = {
  "bernoulli": make_bernoulli,
  "continuous_bernoulli": make_continuous_bernoulli,
  "beta": make_beta,
  "gaussian": make_gaussian,
  "gaussian_sigmoid": make_gaussian_sigmoid,
  "gaussian_shared": make_gaussian_shared,
  "gaussian_fixed": make_gaussian_fixed,
  "gaussian_bounded": make_gaussian_bounded,
  "gaussian_mixture": make_gaussian_mixture,
  "gaussian_softplus": make_gaussian_softplus,
  "student_t": make_student_t,
  "poisson": make_poisson,
  "categorical": make_categorical,
  "discretised_logistic": make_discretised_logistic,
}


def make_mixed(columns: Sequence[str]) -> Mixed:
  """Each column with its own family, e.g. ("gaussian", "categorical(3)", "bernoulli"); numbers are its options.

  A class is stored as its number, 0.0 .. C - 1.
  """
  _require(len(columns) > 0, "columns of likelihood 'mixed' must name a likelihood for each column of x")
  members = {}
  for d, text in enumerate(columns):
    members.setdefault(text.replace(" ", ""), []).append(d)
  return Mixed(tuple((_column(text), tuple(where)) for text, where in members.items()))


def _column(text: str) -> Family:
  """The family that "name" or "name(number, ...)" says."""
  found = re.fullmatch(r"(\w+)(?:\(([-+.\de,]+)\))?", text)
  _require(found, f"column {text!r} of likelihood 'mixed'; it must be a name, or a name and numbers: 'categorical(3)'")
  name, numbers = found.groups()
  _require(name in FAMILIES, f"column {text!r} of likelihood 'mixed'; it must be one of {', '.join(FAMILIES)}")
  number = lambda word: float(word) if re.search(r"[.e]", word) else int(word)
  family = FAMILIES[name](*map(number, numbers.split(",") if numbers else ()))
  _require(not family.shares_scale, f"column {text!r} of likelihood 'mixed' cannot share a scale; choose 'gaussian'")
  return family


def make(name: str, **options: Any) -> Family | Mixed:
  """The family `name` with its options; "mixed" for columns of several.

  Raises:
    ValueError: no such likelihood, or a value that cannot be.
    TypeError: no such option.
  """
  if name == "mixed":
    return make_mixed(**options)
  _require(name in FAMILIES, f"likelihood = {name!r}; it must be one of {', '.join(FAMILIES)}, mixed")
  return FAMILIES[name](**options)


def _require(condition: bool, message: str) -> None:
  if not condition:
    raise ValueError(message)


def _inverse_softplus(y: jax.Array) -> jax.Array:
  return y + jnp.log(-jnp.expm1(-y))
