"""Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation" (ICML 2015).

https://arxiv.org/abs/1502.03509
  python -m dgm_jax reproduce germain2015 --table=4 --manual_dir=FOLDER    # with mushrooms.npz, dna.npz, nips.npz
  python -m dgm_jax reproduce germain2015 --figure=2 --budget=short
  python -m dgm_jax reproduce germain2015 --table=6 --budget=short

Figure 2: test NLL of one hidden layer of 500 units by the number of masks.  Table 4: binary sets with the splits of
Larochelle & Murray.  Table 6: the best nets on MNIST.
"""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.sweeps import axes

_MNIST, _BINARY = "configs/made_mnist.py", "configs/made_binary.py"
_MASKS = (1, 2, 4, 8, 16, 32, 64)
_SETS = ("mushrooms", "dna", "nips")
_TABLE_4 = {"mushrooms": (9.68, 9.69), "dna": (83.63, 79.66), "nips": (280.25, 275.92)}  # one mask, mask sampling
_TABLE_6 = {"1-1": (88.40, 0.45), "2-1": (89.59, 0.46), "1-32": (88.04, 0.44), "2-32": (86.64, 0.44)}
_CI = 1.96  # standard errors in a confidence interval of 95 %

PUBLISHED: dict[str, dict[str, Value]] = {
  "figure=2": {},
  "table=4": {
    f"{data}{more}": Value(value)
    for data, values in _TABLE_4.items()
    for more, value in zip(("", "-masks"), values, strict=True)
  },
  "table=6": {cell: Value(nll, f"± {ci:.2f}", stderr=ci / _CI) for cell, (nll, ci) in _TABLE_6.items()},
}
_VALIDATED = (
  "Published: batches of 100; training ends when the validation set has not improved for 30 epochs, and settings are "
  "those best on it.",
)
PAPER = Paper(
  authors="Germain, Gregor, Murray & Larochelle",
  title="MADE: Masked Autoencoder for Distribution Estimation",
  venue="ICML 2015",
  url="https://arxiv.org/abs/1502.03509",
  items={
    "figure=2": "Test NLL on static MNIST by the number of masks, one hidden layer of 500 units",
    "table=4": "Test NLL of binary sets: mushrooms, dna, nips",
    "table=6": "Test NLL on static MNIST, 8,000 units",
  },
  published=PUBLISHED,
  notes={
    "figure=2": (
      "Published as a figure without numbers: 93 to 97 nats for 1 to 64 masks, least at about 8.",
      "Ours with one mask has the natural order, which suits images better than a random one; with more masks each has "
      "a random order of its own, and 20 epochs end before nets of many masks have converged.",
      *_VALIDATED,
      "p(x) is the mean of the N probabilities of the N masks; each has its own order of the pixels. A net of one mask "
      "has the natural order, by rows.",
      "Ours is trained by Adam at 1e-3, with direct connections from inputs to outputs.",
    ),
    "table=4": (
      *_VALIDATED,
      "Published: 500 units, Adadelta, one or two layers, ReLU or softplus, 1, 8, 16, 32 or new masks at every update "
      "(tested with 1,000); rows with mask sampling are those of the supplement.",
      "Ours: one layer of 500 ReLU units, direct connections, Adam; 1 mask with the columns in their natural order, or "
      "16 or 32 masks with random orders. Learning rate and weight decay are chosen on the validation set.",
    ),
    "table=6": (
      *_VALIDATED,
      "Published: Adagrad, rates 0.1 to 0.005, ReLU, the best number of masks of 1 to 64; ± is a 95 % confidence "
      "interval over test images. The authors' repository names Adagrad at 0.01.",
      "Ours: Adagrad at 0.01 (quick: Adam at 1e-3), with direct connections from inputs to outputs.",
      "karpathy/pytorch-made prints 79.3 for MADE with ten masks: it averages logits, which defines no density, and "
      "reports its validation set.",
    ),
  },
)  # fmt: skip


def _label(cell: str) -> str:
  """1-32 -> 1 layer, 32 masks; 8 -> 8 masks; dna-masks -> dna, mask sampling."""
  first, _, second = cell.partition("-")
  masks = lambda word: f"{word} mask{'s' * (word != '1')}"
  if second.isdigit():
    return f"{first} layer{'s' * (first != '1')}, {masks(second)}"
  return masks(first) if first.isdigit() else first + (", mask sampling" if second else "")


_PAIRS = {
  "figure=2": [("8", "1"), ("8", "64")],
  "table=4": [("dna-masks", "dna"), ("nips-masks", "nips")],
  "table=6": [("2-32", "1-1"), ("1-32", "1-1"), ("2-32", "2-1")],
}
_OVER = {"figure=2": {str(n): float(n) for n in _MASKS}}
CLAIMS = {
  item: exact_tables.Claims(published, _label, _PAIRS[item], over=_OVER.get(item, {}), axis="number of masks")
  for item, published in PUBLISHED.items()
}
_BEST = {"keep_best": "valid/log_px", "keep_checkpoints": 1}  # on the validation set


def _masks(numbers: Sequence[int], seeds: int = 1) -> dict[str, list[axes.Overrides]]:
  return {str(n): [{"arg.masks": n, "seed": seed} for seed in range(seeds)] for n in numbers}


def _nets(cells: Sequence[str], **more: Sequence[Any]) -> dict[str, list[axes.Overrides]]:
  """{"2-32": runs of two layers and 32 masks}, one for each combination of `more`, and seed 0."""
  layers_masks = {cell: [int(word) for word in cell.split("-")] for cell in cells}
  found = {}
  for cell, (layers, masks) in layers_masks.items():
    grid = [dict(zip(more, values, strict=True)) for values in itertools.product(*more.values())]
    found[cell] = [{"arg.layers": layers, "arg.masks": masks, **point, "seed": 0} for point in grid]
  return found


