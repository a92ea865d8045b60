"""Resources of this machine: cores and accelerators, found without starting JAX."""

import contextlib
import importlib.util
import math
import os
import pathlib
import random
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator

import filelock

from dgm_jax.core import errors, locks

_CGROUPS = pathlib.Path("/sys/fs/cgroup")


def cores() -> tuple[int, ...]:
  """The cores that this process may use, by its affinity (taskset, cpusets)."""
  if hasattr(os, "sched_getaffinity"):
    return tuple(sorted(os.sched_getaffinity(0)))
  return tuple(range(os.cpu_count() or 1))


def quota(folder: pathlib.Path = _CGROUPS) -> float:
  """CPU time limit of a container's cgroup (version 2 or 1) as a number of cores; infinity if it is not limited."""
  with contextlib.suppress(OSError, ValueError):
    limit, period = (folder / "cpu.max").read_text().split()
    return math.inf if limit == "max" else int(limit) / int(period)
  with contextlib.suppress(OSError, ValueError):
    limit, period = (int((folder / f"cpu/cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return math.inf if limit < 0 else limit / period
  return math.inf


def share(mine: tuple[int, ...], limit: float) -> tuple[int, ...]:
  """As many of the cores as `limit` can keep busy, drawn at random since other containers see the same cores."""
  return mine if limit >= len(mine) else tuple(sorted(random.sample(mine, max(1, math.ceil(limit)))))


@contextlib.contextmanager
def borrowed(count: int) -> Iterator[tuple[int, ...]]:
  """`count` of this process's cores that no other process of the user has borrowed; if too few are free, others too.

  For processes on one machine that do not know of each other (Ray's and SLURM's).  Locks end with their process.

  Raises:
    UserError: the folder of the locks in the temporary folder is not this account's own, or has no file locks.
  """
  mine = cores()
  if count >= len(mine):
    yield mine
    return
  folder = _own_folder(pathlib.Path(tempfile.gettempdir()) / f"dgm_jax_cores_{os.getuid()}")
  free: list[int] = []
  with contextlib.ExitStack() as held:
    for core in mine:
      file = folder / str(core)
      try:
        held.enter_context(locks.file_lock(file).acquire(timeout=0))
        free.append(core)
      except filelock.Timeout:
        pass
      except OSError as e:
        raise errors.UserError(f"{locks.reason(file, e)} TMPDIR chooses another temporary folder.") from e
      if len(free) == count:
        break
    others = [c for c in mine if c not in free]
    yield tuple(free + random.sample(others, count - len(free)))


def _own_folder(folder: pathlib.Path) -> pathlib.Path:
  """Creates a folder that only this account can open; its name can be guessed, so an existing one is checked.

  Raises:
    UserError: it is a link or a file, belongs to another account, or others can open it.
  """
  with contextlib.suppress(FileExistsError):
    folder.mkdir(mode=0o700)
  found = folder.lstat()
  errors.require(
    stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077,
    f"{folder} is not a folder that only this account can open (mode 0700): remove it, or set TMPDIR to another "
    "temporary folder.",
  )
  return folder


def gpus() -> list[str]:
  """Names of the available NVIDIA devices, as in CUDA_VISIBLE_DEVICES, which may restrict them; MIG slices by UUID."""
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
    return []
  visible = os.environ.get("CUDA_VISIBLE_DEVICES")
  if visible is not None:
    names = [name.strip() for name in visible.split(",")]
    unknown = [i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")]
    return names[: unknown[0]] if unknown else names  # as in CUDA: an invalid name hides all that follow
  try:
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
  except (OSError, subprocess.TimeoutExpired):
    return []
  return _listed(listed.stdout) if listed.returncode == 0 else []


def _listed(text: str) -> list[str]:
  """Devices in the output of `nvidia-smi -L`: one line for each GPU, followed by one for each of its MIG slices."""
  devices: list[str] = []
  for gpu in re.split(r"^(?=GPU )", text, flags=re.MULTILINE):
    if found := re.match(r"GPU (\d+):", gpu):
      devices += re.findall(r"UUID: (MIG-[^)\s]+)", gpu) or [found[1]]
  return devices


def has_tpu() -> bool:
  """Whether JAX would use a TPU; all chips of a host belong to one process."""
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms:
    return "tpu" in platforms.split(",")
  chips = [*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("[0-9]*")]
  return bool(chips) and importlib.util.find_spec("libtpu") is not None
