"""What the JSON files of runs and sweeps must hold, by file name: such a file may have been edited, or cut short."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dgm_jax.core import errors, options


class Kind(NamedTuple):
  """What a file must hold.

  Attributes:
    top: dict or list.
    fields: {key: type} of the object, or, if `each`, of every object in it; keys that are absent are not checked.
    needed: the keys that must be there.
    each: whether the file is a list, or an object, of objects with these fields.
    remedy: what to do about a damaged file.
  """

  top: type
  fields: Mapping[str, Any]
  needed: tuple[str, ...] = ()
  each: bool = False
  remedy: str = "restore it"


_AGAIN = "restore it, or remove it, and the same command evaluates the run again"
_RESULTS = Kind(dict, {"step": int, "split_sizes": dict, "seed": int}, (), False, _AGAIN)
_PROCESS = {"wall_s": dict, "versions": dict, "command": str, "started": str, "seed": int, "devices": list}
KINDS = {
  "config.json": Kind(dict, {}),
  "results.json": _RESULTS,
  "evaluation.json": _RESULTS,
  "run.json": Kind(list, _PROCESS, ("wall_s",), True, "restore it, or remove it: the run goes on with a new record"),
  "data.json": Kind(
    dict, {"split_sizes": dict, "data": str}, (), False, "restore it, or remove it, and it is made anew"
  ),
  "stop.json": Kind(dict, {}, ("reason",), False, 'write {"reason": "..."} into it to end the run, or remove it'),
  "failure.json": Kind(dict, {"step": int | None, "error": str}, (), False, "remove it"),
  "sessions.json": Kind(
    list, {"seconds": float}, ("seconds",), True, "remove it: it only has the times of earlier commands"
  ),
  "index.json": Kind(dict, dict.fromkeys(("sha256", "path", "file"), str), ("sha256", "path", "file"), True),
  "manifest.json": Kind(dict, {}),
  "digests.json": Kind(dict, {}, (), False, "remove it, and the data are prepared again"),
  "loggers.json": Kind(dict, {}, (), False, "remove it: the loggers start new records"),
}
CONFIG_OF_RUN = Kind(dict, dict.fromkeys(("data", "model", "objective", "optim", "evaluate"), dict))
SWEEP = Kind(
  dict, {"runs": list, "config": str, "common": dict, "search": dict | None, "command": str}, ("runs", "config")
)
RUN_OF_SWEEP = Kind(list, {"name": str, "overrides": dict}, ("name", "overrides"), True)
RUN_OF_TASK = Kind(list, {"config": dict, "workdir": str}, ("config", "workdir"), True)
_NAMES = {dict: "an object {...}", list: "a list [...]", str: "text", int: "an integer", float: "a number"}


def _name(kind: Any) -> str:
  return _NAMES.get(kind) or " or ".join(_NAMES.get(k, "null") for k in getattr(kind, "__args__", (kind,)))


def _faults(value: Any, kind: Kind) -> Iterator[str]:
  """What is wrong with a value, a clause each."""
  if not options.fits(value, kind.top):
    yield f"it is {str(value)[:60]!r}, not {_name(kind.top)}"
    return
  parts = {"": value}
  if kind.each:
    parts = {f"entry {k}": v for k, v in (value.items() if kind.top is dict else enumerate(value, 1))}
  for place, part in parts.items():
    at = f" of {place}" if place else ""
    if not isinstance(part, Mapping):
      yield f"{place} is {str(part)[:60]!r}, not {_name(dict)}"
      continue
    yield from (f"{key!r}{at} is missing" for key in kind.needed if key not in part)
    for key, expected in kind.fields.items():
      if key in part and not options.fits(part[key], expected):
        yield f"{key!r}{at} is {str(part[key])[:60]!r}, not {_name(expected)}"
    if "wall_s" in kind.needed and not all(options.fits(t, float) for t in dict(part.get("wall_s") or {}).values()):
      yield f"'wall_s'{at} holds something else than numbers"


def check(path: pathlib.Path, value: Any, kind: Kind | None = None) -> None:
  """Validates what a JSON file holds.

  Args:
    path: the file.
    value: its content.
    kind: what it must be; None for that of KINDS, by the file's name; other files are not checked.

  Raises:
    UserError: it is something else; the message says what is wrong, where, and what to do.
  """
  kind = kind or KINDS.get(path.name)
  if kind is not None and (fault := next(_faults(value, kind), None)):
    raise errors.UserError(f"{path} is damaged: {fault}; {kind.remedy}.")
