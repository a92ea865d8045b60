"""Runs sweeps on a Ray cluster: https://docs.ray.io.

Each task of a sweep is a Ray task that runs the worker as a process.  If its node is lost, Ray starts the task again on
another node, where the worker resumes its runs from their checkpoints: all nodes must share the sweep's folder.
"""

import importlib.util
import os
import pathlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import machine, outcomes, processes, task_loop
from dgm_jax.sweeps.launchers.outcomes import Outcome

_ABSENT = errors.missing_package(ModuleNotFoundError(name="ray"), "--launcher=ray")
_ANSWER = 5.0  # seconds for a cluster to answer; ray.init itself tries for minutes
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, 3.4, with empty SETTINGS
_CARRIED = ("DGM_", "JAX_", "TFDS_", "XLA_")  # variables that are copied to workers on other nodes


def launch(
  paths: Sequence[pathlib.Path],
  *,
  jobs: int | None = None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
  worker: Sequence[str] = processes.WORKER,
  address: str | None = None,
  restarts: int = 10,
  patience: float = processes.PATIENCE,
) -> list[Outcome]:
  """Runs tasks on Ray; see task_loop.supervise for signals and crashes.

  Args:
    paths: the tasks' files, in a folder that all nodes share.
    jobs: number of concurrent tasks; by default as many as the cluster, or this machine, has room for.
    on_change: called with the outcome of each task.
    worker: command of a worker; the task's file is appended.
    address: HOST:PORT or ray://HOST:PORT of a cluster, or auto for the one running on this machine; by default
      RAY_ADDRESS, else a local Ray for the duration of this call.
    restarts: how often a task may lose its node.
    patience: seconds to wait for other processes that hold a task's runs.

  Raises:
    UserError: ray is not installed, the cluster does not answer, or a task requests more than this machine has.
  """
  outcomes.check_jobs(jobs)
  if not paths:
    return []
  ray = _import_ray()
  ours = not ray.is_initialized()
  if ours:
    _connect(ray, *_address(address), jobs, outcomes.largest(paths)[0])
  try:
    _check_room(ray, outcomes.largest(paths))
    return task_loop.supervise(_Tasks(ray, worker, restarts, patience), paths, jobs, on_change)
  finally:
    if ours:
      ray.shutdown()


def _import_ray() -> Any:
  os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
  try:
    import ray
  except ImportError as e:
    raise errors.UserError(_ABSENT) from e
  return ray


def _address(given: str | None) -> tuple[str, str]:
  """(address of the cluster, the setting that it is from): "local" if there is none."""
  if given:
    return given, "--launcher.address"
  return (os.environ["RAY_ADDRESS"], "RAY_ADDRESS") if os.environ.get("RAY_ADDRESS") else ("local", "")


def elsewhere(address: str | None = None, **_: Any) -> bool:
  """Whether tasks may run on other machines than this one."""
  return _address(address)[0] != "local"


def absent(address: str | None = None, **_: Any) -> str:
  """Why tasks cannot be run with these options of `launch`, as a sentence; "" if Ray is installed and answers."""
  try:
    if importlib.util.find_spec("ray") is None:
      return _ABSENT
    place, setting = _address(address)
    if place == "auto":
      _connect(_import_ray(), place, setting, None, 1)
      _import_ray().shutdown()
    elif place != "local":
      check_answer(place, setting)
  except (errors.UserError, ValueError) as e:  # find_spec raises ValueError for a module that is None
    return str(e) if isinstance(e, errors.UserError) else _ABSENT
  return ""


