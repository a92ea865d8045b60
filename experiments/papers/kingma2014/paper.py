"""Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), https://arxiv.org/abs/1312.6114.

  python -m dgm_jax reproduce kingma2014 --figure=2 --budget=quick
  python -m dgm_jax reproduce kingma2014 --figure=2 --budget=short --manual_dir=FOLDER

The paper has no table: its figures show orders, not numbers.  See figure2.py, figure3.py and figures4_5.py.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Paper
from dgm_jax.experiments.papers.kingma2014 import figure2, figure3, figures4_5

_COMMON = (
  "One hidden layer of tanh units, all parameters from N(0, 0.01), with 0.01 read as the standard deviation, Adagrad, "
  "a prior N(0, I) on the parameters, batches of 100 with one sample per image, as in the paper. The warm-up of 100 "
  "updates is ours; without it wake-sleep's log-variances diverged. Both choices were made by the bounds of short "
  "pilot runs.",
  "The paper does not say how MNIST was binarised. Ours is binarised again at every use; grey levels as input would "
  "give another bound, and in wake-sleep the samples of the model would differ in kind from the training images.",
)
PAPER = Paper(
  authors="Kingma & Welling",
  title="Auto-Encoding Variational Bayes",
  venue="ICLR 2014",
  url="https://arxiv.org/abs/1312.6114",
  items={
    "figure=2": "Variational lower bound against training samples, AEVB and wake-sleep, by latent dimensions",
    "figure=3": "Marginal likelihood against training samples, AEVB, wake-sleep and Monte Carlo EM",
    "figure=4": "Learned manifolds of two latent variables",
    "figure=5": "Random samples for 2, 5, 10 and 20 latent variables",
  },
  published={"figure=2": {}, "figure=3": {}, "figure=4": {}, "figure=5": {}},
  notes={
    "figure=2": (
      *_COMMON,
      "The figure has no numbers. It claims that AEVB is faster and better than wake-sleep in every panel, on axes "
      "from -150 to -100 nats (MNIST) and 0 to 1600 (Frey faces), and that superfluous latent variables do not "
      "overfit.",
      "The step size is chosen from {0.01, 0.02, 0.1} by the first iterations; see the table of step sizes.",
      "The training bound is that of the batches during training; the held-out bound is that of the validation images "
      "if there are any, else of the test images, with one sample each.",
      "Frey faces: 200 hidden units, a Gaussian decoder with a sigmoid mean; which frames the paper held out is not "
      "known.",
    ),
    "figure=3": (
      *_COMMON,
      "100 hidden units, three latent variables. MCEM: trajectories of 10 leapfrog steps, step size adapted to an "
      "acceptance of 90 %, five updates with each sample; each image's chain continues from its state at the image's "
      "last use, which the paper does not specify.",
      "Training samples evaluated are counted once for a batch, although MCEM makes five updates with it.",
      "log p(x) by 50 draws of HMC with 4 leapfrog steps as in appendix D, from two independent chains for each image.",
    ),
    "figure=4": (*_COMMON, "A grid of equal quantiles of N(0, 1), and the mean of p(x|z) at each point."),
    "figure=5": (*_COMMON, "Means of p(x|z) at draws from the prior, as pictures of samples usually are."),
  },
)
RUNS = {
  "figure=2": figure2.RUNS,
  "figure=3": figure3.RUNS,
  "figure=4": figures4_5.MANIFOLDS,
  "figure=5": figures4_5.SAMPLES,
}
_OWN = {2: figure2, 3: figure3, 4: figures4_5, 5: figures4_5}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder: numbers, tables, figures, sentences."""
  figure, budget = int(item.partition("=")[2]), RUNS[item][name]
  return _OWN[figure].report(budget, folder, *([figure] if figure in (4, 5) else []))


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return _OWN[numbers["figure"]].summary(numbers)
