"""Samples of several models of grey digits, measured alike, beside training and held-out digits."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core.evaluation import make_prepare
from dgm_jax.evaluate.sample_features.measure import Measure
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.training.experiment import evaluation_key

MODELS = ("gan", "dcgan", "vae", "diffusion")
_NUMBERS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "memorisation_z", "parzen")
_COLUMNS = ("Frechet", "kernel", "precision", "recall", "density", "coverage", "memorisation z", "Parzen, nats")
_DIGITS = {"parzen": 1, "memorisation_z": 1}
_LABELS = {
  "gan": "GAN of 2014",
  "dcgan": "DCGAN",
  "vae": "VAE, x ~ p(x|z)",
  "diffusion": "diffusion",
  "means": "VAE, E[x|z]",
}
_WITHOUT = {"training": "training digits", "held_out": "held-out digits"}


def _row(numbers: Mapping[str, Any], ending: str = "") -> np.ndarray:
  """[numbers, 2]: each number and its standard error, NaN where there is none."""
  of = lambda name: numbers.get(f"samples_{name}{ending}", np.nan)
  return np.array([[of(name), of(f"{name}_stderr")] for name in _NUMBERS], np.float64)


def measure(run: Any) -> dict[str, np.ndarray]:
  """Rows of a run: "draws" of the model, "means" of p(x|z) if it has them; of seed 0 of the GAN what needs no model."""
  results = {name.removeprefix("test/"): value for name, value in run.results.items()}
  found = {"draws": _row(results)}
  experiment, name, key = run.experiment, run.config.model.name, evaluation_key()
  options = run.config.evaluate.samples.to_dict() | {"floor": False}
  if name == "vae":

    def means(state, key, n):
      return experiment.model.bind({"params": state.params, **state.variables}).generate(key, n, mean=True)

    of_means = experiment._replace(system=experiment.system._replace(sample=means))
    state = make_prepare(experiment.system)(run.state)
    found["means"] = _row(Measure(of_means, **options)(state, key))
  if name == "gan" and run.config.seed == 0:
    found["training"] = _row(results, "_floor")
    found["held_out"] = _row(Measure(experiment, **options).of_examples("valid", key))
  return found


def _number(rows: Sequence[np.ndarray]) -> dict[str, Any]:
  """{number: {mean, stderr}}, without those that a row lacks; the error over seeds or, of one seed, of its samples."""
  found = {}
  for i, name in enumerate(_NUMBERS):
    if not all(np.isfinite(row[i, 0]) for row in rows):
      continue
    values = measured.mean([float(row[i, 0]) for row in rows])
    own = float(rows[0][i, 1])
    error = values.stderr if len(rows) > 1 else own if np.isfinite(own) else None
    found[name] = {"mean": values.mean, "stderr": error, "by_seed": list(values.values)}
  return found


def _texts(found: Mapping[str, Any]) -> list[str]:
  texts = []
  for name in _NUMBERS:
    number, digits = found.get(name), _DIGITS.get(name, 3)
    texts.append("" if number is None else tables.plus_minus(number["mean"], number["stderr"], digits=digits))
  return texts


def report(budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  names = stages.run_names(budget)
  arrays = {cell: found for cell, runs in names.items() if (found := measured.arrays(folder, runs))}
  cells = {cell: _number([a["draws"] for a in found]) for cell, found in arrays.items()}
  if "vae" in arrays:
    cells["means"] = _number([a["means"] for a in arrays["vae"]])
  without = {key: _number([a[key]]) for found in arrays.values() for a in found for key in _WITHOUT if key in a}
  rows = [
    [tables.cell(_LABELS[c]), *(tables.cell(t, names.get(c, names["vae"])) for t in _texts(found))]
    for c, found in cells.items()
  ]
  rows += [[tables.cell(label), *map(tables.cell, _texts(without[k]))] for k, label in _WITHOUT.items() if k in without]
  note = (
    "Features: the last hidden units of the package's classifier of digits; 10,000 samples against the test digits; "
    "± standard error over seeds or, of one seed and of digits, of the samples."
  )
  made = [tables.table("Samples measured alike", ["samples of", *_COLUMNS], rows, note)] if rows else []
  numbers = {"item": "table=samples", "cells": cells, "without": without}
  return {"numbers": numbers, "tables": made, "figures": [], "sentences": _sentences(cells)}


def _sentences(cells: Mapping[str, Any]) -> list[str]:
  """Whether two numbers order the models alike."""
  if len(cells) < 2:
    return []
  order = lambda name, sign: [_LABELS[c] for c in sorted(cells, key=lambda c: sign * cells[c][name]["mean"])]
  by_frechet, by_parzen = order("frechet", 1), order("parzen", -1)
  parzen = "the same order" if by_frechet == by_parzen else "; ".join(by_parzen)
  return [f"By the Frechet distance, best first: {'; '.join(by_frechet)}.", f"By Parzen windows: {parzen}."]


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda n: f"{tables.plus_minus(n['frechet']['mean'], n['frechet']['stderr'])}, {n['parzen']['mean']:.1f}"
  ours = [f"{_LABELS[c]} {show(n)}" for c, n in numbers["cells"].items()]
  ours += [f"{_WITHOUT[k]} {show(n)}" for k, n in numbers["without"].items()]
  return {
    "system": "GANs, VAE and diffusion: Frechet distance in features of a classifier of digits, Parzen window in nats",
    "data": "MNIST, grey",
    "published": "none",
    "ours": "; ".join(ours),
  }
