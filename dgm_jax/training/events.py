"""After which training steps a run is evaluated, drawn and saved."""

import math
from typing import NamedTuple, Self

from ml_collections import ConfigDict


class Events(NamedTuple):
  """Intervals in steps, multiples of log_every: an event follows every step that its interval divides."""

  evaluate: int
  draw: int
  save: int

  @classmethod
  def of(cls, config: ConfigDict, num_steps: int, steps_per_epoch: int, log_every: int) -> Self:
    """The intervals of a config; 0 there means 20 evaluations, 5 figures or 20 checkpoints per run.

    With 0, the events are at least five epochs apart.

    Args:
      config: with eval_every, figures_every, checkpoint_every, each 0 or a multiple of log_every.
      num_steps: training steps of the whole run.
      steps_per_epoch: training steps of an epoch.
      log_every: steps of one compiled program.
    """

    def every(given: int, times: int) -> int:
      chunks = max(num_steps / times, 5 * steps_per_epoch) / log_every
      return given or math.ceil(chunks) * log_every

    return cls(every(config.eval_every, 20), every(config.figures_every, 5), every(config.checkpoint_every, 20))

  def any_at(self, step: int) -> bool:
    """Whether any event follows this step, for which the state is then needed on the host."""
    return any(step % every == 0 for every in self)
