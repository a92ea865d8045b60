"""Writes finished runs of a paper's budget, as a sweep leaves them, with values that a test chooses."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.harness import stages
from dgm_jax.sweeps import tasks


def finish(path: pathlib.Path, config: dict[str, Any], log_px: list[float], digest: str = "d", **values: Any) -> None:
  """Writes one run: log p(x) of each test image, an ELBO one nat below, and further values of values.npz."""
  seed, log_px = config["seed"], np.array(log_px)
  path.mkdir(parents=True, exist_ok=True)
  files.write_json(path / "config.json", config)
  np.savez(path / "values.npz", **{"test/log_px": log_px, "test/elbo": log_px - 1, **values})
  results = {"test/nll": -log_px.mean(), "test/elbo": log_px.mean() - 1, "test/active_units_by_layer": "7"}
  about = {"data": "mnist5k", "transforms": ["binarize:dynamic"], "split_sizes": {"train": 8, "test": 4}}
  about |= {"data_digest": digest, "seed": seed, "step": 40, "test/likelihood_samples": 20}
  files.write_json(path / "results.json", results | about)
  start = {"seed": seed, "git_commit": "abc", "git_dirty": False, "versions": {"jax": "0"}, "device_kind": "cpu"}
  start |= {"cpus": 2, "lanes": 2, "started": "2026-01-01T00:00:00+00:00", "wall_s": {"total": 3.0, "train": 2.0}}
  files.write_json(path / "run.json", [start])
  rows = [{"step": step, "valid/log_px": -10.0 + seed + step / 40} for step in (20, 40)]
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"seed": seed}, *rows]))


def make(
  root: pathlib.Path,
  paper: str,
  item: str,
  log_px: Mapping[str, Sequence[list[float]]],
  digest: str = "d",
  more: Callable[[str, int], dict[str, Any]] = lambda cell, seed: {},
  budget: str = "test",
) -> pathlib.Path:
  """Writes all runs of some cells of a budget; returns its folder.

  Args:
    root, paper, item, budget: they determine the folder.
    log_px: {cell: log p(x) of each test image, for each seed}.
    digest: digest of the data.
    more: (cell, seed) -> further values of values.npz.
  """
  folder, planned = papers.folder(root, paper, item, budget), papers.budget(papers.load(paper), item, budget)
  runs, _ = reproduce.plan(planned, {}, "", folder)
  tasks.write(folder, tasks.define(planned.config, planned.common, runs))
  owners = {name: cell for cell, names in stages.run_names(planned).items() for name in names}
  for run in runs:
    if (cell := owners[run.name]) in log_px:
      seed = run.config["seed"]
      finish(folder / "runs" / run.name, run.config, log_px[cell][seed], digest, **more(cell, seed))
  return folder
