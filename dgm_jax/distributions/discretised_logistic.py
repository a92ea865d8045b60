"""Mixtures of discretised logistics for 8-bit images (Salimans et al., 2017, PixelCNN++)."""

import distrax
import jax
import jax.numpy as jnp


class DiscretisedLogisticMixture(distrax.Distribution):
  """A mixture of logistics, integrated over bins around the levels k / (V - 1), k = 0..V-1, of [0, 1]; event [].

    P(x = k/(V-1)) = sum_m pi_m [S((x + w/2 - mu_m) / s_m) - S((x - w/2 - mu_m) / s_m)],   w = 1 / (V - 1),

  S the sigmoid; the first and the last bin are open (Salimans et al., 2017, PixelCNN++).

  Args: logits of pi, loc mu and log_scale log s, [..., M, D]: components on the second-to-last axis, which a
  sample [..., D] lacks; num_levels V.
  """

  def __init__(self, logits: jax.Array, loc: jax.Array, log_scale: jax.Array, num_levels: int):
    super().__init__()
    self._logits, self._loc, self._log_scale, self._num_levels = logits, loc, log_scale, num_levels

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return (*self._loc.shape[:-2], self._loc.shape[-1])

  def _standardise(self, x: jax.Array) -> jax.Array:
    return (x - self._loc) * jnp.exp(-self._log_scale)

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log P(x), nats, [..., D]; value x [..., D]."""
    value = value[..., None, :]
    half = 0.5 / (self._num_levels - 1)
    above, below = self._standardise(value + half), self._standardise(value - half)
    # S(a) - S(b) = S(a) (1 - S(b)) (1 - e^(b - a)), a product without cancellation
    log_cdf, log_survival = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
    inner = log_cdf + log_survival + jnp.log(-jnp.expm1(-2 * half * jnp.exp(-self._log_scale)))
    log_p = jnp.where(value < half, log_cdf, jnp.where(value > 1 - half, log_survival, inner))
    return jax.nn.logsumexp(jax.nn.log_softmax(self._logits, -2) + log_p, -2)

  def mean(self) -> jax.Array:
    """E[x] = 1 - sum_{k < V-1} P(x <= k/(V-1)) / (V-1), summed level by level to save memory."""
    step = 1 / (self._num_levels - 1)
    weights = jax.nn.softmax(self._logits, -2)
    cdf = lambda k: jnp.sum(weights * jax.nn.sigmoid(self._standardise((k + 0.5) * step)), -2)
    zero = jnp.zeros(self.batch_shape, self._loc.dtype)
    return 1 - step * jax.lax.fori_loop(0, self._num_levels - 1, lambda k, total: total + cdf(k), zero)

  def variance(self) -> jax.Array:
    """E[(x - c)^2] - (E[x] - c)^2, c = 1/2, by the same sum."""
    step = 1 / (self._num_levels - 1)
    weights = jax.nn.softmax(self._logits, -2)
    cdf = lambda k: jnp.sum(weights * jax.nn.sigmoid(self._standardise((k + 0.5) * step)), -2)
    rise = lambda k: step * ((2 * k + 1) * step - 1)  # increase of (x - c)^2 from level k to the next
    zero = jnp.zeros(self.batch_shape, self._loc.dtype)
    square = 0.25 - jax.lax.fori_loop(0, self._num_levels - 1, lambda k, total: total + rise(k) * cdf(k), zero)
    return square - jnp.square(self.mean() - 0.5)

  def _sample_n(self, key, n):
    key_m, key_x = jax.random.split(key)
    m = jax.random.categorical(key_m, self._logits, -2, (n, *self.batch_shape))[..., None, :]
    pick = lambda a: jnp.take_along_axis(jnp.broadcast_to(a, (n, *a.shape)), m, -2)[..., 0, :]
    noise = jax.random.logistic(key_x, (n, *self.batch_shape), self._loc.dtype)
    x = pick(self._loc) + jnp.exp(pick(self._log_scale)) * noise
    return jnp.clip(jnp.round(x * (self._num_levels - 1)), 0, self._num_levels - 1) / (self._num_levels - 1)
