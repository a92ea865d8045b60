"""Runs of a budget as far as a report of what was measured reads them."""

import json

import numpy as np

from dgm_jax.sweeps import axes, states


def of(module, item, budget="test"):
  """[(cell, seed, run)] of a budget."""
  cells = module.RUNS[item][budget].cells.items()
  return [(cell, o["seed"], axes.run_name(o)) for cell, runs in cells for o in runs]


def measure(folder, name, **arrays):
  """What a budget's `measure` found of a run."""
  (folder / "measured").mkdir(parents=True, exist_ok=True)
  np.savez(folder / "measured" / f"{name}.npz", **arrays)


def train(folder, name, rows):
  """The metrics of a run."""
  path = states.folder(folder, name)
  path.mkdir(parents=True)
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
