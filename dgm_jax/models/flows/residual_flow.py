"""Residual flows with estimated log-determinants (Behrmann et al., 2019; Chen et al., 2019)."""

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.models.base import require_at_least
from dgm_jax.models.flows import flow


class Model(flow.Model):
  """A flow of layers x + g(x), g a contraction; its log-determinants in training are unbiased estimates.

  log p(x) in evaluations is the mean of `num_estimates` of them, with its standard error; `log_prob` is exact, at the
  cost of the whole Jacobian of each layer.

  Attributes, in addition to those of flow.Model:
    num_estimates: K, 2 or more.
  """

  layer: str = "residual"
  norm: str = "act"
  num_estimates: int = 8

  def setup(self):
    errors.require(
      self.direction == "density",
      f"direction = {self.direction!r} of a residual flow: its log-determinants are estimated from x to z alone; leave "
      "it at 'density'",
    )
    super().setup()

  def _estimate(self, key: jax.Array, x: jax.Array, context: jax.Array | None, train: bool) -> jax.Array:
    """An estimate of log p(x), [B]; in evaluations those of a batch are independent."""
    log_det = 0.0
    for i, part in enumerate(self.flow.parts):
      bijector = part.observe(x, train) if hasattr(part, "observe") else part(context)
      if hasattr(part, "num_exact"):  # observe has kept the singular vectors
        bijector = part(context, jax.random.fold_in(key, i), shared=train)
      x, step = bijector.forward_and_log_det(x)
      log_det = log_det + step
    return self._log_base(x, context) + log_det

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(an unbiased estimate of log p(x), {"log_px": the same}), [B]."""
    log_px = self._estimate(key, self._x(batch), self._context(batch), train=True)
    return log_px, {"log_px": log_px}

  def log_prob_estimate(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(an unbiased estimate of log p(x), its standard error), [B] each."""
    require_at_least(2, num_estimates=self.num_estimates)
    k, context = self.num_estimates, self._context(batch)
    repeat = lambda a: None if a is None else jnp.repeat(a, k, 0)
    values = self._estimate(key, repeat(self._x(batch)), repeat(context), train=False).reshape(-1, k)
    return values.mean(1), values.std(1, ddof=1) / k**0.5
