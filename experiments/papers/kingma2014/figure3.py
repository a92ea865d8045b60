"""Figure 3 of Kingma & Welling (2014): marginal likelihood against training samples, AEVB, wake-sleep and MCEM."""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dgm_jax.configs.aevb_mnist import warmup
from dgm_jax.core import files
from dgm_jax.evaluate import compare, posterior_samples
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.papers.kingma2014 import figure2
from dgm_jax.sweeps import axes, states
from dgm_jax.training.experiment import evaluation_key
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, legacy_configs

METHODS = figure2.METHODS | {"mcem": "MCEM"}
_BATCH = 100


class Size(NamedTuple):
  """The size of a budget: numbers of training examples, steps, measured checkpoints, measured examples, and seeds."""

  train: tuple[int, ...]
  num_steps: int
  checkpoints: int
  examples: int
  seeds: int = 1


_SIZES = {
  "quick": Size((1000, 4000), 2000, 4, 100),
  "short": Size((1000, 50_000), 20_000, 5, 500),
  "paper": Size((1000, 50_000), 600_000, 20, 1000),
  "test": Size((100,), 40, 2, 10),
}


def _cells(size: Size) -> dict[str, list[axes.Overrides]]:
  """{"aevb-1000": its runs}."""
  return {
    f"{method}-{n}": [{"arg.method": method, "arg.train": n, "seed": seed} for seed in range(size.seeds)]
    for n in size.train
    for method in METHODS
  }


def _common(size: Size) -> dict[str, Any]:
  every = size.num_steps // size.checkpoints
  return {
    "num_steps": size.num_steps,
    "optim.warmup": warmup(size.num_steps),
    "optim.lr": 0.02,
    "log_every": min(every, 100),
    "eval_every": size.num_steps,
    "figures_every": size.num_steps,
    "checkpoint_every": every,
    "keep_checkpoints": size.checkpoints,
  }


def measure(folder: pathlib.Path, names: Mapping[str, list[str]], size: Size) -> None:
  """Writes log p(x) of training and test examples at every checkpoint of the finished runs, a file for each."""
  run_log_px = None
  for name in [name for runs in names.values() for name in runs]:
    if not states.is_finished(folder, name) or len(list(_files(folder, name))) == size.checkpoints:
      continue
    path = states.folder(folder, name)
    experiment, state = restore(ConfigDict(legacy_configs.read_config(path)), path)
    if run_log_px is None:  # compiled once, for all runs have the same networks
      settings = {"num_samples": 50, "num_warmup": 100, "num_leapfrog": 4, "num_importance": 500}
      run_log_px = posterior_samples.make_log_px(experiment, min(100, size.examples), **settings)
    with checkpoint.open_manager(path, read_only=True) as checkpoints:
      for step in sorted(checkpoint.steps(path)):
        file = folder / "measured" / f"{name},step={step}.npz"
        if not file.exists():
          saved = checkpoint.restore_latest(checkpoints, state, step=step)
          files.save_arrays(file, **_log_px(run_log_px, saved, experiment.splits, size.examples))
          print(f"  log p(x) of {name}, step {step}", flush=True)


