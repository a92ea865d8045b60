"""Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs" (ICLR 2016).

https://arxiv.org/abs/1511.06434
  python -m dgm_jax reproduce radford2016 --table=fashion_mnist --budget=quick
  python -m dgm_jax reproduce radford2016 --table=nearest --budget=quick

DCGAN on digits, with the paper's nearest neighbours among class-conditional samples, and on Fashion-MNIST, of which the
paper has no numbers.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.experiments.shared.sample_scores import Column

_OF_TABLE = {
  "table=fashion_mnist": (
    Column("frechet", "Frechet distance", "test/samples_frechet", 2),
    Column("stderr", "its error", "test/samples_frechet_stderr", 2),
    Column("class_score", "class score", "test/samples_class_score", 2),
    Column("precision", "precision", "test/samples_precision", 3),
    Column("recall", "recall", "test/samples_recall", 3),
    Column("density", "density", "test/samples_density", 3),
    Column("coverage", "coverage", "test/samples_coverage", 3),
    Column("z", "memorisation z", "test/samples_memorisation_z", 1),
  ),
  "table=nearest": (
    Column("nearest", "1-NN accuracy with samples", "test/samples_nearest_by_samples", 4),
    Column("training", "with training digits", "test/samples_nearest_by_samples_floor", 4),
    Column("agreement", "samples of their class", "test/samples_agreement", 3),
  ),
}
_LABELS = {"dcgan": "DCGAN", "spectral": "SN-GAN"}
_GAN = "GAN of fully connected layers"

PAPER = Paper(
  authors="Radford, Metz & Chintala",
  title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
  venue="ICLR 2016",
  url="https://arxiv.org/abs/1511.06434",
  items={
    "table=fashion_mnist": "DCGAN, and with spectral normalisation, on Fashion-MNIST (not in the paper)",
    "table=nearest": "Nearest neighbours of MNIST's test digits among class-conditional samples",
  },
  published={
    "table=fashion_mnist": {},
    "table=nearest": {
      "dcgan nearest": Value(0.970, verified=False),
      "dcgan training": Value(0.969, verified=False),
      "gan nearest": Value(0.937, verified=False),
    },
  },
  notes={
    "table=fashion_mnist": (
      "Ours alone: 28 x 28 pixels, channels 64 to 256, 7 epochs of batch 64, averages of the generator; features and "
      "classifier of this package, 10,000 samples against the test set.",
    ),
    "table=nearest": (
      "Published: errors of 3.1 % with 50,000 training digits, 6.3 % with samples of a GAN, 3.0 % with those of a "
      "DCGAN; they were not verified. Ours: distances of pixels, 20 epochs; the classes that samples show are read by "
      "the classifier of the features `mnist`.",
    ),
  },
)
_measures = {
  item: functools.partial(measured.of_runs, measure=functools.partial(sample_scores.measure, columns=columns))
  for item, columns in _OF_TABLE.items()
}


def _nets(seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {net: [{"arg.net": net, "seed": seed} for seed in range(seeds)] for net in ("dcgan", "spectral")}


def _fashion(what: str, seeds: int) -> Budget:
  return Budget(
    f"7 epochs, {what}",
    minutes=2 * seeds * 30,
    caveat="There are no published numbers to compare with.",
    config="configs/dcgan_mnist.py:data=fashion_mnist,epochs=7",
    cells=_nets(seeds),
    measure=_measures["table=fashion_mnist"],
  )


def _nearest(what: str, num_samples: int, **options: Any) -> Budget:
  return Budget(
    what,
    common={
      "evaluate.samples.metrics": ("nearest", "agreement"),
      "evaluate.samples.features": "pixels",
      "evaluate.samples.classifier": "mnist",
      "evaluate.samples.num_samples": num_samples,
    },
    measure=_measures["table=nearest"],
    **options,
  )


_seeds = lambda n: {"dcgan": [{"seed": seed} for seed in range(n)]}
_DIGITS = "configs/dcgan_mnist.py:classes"
RUNS = {
  "table=fashion_mnist": {
    "quick": _fashion("one seed", 1),
    "short": _fashion("three seeds", 3),
    "test": Budget(
      "40 updates of small networks on mnist5k, two seeds: for tests",
      minutes=2,
      config="configs/dcgan_mnist.py:test",
      cells=_nets(2),
      measure=_measures["table=fashion_mnist"],
    ),
  },
  "table=nearest": {
    "quick": _nearest("20 epochs, 50,000 samples, one seed", 50_000, minutes=80, config=_DIGITS, cells=_seeds(1)),
    "short": _nearest("20 epochs, 50,000 samples, three seeds", 50_000, minutes=240, config=_DIGITS, cells=_seeds(3)),
    "test": _nearest(
      "40 updates of small networks on mnist5k, two seeds: for tests", 100, minutes=2, config=f"{_DIGITS},test",
      cells=_seeds(2),
    ),
  },
}  # fmt: skip


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  others = {"gan": _GAN} if item == "table=nearest" else {}
  published = PAPER.published[item]
  found = sample_scores.report(RUNS[item][name], _OF_TABLE[item], _LABELS, published, folder, others=others)
  return found | {"numbers": found["numbers"] | {"item": item}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  item = numbers["item"]
  of_digits = item == "table=nearest"
  columns = _OF_TABLE[item] if of_digits else _OF_TABLE[item][:3]
  row = sample_scores.row_of_summary(numbers, columns, _LABELS, {})
  theirs = "1-NN accuracy with samples 0.970, with training digits 0.969 (not verified)" if of_digits else "none"
  system = "class-conditional DCGAN" if of_digits else "DCGAN, SN-GAN: Frechet distance, its error, class score"
  return {"system": system, "data": "MNIST" if of_digits else "Fashion-MNIST"} | row | {"published": theirs}
