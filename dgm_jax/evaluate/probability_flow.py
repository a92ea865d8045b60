"""log p(x) by the differential equation of a diffusion model or a continuous flow, with the errors of its solution."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate import exact_likelihood
from dgm_jax.inference import ode

NEEDS = ("log_prob_by", "generate")  # methods of the model


def check(
  *, num_examples: int = 0, batch_size: int = 1, solver: str = "", num_steps: int = 0, tolerance: float = 1.0
) -> None:
  """Raises UserError for an invalid option."""
  for name, value, least in (
    ("num_examples", num_examples, 0),
    ("batch_size", batch_size, 1),
    ("num_steps", num_steps, 0),
  ):
    errors.require(value >= least, f"evaluate.probability_flow.{name} = {value}; it must be {least} or more.")
  errors.require(
    tolerance > 0, f"evaluate.probability_flow.tolerance = {tolerance}; it must be positive, such as 1e-5."
  )
  if solver:
    ode.check(solver, num_steps or 1, tolerance)


def _options(model: Any, solver: str, num_steps: int, tolerance: float) -> dict[str, Any]:
  """The solver's options, those of the model where none are given."""
  return {"solver": solver or model.solver, "num_steps": num_steps or model.solver_steps, "tolerance": tolerance}


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 1000,
  batch_size: int = 100,
  solver: str = "",
  num_steps: int = 0,
  tolerance: float = 1e-5,
) -> dict[str, Any]:
  """log p(x) by the model's solver, and again with twice its steps, or half its tolerance.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: the first ones that are evaluated; 0 for all.
    batch_size: examples at once.
    solver: "" for the model's, else euler, heun, rk4, dopri5 or tsit5.
    num_steps: of euler, heun and rk4; 0 for the model's.
    tolerance: of dopri5 and tsit5.

  Returns:
    log_px, nll = -log_px, log_px_stderr (over examples): nats of x before the transforms where these have a Jacobian;
    likelihood_kind, "estimate"; bits_per_dim of integers, which a draw of noise bounds; log_px_error, the mean
    standard error of an example's log p by the probes of the trace, 0 where that is exact; log_px_halved: with twice
    the steps or half the tolerance, the same noise and probes; solver_error, the mean of |log_px_halved - log_px|, and
    solver_error_max; solver, and solver_evaluations of the network for one log_px; likelihood_examples.  "values":
    log_px, if of all examples.
  """
  model, transform = experiment.model, experiment.transforms.evaluate
  options = _options(model, solver, num_steps, tolerance)
  halved = options | {"num_steps": 2 * options["num_steps"], "tolerance": options["tolerance"] / 2}

  def eval_step(state, key, batch):
    bound = model.bind({"params": state.params, **state.variables})
    log_px, error, evaluations = bound.log_prob_by(key, batch, **options)
    again = bound.log_prob_by(key, batch, **halved)[0]
    log_det = batch.get("log_det", 0.0)
    found = {"log_px": log_px + log_det, "halved": again + log_det, "error": error}
    return found | {"evaluations": evaluations.astype(jnp.float32)}

  count = num_examples or len(arrays["x"])
  few = jax.tree.map(lambda a: a[:count], arrays)
  run = make_evaluate_examples(eval_step, transform, batch_size)
  with progress_bar(len(few["x"]), description="log p(x)", unit="example") as bar:
    values = run(state, key, few, bar.update)
  mean = {name: mean_and_error(value)[0] for name, value in values.items()}
  gaps = jnp.abs(values["halved"] - values["log_px"])
  found = {"nll": -mean["log_px"], "log_px": mean["log_px"], "log_px_stderr": mean_and_error(values["log_px"])[1]}
  found |= {"likelihood_kind": exact_likelihood.kind(experiment), "likelihood_examples": len(few["x"])}
  found |= {"log_px_error": mean["error"], "log_px_halved": mean["halved"], "solver_evaluations": mean["evaluations"]}
  found |= {"solver_error": mean_and_error(gaps)[0], "solver_error_max": float(jnp.max(gaps))}
  steps = f"{options['num_steps']} steps" if options["solver"] in ode.FIXED else f"tolerance {options['tolerance']:g}"
  found["solver"] = f"{options['solver']}, {steps}"
  levels = getattr(model, "num_levels", 0) or experiment.transforms.dequantizes
  if experiment.transforms.keeps_levels and levels:
    found["bits_per_dim"] = -mean["log_px"] / (math.prod(model.data_shape) * math.log(2))
  return found | ({"values": {"log_px": values["log_px"]}} if len(few["x"]) == len(arrays["x"]) else {})
