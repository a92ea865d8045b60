"""Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (ICLR 2019).

https://arxiv.org/abs/1809.11096
  python -m dgm_jax reproduce brock2018 --table=cifar10 --budget=quick

BigGAN on CIFAR-10 (table=cifar10).  ImageNet (table=1) has published numbers and settings, configs/biggan_imagenet.py,
and no budget here but that of the paper, which takes days of a large GPU.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.experiments.shared.sample_scores import Column

_IMAGENET = {  # (inception score, FID, whether they were read at the source)
  "biggan": (166.5, 7.4, True),
  "batch 256": (52.52, 18.65, False),
  "batch 2048": (76.85, 12.39, False),
  "batch 2048, ch 96": (92.98, 9.54, False),
  "and shared embedding": (94.94, 9.18, False),
  "and skip-z": (98.76, 8.73, False),
  "and orthogonal regularisation": (99.31, 8.51, False),
}
_OF_TABLE = {
  "table=1": (
    Column("inception_score", "inception score", "test/samples_inception_score", 2),
    Column("fid", "FID", "test/samples_fid", 2),
  ),
  "table=cifar10": (
    Column("frechet", "Frechet distance", "test/samples_frechet", 2),
    Column("class_score", "class score", "test/samples_class_score", 2),
    Column("precision", "precision", "test/samples_precision", 3),
    Column("recall", "recall", "test/samples_recall", 3),
    Column("nearest", "1-NN of samples", "test/samples_nearest_of_samples", 3),
  ),
}
_LABELS = {"biggan": "BigGAN", "small": "BigGAN, ch 16, 4,000 images"}

PAPER = Paper(
  authors="Brock, Donahue & Simonyan",
  title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
  venue="ICLR 2019",
  url="https://arxiv.org/abs/1809.11096",
  items={
    "table=1": "BigGAN on ImageNet at 128 x 128: inception score and FID, also published ones as its parts are added",
    "table=cifar10": "A small BigGAN on 4,000 images of CIFAR-10 (the paper has its score on all of them)",
  },
  published={
    "table=1": {
      f"{cell} {name}": Value(value, verified=verified)
      for cell, (score, fid, verified) in _IMAGENET.items()
      for name, value in (("inception_score", score), ("fid", fid))
    },
    "table=cifar10": {},
  },
  notes={
    "table=1": (
      "Published: 166.5 and 7.4 stand in the abstract; the rows of the ablation were not verified. Cost: 1.07 PFLOP "
      "for a step of batch 2,048 with two updates of the discriminator (an image forward: generator 42.7, "
      "discriminator 22.2 GFLOP), 1.5e20 in all, 5.8 days at 300 TFLOP/s.",
      "Ours: 50,000 samples against the training set, with the Inception network of the file that DGM_INCEPTION names.",
      "Numbers of parameters: 70,433,988 and 87,982,370, as those of the authors' PyTorch code.",
    ),
    "table=cifar10": (
      "Published on all of CIFAR-10: inception score 9.22, FID 14.73, another network. Ours: 4,000 images, ch 16, "
      "features of this package: nothing to compare.",
    ),
  },
)
_measures = {
  item: functools.partial(measured.of_runs, measure=functools.partial(sample_scores.measure, columns=columns))
  for item, columns in _OF_TABLE.items()
}
_CIFAR = "configs/biggan_cifar10.py:data=cifar10/small,width=16"
RUNS = {
  "table=1": {
    "paper": Budget(
      "ImageNet at 128 x 128 in the folder that data.path names, batch 2,048, 140,000 steps, one seed",
      minutes=6 * 24 * 60,
      full=True,
      config="configs/biggan_imagenet.py",
      common={
        "evaluate.samples.features": "inception_legacy",
        "evaluate.samples.metrics": ("frechet", "class_score"),
        "evaluate.samples.num_samples": 50_000,
        "evaluate.samples.against": "train",
        "evaluate.truncation.features": "inception_legacy",
      },
      cells={"biggan": [{"seed": 0}]},
      measure=_measures["table=1"],
    ),
    "test": Budget(
      "40 updates of width 4 on mnist5k, without inception score and FID: for tests",
      minutes=2,
      config="configs/biggan_imagenet.py:test",
      cells={"biggan": [{"seed": 0}]},
      measure=_measures["table=1"],
    ),
  },
  "table=cifar10": {
    "quick": Budget(
      "4,000 images, ch 16, an hour of training, one seed",
      minutes=66,
      caveat="There are no published numbers to compare with.",
      config=f"{_CIFAR},minutes=60",
      cells={"small": [{"seed": 0}]},
      measure=_measures["table=cifar10"],
    ),
    "test": Budget(
      "40 updates of width 2 on mnist5k: for tests",
      minutes=2,
      caveat="There are no published numbers to compare with.",
      config="configs/biggan_cifar10.py:test",
      cells={"small": [{"seed": 0}]},
      measure=_measures["table=cifar10"],
    ),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  others = {cell: cell for cell in _IMAGENET if cell != "biggan"} if item == "table=1" else {}
  found = sample_scores.report(RUNS[item][name], _OF_TABLE[item], _LABELS, PAPER.published[item], folder, others=others)
  return found | {"numbers": found["numbers"] | {"item": item}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  item = numbers["item"]
  row = sample_scores.row_of_summary(numbers, _OF_TABLE[item], _LABELS, PAPER.published[item])
  data = "ImageNet, 128 x 128" if item == "table=1" else "4,000 images of CIFAR-10"
  return {"system": "BigGAN", "data": data} | row
