"""Burda et al. (2016), appendix C: the histogram of log A_u, A_u = Var_x(E_q[u|x]), over the latent units u.

Whether it has two modes is decided by a mixture of two normals fitted to log10 A_u of each trained model:

    D = sqrt(2) |m1 - m2| / sqrt(s1^2 + s2^2),   above 2 for separate modes (Ashman, Bird & Zepf, 1994),

if the Bayesian information criterion also prefers it to one normal.  Whether the threshold 0.01 is critical is decided
by the number of units within half a decade of it.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from sklearn.mixture import GaussianMixture

from dgm_jax.core import files
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.papers.burda2016 import tables as systems
from dgm_jax.experiments.shared import nll_tables

_ACTIVITY = "test/units/activity_1"
_CELLS = ("vae-1", "iwae-5", "iwae-50")
_THRESHOLD = -2.0  # log10 of the activity above which a unit is active
_APART = 2.0  # D above which two modes are separate
_TOLERATED = 1.0  # most units near a threshold that is not critical
_FEW = {"evaluate.importance_sampling.num_samples": 50}  # few, because the likelihood is not reported

RUNS = {
  "quick": Budget(
    "mnist5k (4,000 training, 500 test images), one layer of 50 units, k = 1 and 5, three seeds, 30 epochs of batch 20",
    minutes=3,
    config=f"{systems.IWAE}:quick",
    common={"batch_size": 20, "num_steps": 6000, "eval_every": 3000, "figures_every": 6000, **_FEW},
    cells=systems.make_cells(3, _CELLS[:2]),
  ),
  "short": Budget(
    "MNIST (60,000, 10,000), one layer of 50 units, three seeds, 20 epochs of batch 100",
    minutes=60,
    config=f"{systems.IWAE}:quick,data=mnist",
    common={"num_steps": 12_000, **_FEW},
    cells=systems.make_cells(3, _CELLS),
  ),
  "paper": Budget(
    "MNIST (60,000, 10,000), one layer of 50 units, three seeds, 3,280 epochs of batch 20",
    minutes=15 * 1440,
    full=True,
    config=systems.IWAE,
    common=_FEW,
    cells=systems.make_cells(3, _CELLS),
  ),
}


def separation(values: np.ndarray) -> tuple[float, float]:
  """(D, gain): Ashman's D of two normals fitted to values [U], and BIC of one normal minus BIC of two.

  A gain below zero means that BIC prefers one normal; D is then meaningless.
  """
  x = np.asarray(values, np.float64)[:, None]
  one = GaussianMixture(1).fit(x)
  two = GaussianMixture(2, n_init=10, reg_covar=1e-3, random_state=0).fit(x)
  distance = abs(two.means_[0, 0] - two.means_[1, 0])
  return float(np.sqrt(2) * distance / np.sqrt(two.covariances_.sum())), float(one.bic(x) - two.bic(x))


def _is_above(values: Sequence[float], bound: float) -> bool:
  """Whether the mean of the values is above `bound`, at 95 % by Student's t over seeds."""
  found = measured.mean(values)
  if found.stderr is None:
    return False  # one seed gives no error
  return found.mean - found.stderr * scipy.stats.t.ppf(0.95, len(values) - 1) > bound


def _cell(runs: Mapping[int, compare.Run], names: list[str]) -> dict[str, Any]:
  """log10 A_u, active units and separation of modes of the finished runs; {} if there are none."""
  if not runs:
    return {}
  least = 1e-12  # smaller variances are rounding errors of float32
  logs = {
    str(seed): np.log10(np.maximum(files.load_arrays(pathlib.Path(run.path, "values.npz"))[_ACTIVITY], least))
    for seed, run in sorted(runs.items())
  }
  found = {seed: separation(a) for seed, a in logs.items()}
  return {
    "log10_activity": {seed: [round(float(v), 4) for v in np.sort(a)] for seed, a in logs.items()},
    "active": {seed: int((a > _THRESHOLD).sum()) for seed, a in logs.items()},
    "near_threshold": {seed: int((abs(a - _THRESHOLD) < 0.5).sum()) for seed, a in logs.items()},
    "d": {seed: d for seed, (d, _) in found.items()},
    "bic_gain": {seed: gain for seed, (_, gain) in found.items()},
    "runs": names,
  }


def _two_modes(found: Mapping[str, Any]) -> str:
  apart = _is_above(np.log([*found["d"].values()]), np.log(_APART))  # D is a ratio, whose spread grows with it
  return "shown" if apart and _is_above([*found["bic_gain"].values()], 0.0) else "cannot be told"


