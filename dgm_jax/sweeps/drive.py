"""Runs a sweep: plans the remaining runs, writes and launches tasks, shows progress, reports the outcomes."""

import contextlib
import pathlib
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from dgm_jax.core import errors, files
from dgm_jax.sweeps import states, tasks
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.launchers import machine
from dgm_jax.sweeps.launchers import options as launcher_options
from dgm_jax.sweeps.planning import describe, plan
from dgm_jax.sweeps.watch import View, watching
from dgm_jax.training.workdir.lock import locked

FINISHED, FAILED, STOPPED = 0, 3, 4
_BUSY = "--root {} is being worked on by another command; wait, or stop it."


class Options(NamedTuple):
  """Options for running a sweep.

  Attributes:
    launcher: local, ray or slurm.
    jobs: concurrent processes; None for the launcher's default, planned as 1 if it is unknown beforehand.
    max_lanes, gigabytes, compile: see plan.make.
    cpus, gpus: of each process; gpus = None for one GPU if this machine has any, see `check`.
    launcher_options: {name: value} of additional arguments of the launcher.
    metric: metric whose best value so far is shown.
  """

  launcher: str = "local"
  jobs: int | None = None
  max_lanes: int = 0
  gigabytes: float = 0.0
  cpus: int = 1
  gpus: int | None = None
  launcher_options: Mapping[str, Any] = {}
  metric: str = ""
  compile: bool = False


def launcher(name: str) -> ModuleType:
  """The module of a launcher."""
  return launcher_options.module(name)


def _elsewhere(options: Options) -> bool:
  """Whether processes may run on other machines."""
  ask = getattr(launcher(options.launcher), "elsewhere", None)
  return bool(ask and ask(**options.launcher_options))


def detached(options: Options) -> bool:
  """Whether the command ends when the processes are submitted."""
  return bool(options.launcher_options.get("detach"))


def check(options: Options) -> str:
  """Checks, before anything is planned, what a launcher needs; returns why it cannot run here, "" if it can.

  Raises:
    UserError: an invalid option, or an unknown number of GPUs: other machines than this one may have some.
  """
  number_of_jobs(options)
  known = options.gpus is not None or not _elsewhere(options) or machine.gpus() or machine.has_tpu()
  errors.require(
    bool(known),
    f"How many GPUs has each process of --launcher={options.launcher}? This machine, which plans them, has none: give "
    "--gpus=N, 0 for none.",
  )
  ask = getattr(launcher(options.launcher), "absent", None)
  return ask(**options.launcher_options) if ask else ""


def number_of_jobs(options: Options) -> int:
  """Number of concurrent processes."""
  if options.jobs is not None:
    errors.require(options.jobs >= 1, f"--jobs={options.jobs}; it must be 1 or more.")
    return options.jobs
  slots = getattr(launcher(options.launcher), "slots", None)
  return len(slots(None, options.cpus, options.gpus or 0)) if slots else 1


def left(root: pathlib.Path, runs: Sequence[Run], retry_failed: bool = False) -> list[Run]:
  """The runs that are neither finished nor pruned nor failed; `retry_failed` includes failed ones."""
  over = {"finished", "pruned"} | (set() if retry_failed else {"failed"})
  found = states.of(root, [run.name for run in runs])
  return [run for run in runs if found[run.name].state not in over]


def make_plan(runs: Sequence[Run], options: Options, in_process: bool = True) -> plan.Plan:
  """Plans runs, in a separate process unless this one does nothing else."""
  workers, gigabytes = "here", options.gigabytes
  if _elsewhere(options):
    workers = "gpu" if (bool(machine.gpus()) if options.gpus is None else options.gpus > 0) else "cpu"
    if workers == "cpu":  # the arrays are in the main memory, of which a job may ask for an amount
      gigabytes = gigabytes or options.launcher_options.get("memory") or 0.0
  return (plan.make_in_process if in_process else plan.make)(
    runs,
    jobs=number_of_jobs(options),
    max_lanes=options.max_lanes,
    gigabytes=gigabytes,
    workers=workers,
    compile=options.compile,
  )


