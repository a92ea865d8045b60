"""Finished runs of a budget as a sweep leaves them, with numbers that a test gives."""

import json
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from dgm_jax import workdir as wd
from dgm_jax.sweeps import axes, tasks
from experiments import papers, reproduce

ABOUT = {"data": "made", "transforms": [], "split_sizes": {"train": 8, "test": 4}, "data_digest": "d", "step": 40}
_START = {
  "git_commit": "abc",
  "git_dirty": False,
  "versions": {"jax": "0"},
  "device_kind": "cpu",
  "cpus": 2,
  "lanes": 2,
}
_START |= {"started": "2026-01-01T00:00:00+00:00", "wall_s": {"total": 3.0}}


def make(root: pathlib.Path, module: ModuleType, item: str, numbers: Callable, budget: str = "test") -> pathlib.Path:
  """Makes the runs of an item; returns its folder.

  Args:
    root, module, item, budget: of the reproduction.
    numbers: (cell, seed) -> None for a run that is not finished, or {"results": of results.json, "values": of
      values.npz, "measured": of measured/NAME.npz, "rows": of metrics.jsonl}, each if there is one.
  """
  planned, name = module.RUNS[item][budget], module.__name__.rpartition(".")[2]
  folder = papers.folder(root, name, item, budget)
  runs, _ = reproduce.plan(planned, {}, "")
  tasks.write(folder, tasks.define(planned.config, {}, runs))
  configs = {run.name: run.config for run in runs}
  for cell, each in planned.cells.items():
    for overrides in each:
      found: dict[str, Any] | None = numbers(cell, overrides["seed"])
      if found is not None:
        run = axes.run_name(overrides)
        _write(folder, run, configs[run], {"seed": overrides["seed"]}, found)
  return folder


def _write(folder: pathlib.Path, name: str, config: dict, seed: dict[str, int], found: dict[str, Any]) -> None:
  path = folder / "runs" / name
  path.mkdir(parents=True)
  wd.write_json(path / "config.json", config)
  wd.write_json(path / "results.json", ABOUT | seed | found.get("results", {}))
  wd.write_json(path / "run.json", [_START | seed])
  np.savez(path / "values.npz", **{f"test/{k}": np.array(v) for k, v in found.get("values", {}).items()})
  rows = [seed, *found.get("rows", [])]
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  if "measured" in found:
    (folder / "measured").mkdir(exist_ok=True)
    np.savez(folder / "measured" / f"{name}.npz", **found["measured"])