def _connect(ray: Any, address: str, setting: str, jobs: int | None, cpus: int) -> None:
  quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
  if address == "local":
    quiet["num_cpus"] = cpus * (jobs or max(1, len(machine.cores()) // cpus))
  elif address != "auto":
    check_answer(address, setting)
    if address.startswith("ray://"):
      del quiet["include_dashboard"]
  try:
    ray.init(address=address, **quiet)
  except (ConnectionError, RuntimeError, ValueError, OSError) as e:
    where = "here" if address == "local" else f"at {address}"
    hint = ""
    if address not in ("local", "auto") and os.environ.get("RAY_AUTH_MODE") != "token":  # sends no token
      hint = " (If the cluster requires a token, set RAY_AUTH_MODE=token; it is read from ~/.ray/auth_token.)"
    raise errors.UserError(f"Ray {where} cannot be used: {_sentence(e)}{hint}") from e


def check_answer(address: str, setting: str = "--launcher.address", seconds: float = _ANSWER) -> None:
  """Checks that a gRPC server, as Ray has, answers at HOST:PORT: its answer begins with a SETTINGS frame.

  Args:
    address: HOST:PORT or ray://HOST:PORT.
    setting: what gave the address, for messages.
    seconds: how long to wait for an answer.

  Raises:
    UserError: none answers within `seconds`, or the address is invalid.
  """
  host, _, port = address.removeprefix("ray://").rpartition(":")
  errors.require(
    bool(host) and port.isdigit(),
    f"{setting}={address} is not HOST:PORT (or auto, or ray://HOST:PORT) of a Ray cluster.",
  )
  try:
    with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds) as connection:
      if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return  # only Ray can do the TLS handshake
      connection.settimeout(seconds)
      connection.sendall(_PREFACE)
      answer = connection.recv(9)
  except (OSError, OverflowError) as e:
    why = "no reply" if isinstance(e, TimeoutError) else getattr(e, "strerror", None) or str(e)
    raise errors.UserError(
      f"No Ray cluster answers at {setting}={address} ({why}); `ray start --head` starts one."
    ) from e
  errors.require(
    len(answer) > 3 and answer[3] == 4,
    f"The server at {setting}={address} is not a Ray cluster; give the address that `ray start --head` printed.",
  )


def _check_room(ray: Any, wanted: tuple[int, int]) -> None:
  """Checks that some node is large enough for a task, which would wait forever; warns if the cluster may grow."""
  nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
  if not any(node.get("CPU", 0) >= wanted[0] and node.get("GPU", 0) >= wanted[1] for node in nodes):
    sizes = sorted({f"{node.get('CPU', 0):.0f} CPUs and {node.get('GPU', 0):.0f} GPUs" for node in nodes})
    said = f"a task asks for {wanted[0]} CPUs and {wanted[1]} GPUs, but Ray's nodes have {', '.join(sizes)}"
    errors.require(len(nodes) > 1 or wanted[1] == 0, f"No node is large enough: {said}.")
    logging.warning("No node is large enough yet: %s.", said)


def _sentence(error: BaseException) -> str:
  """The first paragraph of Ray's message, which is often a page long."""
  return " ".join(str(error).strip().split("\n\n")[0].split())


def _work(
  worker: Sequence[str],
  task: pathlib.Path,
  cpus: int,
  gpus: int,
  env: Mapping[str, str],
  cwd: str,
  patience: float,
) -> int:
  """The function that Ray runs; Ray has set CUDA_VISIBLE_DEVICES to the devices assigned to the task."""
  if not gpus:
    env = {**env, "CUDA_VISIBLE_DEVICES": ""}
  return processes.run(worker, task, cpus, env, cwd, patience=patience)


class _Tasks:
  """The backend: one Ray task for each task."""

  def __init__(self, ray: Any, worker: Sequence[str], restarts: int, patience: float):
    self._ray, self._worker, self._restarts, self._patience = ray, tuple(worker), restarts, patience
    self._env = {k: v for k, v in os.environ.items() if k.startswith(_CARRIED)}
    self._running: dict[Any, pathlib.Path] = {}

  def submit(self, tasks: Sequence[pathlib.Path]) -> None:
    for task in tasks:
      cpus, gpus = outcomes.resources(task)
      remote = self._ray.remote(_work).options(
        num_cpus=cpus, num_gpus=gpus, max_retries=self._restarts, retry_exceptions=False, name=f"dgm_jax {task.stem}"
      )
      ref = remote.remote(self._worker, task.absolute(), cpus, gpus, self._env, str(pathlib.Path.cwd()), self._patience)
      self._running[ref] = task

  def poll(self) -> dict[pathlib.Path, int]:
    if not self._running:
      return {}
    ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=0.5)
    if ready:  # collect all others that are ready, too
      ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
    ended = {ref: self._status(ref) for ref in ready}
    return {self._running.pop(ref): status for ref, status in ended.items()}

  def _status(self, ref: Any) -> int:
    try:
      return self._ray.get(ref)
    except self._ray.exceptions.TaskCancelledError:
      return outcomes.STOPPED
    except self._ray.exceptions.RayError as e:  # too many nodes were lost, or Ray could not run the function
      task = self._running[ref]
      with open(outcomes.log_of(task), "a") as log:
        print(f"# Ray: {e}", file=log)
      return 1

  def stop(self, hard: bool) -> None:
    for ref in list(self._running):
      self._ray.cancel(ref, force=hard)