def _is_critical(found: Mapping[str, Any]) -> bool:
  return _is_above([*found["near_threshold"].values()], _TOLERATED)


def _threshold(label: str, found: Mapping[str, Any]) -> str:
  """Whether the count of active units depends on the choice of threshold."""
  verdict = "it is critical here" if _is_critical(found) else "cannot be told"
  if _is_above([-n for n in found["near_threshold"].values()], -_TOLERATED):
    verdict = "shown"
  changes = f"{_mean(found['near_threshold'])} units lie within half a decade of it"
  return f"The threshold is not critical (at most {_TOLERATED:.0f} unit is near it), {label}: {verdict} ({changes})."


def _mean(values: Mapping[str, float]) -> str:
  found = measured.mean([*values.values()])
  return tables.plus_minus(found.mean, found.stderr)


def _more_active(cells: Mapping[str, Any]) -> list[str]:
  """Whether IWAE uses more units than VAE, by seed."""
  sentences = []
  for name in (c for c in _CELLS[1:] if c in cells and "vae-1" in cells):
    a, b = cells[name]["active"], cells["vae-1"]["active"]
    found = measured.mean([a[seed] - b[seed] for seed in a if seed in b] or [0])
    verdict = {True: "shown", False: "cannot be told"}[_is_above(found.values, 0)]
    if _is_above([-v for v in found.values], 0):
      verdict = "the opposite is shown"
    difference = tables.plus_minus(found.mean, found.stderr, True)
    label = f"{systems.label(name)} has more active units than {systems.label('vae-1')}"
    critical = _is_critical(cells[name]) or _is_critical(cells["vae-1"])
    but = "; another threshold would give another count" if critical else ""
    sentences.append(f"{label}: {verdict} ({difference} over seeds){but}.")
  return sentences


def _histogram(cells: Mapping[str, Any]) -> dict[str, Any]:
  edges = np.arange(-8, 1.01, 0.25)
  lines = []
  for cell, found in cells.items():
    every = np.clip(np.concatenate([*found["log10_activity"].values()]), edges[0], edges[-1])
    counts, _ = np.histogram(every, edges)
    used = np.flatnonzero(counts)
    first, last = used[0], used[-1] + 1
    points = [*zip(edges[first:last], counts[first:last], strict=True), (edges[last], 0)]
    lines.append(tables.series(systems.label(cell), points, found["runs"], style="bars"))
  note = "Units of all seeds pooled; units right of −2 are active."
  return tables.figure("Activity of latent units", "log10 A_u", "units", lines, note=note)


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs: numbers, table, figure, sentences."""
  del item
  names = stages.run_names(RUNS[name])
  runs = {cell: measured.read(folder, of_cell) for cell, of_cell in names.items()}
  cells = {cell: found for cell, of_cell in names.items() if (found := _cell(runs[cell], of_cell))}
  columns = ["", "active units by seed", "within half a decade of the threshold", "D of two modes", "two modes"]
  rows = [
    [
      tables.cell(systems.label(cell)),
      tables.cell(", ".join(map(str, found["active"].values())), found["runs"]),
      tables.cell(", ".join(map(str, found["near_threshold"].values())), found["runs"]),
      tables.cell(_mean(found["d"]), found["runs"]),
      tables.cell(_two_modes(found)),
    ]
    for cell, found in cells.items()
  ]
  note = "Two modes are shown if D is above 2 (in logarithms) and BIC prefers two normals, both at 95 % over seeds."
  shown = []
  for cell, found in cells.items():
    shown.append(f"Two modes of log A_u, {systems.label(cell)}: {_two_modes(found)}.")
    shown.append(_threshold(systems.label(cell), found))
  return {
    "numbers": {"data": nll_tables.data_of(runs), "cells": cells},
    "tables": [tables.table("Activity of latent units", columns, rows, note)] if rows else [],
    "figures": [_histogram(cells)] if cells else [],
    "sentences": shown + _more_active(cells),
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  of = lambda cell, n: (
    f"{systems.label(cell)} two modes: {_two_modes(n)} (D {_mean(n['d'])}), {_mean(n['active'])} active, "
    f"{_mean(n['near_threshold'])} near the threshold"
  )
  return {
    "system": "modes of log A_u over latent units",
    "data": numbers["data"],
    "published": "two modes (no numbers)",
    "ours": "; ".join(of(cell, n) for cell, n in numbers["cells"].items()),
  }
