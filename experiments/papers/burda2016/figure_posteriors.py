"""Burda et al. (2016), appendix C: true and approximate posteriors of models with two latent units, by quadrature.

The paper claims that IWAE learns posteriors that violate a VAE's assumptions.  The divergences of p(z|x) from q(z|x)
and from the nearest normal are measured for each of N test images:

    KL(q(z|x) || p(z|x)) = log p(x) - ELBO,   J = H(N(m, C)) - H(p(z|x)) = KL(p(z|x) || N(m, C)) >= 0,

where m and C are mean and covariance of p(z|x) and H is the entropy; the negentropy J is 0 only for a normal.
"""

import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import files
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import latent_figures, latent_space, quadrature
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.papers.burda2016 import tables as systems
from dgm_jax.experiments.shared import nll_tables
from dgm_jax.training.experiment import evaluation_key

_CELLS = ("vae-1", "iwae-5", "iwae-50")
_DRAWN = 6  # posteriors in a picture
_POINTS = 80  # grid points on each axis of a plotted posterior
_VALUES = {"kl": "KL(q || p)", "negentropy": "negentropy of p(z|x)"}


def negentropy(z1: jax.Array, z2: jax.Array, p: jax.Array, covariance: jax.Array) -> jax.Array:
  """J of densities on a grid, [B], nats.

  Args:
    z1, z2: coordinates, [B, P] each.
    p: values [B, P, P] at them.
    covariance: covariance of p, [B, 2, 2].
  """
  cell = (z1[:, 1] - z1[:, 0]) * (z2[:, 1] - z2[:, 0])
  entropy = -jnp.sum(jax.scipy.special.xlogy(p, p), (1, 2)) * cell
  return math.log(2 * math.pi * math.e) + 0.5 * jnp.linalg.slogdet(covariance)[1] - entropy


def posteriors(run: Any, num_examples: int, grid: int) -> dict[str, Any]:
  """Posteriors of the first test images under a run, by quadrature with `grid` points on each axis.

  Returns:
    kl, negentropy, log_px and the grid's error, [N] each; for the first _DRAWN images also x, and z1, z2, p, q as in
    latent_space.Densities.
  """

  def eval_step(state, key, batch):
    model = run.experiment.model.bind({"params": state.params, **state.variables})
    exact = quadrature.posterior(model, batch, grid)
    shown = latent_space.densities(model, key, batch, exact, _POINTS)._asdict()
    j = negentropy(shown["z1"], shown["z2"], shown["p"], exact.covariance)
    return shown | {"x": batch["x"], "kl": exact.kl, "negentropy": j, "log_px": exact.log_px}

  arrays = {name: a[:num_examples] for name, a in run.experiment.splits.test.items()}
  program = make_evaluate_examples(eval_step, run.experiment.transforms.evaluate, min(20, num_examples))
  found = program(run.state, evaluation_key(), arrays)  # all runs see the same binarised images
  return {name: a[:_DRAWN] if a.ndim > 1 else a for name, a in found.items()}


def _budget(what: str, num_examples: int, grid: int, **options: Any) -> Budget:
  options["common"] = {
    "model.args.latent_dim": 2,
    "evaluate.importance_sampling.num_samples": 100,
    **options.get("common", {}),
  }
  measure = functools.partial(measured.of_runs, measure=lambda run: posteriors(run, num_examples, grid))
  return Budget(f"{what}, quadrature for {num_examples} test images", measure=measure, **options)


RUNS = {
  "quick": _budget(
    "mnist5k (4,000 training, 500 test images), two latent units, three seeds, 15 epochs of batch 20",
    40,
    400,
    minutes=5,
    config=f"{systems.IWAE}:quick",
    common={"batch_size": 20, "num_steps": 3000, "eval_every": 1500, "figures_every": 3000},
    cells=systems.make_cells(3, _CELLS),
  ),
  "short": _budget(
    "MNIST (60,000, 10,000), two latent units, three seeds, 20 epochs of batch 100",
    200,
    600,
    minutes=90,
    config=f"{systems.IWAE}:quick,data=mnist",
    common={"num_steps": 12_000},
    cells=systems.make_cells(3, _CELLS),
  ),
  "paper": _budget(
    "MNIST (60,000, 10,000), two latent units, three seeds, 3,280 epochs of batch 20",
    1000,
    600,
    minutes=15 * 1440,
    full=True,
    config=systems.IWAE,
    cells=systems.make_cells(3, _CELLS),
  ),
  "test": _budget(
    "mnist5k, 40 steps of a small network with two latent units, two seeds: for tests",
    6,
    100,
    minutes=1,
    config=f"{systems.IWAE}:test",
    cells=systems.make_cells(2, ("vae-1", "iwae-5")),
  ),
}


