"""Distributions that distrax lacks, or has in a form that costs more than it need."""

import distrax
import jax
import jax.numpy as jnp


def sum_last(a: jax.Array) -> jax.Array:
  """The sum over the last axis as a product with ones.

  XLA on the CPU makes a sum of more than 32 terms a pass of its own over what it sums, written to memory first.
  Elsewhere it is a plain sum: a TPU multiplies float32 in parts, and makes NaN of -inf so.
  """
  if jax.default_backend() != "cpu":
    return jnp.sum(a, -1)
  ones = jnp.ones(a.shape[-1], a.dtype)
  return jax.lax.dot_general(a, ones, (((a.ndim - 1,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
  """log(1 + e^x) to an absolute error of the precision's epsilon.

  jax.nn.softplus holds the relative error of values near 0, too, by a log1p that costs twice as much.  In a sum of
  log-probabilities that is lost, and the pixels' softplus is a tenth of an IWAE's training step.
  """
  return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


softplus.defjvp(lambda primals, tangents: (softplus(*primals), jax.nn.sigmoid(*primals) * tangents[0]))


class _LogitBernoulli(distrax.Bernoulli):
  """A Bernoulli by logits whose log-probability takes one softplus instead of two."""

  def log_prob(self, value):
    # x log s(l) + (1 - x) log(1 - s(l)) = x l - softplus(l); for 0 < x < 1 this is minus the cross-entropy.
    return value * self.logits - softplus(self.logits)


def bernoulli(logits: jax.Array) -> distrax.Distribution:
  """prod_d Bernoulli(x_d; sigmoid(logits_d)); logits [..., D], event [D]."""
  return Factorised(_LogitBernoulli(logits, dtype=jnp.float32))


class Factorised(distrax.Independent):
  """prod_d p(x_d) over the last axis, whose log-probability may leave entries out; event [D]."""

  def __init__(self, entries: distrax.Distribution):
    super().__init__(entries, 1)

  def log_prob(self, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """sum_d m_d log p(x_d), nats, for x and m [..., D]: the marginal of the entries with m_d = 1.

    What x is where m_d = 0, be it NaN, changes neither the value nor a gradient.
    """
    if mask is None:
      return sum_last(self.distribution.log_prob(value))
    observed = mask > 0
    value = jnp.where(observed, value, jnp.asarray(0.5, value.dtype))  # a half lies in every support, 0 does not
    return sum_last(jnp.where(observed, self.distribution.log_prob(value), 0))

  def expected_features(self) -> jax.Array:
    """E of x, [..., D]; of classes E of their one-hot vectors, [..., D C]: what can be averaged over z."""
    if not isinstance(self.distribution, distrax.Categorical):
      return self.distribution.mean()
    return self.distribution.probs.reshape(*self.batch_shape, -1)

  def most_likely(self, features: jax.Array) -> jax.Array:
    """Averages of expected_features as x [..., D]: themselves, or the number of the most probable class."""
    if not isinstance(self.distribution, distrax.Categorical):
      return features
    by_class = features.reshape(*features.shape[:-1], -1, self.distribution.num_categories)
    return jnp.argmax(by_class, -1).astype(features.dtype)
