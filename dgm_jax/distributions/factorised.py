"""Products of independent entries, whose log-probability takes a mask; faster forms of sums and softplus."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import platforms


def sum_last(a: jax.Array, platform: str = "") -> jax.Array:
  """The sum over the last axis as a product with ones.

  XLA:CPU turns a sum of more than 32 terms into a separate pass over its input, which it first writes to memory.
  On other backends it is a plain sum: a TPU multiplies float32 in parts, which turns -inf into NaN.  `platform` is
  that of the program, see platforms.is_cpu.
  """
  if not platforms.is_cpu(platform):
    return jnp.sum(a, -1)
  ones = jnp.ones(a.shape[-1], a.dtype)
  return jax.lax.dot_general(a, ones, (((a.ndim - 1,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
  """log(1 + e^x) to an absolute error of the dtype's epsilon.

  jax.nn.softplus also bounds the relative error of values near 0, with a log1p that costs twice as much.  A sum of
  log-probabilities loses that accuracy, and the softplus of the pixels is a tenth of the time of an IWAE training step.
  """
  return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


softplus.defjvp(lambda primals, tangents: (softplus(*primals), jax.nn.sigmoid(*primals) * tangents[0]))


class _LogitBernoulli(distrax.Bernoulli):
  """A Bernoulli parameterised by logits, whose log-probability takes one softplus instead of two."""

  def log_prob(self, value):
    # x log s(l) + (1 - x) log(1 - s(l)) = x l - softplus(l); for 0 < x < 1 this is minus the cross-entropy.
    return value * self.logits - softplus(self.logits)


def bernoulli(logits: jax.Array) -> distrax.Distribution:
  """prod_d Bernoulli(x_d; sigmoid(logits_d)); logits [..., D], event [D]."""
  return Factorised(_LogitBernoulli(logits, dtype=jnp.float32))


class Factorised(distrax.Independent):
  """prod_d p(x_d) over the last axis, whose log-probability can leave entries out; event [D]."""

  def __init__(self, entries: distrax.Distribution):
    super().__init__(entries, 1)

  def log_prob(self, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """sum_d m_d log p(x_d), nats, for x and m [..., D]: the marginal of the entries with m_d = 1.

    The values of x where m_d = 0, even NaN, affect neither the result nor a gradient.
    """
    if mask is None:
      return sum_last(self.distribution.log_prob(value))
    observed = mask > 0
    value = jnp.where(observed, value, jnp.asarray(0.5, value.dtype))  # 0.5 lies in every support, 0 does not
    return sum_last(jnp.where(observed, self.distribution.log_prob(value), 0))

  def expected_features(self) -> jax.Array:
    """E[x], [..., D], or for classes the mean one-hot vectors, [..., D C]: both can be averaged over z."""
    if not isinstance(self.distribution, distrax.Categorical):
      return self.distribution.mean()
    return self.distribution.probs.reshape(*self.batch_shape, -1)

  def most_likely(self, features: jax.Array) -> jax.Array:
    """Converts averages of expected_features to x [..., D]: unchanged, or the index of the most probable class."""
    if not isinstance(self.distribution, distrax.Categorical):
      return features
    by_class = features.reshape(*features.shape[:-1], -1, self.distribution.num_categories)
    return jnp.argmax(by_class, -1).astype(features.dtype)
