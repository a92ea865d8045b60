"""When the fit of several models ends, and which parameters it returns."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

_UNSCORED = 600  # training steps if no entry is hidden, so that there is no score
_PATIENCE = 5  # calls without a better score before the rate is lowered
_RATES = (1.0, 0.3, 0.1)


class Watch:
  """Keeps the best state of each lane, lowers its learning rate, and decides when all lanes have stopped improving."""

  def __init__(self, keep: Callable, lr: float, num_models: int, scored: bool):
    self.scored, self._keep, self._lr, self._best = scored, keep, lr, None
    self._scores = jnp.full(num_models, -jnp.inf)
    self._waited = self._level = jnp.zeros(num_models, jnp.int32)

  @property
  def score(self) -> float | None:
    """The lanes' best scores, averaged over lanes."""
    return float(jnp.mean(self._scores)) if self.scored else None

  def best(self, states: Any) -> Any:
    return self._best if self.scored else states

  def see(self, states: Any, scores: jax.Array) -> Any:
    """The states to continue from; a lane that stopped improving returns to its best state, with a lower rate."""
    better = scores > self._scores
    self._best = states if self._best is None else self._keep(better, states, self._best)
    self._scores = jnp.where(better, scores, self._scores)
    if not bool(jnp.all(jnp.isfinite(self._scores))):
      raise errors.DivergenceError("The fit diverged: its score is NaN or Inf.")
    waited = jnp.where(better, 0, self._waited + 1)
    lowered = waited >= _PATIENCE
    self._waited, self._level = jnp.where(lowered, 0, waited), self._level + lowered
    if not bool(jnp.any(lowered)):
      return states
    rates = self._lr * jnp.asarray((*_RATES, _RATES[-1]))[self._level]
    back = self._best.replace(step=states.step, hparams={"optim.lr": rates})
    return self._keep(lowered, back, states)

  def reason(self, steps: int) -> str | None:
    if not self.scored:
      return "no entry was hidden to score it by" if steps >= _UNSCORED else None
    return "its score stopped rising" if bool(jnp.all(self._level >= len(_RATES))) else None
