"""What is to be done in the folder of a world model, and the folders of its stages."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from dgm_jax.applications.world_models import environments, episodes
from dgm_jax.applications.world_models.budgets import Budget
from dgm_jax.core import errors, files, full_disk
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import folder as folders
from dgm_jax.training.workdir import lock, run_record

_ABOUT = "world.json"
_SLOTS = {"dodge": 32}  # 8 of other environments
_FREE = ("generations", "score", "select", "baseline", "what")  # may differ when a folder is taken up again


class Plan:
  """What is to be done in a folder.

  Args:
    workdir: the folder.
    environment: see environments.kind.
    budget: settings of all stages.
    seed: of everything.
    processes: of the environment.
    test: whether nets are tiny, for tests.

  Raises:
    UserError: the folder is of another environment, or of other settings.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    environment: str,
    budget: Budget,
    seed: int = 0,
    processes: int = 2,
    test: bool = False,
  ):  # fmt: skip
    self.workdir, self.environment, self.budget = pathlib.Path(workdir), environment, budget
    self.seed, self.processes, self.test = seed, processes, test
    self.kind = environments.kind(environment)
    self.limit = budget.limit or self.kind.limit

  def about(self) -> dict[str, Any]:
    """What world.json says."""
    budget = {k: list(v) if isinstance(v, tuple) else v for k, v in self.budget._asdict().items()}
    return {"environment": self.environment, "seed": self.seed, "test": self.test, "budget": budget}

  def open(self, creates: bool = True) -> None:
    """Creates the folder, or checks that it is this plan's; without `creates` its stage rollouts must be finished."""
    path = self.workdir / _ABOUT
    known = files.read_json(path)
    if known is None:
      if not creates:
        self.need("rollouts")
      others = [p.name for p in self.workdir.iterdir()] if self.workdir.is_dir() else []
      errors.require(
        not others, f"--workdir {self.workdir} holds files that are not a world model's; name a new or empty folder."
      )
      files.make_folder(self.workdir)
      files.write_json(path, self.about())
      return
    there = known.get("environment")
    errors.require(
      there == self.environment,
      f"--workdir {self.workdir} is of the environment {there!r}, not {self.environment!r}; name another folder.",
    )
    old, new = (files.flatten(a) for a in (known, self.about()))
    different = [
      f"{k} ({old.get(k)} there, {new[k]} now)"
      for k in new
      if old.get(k) != new[k] and k.rpartition(".")[2] not in _FREE
    ]
    errors.require(
      not different, f"--workdir {self.workdir} has other settings: {'; '.join(different)}. Name another folder."
    )

  def folder(self, stage: str) -> pathlib.Path:
    """The folder of a stage."""
    return self.workdir / stage

  def controllers(self) -> dict[str, float]:
    """{folder of C: tau}, one for each temperature; one without tau where C is evolved in the environment."""
    taus = self.budget.taus if self.budget.dreams else (1.0,)
    return {self.folder_of_c(tau): tau for tau in taus}

  def folder_of_c(self, tau: float, seed: int | None = None) -> str:
    """The name of C's folder; of another seed of the evolution than the plan's, it ends with that."""
    of_seed = "" if seed in (None, self.seed) else f"_seed_{seed}"
    return (f"c_tau_{tau:.2f}" if self.budget.dreams else "c") + of_seed

  def need(self, *names: str) -> None:
    """Raises UserError unless these stages are finished."""
    for name in names:
      errors.require(
        (self.folder(name) / "results.json").exists(),
        f"--workdir {self.workdir} has no finished stage {name!r}, which this one needs; run it first, or leave "
        "--stage out to run all of them.",
      )

  def vector(self, limit: int = 0) -> Any:
    """Slots of the environment, as a context."""
    slots = _SLOTS.get(self.environment, 8)
    return episodes.vector(self.environment, slots, self.processes, limit or self.limit)


def of_folder(workdir: str | pathlib.Path, processes: int = 2) -> Plan:
  """The plan of a folder.  Raises UserError if it holds no world model."""
  workdir = pathlib.Path(workdir)
  known = files.read_json(workdir / _ABOUT)
  errors.require(known is not None, f"--workdir {workdir} holds no world model (it has no {_ABOUT}).")
  try:
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in known["budget"].items()}
    return Plan(workdir, known["environment"], Budget(**given), known["seed"], processes, known["test"])
  except (KeyError, TypeError) as e:
    raise errors.UserError(f"{workdir / _ABOUT} is damaged: {e}; restore it.") from e


@contextlib.contextmanager
def opened(folder: pathlib.Path, config: dict[str, Any], seed: int) -> Iterator[tuple[Any, Any]]:
  """Context of a stage without a training loop: (run.json, the request to stop), the folder locked.

  Raises:
    LockedError, DiskFullError; UserError: the folder is of other settings.
  """
  known = files.read_json(folder / "config.json") if folder.is_dir() else None
  free = lambda c: {k: v for k, v in c.items() if k not in _FREE}
  same = known is None or free(known) == free(config)
  errors.require(same, f"{folder} holds a run of other settings: {known}; remove it, or name another folder.")
  advice = lambda: "What was finished before is kept; free some space, and the same command continues from there."
  with full_disk.sentence(str(folder), folder, advice):
    folders.create(folder, config)
    with lock.locked(folder), signals.requests("Run the same command again to continue.") as stop:
      files.remove_left(folder)
      record = run_record.RunRecord(folder, seed, 0)
      stop.begin()
      stop.deferred = True
      try:
        with record.timed("total"):
          yield record, stop
        record.finish()
      finally:
        stop.deferred = False
        record.write()
  stop.check()