def _read(folder: pathlib.Path, cells: Mapping[str, Sequence[dict]], names: Mapping[str, list[str]]) -> dict[str, dict]:
  """{cell: {seed: arrays}} of the measured runs."""
  found = {}
  for cell, runs in cells.items():
    paths = {o["seed"]: measured.file(folder, name) for o, name in zip(runs, names[cell], strict=True)}
    if there := {seed: files.load_arrays(path) for seed, path in paths.items() if path.exists()}:
      found[cell] = there
  return found


def _numbers(runs: Mapping[int, Mapping[str, np.ndarray]]) -> dict[str, Any]:
  """Means over images and seeds, with errors over seeds."""
  means = {name: measured.mean([r[name].mean() for r in runs.values()]) for name in (*_VALUES, "log_px")}
  numbers = {name: {"mean": m.mean, "stderr": m.stderr, "by_seed": list(m.values)} for name, m in means.items()}
  return numbers | {"worst_grid_error": float(max(r["error"].max() for r in runs.values()))}


def _pairs(found: Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]) -> dict[str, dict[str, Any]]:
  """IWAE minus VAE for each value, paired by image."""
  pairs = {}
  for first, second in (("iwae-5", "vae-1"), ("iwae-50", "vae-1")):
    seeds = sorted(found.get(first, {}).keys() & found.get(second, {}).keys())
    for value in _VALUES if seeds else ():
      stack = lambda cell, value=value, seeds=seeds: np.stack([found[cell][s][value] for s in seeds]).astype(np.float64)
      d = measured.difference(stack(first), stack(second))
      pairs[f"{_VALUES[value]}, {systems.label(first)} − {systems.label(second)}"] = d._asdict()
  return pairs


def _sentence(name: str, p: Mapping[str, Any]) -> str:
  verdict = measured.words(p["verdict"], "higher")
  return f"{name} > 0: {verdict} ({tables.plus_minus(p['difference'], p['stderr_images'], True)} over images)."


def _picture(folder: pathlib.Path, cell: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  file = f"posteriors_{cell}.png"
  latent_figures.save_posteriors(
    folder / file, arrays["z1"], arrays["z2"], arrays["p"], arrays["q"], arrays["x"].astype(np.float32)
  )
  return tables.picture(f"Posteriors of {systems.label(cell)}, first seed", file, "Filled: p(z|x); lines: q(z|x).")


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of what is measured so far: numbers, table, pictures, sentences."""
  del item
  names = stages.run_names(RUNS[name])
  found = _read(folder, RUNS[name].cells, names)
  cells, pairs = {cell: _numbers(runs) for cell, runs in found.items()}, _pairs(found)
  data = nll_tables.data_of({cell: measured.read(folder, names[cell]) for cell in cells})
  text = lambda n: tables.plus_minus(n["mean"], n["stderr"])
  rows = [
    [tables.cell(systems.label(cell)), *(tables.cell(text(n[v]), names[cell]) for v in (*_VALUES, "log_px"))]
    for cell, n in cells.items()
  ]
  columns = ["", *(f"{v} ± over seeds" for v in _VALUES.values()), "log p(x)"]
  error = max((n["worst_grid_error"] for n in cells.values()), default=0.0)
  note = f"Nats, means over images; quadrature's error in log p(x) is estimated below {error:.1g} for every image."
  return {
    "numbers": {"data": data, "cells": cells, "pairs": pairs},
    "tables": [tables.table("Posteriors of two latent units", columns, rows, note)] if rows else [],
    "figures": [_picture(folder, cell, runs[min(runs)]) for cell, runs in found.items()],
    "sentences": [_sentence(key, p) for key, p in pairs.items()],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  text = lambda n: tables.plus_minus(n["mean"], n["stderr"])
  of = lambda cell, n: f"{systems.label(cell)} KL {text(n['kl'])}, J {text(n['negentropy'])}"
  return {
    "system": "posteriors of two latent units: KL(q || p(z|x)), negentropy J of p(z|x)",
    "data": numbers["data"],
    "published": "pictures (no numbers)",
    "ours": "; ".join(of(cell, n) for cell, n in numbers["cells"].items()),
  }
