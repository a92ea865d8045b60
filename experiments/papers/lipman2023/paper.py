"""Lipman, Chen, Ben-Hamu, Nickel & Le, "Flow Matching for Generative Modeling" (ICLR 2023).

https://arxiv.org/abs/2210.02747
  python -m dgm_jax prepare-data mnist binarized_mnist
  python -m dgm_jax reproduce lipman2023 --table=digits
  python -m dgm_jax reproduce lipman2023 --table=digits --budget=short
  python -m dgm_jax reproduce lipman2023 --table=binary --budget=short
  python -m dgm_jax reproduce lipman2023 --figure=evaluations

Table digits: densities of grey digits from PixelCNN to diffusion, each number with its kind.  Table binary: static
binary digits, whose numbers are of other data.  Figure evaluations: samples against the evaluations of the network.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.configs import densities_mnist
from dgm_jax.core import files
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.lipman2023 import evaluations
from dgm_jax.sweeps import states

_CONFIG = "configs/densities_mnist.py"
_LABELS = {
  "pixelcnn": "Gated PixelCNN, discretised logistics",
  "made_mog": "MADE, mixtures of normals",
  "maf": "MAF (5 layers)",
  "flow_matching": "flow matching, U-Net",
  "vdm": "variational diffusion, U-Net",
  "ffjord": "FFJORD, perceptron",
  "pixelcnn_binary": "PixelCNN",
  "made_binary": "MADE",
  "iwae_binary": "IWAE, 50 samples",
}
_PUBLISHED = {"maf": Value(1.89), "ffjord": Value(1.05)}
PAPER = Paper(
  authors="Lipman, Chen, Ben-Hamu, Nickel & Le",
  title="Flow Matching for Generative Modeling",
  venue="ICLR 2023",
  url="https://arxiv.org/abs/2210.02747",
  items={
    "table=digits": "Bits per dimension of grey digits, from PixelCNN to diffusion",
    "table=binary": "NLL of static binary digits",
    "figure=evaluations": "Samples of grey digits against the evaluations of the network",
  },
  published={"table=digits": _PUBLISHED, "table=binary": {}, "figure=evaluations": {}},
  notes={
    "table=digits": (
      "The paper has no digits. Published, bits per dimension of MNIST as printed by Grathwohl et al. (2019): FFJORD "
      "with one scale 1.05, MAF 1.89; their splits and noise differ from these.",
      "Exact: the log-probability of the 256 levels. Bound: log p of digits with uniform noise, or the bound of the "
      "reverse diffusion. Estimate: log p by the differential equation with uniform noise, an estimate, with the "
      "errors of solver and trace, of a bound.",
      "A diffusion model has two densities: that of its reverse process, which the bound is of, and that of its "
      "differential equation. No order between the two numbers is implied.",
    ),
    "table=binary": (
      "Static binary digits: their numbers are comparable with each other, and with none of grey digits.",
      "PixelCNN and MADE: exact; IWAE: a bound by 5,000 importance samples.",
    ),
    "figure=evaluations": (
      "Frechet and kernel distance in features of a classifier of digits, of samples from the same noise, by Heun's "
      "method for flow matching and by ancestral steps for diffusion.",
    ),
  },
)


def _hours(place: pathlib.Path) -> float:
  """Hours of training, over all starts of a run."""
  starts = files.read_json(place / "run.json") or []
  return sum(start.get("wall_s", {}).get("train", 0.0) for start in starts) / 3600


def _measure(run: Any) -> dict[str, np.ndarray]:
  """The number of parameters of a loaded run."""
  return {"parameters": np.asarray(sum(a.size for a in jax.tree.leaves(run.state.params)))}


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> None:
  """Counts the parameters of the finished runs."""
  measured.of_runs(folder, names, _measure)


def _budget(what: str, minutes: float, config: str, models: Sequence[str], **options: Any) -> Budget:
  cells = {name: [{"arg.model": name, "seed": 0}] for name in models}
  return Budget(what, minutes, config=config, cells=cells, measure=measure, **options)


_SPLITS = "MNIST (50,000, 10,000, 10,000)"
_FEW = ("pixelcnn", "flow_matching", "vdm")


def _runs(models: Sequence[str], few: Sequence[str], data: str) -> dict[str, Budget]:
  """The budgets of a table."""
  hours = 150 * len(models)
  return {
    "quick": _budget("mnist5k (4,000 training digits), one seed, minutes each", 60, f"{_CONFIG}:quick", few),
    "short": _budget(f"{data}, one seed, at most two hours of training each", hours, _CONFIG, models),
    "paper": _budget(
      f"{data}, one seed, until the end of each schedule: hours of a GPU",
      20 * hours,
      f"{_CONFIG}:minutes=0",
      models,
      full=True,
    ),
    "test": _budget("mnist5k, 40 steps of small networks: for tests", 3, f"{_CONFIG}:test", few),
  }


RUNS = {
  "table=digits": _runs(densities_mnist.GREY, _FEW, _SPLITS),
  "table=binary": _runs(densities_mnist.BINARY, ("made_binary",), f"static {_SPLITS}"),
  "figure=evaluations": evaluations.RUNS,
}


def _numbers(results: Mapping[str, Any], parameters: int, hours: float) -> dict[str, Any]:
  """What a table says of a run: nats and bits of log p, its kind and errors, and of a diffusion model its bound."""
  of = lambda name: results.get(f"test/{name}")
  dim, kind = 784, of("likelihood_kind") or "bound"  # importance sampling has no kind: it bounds
  found = {"nll": of("nll"), "stderr": of("log_px_stderr"), "kind": kind, "parameters": parameters, "hours": hours}
  found |= {"bits": of("nll") / (dim * math.log(2)), "examples": of("likelihood_examples") or 10_000}
  if kind == "estimate":
    found |= {name: of(name) for name in ("solver", "solver_error", "log_px_error", "log_px_halved")}
  if of("elbo") is not None and kind == "estimate":
    found |= {"bound": -of("elbo"), "bound_stderr": of("elbo_stderr")}
  return found


def _kind(found: Mapping[str, Any]) -> str:
  """The kind of a number, in words."""
  if found["kind"] != "estimate":
    return found["kind"]
  trace = "exact trace" if not found["log_px_error"] else f"trace ± {found['log_px_error']:.2f} a digit"
  return f"estimate of a bound ({found['solver']}, solver ± {found['solver_error']:.2g} a digit, {trace})"


def _rows(name: str, found: Mapping[str, Any], run: Sequence[str]) -> list[list[dict]]:
  """The rows of a model: a diffusion model has two."""
  shown = _PUBLISHED.get(name)
  beside = tables.published("none" if shown is None else f"{shown.value:.2f}")

  def row(label, nats, error, kind):
    bits = lambda value: value / (784 * math.log(2))
    texts = [tables.plus_minus(bits(nats), bits(error), digits=3), tables.plus_minus(nats, error, digits=1), kind]
    texts += [f"{found['parameters']:,}", f"{found['hours']:.2f}"]
    return [tables.cell(label), beside, *(tables.cell(text, run) for text in texts)]

  rows = [row(_LABELS[name], found["nll"], found["stderr"], _kind(found))]
  if "bound" in found:
    label = f"{_LABELS[name]}: reverse process"
    rows.append(row(label, found["bound"], found["bound_stderr"], "bound"))
  return rows


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """A table of the finished runs, with kinds, parameters and hours; or the samples by evaluations."""
  if item == "figure=evaluations":
    return evaluations.report(RUNS[item][name], folder)
  cells, rows = {}, []
  for model, names in stages.run_names(RUNS[item][name]).items():
    runs, arrays = measured.read(folder, names), measured.arrays(folder, names)
    if not runs or not arrays:
      rows.append([tables.cell(text) for text in (_LABELS[model], "", "not finished", "", "", "", "")])
      continue
    run = next(iter(runs.values()))
    hours = _hours(states.folder(folder, names[0]))
    cells[model] = _numbers(run.results, int(arrays[0]["parameters"]), hours)
    rows += _rows(model, cells[model], names)
  columns = [
    "",
    "published, bits",
    "bits per dimension ± over digits",
    "nats",
    "kind",
    "parameters",
    "hours of training",
  ]
  note = "Test NLL, lower is better; numbers of different kinds differ by the gap of a bound, or an error, too."
  if any(found["kind"] == "estimate" for found in cells.values()):
    count = min(found["examples"] for found in cells.values())
    note += f" Estimates are of the first {count:,} test digits; all others of the whole test set."
  return {
    "numbers": {"item": item, "cells": cells},
    "tables": [tables.table(PAPER.items[item], columns, rows, note)],
    "figures": [],
    "sentences": _sentences(cells),
  }


def _sentences(cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """Of a diffusion model both numbers, without an order; and errors of solvers that are not small."""
  said = []
  for name, found in cells.items():
    if "bound" in found:
      said.append(
        f"{_LABELS[name]}: {found['bound']:.1f} nats at most for its reverse process, {found['nll']:.1f} for its "
        "differential equation, which is another density."
      )
    if found["kind"] == "estimate" and found["solver_error"] > found["stderr"]:
      said.append(f"{_LABELS[name]}: the solver's error exceeds the standard error over digits; take more steps.")
  return said


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  if numbers["item"] == "figure=evaluations":
    return evaluations.summary(numbers)
  show = lambda name, found: f"{_LABELS[name]} {found['bits']:.3f} ({found['kind']})"
  grey = numbers["item"] == "table=digits"
  return {
    "system": "densities from PixelCNN to diffusion" if grey else "densities of static binary digits",
    "data": "MNIST, 256 levels" if grey else "MNIST, static",
    "published": "MAF 1.89, FFJORD 1.05 bits per dimension" if grey else "none",
    "ours": "bits per dimension: " + ", ".join(show(name, found) for name, found in numbers["cells"].items()),
  }
