"""Lucas et al., "Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse" (NeurIPS 2019).

https://arxiv.org/abs/1911.02469
  python -m dgm_jax reproduce lucas2019 --figure=1 --budget=quick

Figure 1: the final ELBO of a linear VAE and the maximum log-likelihood of probabilistic PCA, by latent dimension.
Figure 2: the share of collapsed units by the variance of p(x|z), fixed or learned, for a linear and a deep VAE, and the
prediction for the linear one from the eigenvalues of the data's covariance.
"""

import functools
import pathlib
from typing import Any

import jax
import numpy as np

from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.lucas2019 import tables
from dgm_jax.experiments.shared import linear_vae
from dgm_jax.sweeps import axes

PAPER = Paper(
  authors="Lucas, Tucker, Grosse & Norouzi",
  title="Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse",
  venue="NeurIPS 2019",
  url="https://arxiv.org/abs/1911.02469",
  items={
    "figure=1": "ELBO of linear VAEs and log-likelihood of probabilistic PCA on MNIST, by latent dimension",
    "figure=2": "Collapsed units by the variance of p(x|z), fixed or learned, linear and deep VAEs on MNIST",
  },
  published={"figure=1": {}, "figure=2": {}},
  notes={
    "figure=1": (
      "The paper's numbers, latent dimensions and preprocessing were not read in the source, and the numbering of the "
      "figures is ours. Its claim: the maximum ELBO of a linear VAE is the log-likelihood of probabilistic PCA.",
      "Grey levels in [0, 1], not binarised. ELBO and log p(x) of the trained parameters are exact, on the training "
      "images; the optimum of probabilistic PCA is in closed form from the eigenvalues of their covariance (Tipping & "
      "Bishop, 1999).",
      "In training the KL is analytic; E_q[log p(x|z)] is estimated with one z for each image and step.",
    ),
    "figure=2": (
      "The paper's numbers were not read in the source. Its claims: a large fixed variance collapses units, as it does "
      "in probabilistic PCA, which does not use directions with an eigenvalue below it; a learned variance does not.",
      "A unit is (epsilon, delta)-collapsed if KL(q(z_l|x) || p(z_l)) < epsilon for at least a share 1 - delta of the "
      f"training images; delta = 0.01, and epsilon = {tables.EPSILON} nats unless it is varied.",
      "Deep: two hidden layers of 200 tanh units in each net, and scales of q(z|x) that depend on x.",
    ),
  },
)

_CONFIG = "configs/linear_vae_mnist.py"


def _dimensions(values: tuple[int, ...], seeds: int) -> dict[str, list[axes.Overrides]]:
  return {str(d): [{"arg.d": d, "seed": seed} for seed in range(seeds)] for d in values}


def _variances(values: tuple[float, ...], seeds: int, hidden: int = 200) -> dict[str, list[axes.Overrides]]:
  """{"linear 0.1": overrides of its runs}; a value of 0 means a learned variance."""
  nets = {"linear": 0, "deep": hidden}
  runs = lambda net, v: [{"arg.hidden": nets[net], "arg.variance": v, "seed": seed} for seed in range(seeds)]
  return {f"{net} {v or 'learned'}": runs(net, v) for net in nets for v in values}


def _x(run: Any) -> np.ndarray:
  """The training images as the model sees them, [N, D]."""
  train = run.experiment.splits.train
  x = run.experiment.transforms.evaluate(jax.random.key(0), {"x": train["x"], "index": train["index"]})["x"]
  return np.asarray(x, np.float64).reshape(len(x), -1)


def bounds(run: Any) -> dict[str, Any]:
  """{"elbo", "log_px", "best"}: exact means over the training images, and the optimum of probabilistic PCA."""
  x, model = _x(run), linear_vae.of_params(run.params)
  best = linear_vae.best_log_px(linear_vae.eigenvalues(x), model.w.shape[1])
  return {"elbo": linear_vae.elbo(model, x).mean(), "log_px": linear_vae.log_px(model, x).mean(), "best": best}


