"""Means of eval_step's metrics over a set, for models without log-weights."""

from typing import Any

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, means_and_errors
from dgm_jax.core.progress import progress_bar

NEEDS = ()  # methods of the model


def check(*, batch_size: int = 1) -> None:
  """Raises UserError for an invalid option."""
  errors.require(batch_size >= 1, f"evaluate.means.batch_size = {batch_size}; it must be 1 or more.")


def evaluate(experiment: Any, state: Any, key: Any, arrays: dict, *, batch_size: int = 100) -> dict[str, Any]:
  """The mean of every metric of eval_step, and its standard error over the examples.

  As in eval_step, elbo, log_px and rate + distortion are in nats of x after the transforms.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    batch_size: examples at once.

  Returns:
    NAME and NAME_stderr for every metric (see core.evaluation.means_and_errors); "values" holds the metrics of each
    example.
  """
  run = make_evaluate_examples(experiment.system.eval_step, experiment.transforms.evaluate, batch_size)
  with progress_bar(len(arrays["x"]), description="means", unit="example") as bar:
    values = run(state, key, arrays, bar.update)
  results = {"values": values}
  for name, (mean, error) in means_and_errors(values).items():
    results[name], results[f"{name}_stderr"] = mean, error
  return results
