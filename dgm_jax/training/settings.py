"""The settings that every config has: they are there, of their types, with values that a run can record and compute."""

from typing import Any

from ml_collections import ConfigDict

from dgm_jax import principles
from dgm_jax.core import errors, figure_style, files, options, registry

_MOST = 2**31  # steps, sizes and counts are 32-bit integers on the device
_LARGEST = 3.4e38  # of a 32-bit float
_KINDS: dict[str, Any] = dict.fromkeys(("principle", "model.name", "data.name", "data.source", "dtype"), str)
_KINDS |= dict.fromkeys(("model.args", "objective", "optim", "evaluate", "track"), dict)
_KINDS |= dict.fromkeys(("keep_best", "init_from"), str)
_KINDS |= dict.fromkeys(("data.transforms", "loggers", "figure_formats"), tuple)
_KINDS |= dict.fromkeys(("seed", "batch_size", "log_every", "eval_every", "figures_every", "checkpoint_every"), int)
_KINDS |= dict.fromkeys(("keep_checkpoints", "early_stopping", "eval_batch_size"), int)
_KINDS |= {"num_epochs": int | None, "num_steps": int | None, "max_minutes": float | None, "remat": Any}
_WORDS = {dict: "a section {name: value}", str: "a word", tuple: "a tuple of words", int: "an integer"}
_WORDS |= {int | None: "an integer or None", float | None: "a number or None"}


def _at(config: ConfigDict, path: str) -> Any:
  """The value of a setting.  Raises UserError if the config lacks it."""
  node, choices = config, ""
  if path == "principle":
    choices = f" to one of {', '.join(sorted(registry.entries(principles, 'principle')))}"
  for name in path.split("."):
    errors.require(
      hasattr(node, "keys") and name in node,
      f"The config has no {path!r}: set config.{path}{choices}, or start from base.default() in configs/base.py, "
      "which has every setting.",
    )
    node = node[name]
  return node


def check(config: ConfigDict) -> None:
  """Raises UserError if the config lacks a setting of every run, or one has a value that no run can have."""
  for path, kind in _KINDS.items():
    value = _at(config, path)
    errors.require(
      kind is Any or options.fits(value, kind), f"config.{path} = {value!r}; it must be {_WORDS.get(kind)}."
    )
  for section in ("evaluate", "track"):
    for name, given in config[section].items():
      is_section = hasattr(given, "keys")
      errors.require(is_section, f"config.{section}.{name} = {given!r}; it must be a section {{option: value}}.")
  for path, value in files.flatten(config.to_dict()).items():
    _check_value(path, value)
  figure_style.check_formats(config.figure_formats, "figure_formats")


def _check_value(path: str, value: Any) -> None:
  """Raises UserError unless JSON can hold the value, and a device its numbers."""
  if isinstance(value, tuple | list):
    for each in value:
      _check_value(path, each)
    return
  plain = value is None or isinstance(value, bool | int | float | str)
  kinds = "numbers, words, True, False, None and tuples of these"
  errors.require(plain, f"config.{path} = {value!r} is a {type(value).__name__}; the values of a config are {kinds}.")
  if isinstance(value, float):
    errors.require(abs(value) <= _LARGEST, f"config.{path} = {value}; it must be a finite number.")  # false for NaN
  elif isinstance(value, int) and path != "seed":
    errors.require(abs(value) < _MOST, f"config.{path} = {value}; whole numbers go up to 2^31 - 1 = {_MOST - 1:,}.")
