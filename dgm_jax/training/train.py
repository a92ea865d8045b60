"""Trains runs, from their configs to their results.

A step's batch and key are functions of (seed, step), so that only the state has to be saved.  loop.py takes chunks of
steps; one step is `train_step` of core/system.py, which minimises the loss of a principle: for a VAE or an IWAE
`loss_fn` of principles/latent/latent.py.
"""

import contextlib
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dgm_jax.core import errors, files
from dgm_jax.core.evaluation import make_prepare
from dgm_jax.data import sources
from dgm_jax.evaluate import chosen
from dgm_jax.training import folds, given_runs, results, settings, tracking
from dgm_jax.training.build import build
from dgm_jax.training.checks import is_alone
from dgm_jax.training.experiment import Experiment, make_init
from dgm_jax.training.lanes import Lanes, Lone
from dgm_jax.training.loggers import hub
from dgm_jax.training.loop import Loop
from dgm_jax.training.processes import devices, hosts, signals
from dgm_jax.training.run import Run
from dgm_jax.training.workdir import checkpoint, own_files, recovery, warm_start
from dgm_jax.training.workdir.folder import check, check_data, create, disk_errors

Outcome = dict[str, Any] | errors.DivergenceError | errors.PrunedError


def _held_out(experiment: Experiment) -> str:
  """Name of the split that is evaluated during training."""
  return "valid" if experiment.splits.valid else "test"


def check_options(config: ConfigDict, experiment: Experiment) -> None:
  """Raises UserError for invalid loggers, init_from or keep_best, or evaluations that do not fit the data.

  That is before the run's folder is created: not after the training.
  """
  hub.check(config.loggers)
  split = _held_out(experiment)
  final = (chosen.find(name, given) for name, given in config.evaluate.items())
  for evaluation in (*final, *tracking.evaluations(config, split)):
    if evaluation.prepare is not None:
      evaluation.handed(given_runs.load).prepared(experiment)
  if config.init_from:
    warm_start.check(config.init_from)
  errors.require(
    bool(config.init_from) or config.objective.get("train") != "discriminator",
    "objective.train = 'discriminator' needs a trained generator: name the folder of its run by init_from.",
  )
  if config.keep_best:
    state = jax.eval_shape(make_init(experiment, config.seed))
    batch = experiment.transforms.evaluate
    examples = jax.tree.map(lambda a: jnp.asarray(a[:2]), getattr(experiment.splits, split))
    key = jax.random.key(0)
    names = jax.eval_shape(lambda state: experiment.system.eval_step(state, key, batch(key, examples)), state)
    tracked = tracking.names(config, split)
    if tracked is not None or not config.keep_best.startswith(f"{split}/"):  # else the first evaluation tells
      choices = [*(f"{split}/{name}" for name in names), *(tracked or ())]
      errors.choose("metric of keep_best", config.keep_best, choices)


def train_and_evaluate(config: ConfigDict, workdir: str | pathlib.Path, profile: bool = False) -> dict[str, Any]:
  """Trains, or resumes, the run of `config` in `workdir`, and evaluates it.

  Writes config.json, run.json (command, versions, machine, wall times), metrics.jsonl, tensorboard/, checkpoints/,
  figures/ and, at the end, results.json.  A finished run is not repeated: its results are returned.

  Args:
    config: see configs/.
    workdir: the run's folder.
    profile: whether to record the second chunk of steps, the first in which nothing compiles, into workdir/profile/.

  Returns:
    {name: value}, the content of results.json.

  Raises:
    UserError: an invalid config, or a workdir that is not this run's.
    DivergenceError: NaN or Inf; the last checkpoint is kept.
    PrunedError: stop.json, {"reason": ...}, was put into the workdir; the state is saved but not evaluated.
    StoppedError: SIGTERM or SIGINT; the state is saved.
  """
  [outcome] = train_runs([config], [workdir], profile)
  if isinstance(outcome, Exception):
    raise outcome
  return outcome


def train_runs(
  configs: Sequence[ConfigDict],
  workdirs: Sequence[str | pathlib.Path],
  profile: bool = False,
  own_folder: pathlib.Path | None = None,
) -> list[Outcome]:
  """train_and_evaluate for several runs as lanes of one program; they differ only in seed, hparams and init_from.

  Each has its own folder, and can be resumed alone later.  NaN or Inf in one run does not affect the others.  Runs
  whose data are streamed, or whose encoder is updated aggressively, are trained one after another.

  Args:
    configs, workdirs: config and folder of each run.
    profile: see train_and_evaluate.
    own_folder: folder of the sweep that keeps the user's own modules; None if they are where the configs name them.

  Returns:
    For each run its results, or the DivergenceError or PrunedError that ended it.  With several hosts only the first
    returns results, the others {}.

  Raises:
    UserError, StoppedError: see train_and_evaluate; for any of the runs.
  """
  given = [(config, pathlib.Path(workdir)) for config, workdir in zip(configs, workdirs, strict=True)]
  hosts.on_first_host(lambda: [check(workdir, config.to_dict(), own_folder) for config, workdir in given])
  outcomes: dict[pathlib.Path, Outcome] = {}
  with signals.requests() as stop:
    for cohort in _cohorts([run for run in given if recovery.results(run[1]) is None]):
      outcomes |= _train(*zip(*cohort, strict=True), profile, stop, own_folder)
  return [outcomes[w] if w in outcomes else recovery.results(w) for _, w in given]


