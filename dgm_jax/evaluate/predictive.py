"""Scores of predictions of y for held-out x, and of their uncertainty for shifted x, where it should be larger."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.inference import predictions

NEEDS = ("summary",)  # methods of the model


def check(
  *, num_samples: int = 1, batch_size: int = 1, num_bins: int = 1, rotation: float = 0.0, shifted: str = ""
) -> None:
  """Raises UserError for an invalid option."""
  for name, value in (("num_samples", num_samples), ("batch_size", batch_size), ("num_bins", num_bins)):
    errors.require(value >= 1, f"evaluate.predictive.{name} = {value}; it must be 1 or more.")
  errors.choose("data set evaluate.predictive.shifted", shifted, ["", *data.names()])


def rotated(x: jax.Array, degrees: float) -> jax.Array:
  """Images [N, H, W, C] rotated counterclockwise about their centres, linearly interpolated, 0 outside; x's dtype."""
  (h, w), angle = x.shape[1:3], jnp.deg2rad(degrees)
  rows, columns = jnp.meshgrid(jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing="ij")
  at = jnp.stack(
    [jnp.cos(angle) * rows + jnp.sin(angle) * columns, jnp.cos(angle) * columns - jnp.sin(angle) * rows]
  ) + jnp.array([(h - 1) / 2, (w - 1) / 2]).reshape(2, 1, 1)
  turn = lambda image: jax.scipy.ndimage.map_coordinates(image, list(at), order=1)
  turned = jax.vmap(jax.vmap(turn, -1, -1))(x.astype(jnp.float32))
  return jnp.round(turned).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.integer) else turned.astype(x.dtype)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_samples: int = 1,
  batch_size: int = 100,
  num_bins: int = 15,
  rotation: float = 0.0,
  shifted: str = "",
) -> dict[str, Any]:
  """Scores of 1/S sum_s p(y | x, w_s), S = num_samples, over a set; y in its units before the transforms.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_samples: S; more than 1 is useful only with random weights or dropout.
    batch_size: examples at once.
    num_bins: number of bins of the calibration error.
    rotation: degrees; if not 0, the test images rotated by this angle are a shifted set.
    shifted: name of a data set whose test set, of the same shape as x, is another shifted set; "" for none.

  Returns:
    nll, log_py and its standard error over examples, in nats; for numeric y rmse; for classes accuracy, brier, ece,
    entropy, and auroc_rotated, auroc_shifted: the chance that a shifted example has the greater predictive entropy.
    "values" holds the scores of each example, and under predictive/ the predictions, which evaluate.ensemble averages.

  Raises:
    UserError: shifted data if y is numeric, or shifted data of another shape.
  """
  errors.require(
    experiment.model.num_classes is not None or not (rotation or shifted),
    "evaluate.predictive scores shifted x by the entropy of classes; rotation and shifted do not support numeric y.",
  )

  def eval_step(state, key, batch):
    variables, model = {"params": state.params, **state.variables}, experiment.model
    found, y = predictions.predictive(model, variables, key, batch, num_samples), predictions.targets(model, batch)
    kept = {f"predictive/{name}": a for name, a in (found | {"y": y}).items() if name != "log_py"}
    return predictions.of_examples(found, y) | kept

  run = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)
  with progress_bar(len(arrays["x"]), description=f"predictions, S = {num_samples}", unit="example") as bar:
    values = run(state, key, arrays, bar.update)
  results = of_values(values, num_bins) | {"predictive_samples": num_samples, "values": values}
  entropy_of = lambda arrays: run(state, key, arrays)["entropy"]
  for name, other in _shifted(arrays, rotation, shifted).items():
    results[f"auroc_{name}"] = float(predictions.auroc(values["entropy"], entropy_of(other)))
  return results


def of_values(values: dict[str, jax.Array], num_bins: int = 15) -> dict[str, float]:
  """The scores of a set from the scores of its examples, {name: [N]}."""
  (log_py, error), mean = mean_and_error(values["log_py"]), lambda name: mean_and_error(values[name])[0]
  found = {"nll": -log_py, "log_py": log_py, "log_py_stderr": error}
  if "square_error" in values:
    return found | {"rmse": mean("square_error") ** 0.5}
  ece = predictions.calibration_error(jnp.asarray(values["confidence"]), jnp.asarray(values["accuracy"]), num_bins)
  return found | {name: mean(name) for name in ("accuracy", "brier", "entropy")} | {"ece": float(ece)}


def _shifted(arrays: dict, rotation: float, shifted: str) -> dict[str, dict]:
  """{name: arrays} of the shifted sets; their y is not used."""
  found = {}
  if rotation:
    errors.require(
      arrays["x"].ndim == 4,
      f"evaluate.predictive.rotation needs images [H, W, C]; x has shape {list(arrays['x'].shape[1:])}.",
    )
    found["rotated"] = arrays | {"x": jax.device_get(rotated(jnp.asarray(arrays["x"]), rotation))}
  if shifted:
    x = data.load(shifted).test["x"]
    errors.require(
      x.shape[1:] == arrays["x"].shape[1:],
      f"evaluate.predictive.shifted: x of {shifted!r} has shape {list(x.shape[1:])}, not that of the data, "
      f"{list(arrays['x'].shape[1:])}.",
    )
    n = min(len(x), len(arrays["x"]))
    found["shifted"] = {name: a[:n] for name, a in arrays.items()} | {"x": x[:n]}
  return found
