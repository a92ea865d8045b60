"""The training loop of one run, or of several as lanes of one program, in chunks of steps."""

import concurrent.futures
import contextlib
import time
from typing import Any

import jax

from dgm_jax.core import errors, text_tables
from dgm_jax.core.progress import progress_bar
from dgm_jax.training import labels
from dgm_jax.training.diagnostics.profile import recorded
from dgm_jax.training.events import Events
from dgm_jax.training.experiment import Experiment
from dgm_jax.training.lanes import Lanes, Lone
from dgm_jax.training.processes import hosts
from dgm_jax.training.processes.signals import StopRequest
from dgm_jax.training.run import Run


def _restored(runs: list[Run], templates: list[Any]) -> list[Any]:
  """The states of all runs at the newest step that each of them has saved and can read."""
  if len(runs) == 1:
    return [runs[0].restore(templates[0])]
  steps = sorted(set.intersection(*(run.saved_steps() for run in runs)), reverse=True) or [None]
  for step in steps:
    try:
      return [run.restore(template, step) for run, template in zip(runs, templates, strict=True)]
    except errors.UserError as e:
      error = e
  raise error


class Loop:
  """Trains runs from their newest common checkpoint until each has ended; `run.state` is then its last state.

  While the host logs a chunk of steps, the devices already compute the next one, unless the state is needed first,
  several hosts have to agree, or there is a time limit or a profile.

  Args:
    experiment: model, system and data, which the runs share.
    runs: the runs, with their folders open.
    engine: the state on the devices, and the compiled programs that work on it.
    stop: records signals that ask to stop.
    profile: whether to record the second chunk of steps, the first in which nothing compiles.
  """

  def __init__(
    self, experiment: Experiment, runs: list[Run], engine: Lone | Lanes, stop: StopRequest, profile: bool = False
  ):
    self._experiment, self._runs, self._engine, self._stop, self._profile = experiment, runs, engine, stop, profile
    self._config, self._num_steps = runs[0].config, experiment.num_steps
    self._events = Events.of(self._config, experiment.num_steps, experiment.steps_per_epoch, experiment.log_every)
    alone = jax.process_count() == 1
    may_end = self._config.max_minutes is not None or self._config.objective.get("decoder_updates", 0) > 0
    self._overlapping = alone and not profile and not may_end  # a run may end after any chunk
    self._ahead = None  # (state, metrics) of the chunk after the current one, if it was started early

  def start(self, stack: contextlib.ExitStack, clock: float) -> None:
    """Restores the states, compiles the programs, and evaluates before the first step.

    Args:
      stack: closes everything that is opened here.
      clock: time.monotonic() when the work on the runs began.
    """
    runs, engine = self._runs, self._engine
    states = _restored(runs, engine.fresh())
    self._step = int(states[0].step)
    painter = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
    runs[0].tell(text_tables.parameter_table(states[0].params))
    for sentence in labels.described(self._experiment.model, self._experiment.splits):
      runs[0].tell(sentence)
    self._stop.begin(self._config.get("grace_seconds"))  # before loggers are opened, which may not be interrupted
    self._stop.closing = [run.close_loggers for run in runs]
    for run in runs:
      run.begin(self._step, self._num_steps, painter, len(runs))
    self._state = engine.join(states)
    del states
    start = time.monotonic()
    if self._step < self._num_steps:
      engine.start(self._state, self._step)
    compiled = time.monotonic() - start
    if self._step == 0:
      for i, (run, evaluated) in enumerate(zip(runs, engine.evaluate(self._state), strict=True)):
        run.first_row(evaluated | self._tracked(run, i))
    set_up = time.monotonic() - clock
    for run in runs:
      run.record.add_time("compile", compiled)
      run.record.add_time("set_up", set_up)
    runs[0].tell(f"Loading and compiling took {set_up:.1f} s.")
    name = self._config.model.name
    title = name if len(runs) == 1 else f"{name}, {len(runs)} runs"
    self._bar = stack.enter_context(progress_bar(self._num_steps, self._step, title, disable=not hosts.is_first()))

  def run(self) -> None:
    """Takes all steps.

    Raises:
      UserError: there are too few steps left to profile.
      StoppedError: a signal asked to stop; the states are saved.
    """
    clock, self._profiled = time.monotonic(), self._step + self._experiment.log_every
    errors.require(
      not self._profile or self._profiled + self._experiment.log_every <= self._num_steps,
      f"--profile records the second chunk of log_every = {self._experiment.log_every} steps; only "
      f"{self._num_steps - self._step} are left.",
    )
    self._stop.deferred = True  # from here on there is something to save
    for i, run in enumerate(self._runs):
      run.state = self._engine.split(self._state, i) if run.ended else None
    self._finished = time.monotonic()
    while training := [(i, run) for i, run in enumerate(self._runs) if run.ended is None]:
      self._chunk(training)
    self._end(clock)

  def _chunk(self, training: list[tuple[int, Run]]) -> None:
    """Takes log_every steps, then logs, evaluates, draws and saves as due."""
    before = self._step
    values, seconds = self._take_steps(training)
    for i, run in training:
      with run.failing_alone():
        run.advance(values[i], seconds)
    sound = [(i, run) for i, run in training if run.error is None]
    asked = self._agree_on_stopping()
    self._log_and_save(sound, asked)
    speed = (self._step - before) * self._experiment.examples_per_step * len(training) / seconds
    losses = [f"{run.loss:.2f}" for _, run in sound]
    self._bar.set_postfix_str(f"{speed:,.0f} images/s, loss {' '.join(losses[:4])}", refresh=False)
    self._bar.update(self._step - before)
    if asked:
      for run in self._runs:
        run.settle()
      by = self._stop.received or "a signal to another host"
      raise errors.StoppedError(f"Stopped by {by} at step {self._step} of {self._num_steps}, which is saved.")

  def _take_steps(self, training: list[tuple[int, Run]]) -> tuple[list[dict[str, jax.Array]], float]:
    """(metrics {name: [length]} of each run, on the host; seconds that the steps took)."""
    length = min(self._experiment.log_every, self._num_steps - self._step)
    with recorded(self._runs[0].workdir / "profile", self._profile and self._step == self._profiled):
      start = self._finished if self._ahead else time.monotonic()
      self._state, values = self._ahead or self._engine.train(self._state, length)
      self._step, self._ahead = self._step + length, None
      wanted = [self._stop.received is not None, *(run.is_asked_to_end() for _, run in training)]
      left = self._num_steps - self._step
      if self._overlapping and left > 0 and not any(wanted) and not self._events.any_at(self._step):
        self._ahead = self._engine.train(self._state, min(self._experiment.log_every, left))
      values = self._engine.each(values)
      self._finished = time.monotonic()
    return values, self._finished - start

  def _agree_on_stopping(self) -> bool:
    """Whether a signal asked any host to stop; a run that ended on another host ends here, too."""
    received = self._stop.received is not None and self._ahead is None
    asked, over = hosts.any_of(received, self._runs[0].ended is not None)
    if over and len(self._runs) == 1:
      self._runs[0].ended = self._runs[0].ended or "another host's time is over"
    return asked

  def _log_and_save(self, sound: list[tuple[int, Run]], asked: bool) -> None:
    """Logs the runs whose steps were finite, and evaluates, draws and saves them as due."""
    evaluate, draw, save = (self._step % every == 0 for every in self._events)
    evaluated = [{}] * len(self._runs)
    if evaluate or any(run.ended for _, run in sound):
      start = time.monotonic()
      evaluated = self._engine.evaluate(self._state)
      for _, run in sound:
        run.record.add_time("evaluate", time.monotonic() - start)
    for i, run in sound:
      with run.failing_alone():
        run.log(evaluated[i] | self._tracked(run, i) if evaluate or run.ended else {})
        if draw or run.ended:
          run.draw(lambda i=i: self._engine.draw(self._state, i))
        if run.ended or asked or run.is_scored() or save:
          run.save(saved := self._engine.split(self._state, i))
          run.state = saved if run.ended else None

  def _tracked(self, run: Run, i: int) -> dict[str, float]:
    """The numbers of config.track for the i-th run, whose cost is in run.json."""
    if not run.config.track:
      return {}
    with run.record.timed("track"):
      return self._engine.track(self._state, i)

  def _end(self, clock: float) -> None:
    self._bar.close()
    for run in self._runs:
      if run.ended and not run.error and run.step < self._num_steps:
        run.tell(f"Ended at step {run.step} of {self._num_steps}: {run.ended}.")
      run.settle()
      run.record.add_time("loop", time.monotonic() - clock)
    self._stop.kept = f"step {self._step} is saved, the final evaluation is missing"
    self._stop.deferred = False
    self._stop.check()
    if self._profile and self._step <= self._profiled:
      self._runs[0].tell("--profile recorded nothing: the run ended before its second chunk.")
