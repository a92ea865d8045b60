"""The one loop.  A step's batch and key are functions of (seed, step), so the state is all there is to save."""

import concurrent.futures
import contextlib
import math
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax import checkpoint, errors, figures, metrics, rng, trained, warm_start
from dgm_jax import workdir as wd
from dgm_jax.build import Experiment, build, make_init
from dgm_jax.devices import shardings
from dgm_jax.ending import Ending, score
from dgm_jax.feed import make_feed
from dgm_jax.lock import locked
from dgm_jax.profile import recorded
from dgm_jax.programs import make_evaluate, make_pictures
from dgm_jax.progress import progress_bar
from dgm_jax.stopping import StopRequest


def _check_finite(values: dict[str, jax.Array], start: int, checkpoints: Any) -> None:
  """Stops a run whose metrics [length] of the steps from `start` on are not all finite."""
  for name, value in values.items():
    finite = jnp.isfinite(value)
    if not finite.all():
      first, length = start + int(jnp.argmin(finite)), len(value)
      checkpoints.wait_until_finished()
      if first in checkpoints.all_steps():  # its parameters give NaN at once: they are what the last update spoilt
        checkpoints.delete(first)
      saved = checkpoints.latest_step()
      kept = "There is no checkpoint before." if saved is None else f"The checkpoint of step {saved} is kept."
      raise errors.DivergenceError(
        f"train/{name} became {value[first - start]} at step {first + 1}, within steps {start + 1} to "
        f"{start + length}. {kept} A smaller optim.lr may help; --mode=debug names the operation."
      )