def _cohorts(given: list[tuple[ConfigDict, pathlib.Path]]) -> list[list[tuple[ConfigDict, pathlib.Path]]]:
  """Groups of runs that can continue together from the same step; usually one group."""
  if not given:
    return []
  saved = [checkpoint.steps(workdir) for _, workdir in given]
  newest = [max(steps, default=0) for steps in saved]
  common = max(set.intersection(*saved), default=None)
  # together if none is behind, or those ahead lose only one checkpoint: the process died while it saved the runs
  if not any(newest) or (common == min(newest) and all(sum(s > common for s in steps) <= 1 for steps in saved)):
    return [given]
  return [[run for run, n in zip(given, newest, strict=True) if n == step] for step in sorted(set(newest))]


def _opened(
  configs: Sequence[ConfigDict],
  workdirs: Sequence[pathlib.Path],
  own: Sequence[pathlib.Path],
  experiments: Sequence[Experiment],
) -> list[Run]:
  """The runs, whose folders the first host creates; `own` has the folders in which modules of the user's are kept."""
  known = [results.about(configs[0], experiments[0])] * len(configs)
  if folds.differ(configs):
    known = [results.about(c, experiment) for c, experiment in zip(configs, experiments, strict=True)]
  abouts = [about | {"seed": c.seed} for c, about in zip(configs, known, strict=True)]
  size = experiments[0].examples_per_step
  runs = [Run(*of, size) for of in zip(configs, workdirs, abouts, strict=True)]

  def make_folders():
    for run, about in zip(runs, abouts, strict=True):
      create(run.workdir, run.config.to_dict(), own_files.located(run.config, run.workdir, *own).to_dict())
      check_data(run.workdir, about)

  hosts.on_first_host(make_folders)
  return runs


def _train(
  configs: Sequence[ConfigDict],
  workdirs: Sequence[pathlib.Path],
  profile: bool,
  stop: signals.StopRequest,
  own_folder: pathlib.Path | None,
) -> dict[pathlib.Path, Outcome]:
  """train_runs for unfinished runs."""
  clock, config, own = time.monotonic(), configs[0], [] if own_folder is None else [own_folder]
  for c in configs[1:]:  # `build` validates the first
    settings.check(c)
  experiment = build(own_files.located(config, workdirs[0], *own))
  streamed = sources.choose(config.data.source, experiment.splits.train) == "streaming"
  if len(configs) > 1 and (streamed or is_alone(config)):  # streaming serves one run
    each = [_train([c], [w], profile, stop, own_folder) for c, w in zip(configs, workdirs, strict=True)]
    return {w: outcome for outcomes in each for w, outcome in outcomes.items()}
  for c in configs:
    check_options(c, experiment)
  experiments = [experiment] * len(configs)
  if folds.differ(configs):
    others = zip(configs[1:], workdirs[1:], strict=True)
    experiments = [experiment, *(build(own_files.located(c, w, *own)) for c, w in others)]
  runs = _opened(configs, workdirs, own, experiments)
  engine = _engine(experiments, configs)
  with contextlib.ExitStack() as stack:
    stack.enter_context(disk_errors(workdirs[0]))
    stack.enter_context(devices.use_mesh(engine.mesh))
    for run in runs:
      run.open(stack)
    hosts.on_first_host(lambda: [check(run.workdir, run.config.to_dict(), own_folder) for run in runs])
    if any(recovery.results(w) is not None for w in workdirs):  # another process finished it meanwhile
      stack.close()
      return dict(zip(workdirs, train_runs(configs, workdirs, own_folder=own_folder), strict=True))
    loop = Loop(experiment, runs, engine, stop, profile)
    loop.start(stack, clock)
    loop.run()
    outcomes = {}
    for run, of_run in ((r, e) for r, e in zip(runs, experiments, strict=True) if r.error is None):
      with run.failing_alone():
        outcomes[run.workdir] = _report(run, of_run, engine.mesh, clock)
  return {run.workdir: run.error or outcomes[run.workdir] for run in runs}


def _engine(experiments: Sequence[Experiment], configs: Sequence[ConfigDict]) -> Lone | Lanes:
  """What trains the runs: one alone, lanes that share their data, or folds."""
  split = _held_out(experiments[0])
  if folds.differ(configs):
    return folds.Folds(experiments, configs, split)
  return (Lone if len(configs) == 1 else Lanes)(experiments[0], configs, split)


def _report(run: Run, experiment: Experiment, mesh: Mesh | None, clock: float) -> dict[str, Any]:
  """Evaluates the state that a run ended with, on one host, and writes results.json."""
  state, mesh = devices.local(run.state.averaged(), mesh)
  if not hosts.is_first():
    hosts.wait_for(run.workdir / "results.json")
    return {}
  with devices.use_mesh(mesh), run.record.timed("final_evaluation"):
    found = results.evaluate_finally(run.config, experiment, make_prepare(experiment.system)(state), run.workdir)
  run.report(found)
  files.write_json(run.workdir / "results.json", found)
  run.record.add_time("total", time.monotonic() - clock)
  run.record.finish()
  return found
