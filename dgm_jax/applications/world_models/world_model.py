"""A world model in Python: runs the stages, scores, plays and dreams."""

import pathlib
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from dgm_jax.applications.world_models import budgets, controllers, dreams, evolving, plans, playing, scoring, stages
from dgm_jax.applications.world_models.plans import Plan
from dgm_jax.applications.world_models.stages import STAGES
from dgm_jax.core import compilation_cache, errors


class WorldModel:
  """V, M and C of an environment in a folder (Ha & Schmidhuber, 2018).

  Args:
    environment: "dodge", "car", "doom", or a name of gymnasium's.
    workdir: the folder.
    budget: "quick", "short", "paper" or "test".
    seed: of everything.
    processes: of the environment.
    **settings: fields of budgets.Budget that differ, such as population=16, controller="z".

  Raises:
    UserError: an unknown name or setting, a package that is missing, or a folder of something else.
  """

  def __init__(
    self,
    environment: str,
    workdir: str | pathlib.Path,
    budget: str = "quick",
    seed: int = 0,
    processes: int = 2,
    **settings: Any,
  ):  # fmt: skip
    chosen = changed(budgets.of(environment, budget), settings)
    self.plan = Plan(workdir, environment, chosen, seed, processes, test=budget == "test")

  @classmethod
  def of_run(cls, workdir: str | pathlib.Path, processes: int = 2) -> Self:
    """The world model of a folder.  Raises UserError if it holds none."""
    made = cls.__new__(cls)
    made.plan = plans.of_folder(workdir, processes)
    return made

  def run(self, stage: str = "") -> dict[str, Any]:
    """Runs a stage, or all of them one after another; returns the results of the last.

    Finished stages are not repeated.  Raises UserError if `stage` needs one that is not finished.
    """
    if stage:
      errors.choose("stage", stage, STAGES)
    if stage in ("", "c"):
      errors.require_package("cma")  # not after hours
    compilation_cache.use()
    self.plan.open(creates=stage in ("", "rollouts"))
    found: dict[str, Any] = {}
    for name in [stage] if stage else self._needed():
      print(f"Stage {name}.", flush=True)
      if name == "c":
        for folder, tau in self.plan.controllers().items():
          found = evolving.c(self.plan, folder, tau)
      else:
        found = self._stages()[name](self.plan)
    return found

  def _stages(self) -> dict[str, Any]:
    return {"rollouts": stages.rollouts, "v": stages.v, "m": stages.m, "score": scoring.score}

  def _needed(self) -> list[str]:
    """All stages; without m where neither C nor dreams need it."""
    without = self.plan.budget.controller in ("z", "hidden") and not self.plan.budget.dreams
    return [name for name in STAGES if not (without and name == "m")]

  def evolve(self, evolution_seeds: Iterable[int], tau: float | None = None) -> dict[int, dict[str, Any]]:
    """Evolves a controller for each seed from the same V and M, whose dreams are one program; {seed: its results}.

    The results of a seed are generation, selection_mean and selection_sd of its best snapshot, and dream_mean.  The
    folder of the model's own seed is that of the stage c, the others end with their seed.

    Args:
      evolution_seeds: of CMA-ES and of the episodes of its generations; the choice among snapshots has the same
        episodes for all.
      tau: temperature of the dreams; the first of the budget if it is not given.

    Raises:
      UserError: no seeds, the same one twice, or a stage before c that is not finished.
    """
    given = [int(seed) for seed in evolution_seeds]
    errors.require(
      bool(given) and len(set(given)) == len(given) and min(given) >= 0,
      f"evolution_seeds = {given}; different seeds of 0 or more are expected, at least one.",
    )
    tau = next(iter(self.plan.controllers().values())) if tau is None else float(tau)
    errors.require_package("cma")
    compilation_cache.use()
    self.plan.open(creates=False)
    lanes = [evolving.Lane(self.plan.folder_of_c(tau, seed), tau, seed) for seed in given]
    found = evolving.together(self.plan, lanes)
    return {lane.seed: found[lane.name] for lane in lanes}

  def score(self, episodes: int = 100) -> dict[str, Any]:
    """The stage score with so many real episodes."""
    errors.require(episodes >= 1, f"episodes = {episodes}; it must be 1 or more.")
    return scoring.score(self.plan, episodes)

  def weights(self) -> np.ndarray:
    """The parameters of the controller that was chosen (of the first temperature, before the stage score)."""
    return evolving.weights_of(self.plan.folder(playing.chosen_folder(self.plan)))

  def dream(self, num: int = 16, tau: float = 1.0, seed: int = 0, weights: np.ndarray | None = None) -> dreams.Dreamt:
    """Dreams of the chosen controller, or of candidates [P, n]: totals [P, num].

    Raises:
      UserError: C of this folder was evolved in the environment, whose M is not dreamt in; or tau <= 0.
    """
    found = evolving.parts(self.plan)
    errors.require(found.dreamer is not None, f"{self.plan.workdir} is a world model without dreams (dreams=False).")
    candidates = self.weights()[None] if weights is None else np.atleast_2d(weights)
    return found.dreamer(found.m_params, candidates, num, found.moments, seed, tau)

  def play(self, out: str | pathlib.Path, seed: int = 0, tau: float = 1.0, overwrite: bool = False) -> dict[str, Any]:
    """Writes a GIF of a real episode beside its reconstruction, and of a dream; see playing.play."""
    return playing.play(self.plan, pathlib.Path(out), seed, tau, overwrite)


def changed(budget: budgets.Budget, settings: dict[str, Any]) -> budgets.Budget:
  """The budget with other settings.  Raises UserError for an unknown one, or another type."""
  for name, value in settings.items():
    errors.choose("setting", name, [f for f in budgets.Budget._fields if f != "what"])
    kind = type(getattr(budget, name))
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int)) or (kind is tuple and value)
    errors.require(bool(fits), f"{name} = {value!r}; it must be of the type of {getattr(budget, name)!r}.")
    if kind is tuple:
      settings = settings | {name: tuple(map(float, np.atleast_1d(value)))}
  made = budget._replace(**settings)
  dreams.check(list(made.taus), made.population, made.episodes)
  errors.choose("controller", made.controller, controllers.KINDS)
  least = {"rollouts": 2, "v_steps": 1, "generations": 1, "score": 1, "select": 1, "baseline": 1, "check_every": 1}
  for name, low in least.items():
    errors.require(getattr(made, name) >= low, f"{name} = {getattr(made, name)}; it must be {low} or more.")
  errors.require(made.population >= 4, f"population = {made.population}; CMA-ES needs 4 candidates or more.")
  return made
