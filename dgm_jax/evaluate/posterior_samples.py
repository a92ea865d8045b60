"""log p(x) from HMC draws of p(z|x) and a normal fitted to them: Kingma & Welling (2014), appendix D.

Needs no encoder, so that models with and without one are evaluated in the same way.
"""

from collections.abc import Callable
from typing import Any

import jax

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.inference import hmc_marginal_likelihood as draws

_LEAST = {"num_examples": 1, "batch_size": 1, "num_starts": 1, "num_samples": 2, "num_warmup": 1}
_LEAST |= {"num_leapfrog": 1, "num_importance": 1}

NEEDS = ("log_joint", "simulate")  # methods of the model


def make_log_px(experiment: Any, batch_size: int = 100, **settings: int) -> Callable:
  """(state, key, data, progress) -> {"upper", "lower", "acceptance"}, each [N]; see hmc_marginal_likelihood."""

  def eval_step(state, key, batch):
    bound_model = experiment.model.bind({"params": state.params, **state.variables})
    found = draws.of_model(bound_model, key, batch, **settings)
    log_det = batch.get("log_det", 0.0)  # of the transforms: densities are reported in the units of the data
    return found._replace(upper=found.upper + log_det, lower=found.lower + log_det)._asdict()

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def check(**options: int) -> None:
  """Raises UserError for an unknown or invalid option."""
  for name, value in options.items():
    least = _LEAST[errors.choose("option of evaluate.posterior_samples", name, _LEAST)]
    errors.require(value >= least, f"evaluate.posterior_samples.{name} = {value}; it must be {least} or more.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 1000,
  batch_size: int = 100,
  **settings: int,
) -> dict[str, Any]:
  """Two estimates of log p(x) that bracket it in expectation once the chains have converged to p(z|x).

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: number of examples to use, the first ones; 1000 in the paper.
    batch_size: examples at once.
    **settings: num_starts, num_samples, num_warmup, num_leapfrog, num_importance; see hmc_marginal_likelihood.

  Returns:
    posterior_upper, the paper's estimate, and posterior_lower, importance sampling from the fitted normal, each with
    its standard error over examples; posterior_gap, their difference; posterior_acceptance; nats.  "values" holds
    posterior_upper, posterior_lower and posterior_acceptance of each example.
  """
  arrays = {name: a[:num_examples] for name, a in arrays.items()}
  run = make_log_px(experiment, batch_size, **settings)
  with progress_bar(len(arrays["x"]), description="log p(x) by posterior draws", unit="image") as bar:
    values = run(state, key, arrays, bar.update)
  results = {"posterior_examples": len(arrays["x"])}
  for name in ("upper", "lower"):
    results[f"posterior_{name}"], results[f"posterior_{name}_stderr"] = mean_and_error(values[name])
  results["posterior_gap"] = results["posterior_upper"] - results["posterior_lower"]
  results["posterior_acceptance"] = mean_and_error(values["acceptance"])[0]
  return results | {"values": {f"posterior_{name}": v for name, v in values.items()}}
