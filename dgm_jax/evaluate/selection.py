"""AIC, BIC and ICL of a model with an exact likelihood, and its log-likelihood of held-out data."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.evaluate import exact_likelihood

NEEDS = ("log_prob", "num_free_parameters")  # methods of the model


def check(*, batch_size: int = 1) -> None:
  """Raises UserError for an invalid option."""
  errors.require(batch_size >= 1, f"evaluate.selection.batch_size = {batch_size}; it must be 1 or more.")


def evaluate(experiment: Any, state: Any, key: jax.Array, arrays: dict, *, batch_size: int = 500) -> dict[str, Any]:
  """Information criteria from L = sum_n log p(x_n) of the N training examples and p free parameters; lower is better:

    AIC = -2 L + 2 p (Akaike, 1974);  BIC = -2 L + p log N (Schwarz, 1978);
    ICL = BIC + 2 sum_n H[p(c|x_n)], for mixtures (Biernacki, Celeux & Govaert, 2000)

  Here p(x) is the density of x after the transforms, so compare only models with the same transforms.  log_px and
  train_log_px refer to x before the transforms where these have a Jacobian (batch["log_det"]).

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the held-out examples.
    batch_size: examples at once.

  Returns:
    log_px of `arrays`, log_px_stderr, its standard error over examples, nll = -log_px; train_log_px; aic, bic, icl;
    num_free_parameters; likelihood_kind, see exact_likelihood.kind.  "values" holds log_px of each held-out example.
  """
  model, train = experiment.model, experiment.splits.train
  run = exact_likelihood.make_log_px(experiment, batch_size)
  of_train, held_out = run(state, key, train), run(state, key, arrays)
  n, p = size(train), model.bind({"params": state.params}).num_free_parameters
  minus_two_l = -2 * n * mean_and_error(of_train["log_px_transformed"])[0]
  bic = minus_two_l + p * math.log(n)
  log_px, error = mean_and_error(held_out["log_px"])
  found = {"nll": -log_px, "log_px": log_px, "log_px_stderr": error, "aic": minus_two_l + 2 * p, "bic": bic}
  if hasattr(model, "responsibilities"):
    found["icl"] = bic + 2 * n * _mean_entropy(experiment, state, key, batch_size)
  found |= {"train_log_px": mean_and_error(of_train["log_px"])[0], "num_free_parameters": p}
  return found | {"likelihood_kind": exact_likelihood.kind(experiment), "values": {"log_px": held_out["log_px"]}}


def _mean_entropy(experiment: Any, state: Any, key: jax.Array, batch_size: int) -> float:
  """1/N sum_n H[p(c|x_n)] over the training set, nats."""

  def of(state, key, batch):
    responsibilities = experiment.model.bind({"params": state.params}).responsibilities(batch)
    return {"entropy": jnp.sum(jax.scipy.special.entr(responsibilities), 1)}

  run = make_evaluate_examples(of, experiment.transforms.evaluate, batch_size)
  return mean_and_error(run(state, key, experiment.splits.train)["entropy"])[0]
