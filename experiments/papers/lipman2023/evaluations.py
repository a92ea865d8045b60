"""Samples of grey digits against the number of evaluations of the network, and the schedule of a diffusion model."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import figure_style, figures
from dgm_jax.evaluate import function_evaluations
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.training.experiment import evaluation_key

COUNTS = (4, 8, 20, 50, 100)
_NAMES = ("frechet", "kernel")
_LABELS = {"flow_matching": "flow matching", "vdm": "variational diffusion"}
_SHORT = {"flow_matching": "flow", "vdm": "VDM"}  # in the picture
_LEAST = 2.0  # standard errors that a conclusion takes


def measure(run: Any, num_samples: int = 5000) -> dict[str, np.ndarray]:
  """Of a loaded run: distances [counts, numbers, 2] with standard errors, rows of samples, and the schedule.

  distances   by function_evaluations, in the features of the run's own evaluation `samples`
  shown       [counts, 8, H, W, C] from the same noise
  gamma       [101] of a diffusion model: g(t) on a grid of t
  """
  config, experiment = run.config, run.experiment
  of = config.evaluate.samples
  options = {"counts": COUNTS, "metrics": _NAMES, "num_samples": min(num_samples, of.num_samples)}
  key = evaluation_key()
  found = function_evaluations.evaluate(
    experiment, run.state, key, experiment.splits.test, features=of.features, **options
  )
  value = lambda count, name: found.get(f"evaluations_{count}_{name}", np.nan)
  rows = [[[value(c, n), value(c, f"{n}_stderr")] for n in _NAMES] for c in COUNTS]
  shown = []
  for count in COUNTS:
    model = function_evaluations.with_evaluations(experiment.model, count)
    bound = lambda state, model=model: model.bind({"params": state.params, **state.variables})
    shown.append(jax.jit(lambda state, bound=bound: bound(state).generate(jax.random.key(0), 8))(run.state))
  arrays = {"distances": np.asarray(rows, np.float64), "shown": np.asarray(jnp.stack(shown), np.float32)}
  if hasattr(experiment.model, "gamma"):
    bound = experiment.model.bind({"params": run.state.params, **run.state.variables})
    arrays["gamma"] = np.asarray(bound.gamma(jnp.linspace(0.0, 1.0, 101))[0])
  return arrays


def _budget(what: str, minutes: float, config: str, **options: Any) -> Budget:
  cells = {name: [{"arg.model": name, "seed": 0}] for name in _LABELS}
  measure_all = functools.partial(measured.of_runs, measure=measure)
  return Budget(what, minutes, config=config, cells=cells, measure=measure_all, **options)


_CONFIG = "configs/densities_mnist.py"
RUNS = {
  "quick": _budget("mnist5k (4,000 training digits), 2,000 steps, 5,000 samples", 60, f"{_CONFIG}:quick"),
  "short": _budget("50,000 training digits, at most 40 minutes of training each", 180, f"{_CONFIG}:minutes=40"),
  "paper": _budget("50,000 training digits, until the end of the schedule", 1200, f"{_CONFIG}:minutes=0", full=True),
  "test": _budget("40 steps of small networks: for tests", 2, f"{_CONFIG}:test"),
}


def _pictures(found: Mapping[str, Mapping[str, np.ndarray]], path: pathlib.Path) -> None:
  """A block of samples for each model, a row for each number of evaluations."""
  picture = figures.new(figure_style.PAGE, 0.45 * len(COUNTS) * len(found))
  grid = picture.subplots(len(COUNTS) * len(found), 8, squeeze=False)
  for i, (cell, arrays) in enumerate(found.items()):
    for j, count in enumerate(COUNTS):
      images = arrays["shown"][j]
      low, high = float(arrays["shown"].min()), float(arrays["shown"].max())
      for axis, image in zip(grid[i * len(COUNTS) + j], images, strict=True):
        axis.imshow((image[..., 0] - low) / max(high - low, 1e-6), cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
      grid[i * len(COUNTS) + j, 0].set_ylabel(str(count), fontsize=5)
    grid[i * len(COUNTS), 0].set_title(_SHORT[cell], fontsize=6)
  figures.save(path, picture)


def _sentence(cell: str, distances: np.ndarray) -> str:
  """Whether 20 evaluations are as good as 100, as far as the standard errors tell."""
  few, many = distances[COUNTS.index(20), 0], distances[COUNTS.index(100), 0]
  gap, error = few[0] - many[0], float(np.hypot(few[1], many[1]))
  if not np.isfinite(error):
    return f"{_LABELS[cell]}: the Frechet distance at 20 evaluations is {few[0]:.3g}, at 100 {many[0]:.3g}."
  words = "worse" if gap > _LEAST * error else "better" if gap < -_LEAST * error else "as good"
  than = "as" if words == "as good" else "than"
  return f"{_LABELS[cell]}: 20 evaluations are {words} {than} 100: Frechet distance {gap:+.3g} ± {error:.2g}."


def report(budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """Distances by evaluations of the finished runs, their samples, and the schedules."""
  cells, names = {}, stages.run_names(budget)
  found = {cell: arrays[0] for cell, runs in names.items() if (arrays := measured.arrays(folder, runs))}
  lines, rows, schedules = [], [], []
  for cell, arrays in found.items():
    distances = arrays["distances"]
    cells[cell] = {
      str(count): dict(zip(_NAMES, row.tolist(), strict=True)) for count, row in zip(COUNTS, distances, strict=True)
    }
    lines.append(tables.series(_LABELS[cell], list(zip(COUNTS, distances[:, 0, 0], strict=True)), names[cell]))
    errors = [[None if np.isnan(e) else e for _, e in row] for row in distances]
    for count, row, error in zip(COUNTS, distances, errors, strict=True):
      texts = [tables.plus_minus(row[i, 0], error[i], digits=4) for i in range(len(_NAMES))]
      rows.append([tables.cell(_LABELS[cell]), tables.cell(str(count)), *(tables.cell(t, names[cell]) for t in texts)])
    if "gamma" in arrays:
      points = list(zip(np.linspace(0, 1, len(arrays["gamma"])), arrays["gamma"], strict=True))
      schedules.append(tables.series(_LABELS[cell], points, names[cell]))
  figured = []
  if found:
    figured.append(
      tables.figure("Frechet distance by evaluations", "evaluations of the network", "distance", lines, log="x")
    )
    _pictures(found, folder / "evaluations.png")
    figured.append(tables.picture("Samples by evaluations, from the same noise", "evaluations.png"))
  if schedules:
    figured.append(tables.figure("Noise schedule", "t", "g(t), minus the log-SNR", schedules))
  columns = ["", "evaluations", "Frechet", "kernel"]
  note = "Distances of samples from the test digits, ± standard error where it is known."
  return {
    "numbers": {"item": "figure=evaluations", "cells": cells},
    "tables": [tables.table("Samples by evaluations of the network", columns, rows, note)] if rows else [],
    "figures": figured,
    "sentences": [_sentence(cell, arrays["distances"]) for cell, arrays in found.items()],
  }


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda of: ", ".join(f"{of[str(c)]['frechet'][0]:.3g} by {c}" for c in (20, 100))
  return {
    "system": "samples by evaluations of the network, Frechet distance",
    "data": "MNIST, grey",
    "published": "none",
    "ours": "; ".join(f"{_LABELS[cell]} {show(of)}" for cell, of in numbers["cells"].items()),
  }
