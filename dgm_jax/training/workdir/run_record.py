"""run.json: which command, code, versions and machine worked on a run, and for how long."""

import contextlib
import contextvars
import datetime
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import jax

from dgm_jax.core.files import write_json
from dgm_jax.training.workdir import own_files, recovery

_PACKAGES = ("dgm_jax", "jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "tensorflow-datasets")

_CALL: contextvars.ContextVar[str | None] = contextvars.ContextVar("call", default=None)


@contextlib.contextmanager
def called(text: str) -> Iterator[None]:
  """Context in which run.json has this text as its command: a call in Python, not the program's command line."""
  token = _CALL.set(text)
  try:
    yield
  finally:
    _CALL.reset(token)


def _git(*args: str) -> str | None:
  root = pathlib.Path(__file__).parents[3]
  if not (root / ".git").exists():  # an installed package, perhaps inside the checkout of something else
    return None
  try:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
  """{package: version} of Python and the packages on which results may depend."""
  installed = {}
  for package in _PACKAGES:
    try:
      installed[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      continue
  return {"python": platform.python_version(), **installed}


class RunRecord:
  """run.json: one entry for each process that worked on the run, so that every number can be traced.

  Args:
    workdir: the run's folder.
    seed, step: seed of the run, and the step from which this process trains.
    writes: whether this process writes the file, which only one of several that train together does.
    lanes: number of runs that the program trains.
  """

  def __init__(self, workdir: pathlib.Path, seed: int, step: int, writes: bool = True, lanes: int = 1):
    self._path, self._writes = workdir / "run.json", writes
    self._starts = recovery.starts(workdir, writes)
    status = _git("status", "--porcelain")
    self._entry = {
      "command": _CALL.get() or shlex.join(sys.orig_argv),
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
      "own_files": own_files.digests(workdir),  # SHA-256 of the user's own modules, by place
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
    """Adds to the wall time of a phase; `write` saves it."""
    times = self._entry["wall_s"]
    times[phase] = times.get(phase, 0.0) + seconds

  def seconds(self, phase: str) -> float:
    """Wall time of a phase so far, in all processes that worked on the run."""
    return sum(entry["wall_s"].get(phase, 0.0) for entry in [*self._starts, self._entry])

  @contextlib.contextmanager
  def timed(self, phase: str) -> Iterator[None]:
    """Context that adds its duration to the wall time of a phase."""
    start = time.monotonic()
    yield
    self.add_time(phase, time.monotonic() - start)

  def finish(self) -> None:
    """Records when the run ended, and writes run.json."""
    self._entry["finished"] = _now()
    self.write()


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
