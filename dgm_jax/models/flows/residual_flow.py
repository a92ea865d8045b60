"""Residual flows with estimated log-determinants (Behrmann et al., 2019; Chen et al., 2019)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

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

  def _estimate(self, key: jax.Array, x: jax.Array, context: jax.Array | None, train: bool) -> jax.Array:
    log_det = 0.0
    for i, part in enumerate(self.flow.parts):
      given = {"key": jax.random.fold_in(key, i)} if hasattr(part, "num_exact") else {}
      bijector = part.observe(x, train) if hasattr(part, "observe") and not given else None
      if given and train:
        part.observe(x, train)  # keeps the singular vectors
      bijector = bijector or part(context, **given)
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
    x, context = self._x(batch), self._context(batch)
    keys: Sequence[jax.Array] = jax.random.split(key, self.num_estimates)
    values = jnp.stack([self._estimate(key, x, context, train=False) for key in keys])
    return values.mean(0), values.std(0, ddof=1) / self.num_estimates**0.5
