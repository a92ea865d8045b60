"""Runs of a budget as far as a report of what was measured reads them."""

import json

import numpy as np

from dgm_jax.sweeps import states
from experiments.harness import stages


def of(module, item, budget="test"):
  """[(cell, seed, run)] of a budget."""
  planned = module.RUNS[item][budget]
  names = stages.run_names(planned).items()
  return [(cell, o["seed"], n) for cell, runs in names for o, n in zip(planned.cells[cell], runs, strict=True)]


def measure(folder, name, **arrays):
  """What a budget's `measure` found of a run."""
  (folder / "measured").mkdir(parents=True, exist_ok=True)
  np.savez(folder / "measured" / f"{name}.npz", **arrays)


def train(folder, name, rows):
  """The metrics of a run."""
  path = states.folder(folder, name)
  path.mkdir(parents=True)
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
