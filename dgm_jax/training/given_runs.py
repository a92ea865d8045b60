"""What an evaluation gets in place of the folder of a run that an option names: its classifier, or its log p."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax

from dgm_jax.core import errors
from dgm_jax.evaluate import scores, training_statistics
from dgm_jax.training import classifiers
from dgm_jax.training.experiment import evaluation_key
from dgm_jax.training.restore import of_run

_DENSITIES = (".simpler",)  # ends of options for runs whose log p is asked


def load(option: str, folder: str) -> Any:
  """See classifiers.load; of an option for a density, (key, arrays) -> log p of the run [N], see log_p_of."""
  return log_p_of(option, folder) if option.endswith(_DENSITIES) else classifiers.load(option, folder)


def log_p_of(option: str, folder: str) -> Callable[[jax.Array, dict], jax.Array]:
  """(key, arrays) -> log p [N] of a run, of arrays as the run's data have them before its transforms.

  Args:
    option: the option that names the folder, for messages.
    folder: of the run.

  Raises:
    UserError: the run has no checkpoint; when it is called, x of another shape or a model without log p.
  """
  config, experiment, state = of_run(pathlib.Path(folder))
  own = config["evaluate"].get("exact_likelihood", {})
  state = training_statistics.as_evaluated(experiment, state, evaluation_key(), own)
  shape = experiment.splits.train["x"].shape[1:]
  is_density = scores.method_of(experiment) == "density"
  score = scores.make(experiment, **({"classes": own.get("classes", "")} if is_density else {}))

  def log_p(key, arrays):
    errors.require(
      arrays["x"].shape[1:] == shape,
      f"{option} = {folder!r} is a run of x of shape {list(shape)}, not {list(arrays['x'].shape[1:])}.",
    )
    return score(state, key, arrays, lambda count: None).log_p

  return log_p
