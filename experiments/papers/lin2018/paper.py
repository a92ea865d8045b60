"""Lin, Khetan, Fanti & Oh, "PacGAN: The Power of Two Samples in Generative Adversarial Networks" (NeurIPS 2018).

https://arxiv.org/abs/1712.04086
  python -m dgm_jax reproduce lin2018 --table=1 --budget=quick
  python -m dgm_jax reproduce lin2018 --table=losses --budget=quick

Table 1: modes of a ring and of a grid that a GAN and PacGANs of 2, 3 and 4 samples reach.  Table "losses", which is not
in the paper: every loss of dgm_jax on the grid, with three penalties.  Tables 2 and 3, of stacked digits: stacked.py.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.lin2018 import stacked, tables
from dgm_jax.experiments.shared import planes
from dgm_jax.inference.adversarial_losses import NAMES as LOSSES

_TABLE = {  # set: {samples judged at once: (modes, error), (share in %, error), (reverse KL, error)}
  "ring": {
    1: ((6.3, 0.5), (98.2, 0.2), (0.45, 0.09)),
    2: ((7.9, 0.1), (95.6, 2.0), (0.07, 0.03)),
    3: ((7.8, 0.1), (97.7, 0.3), (0.10, 0.02)),
    4: ((7.8, 0.1), (95.9, 1.4), (0.07, 0.02)),
  },
  "grid": {
    1: ((17.3, 0.8), (94.8, 0.7), (0.70, 0.07)),
    2: ((23.8, 0.7), (91.3, 0.8), (0.13, 0.04)),
    3: ((24.6, 0.4), (94.2, 0.4), (0.06, 0.02)),
    4: ((24.8, 0.2), (93.6, 0.6), (0.04, 0.01)),
  },
}
_METRICS = ("modes", "share", "reverse_kl")

PAPER = Paper(
  authors="Lin, Khetan, Fanti & Oh",
  title="PacGAN: The Power of Two Samples in Generative Adversarial Networks",
  venue="NeurIPS 2018",
  url="https://arxiv.org/abs/1712.04086",
  items={
    "table=1": "Modes of a ring and a grid that GANs reach whose discriminator judges 1 to 4 samples at once",
    "table=losses": "Every loss of two players on the grid, with and without penalties (not in the paper)",
    **stacked.ITEMS,
  },
  published={
    "table=1": {
      f"{data}-{m} {name}": Value(value, stderr=error)
      for data, rows in _TABLE.items()
      for m, row in rows.items()
      for name, (value, error) in zip(_METRICS, row, strict=True)
    },
    "table=losses": {},
    **stacked.PUBLISHED,
  },
  notes={
    "table=1": (
      "Published: ten trials, ± standard error; 100,000 points, batch 100, 400,000 simultaneous updates, z ~ N(0, "
      "I) of two dimensions, Adam 1e-4; generator of four layers of 400 ReLU with batch normalisation, "
      "discriminator of three maxout layers of 200 units and five pieces, weights N(0, 0.02^2); 2,500 samples. A "
      "mode counts with one sample within three standard deviations. 'beta1 = 0.8' of the authors' code was in some "
      "releases of its library the decay of the average of gradients, in others the weight of the new one, so that "
      "the decay was 0.2: ours is the decay 0.8 and, in a row of its own, 0.2.",
      "Other papers print other numbers under the name GAN (3.3 modes of the grid in VEEGAN's table): the settings "
      "decide. Ours: batch normalisation by moving moments when samples are drawn; no average of the generator.",
    ),
    "table=losses": (
      "Ours alone: two layers of 64 ReLU, batch 128, Adam 1e-3 (0.5, 0.9), points divided by their standard deviation, "
      "r1 and gradient penalty with weight 0.1, three seeds as lanes of one program, 16,000 steps of one update each. "
      "Averaged: the moving average of the generator, decay 0.999; raw: its last parameters. ± standard error over "
      "seeds. Weights and rates were not tuned for each loss: a low row says nothing against a loss.",
    ),
    **stacked.NOTES,
  },
)

_CONFIG = "configs/gan_grid.py"
_LOSS_PENALTIES = ("none", "r1", "gradient_penalty")


def _packs(data: tuple[str, ...], packs: tuple[int, ...], seeds: int) -> dict[str, list[dict[str, Any]]]:
  """Cells DATA-PACK, and DATA-1-0.2, the GAN with the other meaning of beta1 = 0.8."""
  of = lambda name, m, **more: [{"arg.data": f"plane/{name}", "arg.pack": m, **more, "seed": s} for s in range(seeds)]
  cells = {f"{name}-{m}": of(name, m) for name in data for m in packs}
  return cells | {f"{name}-1-0.2": of(name, 1, **{"optim.b1": 0.2}) for name in data}


def _losses(names: tuple[str, ...], penalties: tuple[str, ...], seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {
    f"{loss} {penalty}": [{"arg.loss": loss, "arg.penalty": penalty, "seed": seed} for seed in range(seeds)]
    for loss in names
    for penalty in penalties
  }


_measure = functools.partial(measured.of_runs, measure=planes.measure)
_SHORTER = "A shorter recipe: its numbers are not comparable with the published ones."
RUNS = {
  "table=1": {
    "quick": Budget(
      "grid, one and two samples at once, beta1 0.8 and 0.2, 20,000 updates, two seeds",
      minutes=20,
      same_data=True,
      caveat=_SHORTER,
      config=f"{_CONFIG}:net=lin2018",
      common={"num_steps": 20_000, "eval_every": 10_000, "checkpoint_every": 10_000},
      cells=_packs(("grid",), (1, 2), 2),
      measure=_measure,
    ),
    "short": Budget(
      "ring and grid, one and two samples at once, 100,000 updates, three seeds",
      minutes=300,
      same_data=True,
      caveat=_SHORTER,
      config=f"{_CONFIG}:net=lin2018",
      common={"num_steps": 100_000, "eval_every": 50_000, "checkpoint_every": 25_000},
      cells=_packs(("ring", "grid"), (1, 2), 3),
      measure=_measure,
    ),
    "paper": Budget(
      "ring and grid, one to four samples at once, 400,000 updates, ten seeds",
      minutes=180 * 60,
      full=True,
      config=f"{_CONFIG}:net=lin2018",
      cells=_packs(("ring", "grid"), (1, 2, 3, 4), 10),
      measure=_measure,
    ),
    "test": Budget(
      "grid of 1,000 points, 40 updates of small networks, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test,net=lin2018",
      cells=_packs(("grid",), (1, 2), 2),
      measure=_measure,
    ),
  },
  "table=losses": {
    "quick": Budget(
      "grid, every loss without penalty, with r1 and with a gradient penalty, 16,000 steps, three seeds as lanes",
      minutes=30,
      caveat="There are no published numbers to compare with.",
      config=_CONFIG,
      cells=_losses(LOSSES, _LOSS_PENALTIES, 3),
      measure=_measure,
    ),
    "test": Budget(
      "grid of 1,000 points, two losses, 40 steps, two seeds: for tests",
      minutes=1,
      caveat="There are no published numbers to compare with.",
      config=f"{_CONFIG}:test",
      cells=_losses(("non_saturating", "hinge"), ("r1",), 2),
      measure=_measure,
    ),
  },
  **stacked.RUNS,
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  if item in stacked.ITEMS:
    return stacked.report(item, RUNS[item][name], folder)
  return tables.report(item, RUNS[item][name], PAPER.published[item], folder)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if numbers["item"] in stacked.ITEMS:
    return stacked.summary(numbers)
  return tables.summary(numbers, PAPER.published["table=1"])
