"""Colours grey photographs of any size by a trained run."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.colour import photographs
from dgm_jax.applications.colour.photographs import Photograph
from dgm_jax.core import colour_spaces, errors
from dgm_jax.distributions import colour_bins
from dgm_jax.evaluate import colour_measures
from dgm_jax.training import restore

_MOST = 64  # times the divisor: the longer side at which a panorama is worked at
_FIRST = 1000  # training images; the frequencies of their colours are the weights of the rebalanced AuC
_MEANS = ("mae", "within_2", "within_5", "square_error", "auc", "weighted_area", "weight", "clipped")


class Coloured(NamedTuple):
  """A photograph with the colours that were found.

  Attributes:
    rgb: uint8 [samples, H, W, 3].
    ab: what the model found, at the size at which it worked, float32 [samples, h, w, 2].
    clipped: per cent of the pixels whose colour sRGB cannot show, which are not as light as the photograph; of each.
    colourfulness: of Hasler & Suesstrunk (2003), of each sample.
    flicker: the root mean square change of (a, b) where each grey level is changed by noise of standard deviation 1.
    notes: what was done to read the photograph, in words.
  """

  rgb: np.ndarray
  ab: np.ndarray
  clipped: tuple[float, ...]
  colourfulness: tuple[float, ...]
  flicker: float
  notes: tuple[str, ...]


class Colouriser:
  """Finds colours for photographs by a model of (a, b) given L: see models/adversarial/colouriser.py.

  A photograph with colours is first reduced to its grey picture of equal lightness in 8 bits, so that no colour leaks
  in.  The model works at a small size; its (a, b) are enlarged and put on the lightness of the photograph itself.
  Photographs are worked at one by one: no other one changes the colours of one.

  Args:
    model, state: a model with `colours`, and its trained state.
    size: the side of a square with as many pixels as the model works at; None for that of its training images.
    weights: of the bins of the rebalanced AuC; None for equal ones.
    name: of the run, for messages.

  Raises:
    UserError: the model is not a colouriser, or an invalid size.
  """

  def __init__(
    self, model: Any, state: Any, size: int | None = None, weights: np.ndarray | None = None, name: str = "The run"
  ):
    is_one = hasattr(model, "colours") and hasattr(model, "divisor")
    errors.require(is_one, f"{name} is not a colouriser: its model finds no colours; train --config=colouriser.")
    self._model, self._name = model, name
    self._variables = {"params": state.params, **state.variables}
    self._weights = np.ones(colour_bins.NUM_BINS) if weights is None else weights
    self.asked = round(math.sqrt(math.prod(model.data_shape[:2]))) if size is None else size
    errors.require(1 <= self.asked <= 4096, f"size = {size}; it must be 1 to 4096 pixels.")
    self.size = max(1, round(self.asked / model.divisor)) * model.divisor
    self._found = jax.jit(self._apply, static_argnames="drops")

  @classmethod
  def of_run(cls, workdir: str | pathlib.Path, checkpoint: str = "latest", size: int | None = None) -> Self:
    """The colouriser of a run at a checkpoint: "latest", "best" or a step.  Raises UserError, see restore.restore."""
    _, experiment, state = restore.of_run(workdir, checkpoint)
    weights = None
    if hasattr(experiment.model, "colours"):
      first = np.asarray(experiment.splits.train["x"][:_FIRST])
      weights = colour_measures.bin_weights(colour_measures.lab_of_levels(first)[..., 1:])
    return cls(experiment.model, state, size, weights, str(workdir))

  def _apply(self, variables: Any, key: jax.Array, context: jax.Array, drops: bool) -> jax.Array:
    streams = {"dropout": jax.random.fold_in(key, 1)} if drops else {}
    return self._model.apply(variables, self._model.latent(key, 1), context, method="colours", rngs=streams)[0]

  def worked_at(self, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which a photograph is worked at: its shape, about size x size pixels, in steps."""
    step = self._model.divisor
    scale = self.size / math.sqrt(height * width)
    height, width = (min(max(1, round(side * scale / step)), _MOST) * step for side in (height, width))
    return height, width

  def _ab(self, grey: np.ndarray, key: jax.Array, drops: bool) -> np.ndarray:
    """(a, b) [h, w, 2] of grey levels uint8 [H, W]."""
    lightness = colour_spaces.lightness_of_grey(np.arange(256, dtype=np.uint8), np)[grey]
    small = photographs.resized(lightness, *self.worked_at(*grey.shape))
    context = colour_spaces.context_of_lightness(jnp.asarray(small)[None])
    return np.asarray(self._found(self._variables, key, context, drops=drops))

  def check_samples(self, samples: int) -> None:
    """Raises UserError if the model has not so many answers."""
    errors.require(samples >= 1, f"samples = {samples}; it must be 1 or more.")
    several = getattr(self._model, "latent_dim", 0) > 0 or getattr(self._model, "dropout", 0) > 0
    errors.require(
      samples == 1 or several,
      f"samples = {samples}; {self._name} gives one answer: its model has neither noise (model.args.latent_dim) nor "
      "dropout.",
    )

  def colourise(self, photo: Any, samples: int = 1, seed: int = 0) -> Coloured:
    """The photograph in colours.

    Args:
      photo: a Photograph, a path, a picture of Pillow's, or levels uint8 [H, W], [H, W, 1] or [H, W, 3].
      samples: different answers, of models with noise or dropout.
      seed: of the noise, the same for every photograph: equal photographs get equal colours.

    Raises:
      UserError: photo is not a photograph, or more samples than a model without noise has.
    """
    photo = photograph(photo)
    self.check_samples(samples)
    key, drops = jax.random.key(seed), samples > 1 and getattr(self._model, "dropout", 0) > 0
    keys = [jax.random.fold_in(key, i) for i in range(samples)]
    found = [self._ab(photo.grey, k, drops) for k in keys]
    noise = np.random.default_rng(seed).normal(0, 1, photo.grey.shape)
    noisy = np.clip(np.round(photo.grey + noise), 0, 255).astype(np.uint8)
    flicker = float(np.sqrt(((self._ab(noisy, keys[0], drops) - found[0]) ** 2).sum(-1).mean()))
    pictures, clipped = zip(*(put(photo.grey, ab) for ab in found), strict=True)
    colourful = tuple(float(colour_measures.colourfulness(p[None] / np.float32(255))[0]) for p in pictures)
    return Coloured(np.stack(pictures), np.stack(found), clipped, colourful, flicker, photo.notes)

  def against(self, photo: Photograph, ab: np.ndarray) -> dict[str, float]:
    """The numbers of (a, b) [h, w, 2] against the photograph's own colours, and of grey, NAME_grey.

    See evaluate/colour_measures.py; {} for a grey photograph.
    """
    if photo.rgb is None:
      return {}
    found = {name: value for name, value in self._numbers(photo.rgb, ab).items() if name != "colourfulness"}
    grey = self._numbers(photo.rgb, np.zeros_like(ab))
    found |= {f"{name}_grey": value for name, value in grey.items() if name not in ("clipped", "colourfulness")}
    truth = colour_measures.colourfulness(photo.rgb[None] / np.float32(255))[0]
    return found | {"colourfulness_truth": float(truth)}

  def _numbers(self, rgb: np.ndarray, ab: np.ndarray) -> dict[str, float]:
    height, width = rgb.shape[:2]
    whole, totals = enlarged(ab, height, width), dict.fromkeys(_MEANS, 0.0)
    for rows in photographs.strips(height, width):
      part = colour_measures.per_image(whole[rows].astype(np.float64)[None], rgb[rows][None], self._weights)
      for name in _MEANS:
        totals[name] += float(part[name][0]) * len(rgb[rows]) / height
    numbers = colour_measures.summary({k: np.array([v]) for k, v in totals.items()} | {"colourfulness": np.zeros(1)})
    return {name: value for name, value in numbers.items() if not name.endswith("_stderr") and name != "psnr_pooled"}


