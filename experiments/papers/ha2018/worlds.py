"""World models of a budget: computed by the application, and reported."""

import functools
import pathlib
from typing import Any

import numpy as np

from dgm_jax.applications.world_models.world_model import WorldModel
from dgm_jax.core import files
from dgm_jax.experiments.harness import computed, tables
from dgm_jax.training.workdir import metrics


def compute(folder: pathlib.Path, environment: str, budget: str, cells: dict[str, dict[str, Any]]) -> None:
  """Runs the world model of each cell in folder/worlds/NAME; resumes where it was interrupted.

  Args:
    folder: of the run.
    environment: see WorldModel.
    budget: of WorldModel.
    cells: {name: settings that differ}.
  """

  def made(name: str, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    found = WorldModel(environment, folder / "worlds" / name, budget, **settings).run()
    return {"real": np.asarray(found["real"]["values"])}

  config = {"environment": environment, "budget": budget, "cells": cells}
  pieces = {name: functools.partial(made, name, settings) for name, settings in cells.items()}
  computed.write(folder, config, 0, 0, pieces, what="world models")


def _worlds(folder: pathlib.Path) -> pathlib.Path:
  """The world models of a budget's folder."""
  return folder / "runs" / "computed" / "worlds"


def scores(folder: pathlib.Path, cells: dict[str, Any]) -> dict[str, Any]:
  """{cell: results of its stage score} of those that are finished."""
  found = {name: files.read_json(_worlds(folder) / name / "score" / "results.json") for name in cells}
  return {name: score for name, score in found.items() if score is not None}


def _of(row: dict[str, Any]) -> str:
  return f"{row['mean']:.0f} ± {row['sd']:.0f} (standard error {row['stderr']:.0f})".replace("-", "−")


def _play(score: dict[str, Any]) -> str:
  return "; ".join(f"{name} {_of(row)}" for name, row in score["random_play"].items())


def curves(folder: pathlib.Path, cells: dict[str, Any], authors: Any) -> list[dict]:
  """Fitness of the population by generation, each cell's controllers beside the authors'."""
  lines = [tables.series("published", authors, style="published")]
  for name in cells:
    for run in sorted((_worlds(folder) / name).glob("c*")):
      points = [(r["step"], r["fitness/mean"]) for r in metrics.read(run) if "fitness/mean" in r]
      if points:
        lines.append(tables.series(f"{name} {run.name}", points))
  return lines


def table_of_car(folder: pathlib.Path, cells: dict[str, Any], published: Any, labels: dict[str, str]) -> dict[str, Any]:
  """The table of the car: ours beside the published ones."""
  found, rows = scores(folder, cells), []
  for name, label in labels.items():
    known = published.get(name)
    cell = tables.published(f"{known.value:g} ± {known.more}") if known else tables.cell("")
    ours = tables.cell(_of(found[name]["real"]), [name]) if name in found else tables.cell("")
    rows.append([tables.cell(label), cell, ours])
  rows += [
    [tables.cell(f"random play, {play}"), tables.cell(""), tables.cell(_of(row))]
    for play, row in next(iter(found.values()))["random_play"].items()
  ] if found else []  # fmt: skip
  return tables.table("CarRacing, reward of 100 episodes, ± standard deviation", ["", "published", "ours"], rows)


def table_of_doom(folder: pathlib.Path, cells: dict[str, Any], published: Any) -> dict[str, Any]:
  """The table of Doom by tau: in the dream and in the game."""
  found, rows = scores(folder, cells), []
  ours = {f"{row['tau']:.2f}": row for score in found.values() for row in score["controllers"].values()}
  for tau in sorted({*ours, *(k.split()[0] for k in published if k[0].isdigit())}):
    cells_of = [tables.cell(tau)]
    for place in ("dream", "real"):
      known = published.get(f"{tau} {place}")
      cells_of.append(tables.published(f"{known.value:g} ± {known.more}") if known else tables.cell(""))
      cells_of.append(tables.cell(_of(ours[tau][place]) if tau in ours else ""))
    rows.append(cells_of)
  for score in found.values():
    for play, row in score["random_play"].items():
      rows.append([tables.cell(f"random play, {play}"), *[tables.cell("")] * 3, tables.cell(_of(row))])
  heads = ["tau", "dream, published", "dream, ours", "game, published", "game, ours"]
  return tables.table("Take cover, tics survived in 100 episodes, ± standard deviation", heads, rows)
