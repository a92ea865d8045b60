"""The distribution function of a mixture of logistics, as a map of the real line (Flow++, Ho et al., 2019)."""

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

_MAX_LOG_SCALE = 7.0


def log_odds(x: jax.Array, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(t, log dt/dx) of t = logit F(x), F(x) = sum_m pi_m sigmoid((x - loc_m) / scale_m), in the log domain.

  Args: x [..., D]; logits of pi, loc and log_scale [..., M, D].
  """
  log_pi, z = jax.nn.log_softmax(logits, -2), (x[..., None, :] - loc) * jnp.exp(-log_scale)
  log_below, log_above = jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z)
  add_up = lambda terms: jax.nn.logsumexp(log_pi + terms, -2)
  log_f, log_not_f = add_up(log_below), add_up(log_above)
  return log_f - log_not_f, add_up(log_below + log_above - log_scale) - log_f - log_not_f


@jax.custom_jvp
def inverse_log_odds(t: jax.Array, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
  """x for which log_odds gives t: Newton's method inside a bracket that is halved where a step leaves it.

  x lies between the least and the greatest loc_m + scale_m t, the inverses of the components.  Derivatives are those of
  the implicit function.
  """
  ends = loc + jnp.exp(log_scale) * t[..., None, :]
  low, high = jnp.min(ends, -2), jnp.max(ends, -2)
  steps = 70 if t.dtype == jnp.float64 else 40

  def improve(_, carry):
    low, high, x = carry
    value, log_slope = log_odds(x, logits, loc, log_scale)
    low, high = jnp.where(value <= t, x, low), jnp.where(value >= t, x, high)
    newton = x - (value - t) * jnp.exp(-log_slope)
    return low, high, jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))

  return jax.lax.fori_loop(0, steps, improve, (low, high, 0.5 * (low + high)))[2]


@inverse_log_odds.defjvp
def _inverse_log_odds_jvp(primals, tangents):
  t, *params = primals
  x = inverse_log_odds(t, *params)
  _, moved = jax.jvp(lambda *params: log_odds(x, *params)[0], tuple(params), tuple(tangents[1:]))
  return x, (tangents[0] - moved) * jnp.exp(-log_odds(x, *params)[1])


class LogisticMixture:
  """y = exp(a) logit F(x) + b, F the distribution function of a mixture of `num_components` = M logistics.

  h holds the logits of the weights, the locations, the log-scales before a bound, a before a bound, and b.  At h = 0
  the components start at different places in [-3, 3], else they would stay equal.

  Args:
    num_components: M.
  """

  def __init__(self, num_components: int = 8):
    errors.require(
      num_components >= 1, f"num_components = {num_components} of transform 'logistic_mixture' must be 1 or more"
    )
    self.num_components, self.num_params = num_components, 3 * num_components + 2

  def _parts(self, h):
    m, bound = self.num_components, lambda a: _MAX_LOG_SCALE * jnp.tanh(a / _MAX_LOG_SCALE)
    places = 6 * ((jnp.arange(m) + 0.5) / m - 0.5)
    loc = h[..., m : 2 * m, :] + places.astype(h.dtype)[:, None]
    return (h[..., :m, :], loc, bound(h[..., 2 * m : 3 * m, :])), bound(h[..., -2, :]), h[..., -1, :]

  def forward(self, x: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    mixture, log_scale, shift = self._parts(h)
    t, log_slope = log_odds(x, *mixture)
    return t * jnp.exp(log_scale) + shift, log_slope + log_scale

  def inverse(self, y: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    mixture, log_scale, shift = self._parts(h)
    x = inverse_log_odds((y - shift) * jnp.exp(-log_scale), *mixture)
    return x, log_odds(x, *mixture)[1] + log_scale
