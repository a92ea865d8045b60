"""The one loop.  A step's batch and key are functions of (seed, step), so the state is all there is to save."""

import concurrent.futures
import contextlib
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dgm_jax.core import errors, files, text_tables
from dgm_jax.core.progress import progress_bar
from dgm_jax.data import sources
from dgm_jax.training import results as trained
from dgm_jax.training.build import build
from dgm_jax.training.diagnostics.profile import recorded
from dgm_jax.training.experiment import Experiment, make_init
from dgm_jax.training.lanes import Lanes, Lone
from dgm_jax.training.processes import devices, hosts
from dgm_jax.training.processes.signals import StopRequest
from dgm_jax.training.run import Run
from dgm_jax.training.workdir import checkpoint, warm_start
from dgm_jax.training.workdir.folder import check, check_data, create, disk_errors

Outcome = dict[str, Any] | errors.DivergenceError | errors.PrunedError


def _held_out(experiment: Experiment) -> str:
  """What is evaluated during training."""
  return "valid" if experiment.splits.valid else "test"


def check_options(config: ConfigDict, experiment: Experiment) -> None:
  """Refuses what can be known to be wrong before the run's folder is made."""
  split = _held_out(experiment)
  if config.init_from:
    warm_start.check(config.init_from)
  if config.keep_best:
    state = jax.eval_shape(make_init(experiment, config.seed))
    batch = experiment.transforms.evaluate
    examples = jax.tree.map(lambda a: jnp.asarray(a[:2]), getattr(experiment.splits, split))
    key = jax.random.key(0)
    names = jax.eval_shape(lambda state: experiment.system.eval_step(state, key, batch(key, examples)), state)
    errors.choose("metric of keep_best", config.keep_best, [f"{split}/{name}" for name in names])


def train_and_evaluate(config: ConfigDict, workdir: str | pathlib.Path, profile: bool = False) -> dict[str, Any]:
  """Trains, or goes on training, the run of `config` in `workdir` and evaluates it.

  Leaves config.json, run.json (who, where, with what, how long), metrics.jsonl, tensorboard/, checkpoints/, figures/
  and, at the end, results.json.  A finished run is not repeated: its results are returned.

  Args:
    config: see configs/.
    workdir: the run's folder.
    profile: whether to record the second chunk of steps, the first in which nothing compiles, into workdir/profile/.

  Returns:
    {name: value}, what results.json holds.

  Raises:
    UserError: a config that cannot run, a workdir that is not this run's.
    DivergenceError: NaN or Inf; the last checkpoint is kept.
    PrunedError: stop.json, {"reason": ...}, was laid into the workdir; the state is saved, and not evaluated.
    StoppedError: SIGTERM or SIGINT; the state is saved.
  """
  [outcome] = train_runs([config], [workdir], profile)
  if isinstance(outcome, Exception):
    raise outcome
  return outcome


def train_runs(
  configs: Sequence[ConfigDict], workdirs: Sequence[str | pathlib.Path], profile: bool = False
) -> list[Outcome]:
  """train_and_evaluate of several runs as lanes of one program: they differ in seed, hparams and init_from alone.

  Each has its own folder, and can go on alone later.  One that meets NaN or Inf leaves the others undisturbed.  Runs
  whose data are streamed are trained one after another.

  Args:
    configs, workdirs: of each run.
    profile: see train_and_evaluate.

  Returns:
    For each run its results, or the DivergenceError or PrunedError that ended it.  Of several hosts only the first has
    results, the others have {}.

  Raises:
    UserError, StoppedError: see train_and_evaluate; of any of the runs.
  """
  given = [(config, pathlib.Path(workdir)) for config, workdir in zip(configs, workdirs, strict=True)]
  hosts.on_first_host(lambda: [check(workdir, config.to_dict()) for config, workdir in given])
  outcomes: dict[pathlib.Path, Outcome] = {}
  with StopRequest() as stop:
    for cohort in _cohorts([run for run in given if not (run[1] / "results.json").exists()]):
      outcomes |= _train(*zip(*cohort, strict=True), profile, stop)
  return [outcomes[w] if w in outcomes else files.read_json(w / "results.json") for _, w in given]


