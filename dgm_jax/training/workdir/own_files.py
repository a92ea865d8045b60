"""The modules of the user's own that a config names, of which a run keeps a copy: RUN/own/mine.py.

RUN/own/index.json has, for each place as in the config, the name of the copy, its SHA-256 and where it was found.  What
these modules import is not copied.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from dgm_jax.core import errors, references
from dgm_jax.core.files import flatten, make_folder, read_json, whole, write_json

_NAMED = ("likelihood", "prior", "posterior")  # arguments of models that name a module; of others, those that are files


def of(config: dict[str, Any]) -> dict[str, references.Reference]:
  """{path: reference} of all values of a config, nested as in config.json, that name a module of the user's own."""
  flat = flatten(config)
  found = {path: references.parse(flat.get(path)) for path in ("model.name", "principle", "data.name")}
  for path, value in flat.items():
    reference = references.parse(value)
    if path.startswith("model.args.") and reference:
      is_file = reference.place.endswith(".py")
      found[path] = reference if is_file or path.rpartition(".")[2] in _NAMED else None
    if path.startswith("evaluate.") and path.endswith(".from"):
      found[path] = reference
  return {path: reference for path, reference in found.items() if reference}


def _index(folder: pathlib.Path) -> dict[str, dict[str, str]]:
  return read_json(folder / "own" / "index.json") or {}


def digests(folder: pathlib.Path) -> dict[str, str]:
  """{place: SHA-256} of the copies in the folder of a run or of a sweep."""
  return {place: entry["sha256"] for place, entry in _index(folder).items()}


def _copy(folder: pathlib.Path, entry: dict[str, str]) -> pathlib.Path:
  """The copy of an entry, unchanged since it was made.  Raises UserError if it is not."""
  path = (folder / "own" / entry["file"]).absolute()
  errors.require(path.is_file(), f"{path}, the copy of a file that the run was made with, is missing.")
  errors.require(
    references.digest(path.read_bytes()) == entry["sha256"],
    f"{path} is not the file that the run was made with: its SHA-256 differs from that in {path.parent}/index.json.",
  )
  return path


def _present(place: str, entry: dict[str, str]) -> pathlib.Path | None:
  """The file that a place names now, or else the one that was copied, if it still exists."""
  former = pathlib.Path(entry["path"])
  return references.find(place) or (former if former.is_file() else None)


def located(config: ConfigDict, *folders: pathlib.Path, fresh: bool = False) -> ConfigDict:
  """The config with each place replaced by its copy in the first of the folders that has one.

  Args:
    config: config of a run.
    *folders: the folder of the run, or of its sweep.
    fresh: whether evaluations are taken from their places, as they are now, if these exist.

  Raises:
    UserError: a copy is missing or was changed.
  """
  index = {}
  for folder in reversed(folders):
    index |= {place: (folder, entry) for place, entry in _index(folder).items()}
  changed = {}
  for path, reference in of(config.to_dict()).items():
    if reference.place not in index or (fresh and path.startswith("evaluate.") and references.find(reference.place)):
      continue
    copy = _copy(*index[reference.place])
    original = None if reference.place.endswith(".py") else references.find(reference.place)
    if original is None or original.read_bytes() != copy.read_bytes():  # else the module by its own name
      changed[path] = str(reference._replace(place=str(copy)))
  if not changed:
    return config
  config = ConfigDict(config.to_dict())
  config.update_from_flattened_dict(changed)
  return config


def keep(folder: pathlib.Path, config: dict[str, Any], source: dict[str, Any] | None = None) -> None:
  """Copies the modules that a config names, as this process imported them, into the folder.

  Args:
    folder: of a run or of a sweep.
    config: with the places as the user gave them.
    source: the same with the places to copy from, see `located`; None for `config`.

  Raises:
    UserError: the folder has a copy of another content.
  """
  places, index = of(config), _index(folder)
  new = {}
  for path, reference in of(source or config).items():
    place = places[path].place
    found = references.find(reference.place)
    if found is None:  # an argument of a model that only looks like a file
      continue
    data = references.imported(found)
    entry = {"sha256": references.digest(data), "path": str(found)}
    _require_same(folder, place, index.get(place), entry["sha256"])
    if place not in index | new:
      new[place] = entry | {"file": _free_name(place, {e["file"] for e in (index | new).values()})}
      target = folder / "own" / new[place]["file"]
      make_folder(target.parent)
      with whole(target) as temporary:
        temporary.write_bytes(data)
  if new:
    write_json(folder / "own" / "index.json", index | new)


def _free_name(place: str, taken: set[str]) -> str:
  """The name of a copy: that of the file, or my_package.mine.py for a dotted name; numbered if it is taken."""
  stem = pathlib.Path(place).stem if place.endswith(".py") else place
  names = [f"{stem}.py", *(f"{stem}_{i}.py" for i in range(2, len(taken) + 3))]
  return next(name for name in names if name not in taken)


def _require_same(folder: pathlib.Path, place: str, entry: dict[str, str] | None, sha256: str) -> None:
  errors.require(
    entry is None or entry["sha256"] == sha256,
    f"{place!r} has changed since {folder} was made with it. Name another folder, or restore the file to resume: its "
    f"former content is {folder}/own/{entry['file'] if entry else ''}.",
  )


def check(folder: pathlib.Path, config: dict[str, Any]) -> None:
  """Raises UserError if a module that a config names is not the one that the run or the sweep was made with.

  A place that no longer exists is no mistake: the copy is used.
  """
  index = _index(folder)
  for reference in of(config).values():
    if (entry := index.get(reference.place)) and (path := references.find(reference.place)):
      _require_same(folder, reference.place, entry, references.digest(path.read_bytes()))


def changes(folder: pathlib.Path, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
  """(config path, sentence) for each module that has changed since the run was trained with it."""
  index = _index(folder)
  for path, reference in of(config).items():
    entry = index.get(reference.place)
    present = _present(reference.place, entry) if entry else None
    if present and references.digest(present.read_bytes()) != entry["sha256"]:
      yield path, f"{present} has changed since {folder} was trained with it"


def report_changes(folder: pathlib.Path, config: dict[str, Any], evaluations: bool) -> None:
  """Says which modules have changed: evaluations, which are used as they are now, or the others, whose copies are."""
  index, said = _index(folder), set()
  for path, sentence in changes(folder, config):
    if path.startswith("evaluate.") == evaluations and sentence not in said:
      copy = f"its copy, {folder}/own/{index[of(config)[path].place]['file']}, is used"
      logging.warning("%s: %s.", sentence, "it is used as it is now" if evaluations else copy)
      said.add(sentence)
