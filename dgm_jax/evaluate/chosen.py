"""The evaluation that a key of config.evaluate names: a file of this folder, or, by the option `from`, one's own."""

import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dgm_jax import evaluate
from dgm_jax.core import errors, options, references, registry

NUM_GIVEN = 4  # experiment, state, key and arrays, the arguments of evaluate(...) that are no options


class Evaluation(NamedTuple):
  """An evaluation with its options.

  Attributes:
    name: its key in config.evaluate.
    run: evaluate(experiment, state, key, arrays, **options) of its module.
    check: check(**options) of its module; a module of one's own needs none.
    needs: methods that the model must have.
    options: the options that are given.
    runs: options that may be the folder of a run, in whose place the evaluation gets what is loaded from it.
    prepare: prepare(experiment, **options) of its module, (state, key, arrays) -> what `run` returns: programs and what
      it keeps of the data serve state after state; None without one.
  """

  name: str
  run: Callable[..., dict[str, Any]]
  check: Callable[..., None] | None
  needs: tuple[str, ...]
  options: dict[str, Any]
  runs: tuple[str, ...] = ()
  prepare: Callable[..., Callable[..., dict[str, Any]]] | None = None

  def validate(self) -> None:
    """Raises UserError for an unknown or invalid option."""
    what = f"evaluate.{self.name}"
    given = {k: v for k, v in self.options.items() if not self._is_run(k, v)}
    if self.check is None:
      options.check(what, self.run, self.options, tuple(inspect.signature(self.run).parameters)[:NUM_GIVEN])
    else:
      options.check(what, self.check, self.options)
      self.check(**given)

  def _is_run(self, option: str, value: Any) -> bool:
    return option in self.runs and isinstance(value, str) and (pathlib.Path(value) / "config.json").is_file()

  def handed(self, load: Callable[[str, str], Any]) -> "Evaluation":
    """With load(option, folder) in place of each folder of a run, of the options that may be one."""
    loaded = {k: load(f"evaluate.{self.name}.{k}", v) for k, v in self.options.items() if self._is_run(k, v)}
    return self._replace(options=self.options | loaded)

  def prepared(self, experiment: Any) -> Callable[..., dict[str, Any]]:
    """(state, key, arrays) -> numbers, for several states of an experiment."""
    if self.prepare is not None:
      return self.prepare(experiment, **self.options)
    return lambda state, key, arrays: self.run(experiment, state, key, arrays, **self.options)


def names_of(evaluation: Evaluation) -> list[str] | None:
  """What the metrics of an evaluation are called, if its module says so by `names(**options)`; else None."""
  names = getattr(inspect.getmodule(evaluation.run), "names", None)
  return None if names is None else list(names(**evaluation.options))


def find(name: str, given: Mapping[str, Any]) -> Evaluation:
  """The evaluation config.evaluate.NAME.

  Args:
    name: the key.
    given: its options; `from` is a file or a dotted name of a module of one's own (see core/references.py).

  Raises:
    UserError: there is no such evaluation.
  """
  place = given.get("from", name)
  errors.require("from" not in given or references.is_own(place), f"evaluate.{name}.from = {place!r} names no module.")
  module = registry.module(evaluate, "evaluation", place)
  run = registry.definition(evaluate, "evaluation", place)
  given = {k: v for k, v in given.items() if k != "from"}
  return Evaluation(
    name,
    run,
    getattr(module, "check", None),
    tuple(getattr(module, "NEEDS", ())),
    given,
    tuple(getattr(module, "RUNS", ())),
    None if references.is_own(place) else getattr(module, "prepare", None),
  )
