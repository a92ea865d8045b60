"""Environments in processes of their own: each plays the episodes of its slots, and may die or hang.

A process that died, or did not answer in time, is started anew; its episodes are for the caller to repeat.
"""

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.world_models import engines, environments
from dgm_jax.core import errors

PATIENCE_S = 60.0  # for a step; an episode of random play may take as long for every 100 steps
Step = tuple[np.ndarray, float, bool, bool]


class LostError(Exception):
  """A process died or hung, with these slots."""

  def __init__(self, slots: Sequence[int], why: str):
    super().__init__(why)
    self.slots, self.why = tuple(slots), why


def stored(seed: int, steps: Sequence[tuple], keeps: bool) -> dict[str, Any]:
  """An episode from its (frame, action, reward, ended): total, steps, ended, and with `keeps` what rollouts store."""
  frames, actions, rewards, ended = zip(*steps, strict=True)
  found: dict[str, Any] = {"total": float(sum(rewards)), "steps": len(steps), "ended": bool(ended[-1])}
  if keeps:
    numbers = {"action": np.stack(actions), "reward": np.asarray(rewards, np.float32), "done": np.asarray(ended)}
    found["arrays"] = {"frames": np.stack(frames), **numbers, "seed": np.asarray(seed)}
  return found


def played(env: engines.Environment, kind: environments.Kind, play: str, seed: int, keeps: bool) -> dict[str, Any]:
  """An episode of random play, see `stored`."""
  frame, steps = env.reset(seed), []
  for action in environments.random_actions(kind, play, seed):
    new, reward, ended, cut = env.step(action)
    steps.append((frame if keeps else None, action, reward, ended))
    frame = new
    if ended or cut:
      break
  return stored(seed, steps, keeps)


def _work(pipe: Any, name: str, limit: int, slots: int, kind: dict[str, Any]) -> None:
  """What a process does: answers messages until the pipe is closed."""
  os.setsid()  # Ctrl-C is for the parent, which ends the whole group: an engine may be a process of its own
  os.set_inheritable(pipe.fileno(), False)
  envs = [None] * slots
  try:
    while True:
      what, at, *given = pipe.recv()
      if envs[at] is None:
        envs[at] = environments.make(name, limit)
      if what == "reset":
        pipe.send(("ok", envs[at].reset(*given)))
      elif what == "step":
        pipe.send(("ok", envs[at].step(*given)))
      else:
        pipe.send(("ok", played(envs[at], environments.Kind(**kind), *given)))
  except (EOFError, BrokenPipeError, KeyboardInterrupt):
    pass
  except errors.UserError as e:
    with contextlib.suppress(OSError):
      pipe.send(("mistake", str(e)))
  except Exception:
    with contextlib.suppress(OSError):
      pipe.send(("error", traceback.format_exc(limit=3)))
  finally:
    for env in envs:
      with contextlib.suppress(Exception):
        env.close()


class Workers:
  """Slots of one environment, divided among processes.  Episodes do not depend on the number of processes.

  Args:
    name: see environments.kind.
    slots: environments in all.
    processes: at most as many as slots.
    limit: steps of an episode; 0 for the environment's own.
    patience: seconds for an answer.

  Raises:
    UserError: no such environment, or invalid numbers.
  """

  def __init__(self, name: str, slots: int, processes: int = 2, limit: int = 0, patience: float = PATIENCE_S):
    errors.require(slots >= 1, f"slots = {slots}; it must be 1 or more.")
    errors.require(processes >= 1, f"processes = {processes}; it must be 1 or more.")
    self.kind, self.slots, self._name, self._patience = environments.kind(name), slots, name, patience
    self.limit = limit or self.kind.limit
    self._count = min(processes, slots)
    self._context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    self._processes: list[Any] = [None] * self._count
    self._pipes: list[Any] = [None] * self._count
    for i in range(self._count):
      self._start(i)

  def _slots_of(self, process: int) -> list[int]:
    return list(range(process, self.slots, self._count))

  def _start(self, i: int) -> None:
    ours, theirs = self._context.Pipe()
    given = (theirs, self._name, self.limit, len(self._slots_of(i)), self.kind._asdict())
    process = self._context.Process(target=_work, args=given, daemon=True)
    process.start()
    theirs.close()
    self._pipes[i], self._processes[i] = ours, process

  def _restart(self, i: int) -> None:
    self._pipes[i].close()
    self._kill(i)
    self._start(i)

  def _kill(self, i: int) -> None:
    """Ends a process and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self._processes[i].pid, signal.SIGKILL)
    self._processes[i].kill()
    self._processes[i].join()

  def _answer(self, i: int, patience: float) -> Any:
    """The next answer of a process.  Raises LostError, after starting it anew."""
    why = f"did not answer for {patience:g} s"
    try:
      if self._is_ready(i, patience):
        status, value = self._pipes[i].recv()
        if status == "ok":
          return value
        if status == "mistake":
          raise errors.UserError(value)
        why = f"failed ({value.strip().splitlines()[-1]})"
    except (EOFError, OSError):
      why = "died"
    self._restart(i)
    raise LostError(self._slots_of(i), why)

  def _is_ready(self, i: int, patience: float) -> bool:
    """Whether there is an answer in time.  Raises EOFError if the process has died."""
    end = time.monotonic() + patience
    while not self._pipes[i].poll(min(1.0, max(0.0, end - time.monotonic()))):
      if time.monotonic() >= end:
        return False
      if not self._processes[i].is_alive():
        raise EOFError
    return True

  def _ask(self, what: str, given: Mapping[int, Sequence[Any]], patience: float) -> dict[int, Any]:
    """Sends a message to each slot, and collects the answers; one message at a time for each process."""
    queues = {i: [s for s in self._slots_of(i) if s in given] for i in range(self._count)}
    found: dict[int, Any] = {}
    lost: list[int] = []
    why = ""
    while any(queues.values()):
      asked = []
      for i, queue in queues.items():
        if queue:
          with contextlib.suppress(OSError):  # a dead process is noticed when it does not answer
            self._pipes[i].send((what, queue[0] // self._count, *given[queue[0]]))
          asked.append(i)
      for i in asked:
        slot = queues[i].pop(0)
        try:
          found[slot] = self._answer(i, patience)
        except LostError as e:
          lost += e.slots
          queues[i], why = [], e.why
    if lost:
      raise LostError(lost, why)
    return found

  def reset(self, seeds: Mapping[int, int]) -> dict[int, np.ndarray]:
    """The first frames of episodes, {slot: frame}, of {slot: seed}.  Raises LostError."""
    return self._ask("reset", {slot: (seed,) for slot, seed in seeds.items()}, self._patience)

  def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, Step]:
    """{slot: (frame, reward, ended, cut)} of {slot: action}.  Raises LostError."""
    return self._ask("step", {slot: (action,) for slot, action in actions.items()}, self._patience)

  def play(self, seeds: Mapping[int, int], play: str, keeps: bool = False) -> dict[int, dict[str, Any]]:
    """Whole episodes of random play, see `played`, {slot: ...} of {slot: seed}.  Raises LostError."""
    patience = self._patience * max(1.0, self.limit / 100)
    return self._ask("play", {slot: (play, seed, keeps) for slot, seed in seeds.items()}, patience)

  def close(self) -> None:
    """Ends the processes."""
    for pipe in self._pipes:
      pipe.close()
    for i, process in enumerate(self._processes):
      process.join(2)
      self._kill(i)

  def __enter__(self) -> "Workers":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
