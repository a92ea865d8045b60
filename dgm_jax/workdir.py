"""The folder of a run: what is in it, whether it fits the config, who ran what there."""

import contextlib
import datetime
import errno
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import jax

from dgm_jax import optim
from dgm_jax.core import errors
from dgm_jax.core.files import flatten, read_json, write_json

# Where things lie: a run may continue under another value of these.
_LOCATIONS = ("data.data_dir", "data.manual_dir", "data.source", "sample_devices", "shard_params")


# Options that configs of earlier versions lack, and what was done then.
_SINCE = {"keep_best": "", "early_stopping": 0, "max_minutes": None, "init_from": ""}


_SINCE |= {"sample_devices": 0, "shard_params": False, "dtype": "float32", "remat": False}


_SINCE |= {f"optim.{name}": value for name, value in optim.Options._field_defaults.items()}  # if there is an optimiser


_SINCE_LATENT = {"chunk": 0, "temper_steps": 0}  # of config.objective of the principle latent, if it is not empty


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "tensorflow-datasets")


def read_config(workdir: pathlib.Path) -> dict | None:
  """config.json, or None if there is none; what a run of an earlier version did not know has the value it had then."""
  config = read_json(workdir / "config.json") if workdir.is_dir() else None
  if isinstance(config, dict):
    unoptimised = config.get("optim") == {}
    for path, value in _SINCE.items():
      *sections, name = path.split(".")
      if unoptimised and sections == ["optim"]:
        continue
      node = config
      for section in sections:
        node = node.setdefault(section, {})
      node.setdefault(name, list(value) if isinstance(value, tuple) else value)  # as JSON has it
    if config.get("principle", "latent") == "latent" and "num_samples" in config.get("objective", {}):
      config["objective"] = _SINCE_LATENT | config["objective"]
  return config


def _differences(old: dict, new: dict, free: tuple[str, ...] = ()) -> list[str]:
  old, new = flatten(old), flatten(json.loads(json.dumps(new)))
  return [
    f"{k} ({old.get(k, 'absent')} there, {new.get(k, 'absent')} now)"
    for k in sorted(old.keys() | new.keys())
    if k not in _LOCATIONS and not k.startswith(free) and old.get(k) != new.get(k)
  ]


def check_same_run(workdir: pathlib.Path, config: dict) -> None:
  """Refuses to evaluate or sample under a config that is not the run's; how to evaluate may differ."""
  old = read_config(workdir)
  errors.require(isinstance(old, dict), f"--workdir {workdir} holds no run (it has no config.json).")
  if different := _differences(old, config, free=("evaluate.", "eval_batch_size")):
    raise errors.UserError(
      f"--workdir {workdir} holds a run of another config. It differs in: {'; '.join(different)}. "
      "Leave --config out to take the run's own; only evaluate.* and eval_batch_size may differ."
    )


def check(workdir: pathlib.Path, config: dict) -> dict | None:
  """Refuses a workdir that is not this run's; returns the results of a finished run, else None.

  Raises:
    UserError: `workdir` cannot be written, holds something else, or holds a run of another config.
  """
  if workdir.exists() and not workdir.is_dir():
    raise errors.UserError(f"--workdir {workdir} is a file; name a folder.")
  old = read_config(workdir)
  if old is None:
    errors.require(
      not workdir.is_dir() or not any(workdir.iterdir()),
      f"--workdir {workdir} holds files that are not a run's (it has no config.json); name a new or empty folder.",
    )
  elif different := _differences(old, config):
    raise errors.UserError(
      f"--workdir {workdir} holds a run of another config. It differs in: {'; '.join(different)}. "
      "Name another workdir, or give the same values to resume."
    )
  parent = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
  errors.require(os.access(parent, os.W_OK), f"--workdir {workdir}: {parent} cannot be written.")
  return read_json(workdir / "results.json")