def _sets(
  masks: Mapping[str, int], seeds: int, rates: Sequence[float], decays: Sequence[float]
) -> dict[str, list[axes.Overrides]]:
  """Cells of table 4: runs that differ in learning rate and weight decay, for each seed, lanes of one program."""
  point = lambda rate, decay: {"optim.lr": rate, "optim.weight_decay": decay}
  return {
    f"{data}{more}": [
      {"arg.data": data, "arg.masks": n, **point(rate, decay), "seed": seed}
      for seed in range(seeds)
      for rate in rates
      for decay in decays
    ]
    for data in _SETS
    for more, n in masks.items()
  }


def _epochs(steps: int, **more: Any) -> dict[str, Any]:
  """Common overrides: evaluated every `steps` steps, the best checkpoint is kept."""
  return {"log_every": steps, "eval_every": steps, "checkpoint_every": 10 * steps, "figures_every": 10 * steps} | more


def _budget(what: str, minutes: float, config: str, cells: dict, common: dict[str, Any], **options: Any) -> Budget:
  common = _BEST | common
  return Budget(what, minutes, config=config, cells=cells, common=common, measure=exact_tables.measure, **options)


_STATIC = "static MNIST (50,000, 10,000, 10,000)"
RUNS = {
  "figure=2": {
    "quick": _budget(
      "mnist5k binarised once (4,000 training images), 1, 8 and 64 masks, two seeds, 4,000 steps",
      6,
      f"{_MNIST}:quick",
      _masks((1, 8, 64), 2),
      {"eval_every": 400, "checkpoint_every": 4000, "figures_every": 4000},
    ),
    "short": _budget(
      f"{_STATIC}, 1 to 64 masks, one seed, 20 epochs",
      180,
      _MNIST,
      _masks(_MASKS),
      _epochs(500, num_epochs=20, eval_every=2500, checkpoint_every=10_000, figures_every=10_000),
      same_data=True,
    ),
    "paper": _budget(
      f"{_STATIC}, 1 to 64 masks, one seed, until 30 epochs are not better on the validation set",
      3 * 1440,
      _MNIST,
      _masks(_MASKS),
      _epochs(500, num_epochs=1000, early_stopping=30),
      full=True,
    ),
    "test": _budget(
      "mnist5k, 40 steps of a small net, two seeds: for tests", 1, f"{_MNIST}:test", _masks((1, 8), 2), {}
    ),
  },
  "table=4": {
    "quick": _budget(
      "the published sets and splits, 1 and 16 masks, one seed, until 30 epochs are not better on the validation set; "
      "two learning rates and three weight decays",
      40,
      _BINARY,
      _sets({"": 1, "-masks": 16}, 1, (1e-3, 3e-3), (0.01, 0.3, 1.0)),
      {"num_epochs": 300},
      same_data=True,
      caveat="Training and the grid of settings are ours.",
    ),
    "short": _budget(
      "the published sets and splits, 1 and 32 masks, three seeds, until 30 epochs are not better on the validation "
      "set; two learning rates and four weight decays",
      80,
      _BINARY,
      _sets({"": 1, "-masks": 32}, 3, (1e-3, 3e-3), (0.01, 0.1, 0.3, 1.0)),
      {},
      same_data=True,
    ),
    "test": _budget(
      "mnist5k, 40 steps of a small net: for tests", 1, f"{_BINARY}:test", _sets({"": 1}, 2, (1e-3,), (0.1, 1.0)), {}
    ),
  },
  "table=6": {
    "quick": _budget(
      "mnist5k binarised once (4,000 training images), 500 units, one seed, 4,000 steps",
      10,
      f"{_MNIST}:quick",
      _nets(tuple(_TABLE_6)),
      {"eval_every": 400, "checkpoint_every": 4000, "figures_every": 4000},
    ),
    "short": _budget(
      f"{_STATIC}, 8,000 units, one layer and one mask, one seed, at most 170 minutes of training",
      180,
      f"{_MNIST}:hidden=8000",
      _nets(("1-1",)),
      _epochs(500, num_epochs=500, early_stopping=30, max_minutes=170.0)
      | {"optim.name": "adagrad", "optim.lr": 1e-2, "optim.eps": 1e-6},
      same_data=True,
    ),
    "paper": _budget(
      f"{_STATIC}, 8,000 units, one and two layers, 1 and 32 masks, Adagrad at 0.1, 0.05, 0.01 and 0.005, until 30 "
      "epochs are not better on the validation set",
      7 * 1440,
      f"{_MNIST}:hidden=8000",
      _nets(tuple(_TABLE_6), **{"optim.lr": (0.1, 5e-2, 1e-2, 5e-3)}),
      _epochs(500, num_epochs=500, early_stopping=30) | {"optim.name": "adagrad", "optim.eps": 1e-6},
      full=True,
    ),
    "test": _budget("mnist5k, 40 steps of a small net: for tests", 1, f"{_MNIST}:test", _nets(("1-1", "2-32")), {}),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  found = exact_tables.report(CLAIMS[item], RUNS[item][name], folder)
  return found | {"numbers": {"item": item} | found["numbers"]}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  words = {"figure=2": "MADE, 500 units", "table=4": "MADE, 500 units", "table=6": "MADE, 8,000 units"}
  return exact_tables.summary(CLAIMS[numbers["item"]], numbers, words[numbers["item"]])
