"""Evaluations that also run during training: config.track, at every eval_every, on the held-out set.

They are those of config.evaluate, with their options; their numbers are logged as valid/NAME, and keep_best and
early_stopping may use them: the best state of a game of two players is not its last.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from dgm_jax.core import errors
from dgm_jax.evaluate import chosen
from dgm_jax.training.experiment import Experiment, evaluation_key


def evaluations(config: ConfigDict, split: str = "valid") -> list[chosen.Evaluation]:
  """The evaluations of config.track, on the part `split` of the data.

  Raises:
    UserError: there is no such evaluation, or it is a module of the user's own, whose copies the run does not keep.
  """
  found = []
  for name, given in config.track.items():
    errors.require("from" not in given, f"track.{name} cannot be a module of your own; put it into config.evaluate.")
    evaluation = chosen.find(name, given)
    if "against" in inspect.signature(evaluation.run).parameters and "against" not in evaluation.options:
      evaluation.options["against"] = split  # not the test set, by which nothing may be chosen
    found.append(evaluation)
  return found


def names(config: ConfigDict, split: str) -> list[str] | None:
  """The metrics of config.track; None if they are known only once it has run.

  An evaluation whose module has `names(**options)` says what its metrics are called.
  """
  found = []
  for evaluation in evaluations(config, split):
    if (named := chosen.names_of(evaluation)) is None:
      return None
    found += [f"{split}/{name}" for name in named]
  return found


class Tracker:
  """Computes config.track of a state.

  Args:
    experiment: model, system and data.
    config: of the run.
    split: the part of the data that is evaluated during training.
    load: (option, folder) -> what an evaluation gets in place of the folder of a run, see given_runs.load.
  """

  def __init__(self, experiment: Experiment, config: ConfigDict, split: str, load: Callable[[str, str], Any]):
    self._experiment, self._split, self._load = experiment, split, load
    self._evaluations = evaluations(config, split)
    self._prepared: list[Callable] | None = None  # by the first call: programs serve state after state

  def __bool__(self) -> bool:
    return bool(self._evaluations)

  def __call__(self, state: Any) -> dict[str, float]:
    """{valid/NAME: number} of a prepared state, without what is no finite number, such as names of features."""
    key, arrays = evaluation_key(), getattr(self._experiment.splits, self._split)
    if self._prepared is None:
      self._prepared = [e.handed(self._load).prepared(self._experiment) for e in self._evaluations]
    found = {}
    for measure in self._prepared:
      results = measure(state, key, arrays)
      numbers = {k: float(v) for k, v in results.items() if isinstance(v, int | float) and not isinstance(v, bool)}
      found |= {f"{self._split}/{k}": v for k, v in numbers.items() if math.isfinite(v)}
    return found
