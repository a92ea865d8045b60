"""Posterior collapse: information in the latent variables, in total, per unit, and in the aggregate posterior."""

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.evaluate import active_units
from dgm_jax.inference import samples
from dgm_jax.inference.aggregate_posterior import in_chunks, make_aggregate

NEEDS = ("infer", "log_joint")  # methods of the model


def unit_kl(q: Any) -> jax.Array | None:
  """KL(q(z_l|x) || N(0, 1)) = (mean^2 + variance - 1 - log variance) / 2, [B, L]; None if q is no diagonal normal."""
  if not (isinstance(q, distrax.Independent) and isinstance(q.distribution, distrax.Normal)):
    return None
  variance = jnp.square(q.distribution.scale)
  return 0.5 * (jnp.square(q.distribution.loc) + variance - 1 - jnp.log(variance))


def _distance_to_normal(z: Any, log_pz: jax.Array) -> jax.Array:
  """|log p(z) - log N(z; 0, I)| relative to 1 + |log p(z)|, [B]; infinite where z is not one array."""
  if isinstance(z, tuple) or z.ndim != 2 or not jnp.issubdtype(z.dtype, jnp.floating):
    return jnp.full(log_pz.shape, jnp.inf)
  return jnp.abs(log_pz - standard_normal(z.shape[1]).log_prob(z)) / (1 + jnp.abs(log_pz))


def _knows_log_q(bound_model: Any, batch: dict) -> bool:
  q = bound_model.infer(batch)
  try:
    jax.eval_shape(lambda key: q.log_prob(q.sample_and_log_prob(seed=key)[0]), jax.random.key(0))
  except NotImplementedError:
    return False
  return True


def make_terms(experiment: Any, num_samples: int = 1, batch_size: int = 500, chunk: int = 100) -> Callable:
  """(state, key, data, progress) -> {name: [N]}, with activity and, for a diagonal normal q, unit_kl [N, L].

  rate = log q(z|x) - log p(z), distortion = -log p(x|z), and, if log q is known at every z, mutual_information =
  log q(z|x) - log q(z) and marginal_kl = log q(z) - log p(z): means over num_samples draws z ~ q(z|x).
  """

  def eval_step(everything, key, batch):
    state, batches, counted = everything
    bound_model = experiment.model.bind({"params": state.params, **state.variables})
    q = bound_model.infer(batch)
    log_det = batch.get("log_det", 0.0)  # of the transforms: densities are reported in the units of the data
    one_prior = getattr(experiment.model, "prior", "") != "conditional"  # else p(z) differs between examples
    known = one_prior and _knows_log_q(bound_model, batch)
    aggregate = make_aggregate(bound_model, batches, counted) if known else None

    def one(key):
      z, log_qz_x = q.sample_and_log_prob(seed=key)
      log_px_z, log_pz = bound_model.log_joint(batch, z)
      found = {
        "rate": log_qz_x - log_pz,
        "distortion": -log_px_z - log_det,
        "to_normal": _distance_to_normal(z, log_pz),
      }
      if aggregate is not None:
        log_qz = aggregate(z)
        found |= {"mutual_information": log_qz_x - log_qz, "marginal_kl": log_qz - log_pz}
      return found

    terms = samples.map_samples(one, rng.stream(key, "draws"), num_samples, 1)
    found = {name: jnp.mean(v, 0) for name, v in terms.items()}
    found["activity"] = active_units.activities(q, rng.stream(key, "activity"), 64)
    kl = unit_kl(q)
    return found if kl is None else found | {"unit_kl": kl}

  transformed = make_evaluate_examples(lambda state, key, batch: batch, experiment.transforms.evaluate, batch_size)
  terms = make_evaluate_examples(eval_step, lambda key, batch: batch, batch_size)

  def run(state, key, data, progress=lambda count: None):
    data = transformed(state, key, data)  # all examples stay on the device: every draw is scored with each of them
    return terms((state, *in_chunks(data, min(chunk, len(data["x"])))), key, data, progress)

  return run


def check(
  *, num_samples: int = 1, num_examples: int | None = None, batch_size: int = 1, chunk: int = 1, threshold: float = 1.0
) -> None:
  """Raises UserError for an invalid option."""
  numbers = {"num_samples": num_samples, "num_examples": num_examples or 1, "batch_size": batch_size, "chunk": chunk}
  for name, value in numbers.items():
    errors.require(value >= 1, f"evaluate.collapse.{name} = {value}; it must be 1 or more.")
  errors.require(threshold > 0, f"evaluate.collapse.threshold = {threshold}; it must be positive.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_samples: int = 1,
  num_examples: int | None = None,
  batch_size: int = 500,
  chunk: int = 100,
  threshold: float = 1e-2,
) -> dict[str, Any]:
  """Splits the rate E_x KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)) (Hoffman & Johnson, 2016).

  x is one of the N examples, q(z) = 1/N sum_n q(z|x_n) is their aggregate posterior, evaluated exactly at draws of z;
  the mutual information I_q is at most log N.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_samples: draws of z per example.
    num_examples: number of examples to use, the first ones; None for all.  The cost grows quadratically.
    batch_size, chunk: at once, the draws of batch_size examples are scored under q(z|x_n) of chunk examples.
    threshold: a unit is active if its A_u (see active_units), or its KL, is above this.

  Returns:
    collapse_rate, collapse_distortion (rate + distortion = -ELBO), collapse_mutual_information and
    collapse_marginal_kl (their sum is the rate), with standard errors over the examples; active_units and
    active_units_by_layer; if q is a diagonal normal and p(z) = N(0, I), collapse_units_by_kl, the number of units with
    a KL above `threshold`.  Nats.  "values" holds the terms of each example, units/activity_1 ... and units/kl [L].
  """
  arrays = {name: a[: num_examples or None] for name, a in arrays.items()}
  run = make_terms(experiment, num_samples, batch_size, chunk)
  with progress_bar(len(arrays["x"]), description="posterior collapse", unit="image") as bar:
    terms = run(state, key, arrays, bar.update)
  layers = [jnp.var(m, 0) - jnp.mean(v, 0) for m, v in terms.pop("activity")]
  results = active_units.report(layers, threshold)
  kl, to_normal = terms.pop("unit_kl", None), float(jnp.max(terms.pop("to_normal")))
  for name, values in terms.items():
    mean, error = mean_and_error(values)
    results |= {f"collapse_{name}": mean, f"collapse_{name}_stderr": error}
    results["values"][f"collapse_{name}"] = values
  results["collapse_examples"] = len(arrays["x"])
  if kl is not None and to_normal < 1e-3:
    results["values"]["units/kl"] = jnp.mean(kl, 0)
    results["collapse_units_by_kl"] = int(jnp.sum(results["values"]["units/kl"] > threshold))
  return results