def check_data(workdir: pathlib.Path, about: dict[str, Any]) -> None:
  """Refuses to go on, or to evaluate, with other data than the run began with; data.json says which those were."""
  path = workdir / "data.json"
  found = {k: about[k] for k in ("data", "split_sizes", "data_digest")}
  if (known := read_json(path)) is None:
    write_json(path, found)
  errors.require(
    known in (None, found),
    f"--workdir {workdir} was trained on other data than {about['data']!r} is now: {known} then, {found} now. Bring "
    "the data back, or name another workdir.",
  )


@contextlib.contextmanager
def disk_errors(workdir: pathlib.Path) -> Iterator[None]:
  """Turns what is raised inside because the disk is full into a DiskFullError that says what is kept."""
  try:
    yield
  except Exception as e:  # orbax and tensorstore raise their own kinds
    if not _is_disk_full(e):
      raise
    steps = [int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()]
    kept = f"The checkpoint of step {max(steps)} is complete" if steps else "There is no checkpoint yet"
    raise errors.DiskFullError(
      f"The disk of --workdir {workdir} is full. {kept}; free some space, and the same command goes on from there."
    ) from e


def _is_disk_full(error: BaseException | None) -> bool:
  if error is None:
    return False
  if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
    return True
  texts = ("No space left on device", "Disk quota exceeded", "File too large")
  return any(t in str(error) for t in texts) or _is_disk_full(error.__cause__) or _is_disk_full(error.__context__)


def _git(*args: str) -> str | None:
  root = pathlib.Path(__file__).parents[1]
  if not (root / ".git").exists():  # an installed package, perhaps inside the checkout of something else
    return None
  try:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
  """{package: version} of what numbers may depend on."""
  installed = {}
  for package in _PACKAGES:
    try:
      installed[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      continue
  return {"python": platform.python_version(), **installed}


def create(workdir: pathlib.Path, config: dict) -> None:
  """Makes the folder and writes config.json, unless it is a run's already."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
      write_json(workdir / "config.json", config)
  except OSError as e:
    raise errors.UserError(f"--workdir {workdir} cannot be written: {e.strerror}.") from e


class RunRecord:
  """run.json: one entry for each process that worked on the run, so that every number can be traced.

  Args:
    workdir: the run's folder.
    seed, step: of the run, and from which step on.
    writes: whether this process is the one, of those that train together, that writes.
    lanes: how many runs the program trains.
  """

  def __init__(self, workdir: pathlib.Path, seed: int, step: int, writes: bool = True, lanes: int = 1):
    self._path, self._writes = workdir / "run.json", writes
    self._starts = read_json(self._path) or []
    status = _git("status", "--porcelain")
    self._entry = {
      "command": shlex.join(sys.orig_argv),
      "started": _now(),
      "from_step": step,
      "seed": seed,
      "git_commit": _git("rev-parse", "HEAD"),
      "git_dirty": None if status is None else bool(status),
      "versions": versions(),
      "devices": [str(d) for d in jax.devices()],
      "device_kind": jax.devices()[0].device_kind,
      "processes": jax.process_count(),
      "lanes": lanes,
      "host": platform.node(),
      "cpus": os.cpu_count(),
      "pid": os.getpid(),
      "wall_s": {},
    }
    self.write()

  def write(self) -> None:
    """Writes run.json."""
    if not self._writes:
      return
    wall = {k: round(v, 3) for k, v in self._entry["wall_s"].items()}
    write_json(self._path, [*self._starts, self._entry | {"wall_s": wall}])

  def add_time(self, phase: str, seconds: float) -> None:
    """Adds to the wall time of a phase; `write` keeps it."""
    times = self._entry["wall_s"]
    times[phase] = times.get(phase, 0.0) + seconds

  def seconds(self, phase: str) -> float:
    """Wall time of a phase so far, in all processes that worked on the run."""
    return sum(entry["wall_s"].get(phase, 0.0) for entry in [*self._starts, self._entry])

  @contextlib.contextmanager
  def timed(self, phase: str) -> Iterator[None]:
    """add_time of what happens inside."""
    start = time.monotonic()
    yield
    self.add_time(phase, time.monotonic() - start)

  def finish(self) -> None:
    """Notes when the run ended."""
    self._entry["finished"] = _now()
    self.write()


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
