"""Seeds of episodes by purpose, so that what is evaluated was never trained on."""

import numpy as np

_SPAN = 2**24  # seeds of each purpose
PURPOSES = ("rollouts", "training", "selection", "temperature", "test", "baseline")


def of(purpose: str, seed: int, count: int, first: int = 0) -> list[int]:
  """`count` seeds of a purpose, those of a run's `seed` from the `first` on; different purposes share none.

  "rollouts", random play for V and M; "training", generations of C; "selection", choosing among snapshots;
  "temperature", choosing tau; "test", what is reported; "baseline", random play beside it.
  """
  start = PURPOSES.index(purpose) * _SPAN
  offset = int(np.random.default_rng([seed, PURPOSES.index(purpose)]).integers(0, _SPAN))
  return [start + (offset + first + i) % _SPAN for i in range(count)]


def purpose_of(episode: int) -> str:
  """The purpose of a seed."""
  return PURPOSES[episode // _SPAN]
