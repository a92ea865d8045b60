"""Options of a search, and its Optuna study."""

import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from dgm_jax.core import errors
from dgm_jax.sweeps import axes
from dgm_jax.training import early_stopping

SAMPLERS = ("random", "tpe")
PRUNERS = ("asha", "median", "none")


class Search(NamedTuple):
  """Options of a search.

  Attributes:
    file: FILE[:ARGUMENT] of the config.
    common: {path: value} shared by all runs.
    space: {path: distribution}; "seed" is not searched: each trial has one run for each of its values.
    metric: metric in metrics.jsonl; costs are minimised, others maximised (see early_stopping.score).
    sampler, pruner: names from SAMPLERS and PRUNERS.
    trials: total number of trials, including those of earlier processes.
    batch: number of trials at a time.
    seed: seed of the sampler; draws depend on it and on the number of the trial.
  """

  file: str
  common: Mapping[str, Any]
  space: Mapping[str, axes.Distribution]
  metric: str
  sampler: str = "tpe"
  pruner: str = "none"
  trials: int = 100
  batch: int = 8
  seed: int = 0

  def described(self) -> dict[str, Any]:
    """The options that must be the same in all processes, for sweep.json."""
    space = {path: str(d) for path, d in self.space.items()}
    return {"space": space, "metric": self.metric, "sampler": self.sampler, "pruner": self.pruner}


def check(search: Search) -> None:
  """Validates the options; raises UserError."""
  errors.choose("value of --search", search.sampler, SAMPLERS)
  errors.choose("value of --pruner", search.pruner, PRUNERS)
  errors.require(search.trials >= 1, f"--trials={search.trials}; it must be 1 or more.")
  errors.require(search.batch >= 1, f"--batch={search.batch}; it must be 1 or more.")
  errors.require(bool(set(search.space) - {"seed"}), "There is nothing to search: seed is the only axis of the sweep.")
  errors.require(
    all(d.kind == "choice" for path, d in search.space.items() if path == "seed"),
    "seed must be a list of values, not a distribution.",
  )
  errors.require(search.metric != "", "--search needs --metric, for example --metric=valid/log_px.")


def _pruner(optuna: Any, name: str) -> Any:
  if name == "none":
    return optuna.pruners.NopPruner()
  if name == "median":  # median of the other trials' values at the same evaluation
    return optuna.pruners.MedianPruner(n_startup_trials=5)
  return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def sampler(optuna: Any, search: Search, number: int) -> Any:
  """A new sampler for each trial: with one seed, a process that starts later would repeat the draws of the first."""
  seed = zlib.crc32(f"{search.seed}/{number}".encode())
  if search.sampler == "random":
    return optuna.samplers.RandomSampler(seed=seed)
  return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # other trials of the batch have no values yet


def open_study(root: pathlib.Path, search: Search) -> Any:
  """Opens or creates the study in ROOT/optuna.journal."""
  optuna = errors.import_package("optuna", "--search")
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  journal = optuna.storages.journal
  path = str(root / "optuna.journal")
  storage = optuna.storages.JournalStorage(
    journal.JournalFileBackend(path, lock_obj=journal.JournalFileOpenLock(path))  # this lock works on NFS, too
  )
  return optuna.create_study(
    study_name="sweep",
    storage=storage,
    direction="minimize" if early_stopping.score(search.metric, {search.metric: 1.0}) < 0 else "maximize",
    pruner=_pruner(optuna, search.pruner),
    load_if_exists=True,
  )


def suggest(trial: Any, space: Mapping[str, axes.Distribution]) -> axes.Overrides:
  """The values of a trial; repeated calls return the same values."""
  values = {}
  for path, d in space.items():
    if path == "seed":
      continue
    if d.kind == "choice":  # as text: Optuna cannot store tuples
      by_text = {axes.show(v): v for v in d.values}
      values[path] = by_text[trial.suggest_categorical(path, list(by_text))]
    elif d.kind == "integers":
      values[path] = trial.suggest_int(path, int(d.low), int(d.high))
    else:
      values[path] = trial.suggest_float(path, d.low, d.high, log=d.kind == "log_uniform")
  return values
