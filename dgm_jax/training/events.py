"""What follows which training steps: an evaluation, figures, a checkpoint."""

import math
from typing import NamedTuple, Self

from ml_collections import ConfigDict


class Events(NamedTuple):
  """Each event happens at the steps that its number divides; all are multiples of config.log_every."""

  evaluate: int
  draw: int
  save: int

  @classmethod
  def of(cls, config: ConfigDict, num_steps: int, steps_per_epoch: int) -> Self:
    """The events of a config; 0 in it stands for 20 evaluations, 5 figures and 20 checkpoints per run.

    For 0 the events are at least five epochs apart.

    Args:
      config: with eval_every, figures_every, checkpoint_every, each 0 or a multiple of log_every.
      num_steps: updates of the whole run.
      steps_per_epoch: updates of an epoch.
    """

    def every(given: int, times: int) -> int:
      chunks = max(num_steps / times, 5 * steps_per_epoch) / config.log_every
      return given or math.ceil(chunks) * config.log_every

    return cls(every(config.eval_every, 20), every(config.figures_every, 5), every(config.checkpoint_every, 20))

  def any_at(self, step: int) -> bool:
    """Whether something follows this step, for which the state is needed on the host."""
    return any(step % every == 0 for every in self)
