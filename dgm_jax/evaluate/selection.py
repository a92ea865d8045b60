"""AIC, BIC and ICL of a model with an exact likelihood, and its log-likelihood of held-out data."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error

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
    num_free_parameters.  "values" holds log_px of each held-out example.
  """
  model, variables = experiment.model, {"params": state.params}

  def eval_step(state, key, batch):
    bound, log_det = model.bind({"params": state.params}), batch.get("log_det", 0.0)
    log_px = bound.log_prob(batch)
    values = {"log_px": log_px, "shown": log_px + log_det}
    if hasattr(model, "responsibilities"):
      values["entropy"] = jnp.sum(jax.scipy.special.entr(bound.responsibilities(batch)), 1)
    return values

  run = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)
  train, held_out = run(state, key, experiment.splits.train), run(state, key, arrays)
  n, p = size(experiment.splits.train), model.bind(variables).num_free_parameters
  minus_two_l = -2 * n * mean_and_error(train["log_px"])[0]
  bic = minus_two_l + p * math.log(n)
  log_px, error = mean_and_error(held_out["shown"])
  found = {"nll": -log_px, "log_px": log_px, "log_px_stderr": error, "aic": minus_two_l + 2 * p, "bic": bic}
  if "entropy" in train:
    found["icl"] = bic + 2 * n * mean_and_error(train["entropy"])[0]
  found |= {"train_log_px": mean_and_error(train["shown"])[0], "num_free_parameters": p}
  return found | {"values": {"log_px": held_out["shown"]}}
