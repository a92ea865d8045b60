"""One run while it trains: its folder, its logs and checkpoints, and when it ends."""

import concurrent.futures
import contextlib
import math
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from dgm_jax.core import errors, figures, files, options
from dgm_jax.training import final_figures
from dgm_jax.training.early_stopping import Ending, score
from dgm_jax.training.loggers import hub
from dgm_jax.training.processes import hosts
from dgm_jax.training.workdir import checkpoint, metrics, warm_start
from dgm_jax.training.workdir.lock import locked
from dgm_jax.training.workdir.run_record import RunRecord, versions


class Run:
  """The folder and progress of one run, which only the first of several hosts writes.

  Attributes:
    config, workdir: config and folder of the run.
    ended: reason why it has ended; None while it trains.
    error: the error that ended this run, if any.
    state: the state that it ended with.
    step: number of steps so far.
    record: run.json, with the wall times.
  """

  def __init__(self, config: ConfigDict, workdir: pathlib.Path, about: dict[str, Any], examples_per_step: int):
    self.config, self.workdir = config, workdir
    self.ended: str | None = None
    self.error: errors.DivergenceError | errors.PrunedError | None = None
    self.state: Any = None
    self.step, self._about, self._examples_per_step = 0, about, examples_per_step
    self._asked: str | None = None
    updates = config.get("objective", {}).get("decoder_updates", 0)
    self._ending = Ending(config.keep_best, config.early_stopping, config.max_minutes, updates)

  def open(self, stack: contextlib.ExitStack) -> None:
    """Locks the folder and opens its checkpoints, until the stack is closed.

    Raises:
      LockedError: another process is training there.
    """
    hosts.on_first_host(lambda: stack.enter_context(locked(self.workdir)))
    if hosts.is_first():
      for folder in ("", "figures", "own"):
        files.remove_left(self.workdir / folder, former=True)
    self._checkpoints = stack.enter_context(checkpoint.open_manager(self.workdir, self.config.keep_checkpoints))
    self._stack = stack

  def saved_steps(self) -> set[int]:
    """Steps of the existing checkpoints."""
    return checkpoint.steps(self.workdir)

  def restore(self, template: Any, step: int | None = None) -> Any:
    """The newest readable state, or that of `step`; without checkpoints the template, started from config.init_from."""
    state = checkpoint.restore_latest(self._checkpoints, template, repair=step is None, step=step)
    if state is None:
      state = template
      if self.config.init_from:
        state, report = warm_start.from_run(state, self.config.init_from)
        self.tell(report)
    return state

  def begin(self, step: int, num_steps: int, painter: concurrent.futures.Executor, lanes: int) -> None:
    """Opens the logs at the step from which training continues; removes rows and checkpoints of later steps."""
    self.step, self._num_steps, self._painter = step, num_steps, painter
    checkpoint.remove_after(self._checkpoints, step)
    if hosts.is_first():
      (self.workdir / "failure.json").unlink(missing_ok=True)
    self._writer = self._loggers = None
    self.record = RunRecord(self.workdir, self.config.seed, step, hosts.is_first(), lanes)
    self._stack.callback(self.record.write)
    self._rows = metrics.until(self.workdir, step)
    if hosts.is_first():
      logged = metrics.read(self.workdir)
      metrics.report_damage(self.workdir)
      about = hub.About(self.workdir, step, files.flatten(self.config.to_dict()))
      newest = max((row["step"] for row in logged), default=-1)
      self._loggers = hub.Hub(self.config.loggers, about, self._rows, newest)
      self._stack.enter_context(contextlib.closing(self._loggers))
      writer = metrics.MetricWriter(self.workdir, self._rows, self._about)
      self._writer = self._stack.enter_context(contextlib.closing(writer))
    self._drawn = painter.submit(lambda: None)
    self.ended = self._why_ended()
    if self.is_asked_to_end():
      self._end_as_asked()
    if step:
      self.tell(f"Resuming {self.workdir} at step {step} of {num_steps}.")

  def tell(self, text: str) -> None:
    """Prints on the first host only."""
    if hosts.is_first():
      print(text, flush=True)

  def _why_ended(self) -> str | None:
    if self.step == self._num_steps:
      return "all steps are done"
    return self._ending.reason(self._rows, self.record.seconds("train") / 60)

  def _write(self, row: dict[str, float], speeds: dict[str, float]) -> None:
    if self._writer:
      self._writer.write(self.step, row)
      self._loggers.scalars(self.step, row | speeds)
    self._rows.append({"step": self.step, **row})

  def first_row(self, evaluated: dict[str, float]) -> None:
    """Logs the evaluation before the first step.  Raises UserError if keep_best is none of its metrics."""
    if self.config.keep_best:
      errors.choose("metric of keep_best", self.config.keep_best, evaluated)
    self._write(evaluated, {})

  def advance(self, values: dict[str, jax.Array], seconds: float) -> None:
    """Records further steps by their metrics [length], on the host; ends the run if it is due.

    Raises:
      DivergenceError: a metric is not finite.
    """
    self._check_finite(values)
    length = len(next(iter(values.values())))
    self.step += length
    self._row = {f"train/{k}": float(v.mean(dtype="float64")) for k, v in values.items()}
    self._speeds = {"speed/steps_per_s": length / seconds}
    self._speeds["speed/images_per_s"] = self._speeds["speed/steps_per_s"] * self._examples_per_step
    self.record.add_time("train", seconds)
    self.ended = self._why_ended()

  def log(self, evaluated: dict[str, float]) -> None:
    """Writes the row of these steps, with the evaluated metrics.

    Raises:
      DivergenceError: an evaluated metric is not finite.
    """
    self._row |= evaluated
    bad = [k for k, v in self._row.items() if not math.isfinite(v)]
    if bad:  # an evaluated metric, for the steps were finite
      raise errors.DivergenceError(
        f"{bad[0]} is {self._row[bad[0]]} at step {self.step}, though training was finite.", self.step
      )
    self._write(self._row, self._speeds)
    self.ended = self.ended or self._why_ended()
    if self._asked is not None:
      self._end_as_asked()

  def _end_as_asked(self) -> None:
    if self.ended is None:
      self.ended = f"requested by stop.json ({self._asked})"
      sentence = f"{self.workdir} ended at step {self.step}, {self.ended}; remove the file to continue."
      self.error = errors.PrunedError(sentence)

  def is_asked_to_end(self) -> bool:
    """Whether there is a stop.json; if so, the run ends with the next row that is logged."""
    if jax.process_count() == 1:  # several hosts would not see the file at the same step
      try:
        asked = files.read_json(self.workdir / "stop.json")
      except errors.UserError as e:  # it is no reason to lose steps
        logging.log_first_n(logging.WARNING, "%s The run goes on.", 1, e)
        asked = None
      self._asked = None if asked is None else asked["reason"]
    return self._asked is not None

  @property
  def loss(self) -> float:
    """Training loss of the latest chunk of steps."""
    return self._row["train/loss"]

  def is_scored(self) -> bool:
    """Whether the latest row has the metric that selects the best checkpoint."""
    return bool(self.config.keep_best) and self.config.keep_best in self._rows[-1]

  def draw(self, shown: Callable[[], dict[str, jax.Array | str]]) -> None:
    """Starts drawing the figures of the latest step, and writing its texts, in a thread, while training continues."""
    with self.record.timed("figures"):
      found = shown()
      if hosts.is_first():
        self._drawn.result()  # re-raises an error of the thread
        self._drawn = self._painter.submit(self._paint, self.step, found, list(self._rows))

  def _paint(self, step: int, shown: dict[str, jax.Array | str], rows: list[dict]) -> None:
    """Writes figures/NAME_STEP and figures/learning_curves, and passes pictures and texts on to the loggers."""
    texts = {name: value for name, value in shown.items() if isinstance(value, str)}
    grids = {name: value for name, value in shown.items() if name not in texts}
    folder = self.workdir / "figures"
    figures.save_progress(folder, step, grids, rows, options.words(self.config.figure_formats))
    for name, text in texts.items():
      files.write_text(folder / f"{name}_{step:08d}.txt", text + "\n")
    self._loggers.pictures(step, {name: folder / f"{name}_{step:08d}.png" for name in grids})
    self._loggers.texts(step, texts)

  def report(self, results: dict[str, Any]) -> None:
    """Passes the final results, and the figures of the evaluations, on to the loggers."""
    if self.config.principle == "adversarial":
      self._drawn.result()
      final_figures.write(self.workdir, self._rows, options.words(self.config.figure_formats))
    of_steps = re.compile(r"_\d{8}$|^learning_curves$")
    drawn = {p.stem: p for p in sorted((self.workdir / "figures").glob("*.png")) if not of_steps.search(p.stem)}
    self._loggers.pictures(self.step, drawn)
    self._loggers.finish(results)

  def close_loggers(self) -> None:
    """Closes the loggers before the process ends, from another thread."""
    if self._loggers:
      self._loggers.close()

  def save(self, state: Any) -> None:
    """Starts writing a checkpoint, and writes the wall times so far to run.json."""
    best = score(self.config.keep_best, self._rows[-1]) if self.is_scored() else None
    about = {"config": self.config.to_dict(), "versions": versions()}
    with self.record.timed("checkpoints"):
      checkpoint.save(self._checkpoints, self.step, state, best, about)
    self.record.write()

  def settle(self) -> None:
    """Waits until figures, rows and checkpoints are on the disk."""
    if self._writer:
      self._writer.sync()
    with self.record.timed("figures"):
      self._drawn.result()
    with self.record.timed("checkpoints"):
      self._checkpoints.wait_until_finished()

  @contextlib.contextmanager
  def failing_alone(self) -> Iterator[None]:
    """Context in which a DivergenceError ends only this run and is recorded in `error` and failure.json."""
    try:
      yield
    except errors.DivergenceError as e:
      self.error, self.ended, self.state = e, "it diverged", None
      if hosts.is_first():
        files.write_json(self.workdir / "failure.json", {"error": str(e), "step": e.step})

  def _check_finite(self, values: dict[str, jax.Array]) -> None:
    for name, value in values.items():
      finite = abs(value) < math.inf  # false for NaN, too
      if not finite.all():
        first, length = self.step + int(finite.argmin()), len(value)
        self._checkpoints.wait_until_finished()
        if first in self._checkpoints.all_steps():  # its parameters are already invalid
          self._checkpoints.delete(first)
        saved = self._checkpoints.latest_step()
        kept = "There is no checkpoint before." if saved is None else f"The checkpoint of step {saved} is kept."
        raise errors.DivergenceError(
          f"train/{name} became {value[first - self.step]} at step {first + 1}, within steps {self.step + 1} to "
          f"{self.step + length}. {kept} A smaller optim.lr may help; --mode=debug names the operation.",
          first + 1,
        )
