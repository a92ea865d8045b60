"""Log-likelihood of held-out data by importance sampling from q(z|x)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate.per_token import per_token
from dgm_jax.inference import estimators, log_terms

STOCHASTIC_BOUND = "stochastic lower bounds: P(log p_hat > log p(x) + b) <= exp(-b)"

NEEDS = ("infer", "log_joint")  # methods of the model


def check(*, num_samples: int = 1, batch_size: int = 1, chunk: int = 1) -> None:
  """Raises UserError for an invalid option."""
  for name, value in (("num_samples", num_samples), ("batch_size", batch_size), ("chunk", chunk)):
    errors.require(value >= 1, f"evaluate.importance_sampling.{name} = {value}; it must be 1 or more.")


def make_log_px(experiment: Any, num_samples: int, batch_size: int = 10, chunk: int = 500) -> Callable:
  """(state, key, data, progress) -> {"log_px", "elbo", "ess", "log_px_error", ...}, each [N]; see `evaluate`.

  ess is Kish's effective number of the K samples, log_px_error the Monte Carlo error of log_px by the delta method,
  sqrt(1/ess - 1/K): the standard error of the mean weight divided by that mean.  With K >= 25 there is also pareto_k:
  above 0.7 this error is unreliable (see estimators.pareto_k).
  """

  def eval_step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    log_w = log_terms.log_terms(experiment.model, variables, key, batch, num_samples, chunk).w
    log_det = batch.get("log_det", 0.0)  # of the transforms: densities are reported in the units of the data
    ess = estimators.effective_sample_size(log_w)
    values = {
      "log_px": estimators.iwae(log_w) + log_det,
      "elbo": estimators.elbo(log_w) + log_det,
      "ess": ess,
      "log_px_error": jnp.sqrt(jnp.maximum(1 / ess - 1 / num_samples, 0.0)),
    }
    return values | ({"pareto_k": estimators.pareto_k(log_w)} if num_samples >= 25 else {})

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_samples: int = 5000,
  batch_size: int = 10,
  chunk: int = 500,
) -> dict[str, Any]:
  """log p(x) ~ log 1/K sum_k p(x, z_k) / q(z_k|x), K = num_samples; papers report its negative as the NLL.

  It is a lower bound in expectation (Burda et al., 2016), and seldom far above log p(x): by Markov's inequality
  P(log p_hat > log p + b) <= exp(-b).  5000 samples are the convention for MNIST.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_samples: K.
    batch_size: images at once.
    chunk: how many of the K samples to hold in memory at once; batches of 10 with chunks of 500 are fastest on a CPU.

  Returns:
    log_px, its standard error over examples, elbo (same samples), nll = -log_px; nats, of x before the transforms
    where these have a Jacobian (batch["log_det"]).  likelihood_ess, the mean effective number of samples;
    pareto_k_above_0.7, the share of examples whose weights have too heavy a tail.  Of sequences with lengths also
    nats_per_token and perplexity, by log_px.  "values" holds what make_log_px
    returns.
  """
  run = make_log_px(experiment, num_samples, batch_size, chunk)
  with progress_bar(len(arrays["x"]), description=f"log p(x), K = {num_samples}", unit="image") as bar:
    values = run(state, key, arrays, bar.update)
  log_px, error = mean_and_error(values["log_px"])
  heavy = {"pareto_k_above_0.7": mean_and_error(~(values["pareto_k"] <= 0.7))[0]} if "pareto_k" in values else {}
  elbo, _ = mean_and_error(values["elbo"])
  return (
    {
      "nll": -log_px,
      "log_px": log_px,
      "log_px_stderr": error,
      "elbo": elbo,
      "likelihood_samples": num_samples,
      "likelihood_ess": mean_and_error(values["ess"])[0],
      "likelihood_note": STOCHASTIC_BOUND,
      "values": values,
    }
    | heavy
    | per_token(values["log_px"], arrays)
  )
