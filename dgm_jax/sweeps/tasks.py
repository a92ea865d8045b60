"""What a sweep has on disk beside its runs: ROOT/sweep.json, what it is, ROOT/tasks/NNNN.json, what runs together."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import errors, files
from dgm_jax.sweeps import states
from dgm_jax.sweeps.definition import Run
from dgm_jax.training.workdir import folder
from dgm_jax.training.workdir.lock import locked

_FORMAT = 1


class Definition(NamedTuple):
  """What sweep.json says.

  Attributes:
    config: FILE[:ARGUMENT].
    common: {path: value} of --config.PATH=VALUE, of all runs.
    runs: {name: overrides}.
    search: of a search its space, sampler, metric ...; None of a sweep.
    command: the newest that worked on it.
  """

  config: str
  common: dict[str, Any]
  runs: dict[str, dict[str, Any]]
  search: dict[str, Any] | None = None
  command: str = ""


def define(config: str, common: Mapping[str, Any], runs: Sequence[Run], command: str = "") -> Definition:
  """The definition of a sweep of these runs."""
  return Definition(config, dict(common), {run.name: run.overrides for run in runs}, command=command)


def _plain(value: Any) -> Any:
  """As JSON has it: lists for tuples."""
  return json.loads(json.dumps(value))


def read(root: pathlib.Path) -> Definition | None:
  """The sweep of a folder, or None if it holds none.

  Raises:
    UserError: sweep.json is damaged or of another format.
  """
  found = files.read_json(root / "sweep.json") if root.is_dir() else None
  if found is None:
    return None
  errors.require(
    isinstance(found, dict) and found.get("format") == _FORMAT,
    f"{root / 'sweep.json'} is not of format {_FORMAT}; this version cannot read it.",
  )
  runs = {run["name"]: run["overrides"] for run in found["runs"]}
  return Definition(found["config"], found.get("common", {}), runs, found.get("search"), found.get("command", ""))


def _few(names: Sequence[str]) -> str:
  more = f" and {len(names) - 3} more" if len(names) > 3 else ""
  return ", ".join(names[:3]) + more


def check(root: pathlib.Path, new: Definition) -> None:
  """Refuses a ROOT that holds another sweep, or something else; more runs of the same sweep are none.

  A sweep of which nothing was run yet may be replaced.

  Raises:
    UserError: what differs.
  """
  errors.require(not root.exists() or root.is_dir(), f"--root {root} is a file; name a folder.")
  old = read(root)
  if old is None:
    strange = [p.name for p in root.iterdir() if p.name != "lock"] if root.is_dir() else []
    errors.require(not strange, f"--root {root} holds files that are no sweep's ({_few(sorted(strange))}).")
    return
  if old.search is None and new.search is None and not (root / "runs").exists():
    return  # nothing of it was ever run
  different = [
    f"{name} ({a} there, {b} now)"
    for name, a, b in (("config", old.config, new.config), ("search", old.search, _plain(new.search)))
    if a != b
  ]
  common = _plain(new.common)
  different += [
    f"config.{path} ({old.common.get(path, 'not given')} there, {common.get(path, 'not given')} now)"
    for path in sorted(old.common.keys() | common.keys())
    if old.common.get(path) != common.get(path)
  ]
  if new.search is None and (missing := [name for name in old.runs if name not in new.runs]):
    different.append(f"it has runs that are not in this one: {_few(missing)}")
  errors.require(
    not different,
    f"--root {root} holds another sweep. It differs in: {'; '.join(different)}. Name another folder, or give the same "
    "values to go on; runs may be added, not removed.",
  )


def write(root: pathlib.Path, new: Definition) -> None:
  """Writes sweep.json; runs that are there already stay.

  Raises:
    UserError: see check; another process is writing; the folder cannot be written.
  """
  try:
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
      check(root, new)
      old = read(root)
      runs = (old.runs if old and (root / "runs").exists() else {}) | new.runs
      listed = [{"name": name, "overrides": _plain(overrides)} for name, overrides in runs.items()]
      found = {"format": _FORMAT, "command": new.command, "config": new.config, "common": _plain(new.common)}
      if new.search is not None:
        found["search"] = _plain(new.search)
      files.write_json(root / "sweep.json", found | {"runs": listed})
  except OSError as e:
    raise errors.UserError(f"--root {root} cannot be written: {e.strerror}.") from e


def check_runs(root: pathlib.Path, runs: Sequence[Run]) -> None:
  """Refuses runs whose folders hold runs of other configs: the config file was changed meanwhile.

  Raises:
    UserError: the first of them, and what differs.
  """
  for run in runs:
    if (path := states.folder(root, run.name)).is_dir() and any(path.iterdir()) and (path / "config.json").exists():
      folder.check(path, run.config)


def write_tasks(
  root: pathlib.Path, tasks: Sequence[Sequence[Run]], resources: Mapping[str, int], keep: bool = False
) -> list[pathlib.Path]:
  """Writes ROOT/tasks/NNNN.json, one for each list of runs.

  Args:
    root: of the sweep.
    tasks: the runs of each.
    resources: {"cpus": n, "gpus": n} of each.
    keep: whether the files that are there stay, and the numbers go on; else they are replaced.

  Returns:
    Their paths.
  """
  place = root / "tasks"
  place.mkdir(parents=True, exist_ok=True)
  old = sorted(p for p in place.glob("*.json") if p.stem.isdigit())
  start = int(old[-1].stem) + 1 if keep and old else 0
  paths = []
  for i, runs in enumerate(tasks, start):
    listed = [{"name": run.name, "workdir": f"../runs/{run.name}", "config": run.config} for run in runs]
    path = place / f"{i:04d}.json"
    files.write_json(path, {"format": _FORMAT, "runs": listed, "resources": dict(resources)})
    paths.append(path)
  if not keep:
    for path in set(old) - set(paths):
      path.unlink(missing_ok=True)
  return paths