def _check_options(config: ConfigDict, experiment: Experiment, split: str) -> None:
  """Refuses what can be known to be wrong before the run's folder is made."""
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
    StoppedError: SIGTERM or SIGINT; the state is saved.
  """
  workdir, clock = pathlib.Path(workdir), time.monotonic()
  if (finished := wd.check(workdir, config.to_dict())) is not None:
    return finished
  experiment = build(config)
  system, num_steps, transforms = experiment.system, experiment.num_steps, experiment.transforms
  split = "valid" if experiment.splits.valid else "test"
  _check_options(config, experiment, split)
  wd.create(workdir, config.to_dict())
  about = trained.about(config, experiment)
  wd.check_data(workdir, about)

  # Programs and data
  replicated, sharded = shardings(config.batch_size)
  key = jax.device_put(jax.random.key(config.seed), replicated)
  feed = make_feed(
    system,
    transforms.train,
    experiment.splits.train,
    config.data.source,
    key,
    (config.batch_size, config.log_every, num_steps),
    (replicated, sharded),
  )
  held_out = getattr(experiment.splits, split)
  state = jax.jit(make_init(experiment, config.seed), out_shardings=replicated)()
  evaluate_set = make_evaluate(system, transforms.evaluate, config.eval_batch_size, sharded)

  def evaluate_held_out():
    values = evaluate_set(state, rng.stream(key, "eval"), held_out)
    return {f"{split}/{k}": v for k, v in values.items()}

  def due(every, times):
    """Whether `every` divides the step; for 0, `times` times a run but not within five epochs."""
    seldom = max(num_steps / times, 5 * experiment.steps_per_epoch) / config.log_every
    return step % (every or math.ceil(seldom) * config.log_every) == 0 or ended is not None

  def save():
    best = score(config.keep_best, rows[-1]) if config.keep_best in rows[-1] else None
    checkpoint.save(checkpoints, step, state, best, {"config": config.to_dict(), "versions": wd.versions()})
    record.write()  # the time it took so far

  with contextlib.ExitStack() as stack:
    stop = stack.enter_context(StopRequest())
    stack.enter_context(wd.disk_errors(workdir))
    stack.enter_context(locked(workdir))
    if (finished := wd.check(workdir, config.to_dict())) is not None:  # by another process, meanwhile
      return finished
    checkpoints = stack.enter_context(checkpoint.open_manager(workdir, config.keep_checkpoints))
    if (restored := checkpoint.restore_latest(checkpoints, state, repair=True)) is not None:
      state = restored
    elif config.init_from:
      state, report = warm_start.from_run(state, config.init_from)
      print(report, flush=True)
    step = int(state.step)
    record = wd.RunRecord(workdir, config.seed, step)
    stack.callback(record.write)
    print(metrics.parameter_table(state.params), flush=True)
    if step:
      print(f"Resuming {workdir} at step {step} of {num_steps}.", flush=True)
    writer = stack.enter_context(contextlib.closing(metrics.MetricWriter(workdir, step, about)))
    painter = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
    drawn = painter.submit(lambda: None)
    if step < num_steps:
      with record.timed("compile"):
        feed.start(state, step)
        key_pictures, examples = rng.stream(key, "pictures"), jax.tree.map(lambda a: a[:40], held_out)
        pictures = jax.jit(make_pictures(system, transforms.evaluate)).lower(state, key_pictures, examples).compile()
    if step == 0:
      writer.write(0, evaluate_held_out(), {})
    rows = metrics.read(workdir)
    ending = Ending(config.keep_best, config.early_stopping, config.max_minutes)

    def why_ended():
      return "all steps are done" if step == num_steps else ending.reason(rows, record.seconds("train") / 60)

    ended = why_ended()
    set_up = time.monotonic() - clock
    record.add_time("set_up", set_up)
    print(f"Loading and compiling took {set_up:.1f} s.", flush=True)
    bar = stack.enter_context(progress_bar(num_steps, step, config.model.name))

    # Train
    loop_clock = time.monotonic()
    profiled = step + config.log_every
    errors.require(
      not profile or profiled + config.log_every <= num_steps,
      f"--profile records the second chunk of log_every = {config.log_every} steps; only {num_steps - step} are left.",
    )
    stop.deferred = True  # from here on there is something to save
    while ended is None:
      length = min(config.log_every, num_steps - step)
      with recorded(workdir / "profile", profile and step == profiled):
        start = time.monotonic()
        state, values = feed.train(state, length)
        values = jax.block_until_ready(values)
        seconds = time.monotonic() - start
      _check_finite(values, step, checkpoints)
      step += length
      row = {f"train/{k}": float(jnp.mean(v)) for k, v in values.items()}
      record.add_time("train", seconds)
      ended = why_ended()
      if evaluated := due(config.eval_every, times=20):
        with record.timed("evaluate"):
          row |= evaluate_held_out()
      bad = [k for k, v in row.items() if not math.isfinite(v)]
      if bad:  # the steps were finite: it is the evaluation
        raise errors.DivergenceError(f"{bad[0]} is {row[bad[0]]} at step {step}, though training was finite.")
      speeds = {"speed/steps_per_s": length / seconds, "speed/images_per_s": length * config.batch_size / seconds}
      writer.write(step, row, speeds)
      rows.append({"step": step, **row})
      ended = ended or why_ended()
      bar.set_postfix_str(f"{speeds['speed/images_per_s']:,.0f} images/s, loss {row['train/loss']:.2f}", refresh=False)
      bar.update(length)
      if due(config.figures_every, times=5):
        with record.timed("figures"):  # drawn by a thread, while the next chunk runs
          grids = jax.device_get(pictures(state, key_pictures, examples))
          drawn.result()  # raises what went wrong in the thread
          drawn = painter.submit(figures.save_progress, workdir / "figures", step, grids, list(rows))
      if due(config.checkpoint_every, times=20) or (config.keep_best and evaluated):
        save()
      if stop.received:
        save()
        checkpoints.wait_until_finished()
        raise errors.StoppedError(f"Stopped by {stop.received} at step {step} of {num_steps}, which is saved.")
    bar.close()
    if step < num_steps:
      print(f"Ended at step {step} of {num_steps}: {ended}.", flush=True)
    drawn.result()
    checkpoints.wait_until_finished()
    record.add_time("loop", time.monotonic() - loop_clock)
    stop.deferred = False
    if stop.received:  # since the last look
      raise errors.StoppedError(f"Stopped by {stop.received} at step {step}, which is saved; the evaluation remains.")
    if profile and step <= profiled:
      print("--profile recorded nothing: the run ended before its second chunk.", flush=True)

    # Report
    with record.timed("final_evaluation"):
      results = trained.evaluate_finally(config, experiment, state.averaged(), workdir)
    wd.write_json(workdir / "results.json", results)
    record.add_time("total", time.monotonic() - clock)
    record.finish()
  return results
