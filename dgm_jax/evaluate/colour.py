"""Colours found for grey photographs, beside those of answers that know nothing, which not every model beats."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.core import colour_spaces, errors
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate import colour_measures
from dgm_jax.evaluate.colour_measures import ANSWERS
from dgm_jax.evaluate.sample_features import choose
from dgm_jax.evaluate.sample_metrics.frechet import Frechet, frechet

NEEDS = ("colours",)  # methods of the model
_OF = ("mae", "within_2", "within_5", "psnr", "psnr_pooled", "auc", "auc_rebalanced", "colourfulness", "clipped")

_MILLION = 1e6


def check(*, batch_size: int = 250, answers: Sequence[str] = ANSWERS, ceiling: float = 0.9) -> None:
  """Raises UserError for an invalid option."""
  errors.require(batch_size >= 1, f"evaluate.colour.batch_size = {batch_size}; it must be 1 or more.")
  errors.require(ceiling > 0, f"evaluate.colour.ceiling = {ceiling}; it must be positive.")
  for name in answers:
    errors.choose("answer evaluate.colour.answers", name, ANSWERS)


def names(*, batch_size: int = 250, answers: Sequence[str] = ANSWERS, ceiling: float = 0.9) -> list[str]:
  """What its metrics are called."""
  del batch_size, ceiling
  found = [f"colour_{measure}{end}" for measure in _OF for end in ("", *(f"_{name}" for name in answers))]
  found += ["colour_frechet", "colour_frechet_within", *(f"colour_frechet_{name}" for name in answers)]
  return found + [f"colour_{better}_{name}" for better in ("mae_below", "auc_above") for name in answers]


@functools.lru_cache(maxsize=4)
def _embedder(shape: tuple[int, ...]) -> Callable:
  """The features of pictures of a shape; compiled once, for all states of a run."""
  features = choose.make("random", shape)
  return jax.jit(lambda x: features.embed(x)["features"])


class Colours:
  """The features by which RGB pictures are compared, and those of the photographs.

  Args:
    rgb: photographs, RGB in 8 bits [N, H, W, 3].
    batch_size: pictures embedded at once.
  """

  def __init__(self, rgb: np.ndarray, batch_size: int):
    self._embed, self._batch = _embedder(tuple(rgb.shape[1:])), batch_size
    self._true = self._embedded(np.asarray(rgb, np.float32) / 255)

  def _embedded(self, pictures: np.ndarray) -> np.ndarray:
    starts = range(0, len(pictures), self._batch)
    return np.concatenate([jax.device_get(self._embed(pictures[i : i + self._batch])) for i in starts])

  def frechet(self, ab: np.ndarray, rgb: np.ndarray) -> Frechet:
    """The distance of the photographs with the colours ab [N, H, W, 2] from the photographs."""
    lab = np.concatenate([colour_measures.lab_of_levels(rgb)[..., :1], ab], -1)
    shown = np.clip(colour_spaces.rgb_of_lab(lab, np), 0, 1)
    return frechet(self._embedded(shown.astype(np.float32)), self._true)


@functools.lru_cache(maxsize=4)
def _finder(model: Any, transform: Callable, batch_size: int) -> Callable:
  """The program that finds colours; compiled once, for all states of a run."""

  def step(state, key, batch):
    bound = model.bind({"params": state.params, **state.variables})
    return {"ab": bound.colours(bound.latent(key, batch["x"].shape[0]), batch["context"])}

  return make_evaluate_examples(step, transform, batch_size)


def found_colours(experiment: Any, state: Any, key: jax.Array, arrays: dict, batch_size: int) -> np.ndarray:
  """(a, b) [N, H, W, 2] that the model finds for the lightness of the examples."""

  run = _finder(experiment.model, experiment.transforms.evaluate, batch_size)
  with progress_bar(len(arrays["x"]), description="colour", unit="image") as bar:
    return np.asarray(run(state, key, arrays, bar.update)["ab"], np.float64)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  batch_size: int = 250,
  answers: Sequence[str] = ANSWERS,
  ceiling: float = 0.9,
) -> dict[str, Any]:
  """Measures the colours of a model, and of answers that know nothing; see colour_measures.py and README.md.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    batch_size: examples at once.
    answers: names of ANSWERS.
    ceiling: `colour_frechet_within`, for keep_best, is `colour_frechet` where the MAE is below so much of that of
      another image's colours, else a million more.

  Returns:
    colour_MEASURE of the model, colour_MEASURE_ANSWER of the answers, colour_colourfulness_truth; means over images,
    with _stderr.  colour_mae_below_ANSWER and colour_auc_above_ANSWER are differences paired by image, positive where
    the model is better.  "values" holds the model's measures of each image.

  Raises:
    UserError: x does not hold photographs with colours.
  """
  rgb, train = np.asarray(arrays["x"]), experiment.splits.train["x"]
  errors.require(
    rgb.dtype == np.uint8 and rgb.ndim == 4 and rgb.shape[-1] == 3,
    f"evaluate.colour takes photographs, uint8 [N, H, W, 3]; x is {rgb.dtype} of shape {list(rgb.shape)}.",
  )
  weights = colour_measures.bin_weights(colour_measures.lab_of_levels(train[:1000])[..., 1:])
  of = lambda ab: colour_measures.per_image(ab, rgb, weights)
  by, found = Colours(rgb, batch_size), found_colours(experiment, state, key, arrays, batch_size)
  known = colour_measures.answers(dict.fromkeys([*answers, "another"]), rgb, train)
  own = of(found)
  results: dict[str, Any] = {"values": {f"colour_{name}": values for name, values in own.items()}}
  results |= {f"colour_{name}": value for name, value in colour_measures.summary(own).items()}
  results["colour_colourfulness_truth"] = float(colour_measures.colourfulness(rgb / 255).mean())
  results |= _frechet("colour_frechet", distance := by.frechet(found, rgb))
  for name, ab in known.items():
    measured = of(ab)
    if name == "another":
      above = own["mae"].mean() >= ceiling * measured["mae"].mean()
      results["colour_frechet_within"] = distance.value + _MILLION * bool(above)
    if name in answers:
      results |= _beside(name, measured, own) | _frechet(f"colour_frechet_{name}", by.frechet(ab, rgb))
  return results


def _beside(name: str, answer: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> dict[str, float]:
  """The numbers of an answer, and the differences of the model from it, paired by image."""
  found = {}
  for measure, value in colour_measures.summary(answer).items():
    plain = measure.removesuffix("_stderr")
    found[f"colour_{plain}_{name}" + measure.removeprefix(plain)] = value
  differences = {"mae_below": answer["mae"] - own["mae"], "auc_above": own["auc"] - answer["auc"]}
  for better, each in differences.items():
    found[f"colour_{better}_{name}"], found[f"colour_{better}_{name}_stderr"] = colour_measures.mean_and_error(each)
  return found


def _frechet(name: str, found: Frechet) -> dict[str, float]:
  return {name: found.value} | ({} if found.stderr is None else {f"{name}_stderr": found.stderr})
