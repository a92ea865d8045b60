"""Zhao, Liu, Lin, Zhu & Han, "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020).

https://arxiv.org/abs/2006.10738
  python -m dgm_jax reproduce zhao2020 --table=cifar10 --budget=quick

BigGAN on few images of CIFAR-10, with and without DiffAugment.
"""

import functools
import math
import pathlib
from typing import Any

import scipy.stats

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.experiments.shared.sample_scores import Column

# inception score and FID of 10,000 samples, on 100, 20 and 10 % of the training images
_TABLE = {
  "plain-100": (9.06, 9.59),
  "augmented-100": (9.16, 8.70),
  "plain-20": (8.41, 21.58),
  "augmented-20": (8.65, 14.04),
  "plain-10": (7.62, 39.78),
  "augmented-10": (8.09, 22.40),
}
_COLUMNS = (
  Column("frechet", "Frechet distance", "test/samples_frechet", 2),
  Column("stderr", "its error", "test/samples_frechet_stderr", 2),
  Column("class_score", "class score", "test/samples_class_score", 2),
  Column("recall", "recall", "test/samples_recall", 3),
  Column("near", "memorised share", "test/samples_memorisation_near", 3),
)
_LABELS = {"plain-small": "BigGAN", "augmented-small": "BigGAN, DiffAugment"}

PAPER = Paper(
  authors="Zhao, Liu, Lin, Zhu & Han",
  title="Differentiable Augmentation for Data-Efficient GAN Training",
  venue="NeurIPS 2020",
  url="https://arxiv.org/abs/2006.10738",
  items={"table=cifar10": "BigGAN on few images of CIFAR-10, with and without DiffAugment"},
  published={
    "table=cifar10": {
      f"{cell} {name}": Value(value)
      for cell, row in _TABLE.items()
      for name, value in zip(("inception_score", "fid"), row, strict=True)
    }
  },
  notes={
    "table=cifar10": (
      "Published (the authors' page of code), inception score and FID of 10,000 samples: on all training images 9.06 "
      "and 9.59, with DiffAugment 9.16 and 8.70; on 10,000 images 8.41 and 21.58, 8.65 and 14.04; on 5,000 images "
      "7.62 and 39.78, 8.09 and 22.40: one day on two GPUs each, 256 channels. Images are mirrored in all rows; "
      "DiffAugment is translation and cutout; 250,000 updates of the generator on all images, 125,000 on 5,000.",
      "Ours: the same changes of the images, but the first 4,000 training images, far fewer updates, a quarter of the "
      "channels (ch 16), and the features and classifier of this package, whose Frechet distance and class score are "
      "not FID and inception score. Only the order of the two rows may be compared with the published one.",
    )
  },
)
_CONFIG = "configs/biggan_cifar10.py:data=cifar10/small,width=16"
_measure = functools.partial(measured.of_runs, measure=functools.partial(sample_scores.measure, columns=_COLUMNS))


def _cells(seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {
    f"{name}-small": [{"arg.augment": augment, "seed": seed} for seed in range(seeds)]
    for name, augment in (("plain", False), ("augmented", True))
  }


_CAVEAT = "Another network, fewer images and other features: only the order of the rows may be compared."
RUNS = {
  "table=cifar10": {
    "quick": Budget(
      "4,000 images, ch 16, 1,200 steps (about an hour), three seeds",
      minutes=6 * 66,
      caveat=_CAVEAT,
      config=_CONFIG,
      common={"num_steps": 1200},
      cells=_cells(3),
      measure=_measure,
    ),
    "paper": Budget(
      "4,000 images, ch 16, 4,200 steps (about 3.5 hours), three seeds",
      minutes=6 * 216,
      caveat=_CAVEAT,
      config=_CONFIG,
      common={"num_steps": 4200},
      cells=_cells(3),
      measure=_measure,
    ),
    "test": Budget(
      "40 updates of width 2 on mnist5k, two seeds: for tests",
      minutes=2,
      config="configs/biggan_cifar10.py:test",
      cells=_cells(2),
      measure=_measure,
    ),
  }
}


def _sentences(cells: dict[str, Any]) -> list[str]:
  if any("frechet" not in cells.get(cell, {}) for cell in _LABELS):
    return []
  plain, augmented = (cells[f"{name}-small"]["frechet"] for name in ("plain", "augmented"))
  difference = augmented["mean"] - plain["mean"]
  error = ((plain["stderr"] or 0.0) ** 2 + (augmented["stderr"] or 0.0) ** 2) ** 0.5
  freedom = len(plain["values"]) + len(augmented["values"]) - 2
  bound = error * float(scipy.stats.t.ppf(0.975, freedom)) if freedom > 0 else math.inf
  decided = "undecided" if abs(difference) <= bound else "lower" if difference < 0 else "higher"
  words = "which a t test at 5 % leaves undecided" if decided == "undecided" else f"so that it is {decided} with it"
  return [f"Frechet distance with DiffAugment minus without: {difference:.2f} ± {error:.2f} over seeds, {words}."]


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  return sample_scores.report(RUNS[item][name], _COLUMNS, _LABELS, PAPER.published[item], folder, _sentences)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  row = sample_scores.row_of_summary(numbers, _COLUMNS[:3], _LABELS, {})
  theirs = "FID 39.78, with DiffAugment 22.40, on 5,000 images (another network and other features)"
  return (
    {"system": "BigGAN, with and without DiffAugment", "data": "4,000 images of CIFAR-10"} | row | {"published": theirs}
  )
