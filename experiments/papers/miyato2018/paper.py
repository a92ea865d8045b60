"""Miyato, Kataoka, Koyama & Yoshida, "Spectral Normalization for Generative Adversarial Networks" (ICLR 2018).

https://arxiv.org/abs/1802.05957
  python -m dgm_jax reproduce miyato2018 --table=cifar10 --budget=paper

SN-GAN, a projection discriminator and WGAN-GP on CIFAR-10, with the settings and the numbers of the library Mimicry
(https://arxiv.org/abs/2005.02494), which measured the three alike.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.experiments.shared.sample_scores import Column

_COLUMNS = (
  Column("inception_score", "inception score", "test/samples_inception_score", 2),
  Column("fid", "FID", "test/samples_fid", 2),
  Column("kid", "KID", "test/samples_kid", 4),
)
_TABLE = {
  "sngan": (7.97, 16.77, 0.0125),
  "projection": (8.25, 10.84, 0.0070),
  "wgan_gp": (7.33, 22.29, 0.0204),
}
_LABELS = {"sngan": "SN-GAN", "projection": "projection discriminator, with classes", "wgan_gp": "WGAN-GP"}

PAPER = Paper(
  authors="Miyato, Kataoka, Koyama & Yoshida",
  title="Spectral Normalization for Generative Adversarial Networks",
  venue="ICLR 2018",
  url="https://arxiv.org/abs/1802.05957",
  items={"table=cifar10": "SN-GAN, projection discriminator and WGAN-GP on CIFAR-10, as in Mimicry"},
  published={
    "table=cifar10": {
      f"{cell} {column.name}": Value(value)
      for cell, row in _TABLE.items()
      for column, value in zip(_COLUMNS, row, strict=True)
    }
  },
  notes={
    "table=cifar10": (
      "Published: those of Mimicry, 50,000 samples against the training set; the paper itself has 8.22 ± 0.05 and 21.7 "
      "± 0.2 for SN-GAN, with 5,000 samples.",
      "Ours: the settings of Mimicry but for the rates, which fall as half a cosine (there linearly), the doubling of "
      "images by repeating pixels (there bilinear) and the scale of the first 3 x 3 kernels (there sqrt(2) times as "
      "large); standing statistics of batch normalisation; the Inception network of the file that DGM_INCEPTION names.",
    )
  },
)
_measure = functools.partial(measured.of_runs, measure=functools.partial(sample_scores.measure, columns=_COLUMNS))


def _cells(seeds: int) -> dict[str, list[dict[str, Any]]]:
  kinds = {
    "sngan": {"arg.net": "sngan", "arg.classes": False},
    "projection": {"arg.net": "sngan", "arg.classes": True},
    "wgan_gp": {"arg.net": "wgan_gp", "arg.classes": False},
  }
  return {cell: [{**kind, "seed": seed} for seed in range(seeds)] for cell, kind in kinds.items()}


RUNS = {
  "table=cifar10": {
    "paper": Budget(
      "100,000 steps of batch 64, 50,000 samples against the training set, three seeds; needs a GPU",
      minutes=9 * 24 * 60,
      caveat="Rates, doubling and first kernels differ from those of the published numbers.",
      same_data=True,
      config="configs/sngan_cifar10.py:data=cifar10/full",
      common={
        "evaluate.samples.features": "inception_legacy",
        "evaluate.samples.metrics": ("frechet", "kernel", "class_score"),
        "evaluate.samples.num_samples": 50_000,
        "evaluate.samples.against": "train",
        "evaluate.truncation.features": "inception_legacy",
      },
      cells=_cells(3),
      measure=_measure,
    ),
    "test": Budget(
      "40 updates of small networks on mnist5k, without inception score, FID and KID, two seeds: for tests",
      minutes=2,
      config="configs/sngan_cifar10.py:test",
      cells=_cells(2),
      measure=_measure,
    ),
  }
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  return sample_scores.report(RUNS[item][name], _COLUMNS, _LABELS, PAPER.published[item], folder)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  row = sample_scores.row_of_summary(numbers, _COLUMNS, _LABELS, PAPER.published["table=cifar10"])
  return {"system": "SN-GAN, projection, WGAN-GP: inception score, FID, KID", "data": "CIFAR-10"} | row