def _files(folder: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
  return (folder / "measured").glob(f"{name},step=*.npz")


def _log_px(run_log_px: Any, state: Any, splits: Any, count: int) -> dict[str, np.ndarray]:
  """{"train/upper": [N], ...}; only the networks' parameters are passed on, so that nothing is recompiled."""
  bare = state.replace(opt_state=(), variables={}, hparams={})
  key, found = evaluation_key(), {}
  for part in ("train", "test"):
    arrays = {name: a[:count] for name, a in getattr(splits, part).items()}
    found |= {f"{part}/{name}": a for name, a in run_log_px(bare, key, arrays).items()}
  return found


def _budget(name: str, what: str, minutes: float, config: str, full: bool = False) -> Budget:
  size = _SIZES[name]
  measure_all = functools.partial(measure, size=size)
  return Budget(what, minutes, full, config=config, common=_common(size), cells=_cells(size), measure=measure_all)


RUNS = {
  "quick": _budget(
    "quick",
    "mnist5k, N_train = 1,000 and 4,000, N_z = 3, 100 hidden units, 2e5 training samples, log p(x) of 100 images",
    8,
    f"{figure2.CONFIG}:quick,nz=3,hidden=100",
  ),
  "short": _budget(
    "short",
    "MNIST, N_train = 1,000 and 50,000, N_z = 3, 100 hidden units, 2e6 training samples, log p(x) of 500 images",
    60,
    f"{figure2.CONFIG}:nz=3,hidden=100",
  ),
  "paper": _budget(
    "paper",
    "MNIST, N_train = 1,000 and 50,000, N_z = 3, 100 hidden units, 6e7 training samples, log p(x) of 1,000 images",
    1440,
    f"{figure2.CONFIG}:nz=3,hidden=100",
    full=True,
  ),
  "test": _budget(
    "test",
    "mnist5k, N_train = 100, N_z = 3, 40 steps, log p(x) of 10 images: for tests",
    1,
    f"{figure2.CONFIG}:test,nz=3",
  ),
}


def _label(cell: str) -> str:
  """aevb-1000 -> AEVB, N_train = 1000."""
  method, _, n = cell.partition("-")
  return f"{METHODS[method]}, N_train = {n}"


def _read(folder: pathlib.Path, names: list[str]) -> dict[int, dict[str, np.ndarray]]:
  """{step: {"test/lower": [N], ...}}, averaged over the measured seeds."""
  found: dict[int, list[dict]] = {}
  for name in names:
    for file in _files(folder, name):
      found.setdefault(int(file.stem.rpartition("=")[2]), []).append(files.load_arrays(file))
  return {
    step: {key: np.mean([a[key] for a in arrays], 0, dtype=np.float64) for key in arrays[0]}
    for step, arrays in sorted(found.items())
  }


def _numbers(found: dict[int, dict[str, np.ndarray]], names: list[str]) -> dict[str, Any]:
  """Means at the last checkpoint."""
  last = found[max(found)]
  numbers = {key: float(a.mean()) for key, a in last.items()}
  numbers |= {f"{key}_stderr": float(a.std(ddof=1) / len(a) ** 0.5) for key, a in last.items()}
  gap = last["test/upper"] - last["test/lower"]
  return numbers | {"gap": float(gap.mean()), "samples": _BATCH * max(found), "images": len(gap), "runs": names}


def _differences(found: dict[str, dict[int, dict[str, np.ndarray]]]) -> list[dict[str, Any]]:
  """AEVB minus each other method, for the lower estimates on the test images, paired by image."""
  made = []
  for cell in found:
    method, _, n = cell.partition("-")
    first = found.get(f"aevb-{n}", {})
    if method == "aevb" or not first or not found[cell]:
      continue
    a, b = (values[max(values)]["test/lower"] for values in (first, found[cell]))
    difference, stderr = compare.paired(b, a)
    verdict = measured.words(measured.verdict(difference, stderr, None, 1), "higher")
    made.append({"first": f"aevb-{n}", "second": cell, "difference": difference, "stderr_images": stderr})
    made[-1] |= {"stderr_seeds": None, "verdict": verdict}
  return made


def _lines(found: dict[str, dict[int, dict[str, np.ndarray]]], names: dict[str, list[str]]) -> list[dict]:
  """A panel for each N_train, with the lower estimates."""
  panels: dict[str, list[dict]] = {}
  for cell, steps in found.items():
    method, _, n = cell.partition("-")
    for part in ("train", "test") if steps else ():
      points = [(_BATCH * step / 1e6, values[f"{part}/lower"].mean()) for step, values in steps.items()]
      panels.setdefault(f"N_train = {n}", []).append(tables.series(f"{METHODS[method]}, {part}", points, names[cell]))
  y = "marginal log-likelihood, nats"
  return [tables.figure(name, "# training samples evaluated (millions)", y, lines) for name, lines in panels.items()]


def report(budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the measured checkpoints."""
  names = stages.run_names(budget)
  found = {cell: _read(folder, runs) for cell, runs in names.items()}
  cells = {cell: _numbers(values, names[cell]) for cell, values in found.items() if values}
  differences, rows = _differences(found), []
  for cell, n in cells.items():
    value = lambda key, n=n: tables.plus_minus(n[key], n[f"{key}_stderr"], sign=True)
    texts = (value("train/lower"), value("test/lower"), value("test/upper"), tables.plus_minus(n["gap"], None, True))
    rows.append([tables.cell(_label(cell)), tables.published("figure"), *(tables.cell(t, n["runs"]) for t in texts)])
  columns = ["", "published", "train", "test", "test, appendix D", "appendix D − ours"]
  note = (
    "log p(x), nats, ± over images. train and test: importance sampling from the normal fitted to draws of p(z|x), a "
    "lower bound in expectation even if the chains have not converged; appendix D: the paper's estimator from the same "
    "draws, an upper bound in expectation, too high where the chains miss a part of p(z|x). If they miss none, the "
    "difference bounds the bias of both."
  )
  made = [tables.table("Marginal likelihood at the end", columns, rows, note)] if rows else []
  made += [figure2.difference_table(differences, _label)] if differences else []
  sentences = [
    f"AEVB above {_label(d['second'])}: {d['verdict']} "
    f"({tables.plus_minus(d['difference'], d['stderr_images'], sign=True)})."
    for d in differences
    if d["second"].startswith("wake_sleep")
  ]
  if cells:
    worst = max(abs(n["gap"]) for n in cells.values())
    sentences.append("The paper claims no order for MCEM, which makes five updates with each batch.")
    sentences.append(f"The two estimates of log p(x) differ by at most {worst:.2f} nats on average.")
  numbers = {"figure": 3, "cells": cells, "differences": differences}
  return {"numbers": numbers, "tables": made, "figures": _lines(found, names), "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  return {
    "system": "log p(x), AEVB, wake-sleep, MCEM",
    "data": "mnist5k" if any(cell.endswith("-4000") for cell in numbers["cells"]) else "MNIST",
    "published": "AEVB above wake-sleep, no numbers",
    "ours": "; ".join(
      f"{_label(cell)} {tables.plus_minus(n['test/lower'], n['test/lower_stderr'])}"
      for cell, n in numbers["cells"].items()
    ),
  }