def write(root: pathlib.Path, planned: plan.Plan, runs: Sequence[Run], options: Options, keep: bool) -> list:
  """Writes the tasks of a plan; returns their paths."""
  by_name = {run.name: run for run in runs}
  gpus = options.gpus if options.gpus is not None else int(planned.platform == "gpu")
  lists = [[by_name[name] for name in names] for _, names in planned.tasks]
  return tasks.write_tasks(root, lists, {"cpus": options.cpus, "gpus": gpus}, keep)


def launch(paths: Sequence[pathlib.Path], options: Options, view: View, look: Any = None) -> list:
  """Launches tasks and watches them until they end; returns their outcomes.

  Args:
    paths: the tasks' files.
    options: see Options.
    view: progress display.
    look: another function to call periodically.
  """

  def both():
    if look is not None:
      look()
    view.look()

  module = launcher(options.launcher)
  if detached(options):
    return module.launch(paths, jobs=options.jobs, **options.launcher_options)
  try:
    with watching(both):
      return module.launch(paths, jobs=options.jobs, **options.launcher_options)
  finally:
    view.close()


def report_outcomes(root: pathlib.Path, names: Sequence[str], outcomes: Sequence, command: str = "") -> int:
  """Prints failures and counts; returns the exit status of the sweep: 0 all finished, 3 some failed, 4 stopped.

  `command` resumes a sweep that was stopped; "" for the command line.
  """
  for outcome in outcomes:
    if outcome.status not in (0, STOPPED):
      code = outcome.status
      what = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
      tail = f":\n{outcome.tail}" if outcome.tail else "."
      print(f"error: {outcome.task} {what} after {outcome.attempts} attempts{tail}", file=sys.stderr, flush=True)
  found = states.of(root, names)
  for name, state in found.items():
    if state.state == "failed":
      print(f"error: {name} failed at step {state.step}: {state.note}", file=sys.stderr, flush=True)
  counts = Counter(state.state for state in found.values())
  print("Runs: " + ", ".join(f"{counts[s]} {s}" for s in states.STATES if counts[s]), flush=True)
  open_runs = [name for name, state in found.items() if state.state not in ("finished", "pruned", "failed")]
  if open_runs and all(outcome.status in (0, STOPPED, FAILED) for outcome in outcomes):
    command = command or shlex.join(sys.orig_argv)
    print(f"error: stopped; {len(open_runs)} runs are not finished. To resume:\n  {command}", file=sys.stderr)
    return STOPPED
  return FAILED if open_runs or counts["failed"] else FINISHED


def run(root: pathlib.Path, definition: tasks.Definition, runs: Sequence[Run], options: Options, retry: bool) -> int:
  """Trains the remaining runs of a sweep; returns the exit status.

  Raises:
    UserError: a run is invalid, or ROOT holds another sweep; nothing is launched then.
  """
  sentence = check(options)
  errors.require(not sentence, sentence)
  tasks.check(root, definition)
  tasks.check_runs(root, runs)
  names = [run.name for run in runs]
  outcomes: list = []
  if todo := left(root, runs, retry):
    busy = getattr(launcher(options.launcher), "busy", None)
    errors.require(not (sentence := busy(root) if busy else ""), sentence)
    errors.require(not states.is_alive(root / "tasks"), _BUSY.format(root))
    planned = make_plan(todo, options)
    if options.metric:
      errors.choose("metric", options.metric, planned.metrics)
    print(describe.describe(planned, number_of_jobs(options)), flush=True)
    tasks.write(root, definition)
    files.make_folder(root / "tasks")
    with contextlib.ExitStack() as stack:
      try:  # a second command would replace the tasks of the first
        stack.enter_context(locked(root / "tasks"))
      except errors.LockedError as e:
        raise errors.UserError(_BUSY.format(root)) from e
      for run in todo:  # failed runs, if they are retried
        (states.folder(root, run.name) / "failure.json").unlink(missing_ok=True)
      paths = write(root, planned, todo, options, keep=False)
      outcomes = launch(paths, options, View(root, planned.num_steps, options.metric))
      if detached(options):
        return FINISHED
  else:
    tasks.write(root, definition)
    print(f"All runs of {root} are done; nothing is left to train.", flush=True)
  return report_outcomes(root, names, outcomes, definition.command)
