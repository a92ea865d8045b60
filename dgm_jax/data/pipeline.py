"""The transforms of a config, composed: what is applied to a batch inside the compiled step."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import config_args, errors
from dgm_jax.data import units as data_units
from dgm_jax.data.given import as_trained
from dgm_jax.data.statistics import Statistics
from dgm_jax.data.transform import Transform, add_log_det
from dgm_jax.data.transforms import TRANSFORMS

_TO_REALS = ("scale", "standardize", "logit", "lightness")  # transforms of which integers do not stay integers


def _parse(text: str) -> tuple[str, dict]:
  """ "binarize:static,seed=1" -> ("binarize", {"how": "static", "seed": 1}); a word is the first option's value,
  unless it names an option that is on or off: "dequantize:once"."""
  errors.require(isinstance(text, str), f"data.transforms holds {text!r}; names are expected, e.g. 'binarize:dynamic'.")
  name, _, arguments = (s.strip() for s in text.partition(":"))
  _, options = TRANSFORMS[errors.choose("transform", name, TRANSFORMS)]
  word = arguments.split(",")[0].strip()
  if arguments and "=" not in word and options and options.get(word) is not False:
    arguments = f"{next(iter(options))}={arguments}"
  found = vars(config_args.parse(arguments, what=f"option of transform {name!r}", **options))
  for option, value in found.items():
    errors.require(
      not isinstance(value, float) or math.isfinite(value),
      f"Transform {name!r}: {option} = {value}; it must be finite.",
    )
  seed = found.get("seed", 0)
  errors.require(0 <= seed < 2**32, f"Transform {name!r}: seed = {seed}; it must be in 0 .. 2^32 - 1.")
  return name, {k: v for k, v in found.items() if k != "given"}


_NOT_OF_X = ("flip", "restack", "crop", "condition", "labelled", "standardize_targets")  # they keep the values of x


class Pipeline(NamedTuple):
  """The composed transforms.

  Attributes:
    train, evaluate: (key, batch) -> batch.
    statistics: statistics of the transformed training set, without noise.
    given: arrays of further examples, whose missing entries are 0 -> (the same in the type and the units of the
      training set, (smallest, greatest) x after the transforms); raises UserError where training would.
    dequantizes: whether integers get noise, so that log p of the result is a bound.
    redraws: whether that noise is fresh at every use, so that its draws can be averaged.
    binarizes: whether x is drawn as 0 and 1, of which the statistics have the means.
    keeps_levels: whether log p + log_det is the log-probability of integers, or a bound on it: x is integers or binary
      numbers, and no transform but those after `dequantize` maps them to other numbers.
    given_columns: the columns that `condition:columns=` gives to the model; () without it.
    shape: of an x before the transforms, which may change it, as `pad` and `lightness` do.
  """

  train: Callable
  evaluate: Callable
  statistics: Statistics
  given: Callable
  dequantizes: bool = False
  redraws: bool = False
  binarizes: bool = False
  keeps_levels: bool = False
  given_columns: tuple[int, ...] = ()
  shape: tuple[int, ...] = ()


def _keeps_levels(names: Sequence[str], is_integer: bool) -> bool:
  """See Pipeline: `names` of the transforms in order, applied to integers or not."""
  dequantized = False
  for name in names:
    is_integer = name == "binarize" or (is_integer and (dequantized or name not in _TO_REALS))
    dequantized = dequantized or name == "dequantize"
  return is_integer


def _given(transforms: list[Transform], names: Sequence[str], dtype: str, units: Mapping[str, Any]) -> Callable:
  of_x = [name for name in names if name not in _NOT_OF_X]
  takes_shades = of_x[:1] in (["binarize"], ["scale"])

  def given(arrays):
    arrays = data_units.converted(arrays, units)
    arrays = arrays | {"x": as_trained(arrays["x"], dtype, takes_shades)}
    found = Statistics(arrays)
    for transform in transforms:
      transform.check(found)
      found = found.after(transform.expect, transform.keeps)
    return arrays, found.range

  return given


def _compose(transforms: list[Transform], units: Mapping[str, Any]) -> Callable:
  log_scale = data_units.log_scale(units)
  divides = [i for i, transform in enumerate(transforms) if transform.given]  # only the first can

  def in_units(batch):
    if log_scale is None:  # else x is (value - loc) / scale, and densities are those of the value
      return batch
    of_x = transforms[0].keeps(log_scale) if divides else log_scale
    return add_log_det(batch, jnp.broadcast_to(-of_x, batch["x"].shape))

  def apply(key, batch):
    batch = batch if divides else in_units(batch)
    for i, transform in enumerate(transforms):
      batch = transform.apply(jax.random.fold_in(key, i), batch)
      batch = in_units(batch) if i in divides else batch  # what is given has no density
    if "y" in units:
      to_values = {name: batch[name] * jnp.float32(units["y"]["scale"]) for name in ("y_loc", "y_scale")}
      batch = batch | to_values
    return batch | {"x": batch["x"] * batch["mask"]} if "mask" in batch else batch  # missing entries are 0

  return apply


def of_about(about: Mapping[str, Any]) -> dict[str, Any]:
  """The options of `make` that the metadata of a data set have."""
  return {"units": about.get("units"), "columns": tuple(map(str, about.get("columns") or ()))}


def make(
  names: tuple[str, ...],
  arrays: dict,
  others: Sequence[dict] = (),
  statistics: Statistics | None = None,
  units: Mapping[str, Any] | None = None,
  columns: Sequence[str] = (),
) -> Pipeline:
  """Composes transforms for a training set.

  Args:
    names: e.g. ("dequantize", "logit:alpha=0.05"); see TRANSFORMS.
    arrays: the training set, whose statistics standardize and the mechanisms of missing entries use.
    others: the other splits, whose range and labels are validated as well.
    statistics: those of the data before the transforms, if they are known already; see stored.py.
    units: about["units"] of the splits; see units.reduced.
    columns: names of the columns of x; () where they have none.

  Raises:
    UserError: an unknown name or option, or data that a transform does not support.
  """
  first = statistics or Statistics(arrays, others)
  train, transforms, hides, words, redraws = first, [], None, [], False
  for text in names:
    name, options = _parse(text)
    words.append(name)
    redraws = redraws or (name == "dequantize" and not options["once"])
    errors.require(
      hides is None or name == "condition", f"Transform {text!r} must come before {hides!r}, which hides entries of x."
    )
    hides = text if name in ("mcar", "mar", "mar_top", "mnar", "above_mean") else hides
    errors.require(words.count("condition") < 2, "Transform 'condition' is named twice: a model has one context.")
    if options.get("columns"):
      errors.require(len(words) == 1, f"Transform {text!r} must come first, before {names[0]!r}: it divides the table.")
      options["names"] = columns
    transforms.append(TRANSFORMS[name][0](train, **options))
    train = train.after(transforms[-1].expect, transforms[-1].keeps)
  evaluate = [t for t in transforms if not t.only_training]
  given = _given(evaluate, words, str(arrays["x"].dtype), units or {})
  composed = (_compose(chosen, units or {}) for chosen in (transforms, evaluate))
  return Pipeline(
    *composed,
    train,
    given,
    "dequantize" in words,
    redraws,
    "binarize" in words,
    _keeps_levels(words, bool(first.is_integer)),
    transforms[0].given if transforms else (),
    tuple(arrays["x"].shape[1:]),
  )
