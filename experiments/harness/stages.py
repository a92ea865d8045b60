"""The runs of a budget: its cells, and runs that start from the parameters of finished ones (Budget.after)."""

import pathlib
from collections.abc import Mapping
from typing import Any

from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.sweeps import axes, definition, states


def cells(budget: Budget) -> dict[str, list[axes.Overrides]]:
  """{cell: overrides of its runs}, for all stages."""
  return {**budget.cells, **budget.after}


def _run_name(overrides: axes.Overrides) -> str:
  """The name as in definition.make_run, in which config arguments are text."""
  return axes.run_name({path: axes.show(v) if path.startswith("arg.") else v for path, v in overrides.items()})


def run_names(budget: Budget) -> dict[str, list[str]]:
  """{cell: names of its runs, which are folders in runs/}."""
  return {cell: [_run_name(o) for o in runs] for cell, runs in cells(budget).items()}


def starts(budget: Budget) -> dict[str, str]:
  """{run: the run it starts from}, which is the run with the same seed of the cell that init_from names."""
  names = {(cell, o["seed"]): _run_name(o) for cell, runs in cells(budget).items() for o in runs}
  return {_run_name(o): names[o["init_from"], o["seed"]] for runs in budget.after.values() for o in runs}


def make_runs(budget: Budget, common: Mapping[str, Any], folder: pathlib.Path) -> list[definition.Run]:
  """All runs in the order of the cells; init_from is a cell in names and overrides, a folder in configs and commands.

  Args:
    budget: budget of an item.
    common: {path: value} of all runs.
    folder: the budget's folder, which contains runs/.

  Raises:
    UserError: a path or value that the config does not accept.
  """
  from_run = starts(budget)
  runs = definition.make_runs(budget.config, common, [o for runs in cells(budget).values() for o in runs])

  def placed(run: definition.Run) -> definition.Run:
    if run.name not in from_run:
      return run
    place = {"init_from": str(states.folder(folder, from_run[run.name]))}
    made = definition.make_run(budget.config, common, run.overrides | place)
    return made._replace(name=run.name, overrides=run.overrides)

  return [placed(run) for run in runs]
