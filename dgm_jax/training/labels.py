"""The classes of the data, for models that are conditional on them: counted, checked and printed before training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits

_SHOWN = 20  # classes that are printed


def number(parts: Splits) -> int | None:
  """C, the number of classes of the data; None if y is missing, or no class label."""
  if any("y" not in arrays for arrays in parts.parts().values()):
    return None
  labels = [arrays["y"] for arrays in parts.parts().values()]
  if any(y.ndim != 1 or y.dtype.kind not in "iu" for y in labels):
    return None
  return max(len(parts.about.get("classes", ())), *(int(y.max()) + 1 for y in labels))


def counts(parts: Splits, classes: int) -> list[int]:
  """The number of training examples of each class."""
  y = jnp.asarray(parts.train["y"]).astype(jnp.int32)
  errors.require(
    int(y.min()) >= 0, "Some labels y of the training set are negative; a model of p(x|y) needs all labels."
  )
  return jax.device_get(jnp.bincount(y, length=classes)).tolist()


def _names(about: Mapping[str, Any], classes: int) -> list[str]:
  return [str(name) for name in about.get("classes", ())] or [str(i) for i in range(classes)]


def check(model: Any, parts: Splits) -> None:
  """Raises UserError if the model is conditional on the classes, and one of them has no training example."""
  if not getattr(model, "conditional", False) or getattr(model, "data_classes", None) is None:
    return
  found, names = counts(parts, model.data_classes), _names(parts.about, model.data_classes)
  empty = [name for name, count in zip(names, found, strict=True) if not count]
  errors.require(
    not empty,
    f"The model is conditional on the class, and {', '.join(map(repr, empty[:5]))}{' and others' * (len(empty) > 5)} "
    "of the data has no training example: leave the class out of the data, or take model.args.conditional=False.",
  )


def described(model: Any, parts: Splits) -> list[str]:
  """Sentences for the start of a run: the classes with their numbers of examples, and what the model says of itself."""
  said = list(getattr(model, "notes", ()))
  conditional = getattr(model, "conditional", None)
  if conditional is None or getattr(model, "data_classes", None) is None:
    return said
  if not conditional:
    return [f"The labels y, of {model.data_classes} classes, are not used: model.args.conditional=False.", *said]
  found, names = counts(parts, model.data_classes), _names(parts.about, model.data_classes)
  pairs = [f"{name} {count:,}" for name, count in list(zip(names, found, strict=True))[:_SHOWN]]
  rest = (
    f", and {len(names) - _SHOWN} more of {min(found[_SHOWN:]):,} to {max(found[_SHOWN:]):,}"
    if len(names) > _SHOWN
    else ""
  )
  return [f"{len(names)} classes, with training examples: {', '.join(pairs)}{rest}.", *said]