def _cohorts(given: list[tuple[ConfigDict, pathlib.Path]]) -> list[list[tuple[ConfigDict, pathlib.Path]]]:
  """Runs that can go on from the same step together; as a rule all of them."""
  if not given:
    return []
  saved = [checkpoint.steps(workdir) for _, workdir in given]
  newest = [max(steps, default=0) for steps in saved]
  common = max(set.intersection(*saved), default=None)
  # together if none is behind, or those ahead lose one checkpoint: a process died while it saved them in turn
  if not any(newest) or (common == min(newest) and all(sum(s > common for s in steps) <= 1 for steps in saved)):
    return [given]
  return [[run for run, n in zip(given, newest, strict=True) if n == step] for step in sorted(set(newest))]


def _restored(runs: list[Run], templates: list[Any]) -> list[Any]:
  """The newest states that are of the same step."""
  if len(runs) == 1:
    return [runs[0].restore(templates[0])]
  steps = sorted(set.intersection(*(run.saved_steps() for run in runs)), reverse=True) or [None]
  for step in steps:
    try:
      return [run.restore(template, step) for run, template in zip(runs, templates, strict=True)]
    except errors.UserError as e:
      error = e
  raise error


def _train(
  configs: Sequence[ConfigDict], workdirs: Sequence[pathlib.Path], profile: bool, stop: StopRequest
) -> dict[pathlib.Path, Outcome]:
  """train_runs of what is not finished."""
  clock, config = time.monotonic(), configs[0]
  experiment = build(config)
  if len(configs) > 1 and sources.choose(config.data.source, experiment.splits.train) == "streaming":
    each = [_train([c], [w], profile, stop) for c, w in zip(configs, workdirs, strict=True)]  # read for one at a time
    return {w: outcome for outcomes in each for w, outcome in outcomes.items()}
  num_steps, split = experiment.num_steps, _held_out(experiment)
  for c in configs:
    check_options(c, experiment)
  about = trained.about(config, experiment)
  runs = [Run(c, w, about | {"seed": c.seed}) for c, w in zip(configs, workdirs, strict=True)]

  def make_folders():
    for run in runs:
      create(run.workdir, run.config.to_dict())
      check_data(run.workdir, about)

  hosts.on_first_host(make_folders)
  programs = (Lone if len(runs) == 1 else Lanes)(experiment, configs, split)

  # how often, and, for 0, how many times a run
  events = evaluations, drawings, savings = (
    (config.eval_every, 20),
    (config.figures_every, 5),
    (config.checkpoint_every, 20),
  )

  def due(every, times):
    """Whether `every` divides the step; for 0, `times` times a run but not within five epochs."""
    seldom = max(num_steps / times, 5 * experiment.steps_per_epoch) / config.log_every
    return step % (every or math.ceil(seldom) * config.log_every) == 0

  with contextlib.ExitStack() as stack:
    stack.enter_context(disk_errors(workdirs[0]))
    stack.enter_context(devices.use_mesh(programs.mesh))
    for run in runs:
      run.open(stack)
    hosts.on_first_host(lambda: [check(run.workdir, run.config.to_dict()) for run in runs])
    if any((w / "results.json").exists() for w in workdirs):  # by another process, meanwhile
      stack.close()
      return dict(zip(workdirs, train_runs(configs, workdirs), strict=True))
    states = _restored(runs, programs.fresh())
    step = int(states[0].step)
    painter = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
    runs[0].tell(text_tables.parameter_table(states[0].params))
    for run in runs:
      run.begin(step, num_steps, painter, len(runs))
    state = programs.join(states)
    del states
    start = time.monotonic()
    if step < num_steps:
      programs.start(state, step)
    compiled = time.monotonic() - start
    if step == 0:
      for run, evaluated in zip(runs, programs.evaluate(state), strict=True):
        run.first_row(evaluated)
    set_up = time.monotonic() - clock
    for run in runs:
      run.record.add_time("compile", compiled)
      run.record.add_time("set_up", set_up)
    runs[0].tell(f"Loading and compiling took {set_up:.1f} s.")
    title = config.model.name if len(runs) == 1 else f"{config.model.name}, {len(runs)} runs"
    bar = stack.enter_context(progress_bar(num_steps, step, title, disable=not hosts.is_first()))

    # Train
    loop_clock = time.monotonic()
    profiled = step + config.log_every
    errors.require(
      not profile or profiled + config.log_every <= num_steps,
      f"--profile records the second chunk of log_every = {config.log_every} steps; only {num_steps - step} are left.",
    )
    stop.deferred = True  # from here on there is something to save
    for i, run in enumerate(runs):
      run.state = programs.split(state, i) if run.ended else None
    # While the host logs a chunk, the devices are at the next one; not where the state is needed first, nor where hosts
    # have to agree, nor where the clock decides.
    overlapping = jax.process_count() == 1 and not profile and config.max_minutes is None
    ahead, finished = None, time.monotonic()
    while training := [(i, run) for i, run in enumerate(runs) if run.ended is None]:
      length = min(config.log_every, num_steps - step)
      with recorded(workdirs[0] / "profile", profile and step == profiled):
        start = finished if ahead else time.monotonic()
        state, values = ahead or programs.train(state, length)
        step, ahead = step + length, None
        wanted = [stop.received is not None, *(run.is_asked_to_end() for _, run in training)]
        if overlapping and step < num_steps and not any(wanted) and not any(due(*often) for often in events):
          ahead = programs.train(state, min(config.log_every, num_steps - step))
        values = programs.each(values)
        finished = time.monotonic()
      seconds = finished - start
      for i, run in training:
        with run.failing_alone():
          run.advance(values[i], seconds)
      sound = [(i, run) for i, run in training if run.error is None]
      asked, over = hosts.any_of(stop.received is not None and ahead is None, runs[0].ended is not None)
      if over and len(runs) == 1:
        runs[0].ended = runs[0].ended or "another host's time is over"
      evaluating = due(*evaluations)
      evaluated = [{}] * len(runs)
      if evaluating or any(run.ended for _, run in sound):
        start = time.monotonic()
        evaluated = programs.evaluate(state)
        for _, run in sound:
          run.record.add_time("evaluate", time.monotonic() - start)
      for i, run in sound:
        with run.failing_alone():
          run.log(evaluated[i] if evaluating or run.ended else {})
          if due(*drawings) or run.ended:
            run.draw(lambda i=i: programs.draw(state, i))
          if run.ended or asked or run.is_scored() or due(*savings):
            run.save(saved := programs.split(state, i))
            run.state = saved if run.ended else None
      speed, losses = length * config.batch_size * len(training) / seconds, [f"{run.loss:.2f}" for _, run in sound]
      bar.set_postfix_str(f"{speed:,.0f} images/s, loss {' '.join(losses[:4])}", refresh=False)
      bar.update(length)
      if asked:
        for run in runs:
          run.settle()
        by = stop.received or "a signal to another host"
        raise errors.StoppedError(f"Stopped by {by} at step {step} of {num_steps}, which is saved.")
    bar.close()
    for run in runs:
      if run.ended and not run.error and run.step < num_steps:
        run.tell(f"Ended at step {run.step} of {num_steps}: {run.ended}.")
      run.settle()
      run.record.add_time("loop", time.monotonic() - loop_clock)
    stop.deferred = False
    if stop.received:  # since the last look
      raise errors.StoppedError(f"Stopped by {stop.received} at step {step}, which is saved; the evaluation remains.")
    if profile and step <= profiled:
      runs[0].tell("--profile recorded nothing: the run ended before its second chunk.")

    # Report
    outcomes = {}
    for run in (run for run in runs if run.error is None):
      with run.failing_alone():
        outcomes[run.workdir] = _report(run, experiment, programs.mesh, clock)
  return {run.workdir: run.error or outcomes[run.workdir] for run in runs}


def _report(run: Run, experiment: Experiment, mesh: Mesh | None, clock: float) -> dict[str, Any]:
  """Evaluates the state that a run ended with, on one host, and writes results.json."""
  state, mesh = devices.local(run.state.averaged(), mesh)
  if not hosts.is_first():
    hosts.wait_for(run.workdir / "results.json")
    return {}
  with devices.use_mesh(mesh), run.record.timed("final_evaluation"):
    results = trained.evaluate_finally(run.config, experiment, state, run.workdir)
  files.write_json(run.workdir / "results.json", results)
  run.record.add_time("total", time.monotonic() - clock)
  run.record.finish()
  return results
