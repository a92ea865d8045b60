"""Fixed maps of every entry: sigmoid, logit, softplus, tanh, and their inverses (distrax.Inverse)."""

import distrax
import jax
import jax.numpy as jnp


class Elementwise(distrax.Bijector):
  """What these share; a subclass adds `forward`, `inverse` and `log_slope(x)` = log dy/dx, each of one entry.

  Args:
    event_ndims: axes of an event, over which log-slopes are summed.
  """

  def __init__(self, event_ndims: int = 1):
    super().__init__(event_ndims_in=event_ndims)
    self._axes = tuple(range(-event_ndims, 0))

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self.forward(x), jnp.sum(self.log_slope(x), self._axes)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = self.inverse(y)
    return x, -jnp.sum(self.log_slope(x), self._axes)


def _between(y: jax.Array, low: float, high: float) -> jax.Array:
  """y clipped to the numbers inside the open interval (low, high): for large |x|, y is rounded to one of its ends."""
  smallest, spacing = jnp.finfo(y.dtype).tiny, jnp.finfo(y.dtype).epsneg
  return jnp.clip(y, low + (smallest if low == 0 else spacing), high - spacing)


class Sigmoid(Elementwise):
  """y = 1 / (1 + exp(-x)), onto (0, 1)."""

  def forward(self, x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x)

  def inverse(self, y: jax.Array) -> jax.Array:
    y = _between(y, 0.0, 1.0)
    return jnp.log(y) - jnp.log1p(-y)

  def log_slope(self, x: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)


class Logit(Elementwise):
  """y = logit(alpha + (1 - 2 alpha) x), from [0, 1]; alpha = 0 is for the open interval."""

  def __init__(self, alpha: float = 0.0, event_ndims: int = 1):
    super().__init__(event_ndims)
    self.alpha = alpha

  def _squeezed(self, x):
    return _between(self.alpha + (1 - 2 * self.alpha) * x, 0.0, 1.0)

  def forward(self, x: jax.Array) -> jax.Array:
    p = self._squeezed(x)
    return jnp.log(p) - jnp.log1p(-p)

  def inverse(self, y: jax.Array) -> jax.Array:
    return (jax.nn.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)

  def log_slope(self, x: jax.Array) -> jax.Array:
    p = self._squeezed(x)
    return jnp.log1p(-2 * self.alpha) - jnp.log(p) - jnp.log1p(-p)


class Softplus(Elementwise):
  """y = log(1 + exp(x)), onto the positive numbers."""

  def forward(self, x: jax.Array) -> jax.Array:
    return jax.nn.softplus(x)

  def inverse(self, y: jax.Array) -> jax.Array:
    y = jnp.maximum(y, jnp.finfo(y.dtype).tiny)
    return y + jnp.log(-jnp.expm1(-y))

  def log_slope(self, x: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(x)


class Tanh(Elementwise):
  """y = tanh(x), onto (-1, 1)."""

  def forward(self, x: jax.Array) -> jax.Array:
    return jnp.tanh(x)

  def inverse(self, y: jax.Array) -> jax.Array:
    return jnp.arctanh(_between(y, -1.0, 1.0))

  def log_slope(self, x: jax.Array) -> jax.Array:
    return 2 * (jnp.log(2.0) - x - jax.nn.softplus(-2 * x)).astype(x.dtype)
