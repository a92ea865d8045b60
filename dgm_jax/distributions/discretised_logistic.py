"""Mixtures of discretised logistics for 8-bit images (Salimans et al., 2017, PixelCNN++)."""

import math

import distrax
import jax
import jax.numpy as jnp

MIN_LOG_SCALE = -8.0  # of a component: an eleventh of the width of one of 256 bins


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

  def log_prob_of_components(self, value: jax.Array) -> jax.Array:
    """log P(x | m), nats, [..., M, D]; value x [..., D]."""
    value = value[..., None, :]
    half = 0.5 / (self._num_levels - 1)
    above, below = self._standardise(value + half), self._standardise(value - half)
    # S(a) - S(b) = S(a) (1 - S(b)) (1 - e^(b - a)), a product without cancellation
    log_cdf, log_survival = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
    inner = log_cdf + log_survival + jnp.log(-jnp.expm1(-2 * half * jnp.exp(-self._log_scale)))
    return jnp.where(value < half, log_cdf, jnp.where(value > 1 - half, log_survival, inner))

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log P(x), nats, [..., D]; value x [..., D]."""
    return jax.nn.logsumexp(jax.nn.log_softmax(self._logits, -2) + self.log_prob_of_components(value), -2)

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


class LogisticLevels(distrax.Distribution):
  """The same mixture on the integers k = 0 .. V - 1, with mu and s in units of (k + 1/2) / V, the middle of bin k.

  The bins are 1 / V wide, so that a density of (k + u) / V, u uniform, bounds the same log-probability.  Arguments as
  of DiscretisedLogisticMixture.
  """

  def __init__(self, logits: jax.Array, loc: jax.Array, log_scale: jax.Array, num_levels: int):
    super().__init__()
    self._top = num_levels - 1  # k / (V - 1) = (V mu - 1/2) / (V - 1) at the middle of bin k
    loc = (num_levels * loc - 0.5) / self._top
    self._unit = DiscretisedLogisticMixture(logits, loc, log_scale + math.log(num_levels / self._top), num_levels)

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return self._unit.batch_shape

  def log_prob_of_components(self, value: jax.Array) -> jax.Array:
    """log P(k | m), nats, [..., M, D]; value k [..., D]."""
    return self._unit.log_prob_of_components(value / self._top)

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log P(k), nats, [..., D]; value k [..., D]."""
    return self._unit.log_prob(value / self._top)

  def mean(self) -> jax.Array:
    """E[k]."""
    return self._top * self._unit.mean()

  def variance(self) -> jax.Array:
    """Var[k]."""
    return self._top**2 * self._unit.variance()

  def _sample_n(self, key, n):
    return jnp.round(self._top * self._unit.sample(seed=key, sample_shape=n))


def num_pixel_outputs(num_components: int, channels: int) -> int:
  """The number of outputs of `channel_conditionals` for a pixel: M (1 + 2 C + C (C - 1) / 2)."""
  return num_components * (1 + 2 * channels + channels * (channels - 1) // 2)


def channel_conditionals(h: jax.Array, x: jax.Array, num_components: int, num_levels: int) -> jax.Array:
  """The parameters of p(x_c | x_<c) of the channels of a pixel under the mixture of PixelCNN++, [..., C, 3 M].

    p(x) = sum_m pi_m prod_c L(x_c; mu_mc + sum_{b<c} a_mcb (y_b - 1/2), s_mc),   y = (x + 1/2) / V,

  with L of LogisticLevels and a coefficients tanh(h) of the earlier channels b.  Given these, x_c has a mixture of
  discretised logistics, too, with weights pi_m prod_{b<c} L(x_b), so that the channels are entries like others.

  Args:
    h: the network's outputs for a pixel [..., num_pixel_outputs]: M logits; C M means; C M log-scales; coefficients.
    x: its levels [..., C]; those of a channel and of later ones do not change its parameters.
    num_components: M.
    num_levels: V.
  """
  m, channels = num_components, x.shape[-1]
  logits, loc, log_scale, a = jnp.split(h, [m, m * (1 + channels), m * (1 + 2 * channels)], -1)
  loc, log_scale = (part.reshape(*h.shape[:-1], channels, m) for part in (loc, log_scale))
  a = jnp.tanh(a).reshape(*h.shape[:-1], -1, m)
  y, found, pair = (x + 0.5) / num_levels - 0.5, [], 0
  for c in range(channels):
    mean = loc[..., c, :]
    for b in range(c):
      mean, pair = mean + a[..., pair, :] * y[..., b, None], pair + 1
    found.append(jnp.concatenate([logits, mean, log_scale[..., c, :]], -1))
    scale = jnp.maximum(log_scale[..., c, :], MIN_LOG_SCALE)
    px = LogisticLevels(logits[..., None], mean[..., None], scale[..., None], num_levels)
    logits = logits + px.log_prob_of_components(x[..., c, None])[..., 0]
  return jnp.stack(found, -2)
