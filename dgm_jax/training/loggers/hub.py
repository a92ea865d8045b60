"""The loggers of one run as one.  A logger that fails is turned off: its server may be down, the run goes on."""

import pathlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import errors, files, options
from dgm_jax.core.registry import module
from dgm_jax.training import loggers
from dgm_jax.training.workdir import recovery

_IDS = "loggers.json"


class About(NamedTuple):
  """What a logger needs to know of the run.

  Attributes:
    workdir: folder of the run.
    step: the step that the run starts or continues from.
    config: {path: value}, all numbers, text and tuples of the config.
  """

  workdir: pathlib.Path
  step: int
  config: dict[str, Any]

  def known(self, name: str) -> str | None:
    """The id under which a service knows the run from an earlier process."""
    return (recovery.optional(self.workdir / _IDS) or {}).get(name)

  def remember(self, name: str, identity: str) -> None:
    """Saves the id under which a service knows the run."""
    files.write_json(self.workdir / _IDS, (recovery.optional(self.workdir / _IDS) or {}) | {name: identity})

  def parameters(self) -> dict[str, bool | int | float | str]:
    """The config as hyper-parameters: numbers and text; what is unset is left out."""
    plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in self.config.items()}
    return {k: v for k, v in plain.items() if self.config[k] is not None}


def check(names: Sequence[str]) -> None:
  """Raises UserError if a logger of config.loggers is unknown, is named twice, or misses its package."""
  names = options.words(names)
  for name in names:
    module(loggers, "logger", name).check()
  errors.require(len(set(names)) == len(names), f"loggers = {tuple(names)}; each can be named once.")


def needed(name: str, package: str, why: str) -> Callable[[], None]:
  """Makes check() of a logger that imports a package of the extra `track`."""

  def check() -> None:
    errors.require(
      errors.is_installed(package), f"loggers names {name!r}, which {why}: pip install '.[track]' installs it."
    )

  return check


class Hub:
  """Passes everything on to each logger, one call at a time.

  Args:
    names: config.loggers.
    about: see About.
    rows: the rows of metrics.jsonl up to about.step, for a logger that is new to the run.
    logged: the newest step that an earlier process of the run logged.
  """

  def __init__(self, names: Sequence[str], about: About, rows: Sequence[dict] = (), logged: int = -1):
    self._lock, self._logged, self._loggers = threading.Lock(), logged, {}
    for name in options.words(names):
      try:
        self._loggers[name] = module(loggers, "logger", name).Logger(about)
      except errors.UserError:
        self.close()
        raise
      except Exception as e:
        self.close()
        sentence = str(e).strip().rstrip(".").splitlines() or [type(e).__name__]
        raise errors.UserError(f"The logger {name!r} of config.loggers could not start: {sentence[-1]}.") from e
    for row in rows:
      new = {name for name, logger in self._loggers.items() if not logger.resumed}
      self._each(lambda logger, row=row: logger.scalars(row["step"], _without_step(row)), new)

  def _each(self, call: Callable[[Any], None], names: set[str] | None = None) -> None:
    with self._lock:
      for name in [n for n in self._loggers if names is None or n in names]:
        try:
          call(self._loggers[name])
        except Exception as e:  # whatever a server or its client raises
          del self._loggers[name]
          print(f"The logger {name!r} failed and is turned off ({type(e).__name__}: {e}).", file=sys.stderr, flush=True)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Numbers of a step, {name: number}."""
    with self._lock:
      loggers = dict(self._loggers)
    repeated = {n for n, logger in loggers.items() if logger.resumed and not logger.rewinds}
    names = set(loggers) - (repeated if step <= self._logged else set())
    self._each(lambda logger: logger.scalars(step, values), names)

  def pictures(self, step: int, paths: Mapping[str, pathlib.Path]) -> None:
    """Figures of a step, {name: path of a PNG}; those that do not exist are left out."""
    there = {name: path for name, path in paths.items() if path.exists()}
    if there:
      self._each(lambda logger: logger.pictures(step, there))

  def texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Texts of a step, such as samples, {name: text}."""
    if texts:
      self._each(lambda logger: logger.texts(step, texts))

  def finish(self, results: Mapping[str, Any]) -> None:
    """The results of the finished run."""
    self._each(lambda logger: logger.finish(results))

  def close(self) -> None:
    """Ends all loggers."""
    self._each(lambda logger: logger.close())
    self._loggers = {}


def _without_step(row: Mapping[str, Any]) -> dict[str, float]:
  return {k: v for k, v in row.items() if k != "step"}


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
  """The final metrics among the results: numbers named SPLIT/NAME."""
  return {
    k: float(v) for k, v in results.items() if "/" in k and isinstance(v, int | float) and not isinstance(v, bool)
  }
