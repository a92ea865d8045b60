"""Flows and autoregressive nets on planes whose density is known; no paper prints these numbers.

Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan, "Normalizing Flows for Probabilistic Modeling and
Inference" (JMLR 2021), https://arxiv.org/abs/1912.02762, describes the flows.
  python -m dgm_jax reproduce gallery --figure=planes
  python -m dgm_jax reproduce gallery --figure=planes --budget=short

  python -m dgm_jax reproduce gallery --figure=continuous

Figure planes: KL(data || model) of every net on every plane, the densities in one picture, and the lines of the noise
that flows bend.  Figure continuous: the same of flow matching and FFJORD, with their trajectories.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.gallery import pictures, planes
from dgm_jax.sweeps import axes

_CONFIG = "configs/flow_plane.py"
_LABELS = {
  "additive": "NICE (additive coupling)",
  "coupling": "RealNVP (affine coupling)",
  "mixture_coupling": "coupling, mixtures of logistics",
  "spline_coupling": "spline coupling",
  "maf": "MAF (affine autoregressive)",
  "mixture_autoregressive": "autoregressive, mixtures of logistics",
  "spline_autoregressive": "spline autoregressive",
  "radial": "radial",
  "residual": "residual flow",
  "flows": "mixture of four RealNVPs",
  "made": "MADE, mixtures of normals (no flow)",
}
_CONTINUOUS = {"flow_matching": "flow matching", "ffjord": "FFJORD"}
_EVERY = _LABELS | _CONTINUOUS
_PLANES = ("moons", "circles", "eight_gaussians", "ring", "grid", "checkerboard", "pinwheel", "spirals")
_BEST, _LEAST = 0.05, 4.0  # nats of a spline flow on the first three planes; standard errors of a KL below 0

PAPER = Paper(
  authors="Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan",
  title="Normalizing Flows for Probabilistic Modeling and Inference",
  venue="JMLR 2021",
  url="https://arxiv.org/abs/1912.02762",
  items={
    "figure=planes": "KL(data || model) of flows and autoregressive nets on planes of known density",
    "figure=continuous": "KL(data || model) of continuous flows on planes of known density, and their trajectories",
  },
  published={"figure=planes": {}, "figure=continuous": {}},
  notes={
    "figure=planes": (
      "No numbers are published. The planes have exact densities: KL is the mean of log p_data(x) - log p(x) over "
      "the test points, ± its standard error.",
      "A KL below 0 by more than 4 standard errors would say that log p(x) is wrong: no model is better than the "
      "data's own density.",
      "A flow of a normal is continuous with a continuous inverse: it cannot cut the normal into separate modes, "
      "and joins them by bridges of little density. Mixtures of flows and MADE have none.",
    ),
    "figure=continuous": (
      "No numbers are published. log p is an estimate by the differential equation, Runge-Kutta with 50 steps and the "
      "exact trace; KL is the mean of log p_data(x) - log p(x) over the test points, ± its standard error.",
      "Flow matching is trained by regression, FFJORD by maximum likelihood; both take the moving average of the "
      "parameters.",
    ),
  },
)


def _cells(nets: Sequence[str], names: Sequence[str]) -> dict[str, list[axes.Overrides]]:
  return {f"{net}-{n}": [{"arg.net": net, "arg.data": f"plane/{n}", "seed": 0}] for net in nets for n in names}


_measure = functools.partial(measured.of_runs, measure=planes.measure)


def _budget(what: str, minutes: float, config: str, cells: dict, **options: Any) -> Budget:
  caveat = "There are no published numbers to compare with."
  return Budget(what, minutes, caveat=caveat, config=config, cells=cells, measure=_measure, **options)


RUNS = {
  "figure=planes": {
    "quick": _budget(
      "three planes, five nets, one seed, 4,000 steps of batches of 512",
      20,
      f"{_CONFIG}:quick",
      _cells(("coupling", "maf", "spline_coupling", "spline_autoregressive", "made"), _PLANES[:3]),
    ),
    "short": _budget(
      "eight planes, all nets, one seed, 4,000 steps of batches of 512",
      180,
      f"{_CONFIG}:quick",
      _cells(tuple(_LABELS), _PLANES),
    ),
    "paper": _budget(
      "eight planes, all nets, one seed, 20,000 steps of batches of 512",
      900,
      _CONFIG,
      _cells(tuple(_LABELS), _PLANES),
      full=True,
    ),
    "test": _budget(
      "40 steps of small networks: for tests", 1, f"{_CONFIG}:test", _cells(("maf", "made"), ("moons", "grid"))
    ),
  },
  "figure=continuous": {
    "quick": _budget(
      "three planes, one seed, 4,000 steps of flow matching and 2,000 of FFJORD, batches of 512",
      40,
      f"{_CONFIG}:quick",
      _cells(tuple(_CONTINUOUS), _PLANES[:3]),
    ),
    "short": _budget(
      "eight planes, one seed, 4,000 steps of flow matching and 2,000 of FFJORD, batches of 512",
      110,
      f"{_CONFIG}:quick",
      _cells(tuple(_CONTINUOUS), _PLANES),
    ),
    "paper": _budget(
      "eight planes, one seed, 20,000 steps of flow matching and 10,000 of FFJORD, batches of 512",
      480,
      _CONFIG,
      _cells(tuple(_CONTINUOUS), _PLANES),
      full=True,
    ),
    "test": _budget(
      "40 steps of small networks: for tests", 1, f"{_CONFIG}:test", _cells(tuple(_CONTINUOUS), ("moons",))
    ),
  },
}


_CHECKS = ("normalisation", "invertibility")


def _divergences(found: pictures.Found) -> dict[str, dict[str, float]]:
  """{"net-plane": {kl, stderr}}, with normalisation and invertibility where they are measured."""
  cells = {}
  for (net, name), arrays in found.items():
    kl, error = planes.divergence(dict(arrays))
    checks = {check: float(arrays[check]) for check in _CHECKS if check in arrays}
    cells[f"{net}-{name}"] = {"kl": kl, "stderr": error, **checks}
  return cells


def _checked(cells: dict[str, dict[str, float]]) -> str:
  """The worst integral and the worst error of an inverse, in words."""
  said = []
  if integrals := [abs(c["normalisation"] - 1) for c in cells.values() if "normalisation" in c]:
    said.append(f" The integrals of p differ from 1 by at most {max(integrals):.1g}.")
  if inverses := [c["invertibility"] for c in cells.values() if "invertibility" in c]:
    said.append(f" Inverses, and log p in single precision, are off by at most {max(inverses):.1g} (invertibility).")
  return "".join(said)


def _sentences(cells: dict[str, dict[str, float]]) -> list[str]:
  """Whether a density is impossibly good, and what the best net of each plane is."""
  said = [
    f"{cell}: KL = {c['kl']:.4f} ± {c['stderr']:.4f} is below 0: log p(x) is wrong."
    for cell, c in cells.items()
    if c["kl"] < -_LEAST * c["stderr"]
  ]
  for name in _PLANES:
    here = {net: cells[f"{net}-{name}"]["kl"] for net in _EVERY if f"{net}-{name}" in cells}
    if here:
      best = min(here, key=lambda net: here[net])
      said.append(f"{name}: least KL {here[best]:.3f} nats, {_EVERY[best]}.")
  splines = {f"{net}-{n}" for net in ("spline_coupling", "spline_autoregressive") for n in _PLANES[:3]}
  if (shown := splines & cells.keys()) and (worst := max(cells[c]["kl"] for c in shown)) < _BEST:
    on = [n for n in _PLANES[:3] if any(cell.partition("-")[2] == n for cell in shown)]
    said.append(f"Spline flows are below {_BEST} nats on {', '.join(on)}: {worst:.3f} at most.")
  return said


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """A table of KL by net and plane, and the pictures."""
  planned, found, runs = RUNS[item][name], {}, {}
  for cell, names in stages.run_names(planned).items():
    net, _, plane = cell.partition("-")
    if arrays := measured.arrays(folder, names):
      found[net, plane], runs[cell] = arrays[0], names
  cells = _divergences(found)
  columns = [n for n in _PLANES if any(cell.partition("-")[2] == n for cell in planned.cells)]
  nets = {net: label for net, label in _EVERY.items() if any(cell.partition("-")[0] == net for cell in planned.cells)}
  rows = []
  for net, label in nets.items():
    of = [cells.get(f"{net}-{n}") for n in columns]
    texts = ["not finished" if c is None else tables.plus_minus(c["kl"], c["stderr"], digits=3) for c in of]
    owners = [runs.get(f"{net}-{n}", []) for n in columns]
    rows.append([tables.cell(label), *(tables.cell(t, r) for t, r in zip(texts, owners, strict=True))])
  note = "KL(data || model) in nats, ± standard error over test points; 0 is the data's own density."
  note += _checked(cells)
  figures = []
  if found:
    pictures.densities(found, nets, columns, folder / "planes.png")
    caption = "Above: the planes' own densities; below: those of the nets, with their KL in nats."
    figures.append(tables.picture("Densities", "planes.png", caption))
    if pictures.grids(found, nets, columns, folder / "grids.png"):
      figures.append(tables.picture("Draws, and lines of the noise that each flow bends", "grids.png"))
    if pictures.trajectories(found, nets, columns, folder / "trajectories.png"):
      figures.append(tables.picture("Trajectories of draws, from the noise to the plane", "trajectories.png"))
  return {
    "numbers": {"item": item, "cells": cells},
    "tables": [tables.table("KL(data || model)", ["", *(n.replace("_", " ") for n in columns)], rows, note)],
    "figures": figures,
    "sentences": _sentences(cells),
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: the best net on each plane."""
  cells, shown, continuous = numbers["cells"], [], numbers.get("item") == "figure=continuous"
  for name in _PLANES:
    here = {net: cells[f"{net}-{name}"] for net in _EVERY if f"{net}-{name}" in cells}
    if here:
      net = min(here, key=lambda n: here[n]["kl"])
      kl = tables.plus_minus(here[net]["kl"], here[net]["stderr"], digits=3)
      shown.append(f"{name.replace('_', ' ')} {kl} ({_EVERY[net]})")
  return {
    "system": f"{'continuous flows' if continuous else 'flows and autoregressive nets'}, the best on each plane",
    "data": f"{len(shown)} planes of known density",
    "published": "none",
    "ours": "KL(data ‖ model): " + ", ".join(shown),
  }
