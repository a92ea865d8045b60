"""The continuous Bernoulli on [0, 1] (Loaiza-Ganem & Cunningham, 2019)."""

import distrax
import jax
import jax.numpy as jnp


class ContinuousBernoulli(distrax.Distribution):
  """p(x) = C(lambda) lambda^x (1 - lambda)^(1 - x) on [0, 1], lambda = sigmoid(logits); event [].

  Loaiza-Ganem & Cunningham (2019).  In the logit l it is the exponential family exp(l x - A(l)) with
  A(l) = log((e^l - 1) / l), which is l/2 + log(sinh(h) / h), h = |l|/2; near h = 0 (lambda = 1/2) by a series.
  """

  def __init__(self, logits: jax.Array):
    super().__init__()
    self._logits = logits

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return self._logits.shape

  def _half(self) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(whether h is small, l/2 for the series, h for the closed form); the branch not taken gets a safe value."""
    h = jnp.abs(self._logits) / 2
    small = h < 0.1
    return small, jnp.where(small, self._logits / 2, 0.0), jnp.where(small, 1.0, h)

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log p(x) = l (x - 1/2) - log(sinh(h) / h), nats, of the shape of x."""
    small, s, h = self._half()
    series = s**2 / 6 - s**4 / 180 + s**6 / 2835
    log_sinhc = jnp.where(small, series, h + jnp.log1p(-jnp.exp(-2 * h)) - jnp.log(2 * h))
    return (value - 0.5) * self._logits - log_sinhc

  def mean(self) -> jax.Array:
    """A'(l) = 1/2 + (coth(l/2) - 2/l) / 2."""
    small, s, h = self._half()
    langevin = jnp.where(small, s / 3 - s**3 / 45 + 2 * s**5 / 945, jnp.sign(self._logits) * (1 / jnp.tanh(h) - 1 / h))
    return 0.5 + 0.5 * langevin

  def variance(self) -> jax.Array:
    """A''(l) = (1 / h^2 - 1 / sinh(h)^2) / 4."""
    small, s, h = self._half()
    return jnp.where(small, 1 / 3 - s**2 / 15 + 2 * s**4 / 189, 1 / h**2 - 1 / jnp.sinh(h) ** 2) / 4

  def _sample_n(self, key, n):
    # Inverts F(x) = (e^(lx) - 1) / (e^l - 1), for |l|; for l < 0 the draw is mirrored.
    v = jax.random.uniform(key, (n, *self._logits.shape), self._logits.dtype)
    size = jnp.abs(self._logits)
    a = jnp.maximum(size, 1e-3)
    x = jnp.where(size < 1e-3, 1 - v + size * v * (1 - v) / 2, 1 + jnp.log1p(v * jnp.expm1(-a)) / a)
    return jnp.clip(jnp.where(self._logits < 0, 1 - x, x), 0, 1)