def collapse(run: Any) -> dict[str, Any]:
  """{"inactive" [E]: share collapsed by epsilon; "units": their number; "spectrum" [D]: eigenvalues; "variance"}."""
  model = run.experiment.model
  step = lambda state, key, batch: {"kl": model.bind({"params": state.params}).kl(batch)}
  evaluate = make_evaluate_examples(step, run.experiment.transforms.evaluate, 500)
  kl = np.asarray(evaluate(run.state, jax.random.key(0), run.experiment.splits.train)["kl"])
  fixed = run.config.model.args.likelihood_args.get("scale", 0.0) ** 2
  variance = fixed or float(np.exp(2 * run.params["px_z"]["log_scale"]))
  shares = [linear_vae.inactive(kl, epsilon) for epsilon in tables.EPSILONS]
  spectrum = linear_vae.eigenvalues(_x(run))
  return {"inactive": shares, "units": kl.shape[1], "spectrum": spectrum, "variance": variance}


def _budget(what: str, minutes: float, config: str, cells: dict, measure: Any, **options: Any) -> Budget:
  measure_all = functools.partial(measured.of_runs, measure=measure)
  return Budget(what, minutes, config=config, cells=cells, measure=measure_all, **options)


_FEW = {"evaluate.importance_sampling.num_samples": 50}
_CAVEAT = "There are no published numbers to compare with."
_COMMON = {"common": _FEW, "caveat": _CAVEAT}
RUNS = {
  "figure=1": {
    "quick": _budget(
      "mnist5k (4,000 training images), L = 5, 10, 20, 50, three seeds, 4,000 steps of batch 100",
      3,
      f"{_CONFIG}:quick",
      _dimensions((5, 10, 20, 50), 3),
      bounds,
      **_COMMON,
    ),
    "short": _budget(
      "MNIST (60,000 training images), L = 5, 10, 20, 50, 100, three seeds, 20,000 steps of batch 100",
      40,
      f"{_CONFIG}:quick,data=mnist",
      _dimensions((5, 10, 20, 50, 100), 3),
      bounds,
      common=_FEW | {"num_steps": 20_000},
      caveat=_CAVEAT,
    ),
    "paper": _budget(
      "MNIST (60,000 training images), L = 5 to 300, five seeds, 50,000 steps of batch 100",
      400,
      _CONFIG,
      _dimensions((5, 10, 20, 50, 100, 200, 300), 5),
      bounds,
      full=True,
    ),
    "test": _budget(
      "mnist5k, L = 2, 5, 40 steps, two seeds: for tests",
      0.5,
      f"{_CONFIG}:test",
      _dimensions((2, 5), 2),
      bounds,
      caveat=_CAVEAT,
    ),
  },
  "figure=2": {
    "quick": _budget(
      "mnist5k (4,000 training images), L = 50, variances 0.3, 1, 3 and learned, two seeds, 3,000 steps of batch 100",
      4,
      f"{_CONFIG}:quick",
      _variances((0.3, 1.0, 3.0, 0.0), 2),
      collapse,
      common=_FEW | {"num_steps": 3000},
      caveat=_CAVEAT,
    ),
    "short": _budget(
      "MNIST (60,000 training images), L = 50, variances 0.1 to 10 and learned, two seeds, 20,000 steps of batch 100",
      90,
      f"{_CONFIG}:quick,data=mnist",
      _variances((0.1, 0.3, 1.0, 3.0, 10.0, 0.0), 2),
      collapse,
      common=_FEW | {"num_steps": 20_000},
      caveat=_CAVEAT,
    ),
    "paper": _budget(
      "MNIST (60,000 training images), L = 50, variances 0.01 to 30 and learned, five seeds, 50,000 steps of batch 100",
      1500,
      _CONFIG,
      _variances((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 0.0), 5),
      collapse,
      full=True,
    ),
    "test": _budget(
      "mnist5k, L = 50, variances 1 and learned, 40 steps, one seed: for tests",
      1,
      f"{_CONFIG}:test",
      _variances((1.0, 0.0), 1, 32),
      collapse,
      caveat=_CAVEAT,
    ),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the measured runs in a folder."""
  names = stages.run_names(RUNS[item][name])
  found = {cell: measured.arrays(folder, runs) for cell, runs in names.items()}
  return (tables.bounds if item == "figure=1" else tables.collapse)(found, names)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return tables.summary(numbers)
