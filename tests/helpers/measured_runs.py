"""Runs of a budget, with only the files that a report of measurements reads."""

import json

import numpy as np

from dgm_jax.experiments.harness import stages
from dgm_jax.sweeps import states


def of(module, item, budget="test"):
  """[(cell, seed, run)] of a budget."""
  planned = module.RUNS[item][budget]
  names = stages.run_names(planned).items()
  return [(cell, o["seed"], n) for cell, runs in names for o, n in zip(planned.cells[cell], runs, strict=True)]


def measure(folder, name, **arrays):
  """Writes the arrays that a budget's `measure` saves for a run."""
  (folder / "measured").mkdir(parents=True, exist_ok=True)
  np.savez(folder / "measured" / f"{name}.npz", **arrays)


def train(folder, name, rows):
  """Writes the metrics of a run."""
  path = states.folder(folder, name)
  path.mkdir(parents=True)
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
