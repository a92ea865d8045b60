"""Runs of a sweep that are finished, as far as a report reads them."""

import json

import numpy as np

from dgm_jax import workdir as wd
from dgm_jax.sweeps import axes, states


def write(folder, name, seed, values, results=None, curve=()):
  """A run with {value: [N]} of each test image, numbers, and rows of its metrics."""
  path = states.folder(folder, name)
  path.mkdir(parents=True)
  np.savez(path / "values.npz", **{f"test/{k}": np.asarray(v, np.float64) for k, v in values.items()})
  about = {"data": "mnist5k", "transforms": [], "split_sizes": {"train": 8, "test": 4}, "data_digest": "d"}
  wd.write_json(path / "results.json", about | {"seed": seed} | (results or {}))
  rows = [{"seed": seed}, *curve]
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure(folder, name, **arrays):
  """What a budget's `measure` found of a run."""
  (folder / "measured").mkdir(parents=True, exist_ok=True)
  np.savez(folder / "measured" / f"{name}.npz", **arrays)


def of(module, item, budget="test"):
  """[(cell, seed, run)] of a budget."""
  cells = module.RUNS[item][budget].cells.items()
  return [(cell, o["seed"], axes.run_name(o)) for cell, runs in cells for o in runs]