def photograph(photo: Any) -> Photograph:
  """A Photograph of what `Colouriser.colourise` takes."""
  if isinstance(photo, Photograph):
    return photo
  if isinstance(photo, str | pathlib.Path):
    path = pathlib.Path(photo)
    errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
    return photographs.read(path)
  if hasattr(photo, "mode"):
    return photographs.of_picture(photo, "The photograph")
  return photographs.of_array(photo)


def enlarged(ab: np.ndarray, height: int, width: int) -> np.ndarray:
  """(a, b) [h, w, 2] at the size of a photograph, float32 [H, W, 2]."""
  return np.stack([photographs.resized(ab[..., i], height, width) for i in range(2)], -1)


def put(grey: np.ndarray, ab: np.ndarray) -> tuple[np.ndarray, float]:
  """(RGB uint8 [H, W, 3] of grey levels with colours (a, b) [h, w, 2], per cent of pixels outside sRGB)."""
  whole, clipped, found = enlarged(ab, *grey.shape), 0, np.empty((*grey.shape, 3), np.uint8)
  lightness = colour_spaces.lightness_of_grey(np.arange(256, dtype=np.uint8), np)
  for rows in photographs.strips(*grey.shape):
    lab = np.concatenate([lightness[grey[rows]][..., None], whole[rows]], -1)
    rgb = 255 * colour_spaces.rgb_of_lab(lab, np)
    clipped += int(((rgb < -0.5) | (rgb > 255.5)).any(-1).sum())
    found[rows] = np.round(np.clip(rgb, 0, 255)).astype(np.uint8)
  return found, 100 * clipped / grey.size


def described(found: Coloured, numbers: Mapping[str, float]) -> dict[str, Any]:
  """What report.json says of a photograph."""
  height, width = found.rgb.shape[1:3]
  return {
    "size": [width, height],
    "worked_at": list(found.ab.shape[1:3][::-1]),
    "colourfulness": list(found.colourfulness),
    "clipped": list(found.clipped),
    "flicker": found.flicker,
    "notes": list(found.notes),
    "against_its_colours": dict(numbers) or None,
  }
