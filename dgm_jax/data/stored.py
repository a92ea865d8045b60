"""What a model needs of its data, kept without the data: statistics, and the shape and dtype of every array.

`describe` asks the transforms of a config what they use of the training set, and records the answers; `stand_in` builds
the same transforms from these, with arrays of the same shapes that hold no data and take no memory.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data import pipeline as pipelines
from dgm_jax.data.splits import Splits
from dgm_jax.data.statistics import Statistics

_ALWAYS = ("shape", "dtype", "is_integer")
_KEPT = (*_ALWAYS, "range", "is_whole", "mean", "std", "target_moments", "num_classes")
_ARRAYS = ("mean", "std", "target_moments", "calibrated")  # arrays, or tuples of them; the others are JSON


class _Recorded(Statistics):
  """Statistics that note what is asked of them, after each transform: `stages` has a dict for each."""

  def __init__(self, arrays: dict, others: Sequence[dict], *composed: Callable, stages: list | None = None):
    self.found: dict[str, Any] = {}
    self.stages = [] if stages is None else stages
    self.stages.append(self.found)
    super().__init__(arrays, others, *composed)
    for name in _ALWAYS:
      getattr(self, name)

  def __getattribute__(self, name: str) -> Any:
    value = super().__getattribute__(name)
    if name in _KEPT:
      self.found[name] = value
    return value

  def after(self, expect: Callable, keeps: Callable = lambda mask: mask) -> "_Recorded":
    return _Recorded(self._arrays, self._others, *self._composed(expect, keeps), stages=self.stages)

  def calibrated(self, fit: Callable) -> tuple[np.ndarray, ...]:
    self.found["calibrated"] = super().calibrated(fit)
    return self.found["calibrated"]


class _Stored:
  """Answers as the recorded statistics did."""

  def __init__(self, stages: Sequence[Mapping[str, Any]], stage: int = 0):
    self._stages, self._stage = stages, stage

  def __getattr__(self, name: str) -> Any:
    if name not in _KEPT:
      raise AttributeError(name)
    known = self._stages[self._stage]
    if name == "is_whole":  # what earlier versions stored lacks it
      return known.get(name, True)
    errors.require(name in known, f"The stored statistics lack {name!r} after {self._stage} transforms.")
    return known[name]

  def after(self, expect: Callable, keeps: Callable = lambda mask: mask) -> "_Stored":
    del expect, keeps
    return _Stored(self._stages, self._stage + 1)

  def is_observed(self, column: int) -> bool:
    """True: the data were checked when they were described."""
    del column
    return True

  def calibrated(self, fit: Callable) -> tuple[np.ndarray, ...]:
    del fit
    return self._stages[self._stage]["calibrated"]


def _outline(part: Arrays) -> dict[str, dict[str, Any]]:
  """{name: shape, dtype and, of a real or integer y, its mean} of the arrays of a split."""
  found = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in part.items()}
  if "y" in part:  # so that checks of its range hold for the stand-in, too
    found["y"]["mean"] = float(np.mean(part["y"], dtype=np.float64))
  return found


def describe(names: Sequence[str], splits: Splits) -> tuple[dict[str, Any], Arrays]:
  """(JSON, {name: array}) from which `stand_in` builds the transforms `names`, as they are for these splits.

  It holds moments, ranges and numbers of examples, and the names of columns and classes, but no example.
  """
  others = [arrays for part, arrays in splits.parts().items() if part != "train"]
  recorded = _Recorded(splits.train, others)
  last = pipelines.make(tuple(names), splits.train, others, recorded, **pipelines.of_about(splits.about)).statistics
  for name in ("mean", "range", "is_whole"):  # `build` needs them
    getattr(last, name)
  arrays, stages = {}, []
  for i, found in enumerate(recorded.stages):
    stage = {}
    for name, value in found.items():
      if name in _ARRAYS:
        several = value if isinstance(value, tuple) else (value,)
        arrays |= {f"{i}/{name}/{j}": np.asarray(a) for j, a in enumerate(several)}
      else:
        stage[name] = json.loads(json.dumps(value, default=lambda v: v.item()))
    stages.append(stage)
  outlines = {part: _outline(found) for part, found in splits.parts().items()}
  about = dict(splits.about)
  if "windows" in about:  # without the tokens behind the last ones
    about["windows"] = about["windows"] | {"rest": {}}
  return {"stages": stages, "splits": outlines, "about": json.loads(json.dumps(about))}, arrays


def stand_in(names: Sequence[str], description: Mapping[str, Any], arrays: Arrays) -> tuple[Splits, pipelines.Pipeline]:
  """(splits, transforms) as `describe` recorded them; every array has its shape and dtype, and one constant value."""
  stages = [dict(stage) for stage in description["stages"]]
  for path in sorted(arrays):
    stage, name, _ = path.split("/")
    stages[int(stage)].setdefault(name, []).append(arrays[path])
  for stage in stages:
    for name, value in stage.items():
      if name in ("mean", "std"):
        [stage[name]] = value
      elif isinstance(value, list):
        stage[name] = tuple(value)

  def constant(outline):
    value = np.asarray(outline.get("mean", 0)).astype(outline["dtype"])
    return np.broadcast_to(value, tuple(outline["shape"]))

  parts = {p: {k: constant(o) for k, o in found.items()} for p, found in description["splits"].items()}
  splits = Splits(parts["train"], parts.get("valid"), parts["test"], description["about"])
  known: Any = _Stored(stages)
  return splits, pipelines.make(tuple(names), splits.train, (), known, **pipelines.of_about(splits.about))


class NoData:
  """In place of the splits of a model that was loaded without its data.

  Args:
    what: the model, as the subject of a sentence.
    about: metadata of the data set, such as the names of its classes.
  """

  def __init__(self, what: str, about: Mapping[str, Any] = {}):
    self._what, self.about = what, about

  def _missing(self) -> Any:
    raise errors.UserError(f"{self._what} comes without the data that it was trained on, and this needs them.")

  train = valid = test = property(_missing)

  def parts(self) -> dict[str, Arrays]:
    """Raises UserError."""
    return self._missing()
