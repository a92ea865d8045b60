"""What evaluations of games of two players need of the model, checked before training."""

import inspect
from typing import Any

from dgm_jax.core import errors


def takes_truncation(model: Any) -> bool:
  """Whether z of the model can be drawn given |z| < t: `latent` has a `truncation`, and the noise is normal."""
  takes = "truncation" in inspect.signature(type(model).latent).parameters
  return takes and getattr(model, "noise", "normal") == "normal"


def check(name: str, experiment: Any, *, images: bool = False, truncation: bool = False) -> None:
  """Raises UserError if the evaluation does not fit the game.

  Args:
    name: of the evaluation.
    experiment: the built experiment.
    images: whether x must be a picture, [H, W, 1] or [H, W, 3].
    truncation: whether z must be one that can be truncated.
  """
  model = experiment.model
  errors.require(
    experiment.system.sample is not None,
    f"evaluate.{name} needs a model that samples x alone; this one makes x for given contexts.",
  )
  shape = tuple(getattr(model, "data_shape", ()))
  errors.require(
    not images or (len(shape) == 3 and shape[-1] in (1, 3)),
    f"evaluate.{name} draws images [H, W, 1] or [H, W, 3]; x of this model is of shape {list(shape)}.",
  )
  if truncation:
    noise = getattr(model, "noise", "normal")
    errors.require(noise == "normal", f"evaluate.{name} needs normal noise; this model has noise = {noise!r}.")
    errors.require(
      takes_truncation(model), f"evaluate.{name} needs a model whose method latent has an argument truncation."
    )
