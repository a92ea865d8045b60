"""log p of single examples under any system that has one, with what it is and its Monte Carlo error."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import exact_likelihood, importance_sampling
from dgm_jax.evaluate.likelihood_kinds import BOUND, ESTIMATE, EXACT

_BOUND_DRAWS, _IMPORTANCE_SAMPLES = 10, 5000


class Scores(NamedTuple):
  """Log-probabilities of N examples, nats, of x before the transforms where these have a Jacobian.

  Attributes:
    name: log_px, or log_py for p(y|x).
    log_p: [N].
    error: Monte Carlo standard error of each, [N]: 0 where nothing is random, NaN where a single draw was taken.
    kind: exact, bound or estimate.
    method: how it was found: density, importance_sampling, bound or predictive.
  """

  name: str
  log_p: jax.Array
  error: jax.Array
  kind: str
  method: str


def method_of(experiment: Any) -> str:
  """How log p is found: density, where log p(x) is known; importance_sampling; predictive; or else bound.

  Whether a model without the others has a bound is known only from what its eval_step returns; see `make`.
  """
  model, has = experiment.model, lambda names: all(hasattr(experiment.model, name) for name in names)
  if has(exact_likelihood.NEEDS):
    return "density"
  if has(importance_sampling.NEEDS):
    return "importance_sampling"
  return "predictive" if hasattr(model, "summary") and hasattr(model, "log_prob") else "bound"


def _density(experiment: Any, options: dict[str, Any], num_draws: int) -> Callable:
  run = exact_likelihood.make_log_px(experiment, num_draws=num_draws, **options)
  kind = exact_likelihood.kind(experiment)

  def score(state, key, arrays, progress):
    values = run(state, key, arrays, progress)
    log_px = values["log_px"]
    unknown = kind == BOUND  # by one draw of the noise
    error = values.get("log_px_error", jnp.full(log_px.shape, jnp.nan if unknown else 0.0))
    return Scores("log_px", log_px, error, kind, "density")

  return score


def _importance(experiment: Any, options: dict[str, Any], num_samples: int) -> Callable:
  run = importance_sampling.make_log_px(experiment, num_samples, **options)

  def score(state, key, arrays, progress):
    values = run(state, key, arrays, progress)
    error = values["log_px_error"] if num_samples > 1 else jnp.full(values["log_px"].shape, jnp.nan)
    return Scores("log_px", values["log_px"], error, BOUND, "importance_sampling")

  return score


def _repeated(experiment: Any, name: str, num_samples: int, batch_size: int) -> Callable:
  """From `num_samples` calls of eval_step: the mean of its elbo, or log of the mean of its p(y|x)."""

  def eval_step(state, key, batch):
    def once(k):
      found = experiment.system.eval_step(state, jax.random.fold_in(key, k), batch)
      errors.require(
        name in found,
        f"This model has no log p(x): evaluating it gives {', '.join(sorted(found))}.",
      )
      return found[name]

    values = jax.lax.map(once, jnp.arange(num_samples))  # [S, B]
    if name == "elbo":
      log_p, spread = jnp.mean(values, 0) + batch.get("log_det", 0.0), values
    else:
      log_p = jax.nn.logsumexp(values, 0) - math.log(num_samples)
      spread = jnp.exp(values - log_p)
    return {"log_p": log_p, "error": jnp.std(spread, 0, ddof=min(1, num_samples - 1)) / num_samples**0.5}

  run = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)

  def score(state, key, arrays, progress):
    values = run(state, key, arrays, progress)
    error = values["error"] if num_samples > 1 else jnp.full(values["error"].shape, jnp.nan)
    if name == "elbo":
      return Scores("log_px", values["log_p"], error, BOUND, "bound")
    is_exact = num_samples > 1 and not bool(jnp.any(values["error"] > 0))
    return Scores(name, values["log_p"], error, EXACT if is_exact else ESTIMATE, "predictive")

  return score


def make(
  experiment: Any, num_samples: int = 0, batch_size: int = 0, num_draws: int = 1, classes: str = ""
) -> Callable[..., Scores]:
  """(state, key, arrays, progress) -> Scores.

  - density: log p(x) of the model itself; of several draws of the noise of `dequantize`, log 1/K sum_k p(y_k) |dy/dx|.
  - importance_sampling: log 1/K sum_k p(x, z_k) / q(z_k|x), a stochastic lower bound.
  - bound: the mean of S draws of the model's own bound on log p(x), eval_step's `elbo`.
  - predictive: log 1/S sum_s p(y|x, w_s) of a model of y given x.

  Args:
    experiment: the built experiment.
    num_samples: K or S; 0 for 5000 importance samples, 10 draws of a bound or of weights.
    batch_size: examples at once; 0 for the default of the evaluation.
    num_draws, classes: of a density, see exact_likelihood.evaluate.

  Raises:
    UserError: an invalid option, or, when it is called, a model without log p.
  """
  for name, value, least in (
    ("num_samples", num_samples, 0),
    ("batch_size", batch_size, 0),
    ("num_draws", num_draws, 1),
  ):
    errors.require(value >= least, f"{name} = {value}; it must be {least} or more.")
  method = method_of(experiment)
  sized = {"batch_size": batch_size} if batch_size else {}
  errors.require(
    method == "density" or (num_draws == 1 and not classes),
    "num_draws and classes are for models that know their density; this one takes num_samples.",
  )
  if method == "density":
    errors.require(num_samples == 0, "num_samples is for importance sampling and bounds; this model knows its density.")
    exact_likelihood.check(num_draws=num_draws, classes=classes)
    return _density(experiment, sized | {"classes": classes}, num_draws)
  if method == "importance_sampling":
    return _importance(experiment, sized, num_samples or _IMPORTANCE_SAMPLES)
  name = "elbo" if method == "bound" else "log_py"
  errors.require(experiment.system.eval_step is not None, "This model has no log p(x).")
  return _repeated(experiment, name, num_samples or _BOUND_DRAWS, batch_size or 100)
