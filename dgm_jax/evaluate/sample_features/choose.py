"""The features that a name stands for, validated against the examples that they are for."""

from typing import Any

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_features import features, inception, small_nets

NAMES = ("pixels", "random", *small_nets.NAMES, "inception_legacy", "inception_clean")
_HINT = "A run's folder of a classifier is a choice, too"


def check(option: str, name: Any) -> None:
  """Raises UserError for a name that is no set of features, and for one that looks like a folder."""
  if isinstance(name, features.Features) or name in NAMES:
    return
  path = "/" in str(name)
  errors.require(not path, f"evaluate.samples.{option} = {name!r} is no folder of a run.")
  try:
    errors.choose(f"set of features evaluate.samples.{option}", name, NAMES)
  except errors.UserError as e:
    raise errors.UserError(f"{e} {_HINT}.") from None


def make(name: Any, shape: tuple[int, ...]) -> features.Features:
  """The features of this name for examples of this shape.

  Args:
    name: of NAMES, or Features, such as those of a classifier of one's own, see training/classifiers.py.
    shape: of an x.

  Raises:
    UserError: the features are of images of another shape, or their file is missing or another one.
  """
  if name == "pixels":
    return features.pixels()
  if isinstance(name, features.Features):
    found = name
  elif name == "random":
    found = small_nets.random(shape)
  elif name in small_nets.NAMES:
    found = small_nets.shipped(name)
  else:
    errors.require(
      len(shape) == 3 and shape[-1] in (1, 3),
      f"features = {name!r} takes images [H, W, 3] or [H, W, 1]; x is of shape {list(shape)}.",
    )
    found = inception.make(name == "inception_clean")
  errors.require(
    found.shape is None or found.shape == shape,
    f"features = {found.name!r} takes x of shape {list(found.shape or ())}; here x is of shape {list(shape)}.",
  )
  return found
