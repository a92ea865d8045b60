"""Figures 4 and 5 of Kingma & Welling (2014): manifolds of two latent variables, and samples."""

import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.configs.aevb_mnist import warmup
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.papers.kingma2014.figure2 import CONFIG
from dgm_jax.sweeps import states


def _budgets(panels: dict[str, Sequence[tuple[str, int]]]) -> dict[str, Budget]:
  """The budgets for {budget: [(data, N_z)]}."""
  cells = {
    budget: {f"{data}-{nz}": [{"arg.data": data, "arg.nz": nz, "seed": 0}] for data, nz in found}
    for budget, found in panels.items()
  }
  cheap = {"evaluate.importance_sampling.num_samples": 100}
  length = lambda n: {"num_steps": n, "figures_every": n, "optim.warmup": warmup(n), "optim.lr": 0.02}
  return {
    "quick": Budget(
      "mnist5k (4,000 training, 500 test images), 2e5 training samples",
      minutes=3,
      config=f"{CONFIG}:quick",
      common=cheap | length(2000),
      cells=cells["quick"],
    ),
    "short": Budget(
      "MNIST (60,000, 10,000) and, in figure 4, Frey faces, 5e6 training samples",
      minutes=40,
      config=CONFIG,
      common=cheap | length(50_000),
      cells=cells["short"],
    ),
    "paper": Budget(
      "MNIST (60,000, 10,000) and, in figure 4, Frey faces, 1e8 training samples",
      minutes=1440,
      full=True,
      config=CONFIG,
      common=cheap | length(1_000_000),
      cells=cells["short"],
    ),
    "test": Budget(
      "mnist5k, 40 steps of a small network: for tests",
      minutes=0.5,
      config=f"{CONFIG}:test",
      cells={cell: runs for cell, runs in cells["quick"].items() if cell == "mnist5k-2"},
    ),
  }


_DIMENSIONS = (2, 5, 10, 20)
MANIFOLDS = _budgets({"quick": [("mnist5k", 2)], "short": [("mnist", 2), ("frey_faces", 2)]})
SAMPLES = _budgets(
  {name: [(data, nz) for nz in _DIMENSIONS] for name, data in (("quick", "mnist5k"), ("short", "mnist"))}
)
_SHOWN = {
  4: ("latent_manifold.png", "Decoded means at equal quantiles of N(0, 1): similar images are neighbours."),
  5: ("samples_*.png", "Decoded means of draws from the prior."),
}


def report(budget: Budget, folder: pathlib.Path, figure: int) -> dict[str, Any]:
  """The pictures of the runs in a folder, and their test bounds."""
  cells, pictures, rows = {}, [], []
  pattern, note = _SHOWN[figure]
  for cell, (name,) in stages.run_names(budget).items():
    runs = measured.read(folder, [name])
    data, _, nz = cell.partition("-")
    label = f"{data}, N_z = {nz}"
    for file in sorted(states.folder(folder, name).glob(f"figures/{pattern}"))[-1:]:
      pictures.append(tables.picture(label, file.relative_to(folder).as_posix(), note))
    for run in runs.values():
      error = run.values["elbo"].std(ddof=1) / len(run.values["elbo"]) ** 0.5
      cells[cell] = {"test": run.results["test/elbo"], "stderr_images": float(error), "data": run.results["data"]}
      bound = tables.plus_minus(cells[cell]["test"], cells[cell]["stderr_images"], sign=True)
      rows.append([tables.cell(label), tables.published("picture"), tables.cell(bound, [name])])
  table = tables.table("Test bound of the models shown, nats", ["", "published", "ours ± over images"], rows)
  numbers = {"figure": figure, "cells": cells}
  return {"numbers": numbers, "tables": [table] if rows else [], "figures": pictures, "sentences": []}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  bounds = [
    f"N_z = {cell.partition('-')[2]} {tables.plus_minus(n['test'], n['stderr_images'])}"
    for cell, n in numbers["cells"].items()
  ]
  return {
    "system": "latent manifolds" if numbers["figure"] == 4 else "samples, by latent dimensions",
    "data": ", ".join(dict.fromkeys(n["data"] for n in numbers["cells"].values())),
    "published": "pictures",
    "ours": f"pictures on the report's page; test bound {', '.join(bounds)}",
  }
