"""Mattei & Frellsen, "Leveraging the Exact Likelihood of Deep Latent Variable Models" (NeurIPS 2018).

https://arxiv.org/abs/1802.04826
  python -m dgm_jax reproduce mattei2018 --figure=1 --budget=quick

Figure 1: the likelihood of a Gaussian decoder diverges unless its variances are kept above a floor; with the floor it
stays below that of the best mixture, and the difference is the parsimony gap; see parsimony.py.
Figure 2: F1 scores of missing pixels by pseudo-Gibbs and Metropolis-within-Gibbs sampling; see imputation_scores.py.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.mattei2018 import imputation_scores, parsimony
from dgm_jax.sweeps import axes

PAPER = Paper(
  authors="Mattei & Frellsen",
  title="Leveraging the Exact Likelihood of Deep Latent Variable Models",
  venue="NeurIPS 2018",
  url="https://arxiv.org/abs/1802.04826",
  items={
    "figure=1": "Likelihood blow-up of a Gaussian decoder, and the parsimony gap with a floor on its variances",
    "figure=2": "F1 scores of imputed pixels, Metropolis-within-Gibbs against pseudo-Gibbs",
  },
  published={"figure=1": {}, "figure=2": {}},
  notes={
    "figure=1": (
      "The paper's figures have no numbers that could be read, and the numbering of the figures is ours. Its claims: "
      "without a constraint the training bound diverges; with a spectral one, variances >= xi, it is at most the "
      "likelihood of the best mixture under the same constraint, the non-parametric maximum likelihood.",
      "Paper: Frey faces, 5 latent variables, 200 hidden units, Adam at 1e-4, batch 10, path-derivative gradients. "
      "Its xi and number of updates were not read in the source; ours is xi = 2^-4 for grey levels in [0, 1], and "
      "variances of the constrained decoder are at most 1.",
      "log p(x) is that of the training images, by importance sampling: a stochastic lower bound.",
      "The best mixture has diagonal normals, like the decoder. EM from a component on each image bounds it from "
      "below. From above, the certificate holds for any mixture; climbing the gradient from every image and component "
      "gives the tight bound if the climbs find the maximum, which is not certain.",
      "On MNIST, pixels that are 0 in every training image suffice to make the unconstrained likelihood unbounded; "
      "Frey faces have no such pixels.",
    ),
    "figure=2": (
      "The paper's scores were not read in the source. Its claim: Metropolis-within-Gibbs imputes better than "
      "pseudo-Gibbs, whose stationary distribution is not the model's conditional, at 40 to 80 % of pixels missing and "
      "for a missing half.",
      "Both chains start from coin flips and ten steps of pseudo-Gibbs, and impute by the mean of E[x|z] over their "
      "second half, thresholded at 1/2; masks, start and model are the same. F1 is that of the white pixels, over all "
      "missing pixels of the test images.",
      "Differences are tested by a jackknife over images and by Student's t over models of different seeds.",
      "Paper: MNIST, OMNIGLOT and Caltech 101 silhouettes, static binarisation.",
    ),
  },
)

_SEEDS = {"quick": 2, "short": 3, "paper": 3, "test": 2}
_FREY, _VAE = "configs/gaussian_vae_frey.py", "configs/vae_mnist.py"


def _floors(seeds: int) -> dict[str, list[axes.Overrides]]:
  """Cells with and without the floor."""
  floors = {"floor": parsimony.FLOOR, "no floor": 0.0}
  return {cell: [{"arg.floor": floor, "seed": seed} for seed in range(seeds)] for cell, floor in floors.items()}


def _blow_up(name: str, what: str, minutes: float, config: str, samples: int, **options: Any) -> Budget:
  cells = _floors(_SEEDS[name])
  measure = functools.partial(parsimony.measure, samples=samples)
  caveat = "There are no published numbers to compare with."
  return Budget(what, minutes, caveat=caveat, config=config, cells=cells, measure=measure, **options)


def _scores(
  name: str, what: str, minutes: float, config: str, images: int, steps: int, data: tuple[str, ...], **options: Any
) -> Budget:
  """A budget with a cell for each data set."""
  runs = lambda d: [({"arg.data": d} if len(data) > 1 else {}) | {"seed": seed} for seed in range(_SEEDS[name])]
  cells = {d: runs(d) for d in data}
  impute = functools.partial(imputation_scores.score, num_images=images, num_steps=steps)
  measure = functools.partial(measured.of_runs, measure=impute)
  caveat = "There are no published numbers to compare with."
  return Budget(what, minutes, caveat=caveat, config=config, cells=cells, measure=measure, **options)


RUNS = {
  "figure=1": {
    "quick": _blow_up(
      "quick",
      "mnist5k grey levels (4,000 training images), two seeds, 4,000 steps of batch 100, log p(x) by 200 samples",
      6,
      f"{_FREY}:quick",
      200,
      common={"evaluate.importance_sampling.num_samples": 50},
    ),
    "short": _blow_up(
      "short",
      "Frey faces (1,565 training images), three seeds, 100,000 steps of batch 10, log p(x) by 1000 samples",
      30,
      _FREY,
      1000,
      common={"num_steps": 100_000},
    ),
    "paper": _blow_up(
      "paper",
      "Frey faces (1,565 training images), three seeds, 1,000,000 steps of batch 10, log p(x) by 5000 samples",
      300,
      _FREY,
      5000,
      common={"num_steps": 1_000_000},
      full=True,
    ),
    "test": _blow_up("test", "mnist5k, 40 steps of a small network, two seeds: for tests", 2, f"{_FREY}:test", 5),
  },
  "figure=2": {
    "quick": _scores(
      "quick",
      "mnist5k binarised (4,000 training images), two seeds, 4,000 steps of batch 100, 250 test images, chains of 200",
      6,
      f"{_VAE}:quick",
      250,
      200,
      ("mnist5k",),
      common={"num_steps": 4000, "evaluate.importance_sampling.num_samples": 50},
    ),
    "short": _scores(
      "short",
      "statically binarised MNIST, three seeds, 20,000 steps of batch 100, 1,000 test images, chains of 1,000",
      120,
      f"{_VAE}:quick,data=binarized_mnist",
      1000,
      1000,
      ("binarized_mnist",),
      common={"num_steps": 20_000, "evaluate.importance_sampling.num_samples": 500},
    ),
    "paper": _scores(
      "paper",
      "statically binarised MNIST, OMNIGLOT and Caltech 101 silhouettes, three seeds, 3,280 epochs of batch 20, all "
      "test images, chains of 2,000",
      20 * 1440,
      _VAE,
      100_000,
      2000,
      ("binarized_mnist", "omniglot", "caltech101_silhouettes"),
      full=True,
    ),
    "test": _scores(
      "test",
      "mnist5k, 40 steps of a small network, two seeds, chains of 10: for tests",
      1,
      f"{_VAE}:test",
      40,
      10,
      ("mnist5k",),
    ),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  names = stages.run_names(RUNS[item][name])
  return (parsimony if item == "figure=1" else imputation_scores).report(names, folder)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return (parsimony if "mixture" in numbers else imputation_scores).summary(numbers)
