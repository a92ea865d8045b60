"""Files of a sweep other than its runs: definition (ROOT/sweep.json), runs trained together (ROOT/tasks/NNNN.json)."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import errors, files, paths, records, renamed
from dgm_jax.sweeps import states
from dgm_jax.sweeps.definition import Run
from dgm_jax.training.workdir import folder, own_files, recovery
from dgm_jax.training.workdir.legacy_configs import OWN_DATA, PREPARED
from dgm_jax.training.workdir.lock import locked

_FORMAT = 1


class Definition(NamedTuple):
  """Content of sweep.json.

  Attributes:
    config: FILE[:ARGUMENT].
    common: {path: value} of --config.PATH=VALUE, shared by all runs.
    runs: {name: overrides}.
    search: space, sampler, metric ... of a search; None for a sweep.
    command: the latest command that worked on it.
  """

  config: str
  common: dict[str, Any]
  runs: dict[str, dict[str, Any]]
  search: dict[str, Any] | None = None
  command: str = ""


def define(config: str, common: Mapping[str, Any], runs: Sequence[Run], command: str = "") -> Definition:
  """The definition of a sweep with these runs."""
  return Definition(config, dict(common), {run.name: run.overrides for run in runs}, command=command)


def _plain(value: Any) -> Any:
  """The value as JSON represents it: tuples become lists."""
  return json.loads(json.dumps(value))


def read(root: pathlib.Path) -> Definition | None:
  """The sweep in a folder, or None if there is none.

  Raises:
    UserError: sweep.json is damaged or has another format.
  """
  found = files.read_json(root / "sweep.json") if root.is_dir() else None
  if found is None:
    return None
  errors.require(
    isinstance(found, dict) and found.get("format") == _FORMAT,
    f"{root / 'sweep.json'} does not have format {_FORMAT}; this version cannot read it.",
  )
  records.check(root / "sweep.json", found, records.SWEEP)
  records.check(root / "sweep.json", found["runs"], records.RUN_OF_SWEEP)
  today = lambda values: {renamed.new_path(path): renamed.new_value(path, value) for path, value in values.items()}
  runs = {run["name"]: today(run["overrides"]) for run in found["runs"]}
  common, search = today(found.get("common", {})), found.get("search")
  return Definition(found["config"], common, runs, search, found.get("command", ""))


def _few(names: Sequence[str]) -> str:
  more = f" and {len(names) - 3} more" if len(names) > 3 else ""
  return ", ".join(names[:3]) + more


def _is_lost(root: pathlib.Path, new: Definition) -> bool:
  """Whether a power cut emptied sweep.json, and a definition says all of it again; only a search adds to it later."""
  return new.search is None and recovery.is_lost(root / "sweep.json")


def check(root: pathlib.Path, new: Definition) -> None:
  """Raises UserError if ROOT holds another sweep or other files.

  The same sweep may gain runs; a sweep of which no run has started may be replaced.

  Raises:
    UserError: lists the differences.
  """
  paths.folder("--root", root)
  lost = _is_lost(root, new)
  old = None if lost else read(root)
  if old is None:
    names = [p.name for p in root.iterdir()] if root.is_dir() else []
    strange = [n for n in names if n not in ("lock", OWN_DATA, PREPARED) and not files.is_temporary(n)]
    errors.require(
      lost or not strange, f"--root {root} holds files that do not belong to a sweep ({_few(sorted(strange))})."
    )
    return
  if old.search is None and new.search is None and not (root / "runs").exists():
    return  # no run of it has started
  different = [
    f"{name} ({a} there, {b} now)"
    for name, a, b in (("config", old.config, new.config), ("search", old.search, _plain(new.search)))
    if a != b
  ]
  common = _plain(new.common)
  if pathlib.Path(common.get("data.path") or "").name == OWN_DATA:  # in ROOT, which may have been moved
    common |= {path: old.common[path] for path in ("data.path", "data.data_dir") if path in old.common}
  different += [
    f"config.{path} ({old.common.get(path, 'not given')} there, {common.get(path, 'not given')} now)"
    for path in sorted(old.common.keys() | common.keys())
    if old.common.get(path) != common.get(path)
  ]
  if new.search is None and (missing := [name for name in old.runs if name not in new.runs]):
    different.append(f"it has runs that are not in this one: {_few(missing)}")
  errors.require(
    not different,
    f"--root {root} holds another sweep. It differs in: {'; '.join(different)}. Choose another folder, or give "
    "the same values to resume it; runs may be added but not removed.",
  )


def write(root: pathlib.Path, new: Definition) -> None:
  """Writes sweep.json; runs that it already lists are kept.

  Raises:
    UserError: see check; another process is writing; the folder cannot be written.
  """
  try:
    files.make_folder(root)
    with locked(root):
      check(root, new)
      old = None if _is_lost(root, new) else read(root)
      runs = (old.runs if old and (root / "runs").exists() else {}) | new.runs
      listed = [{"name": name, "overrides": _plain(overrides)} for name, overrides in runs.items()]
      found = {"format": _FORMAT, "command": new.command, "config": new.config, "common": _plain(new.common)}
      if new.search is not None:
        found["search"] = _plain(new.search)
      files.write_json(root / "sweep.json", found | {"runs": listed})
  except OSError as e:
    raise errors.UserError(f"--root {root} cannot be written: {e.strerror}.") from e


def check_runs(root: pathlib.Path, runs: Sequence[Run]) -> None:
  """Raises UserError if a run was made with another config or module, because the file has changed.

  Raises:
    UserError: names the first such run and what differs, or a module of the user's own that has changed.
  """
  for run in runs:
    own_files.check(root, run.config)
    if (path := states.folder(root, run.name)).is_dir() and any(path.iterdir()) and (path / "config.json").exists():
      folder.check(path, run.config, root)


def write_tasks(
  root: pathlib.Path, tasks: Sequence[Sequence[Run]], resources: Mapping[str, int], keep: bool = False
) -> list[pathlib.Path]:
  """Writes ROOT/tasks/NNNN.json, one file per list of runs, and copies of the user's own modules into ROOT/own.

  Args:
    root: folder of the sweep.
    tasks: the runs of each task.
    resources: {"cpus": n, "gpus": n} of each task.
    keep: whether to keep existing files and continue their numbering; else they are replaced.

  Returns:
    Paths of the files.
  """
  place = root / "tasks"
  files.make_folder(place)
  old = sorted(p for p in place.glob("*.json") if p.stem.isdigit())
  start = int(old[-1].stem) + 1 if keep and old else 0
  paths = []
  for i, runs in enumerate(tasks, start):
    for run in runs:
      own_files.keep(root, run.config)
    listed = [{"name": run.name, "workdir": f"../runs/{run.name}", "config": run.config} for run in runs]
    path = place / f"{i:04d}.json"
    files.write_json(path, {"format": _FORMAT, "runs": listed, "resources": dict(resources)})
    paths.append(path)
  if not keep:
    for path in set(old) - set(paths):
      path.unlink(missing_ok=True)
  return paths
