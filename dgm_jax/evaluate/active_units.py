"""Number of active latent units."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, figures
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.distributions.chain import Chain
from dgm_jax.inference import samples

NEEDS = ("infer", "log_joint")  # methods of the model


def check(*, threshold: float = 1.0, num_samples: int = 2, batch_size: int = 1) -> None:
  """Raises UserError for an invalid option."""
  errors.require(threshold > 0, f"evaluate.active_units.threshold = {threshold}; it must be positive.")
  errors.require(num_samples >= 2, f"evaluate.active_units.num_samples = {num_samples}; it must be 2 or more.")
  errors.require(batch_size >= 1, f"evaluate.active_units.batch_size = {batch_size}; it must be 1 or more.")


def activities(q: Any, key: jax.Array, num_samples: int) -> list[tuple[jax.Array, jax.Array]]:
  """For each layer (m, v), both [B, L]: unbiased estimates of E_q[z|x] and of the sampling variance of m.

  The mean of the first layer is exact (v = 0), unless q is a flow; for a deeper layer it is the average of E[z_l |
  z_{l-1}] over num_samples draws of the preceding layers.
  """
  if isinstance(q, Chain):
    layers = samples.map_samples(lambda k: q.conditional_means(seed=k), key, num_samples)
  else:
    try:
      return [(q.mean(), jnp.zeros_like(q.mean()))]
    except NotImplementedError:  # the mean of a flow is estimated by draws
      layers = samples.map_samples(lambda k: (q.sample(seed=k),), key, num_samples)
  return [(jnp.mean(m, 0), jnp.var(m, 0, ddof=1) / num_samples) for m in layers]  # [S, B, L] each


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  threshold: float = 1e-2,
  num_samples: int = 64,
  batch_size: int = 100,
) -> dict[str, Any]:
  """Counts the units u with A_u = Var_x(E_q[u|x]) > threshold (Burda et al., 2016, section 5.3.1).

  Where the inner mean is itself estimated (deeper layers), its sampling variance is subtracted, so that A_u is
  unbiased.

  Returns:
    active_units: total; active_units_by_layer: e.g. "22" or "21+5", starting with the layer next to x.  "values" holds
    A_u layer by layer, units/activity_1 ... [L].
  """

  def eval_step(state, key, batch):
    q = experiment.model.bind({"params": state.params, **state.variables}).infer(batch)
    return activities(q, key, num_samples)

  layers = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)(state, key, arrays)
  return report([jnp.var(m, 0) - jnp.mean(v, 0) for m, v in layers], threshold)


def report(layers: list[jax.Array], threshold: float) -> dict[str, Any]:
  """The results and the histogram from A_u of each layer, [L] each."""
  counts = [int(jnp.sum(a > threshold)) for a in layers]
  activity = {f"activity_{l}": a for l, a in enumerate(layers, 1)}
  return {
    "active_units": sum(counts),
    "active_units_by_layer": "+".join(map(str, counts)),
    "values": {f"units/{name}": a for name, a in activity.items()},
    "figures": {"activities": lambda path: figures.save_histogram(path, activity, "log10 of the activity A_u")},
  }
