"""van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks" (ICML 2016).

https://arxiv.org/abs/1601.06759
  python -m dgm_jax reproduce vandenoord2016 --table=4 --budget=quick
  python -m dgm_jax reproduce vandenoord2016 --table=4 --budget=short
  python -m dgm_jax reproduce vandenoord2016 --table=4-recurrent --budget=short
  python -m dgm_jax reproduce vandenoord2016 --table=5 --budget=short --manual_dir=FOLDER
  python -m dgm_jax prepare-data cifar10/small --manual_dir=FOLDER
  python -m dgm_jax reproduce vandenoord2016 --table=5-closed

Table 4: binarised MNIST, the row of PixelCNN, beside Gated PixelCNN and PixelCNN++ of about as many weights.  Table
4-recurrent: its row of the row LSTM.  Table 5: CIFAR-10, here with 4,000 images.  Table 5-closed: densities in closed
form of the same images, see closed_form.py.
"""

import math
import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.vandenoord2016 import closed_form
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.sweeps import axes

_MNIST, _CIFAR = "configs/pixelcnn_mnist.py", "configs/pixelcnn_cifar10.py"
_LABELS = {"plain": "PixelCNN", "gated": "Gated PixelCNN", "plusplus": "PixelCNN++", "row_lstm": "row LSTM"}
PUBLISHED = {
  "table=4": {"plain": Value(81.30)},
  "table=4-recurrent": {"row_lstm": Value(80.54)},
  "table=5": {},
  "table=5-closed": closed_form.PUBLISHED,
}
PAPER = Paper(
  authors="van den Oord, Kalchbrenner & Kavukcuoglu",
  title="Pixel Recurrent Neural Networks",
  venue="ICML 2016",
  url="https://arxiv.org/abs/1601.06759",
  items={
    "table=4": "Test NLL on static MNIST: PixelCNN, beside its successors",
    "table=4-recurrent": "Test NLL on static MNIST: PixelRNN with row LSTMs",
    "table=5": "Bits per dimension of colour photographs",
    "table=5-closed": closed_form.TITLE,
  },
  published=PUBLISHED,
  notes={
    "table=4": (
      "Published: PixelCNN 81.30; recurrent nets: row LSTM 80.54 (table 4-recurrent), diagonal BiLSTM, which is not "
      "here, 79.20. RMSprop, batches of 16, rates set by hand; the number of layers of the PixelCNN on MNIST was not "
      "read in the source.",
      "Ours: 15 residual blocks of 64 features, 32 inside, a first convolution of 7 x 7; Adam with a cosine schedule "
      "from 0.002, batches of 16, the best checkpoint on the validation set.",
      "Half as many features and batches of 50 at a rate of 0.001 underfit: 89.58 ± 0.21 after 10 epochs, and 90.0 on "
      "the training set; by epoch, on the validation set, 94.24, 93.74, 92.76, 91.49, 90.90, 90.67, 90.54, 90.27, "
      "90.15, 90.10.",
      "Gated PixelCNN and PixelCNN++ are of later papers, which have no static MNIST: their rows have no published "
      "number.",
    ),
    "table=4-recurrent": (
      "Published: RMSprop, batches of 16, rates set by hand; the layers of the row LSTM on MNIST were not read in the "
      "source, those of the diagonal BiLSTM are 7 of 16 units.",
      "Ours: 7 residual layers of 16 units with 32 features between them, convolutions of 3 x 1, the first of 7 x 7; "
      "Adam with a cosine schedule, batches of 50, the best checkpoint on the validation set.",
    ),
    "table=5": (
      "Published, on 50,000 training and 10,000 test images: PixelCNN 3.14, Gated PixelCNN 3.03, PixelCNN++ 2.92 bits "
      "per dimension; a uniform distribution 8.00, a multivariate Gaussian 4.70.",
      "Ours: 4,000 training and 1,000 test images, comparable with none of these. Mixtures of discretised logistics on "
      "the integers 0 to 255: log p is exact. NLL is in bits per dimension.",
    ),
    "table=5-closed": closed_form.NOTES,
  },
)
CLAIMS = {
  "table=4": exact_tables.Claims(
    PUBLISHED["table=4"], _LABELS.__getitem__, [("gated", "plain"), ("plusplus", "plain")]
  ),
  "table=4-recurrent": exact_tables.Claims(PUBLISHED["table=4-recurrent"], _LABELS.__getitem__),
  "table=5": exact_tables.Claims(
    PUBLISHED["table=5"], _LABELS.__getitem__, [("plusplus", "gated")], "bits per dimension", 32 * 32 * 3 * math.log(2)
  ),
}


def _nets(
  names: tuple[str, ...], blocks: dict[str, int], seeds: int = 1, **more: Any
) -> dict[str, list[axes.Overrides]]:
  """Cells of nets, with their number of blocks where it is not the config's."""
  of = lambda net: {"arg.net": net, **({"arg.blocks": blocks[net]} if net in blocks else {}), **more}
  return {net: [of(net) | {"seed": seed} for seed in range(seeds)] for net in names}


def _budget(what: str, minutes: float, config: str, cells: dict, common: dict[str, Any], **options: Any) -> Budget:
  common = {"keep_best": "valid/log_px", "keep_checkpoints": 1} | common
  return Budget(what, minutes, config=config, cells=cells, common=common, measure=exact_tables.measure, **options)


_STATIC = "static MNIST (50,000, 10,000, 10,000)"
_EVERY = {"log_every": 100, "eval_every": 1000, "checkpoint_every": 1000, "figures_every": 5000}
RUNS = {
  "table=4": {
    "quick": _budget(
      "mnist5k binarised once (4,000 training images), 5 blocks of 16 features, one seed, 600 steps",
      15,
      f"{_MNIST}:quick",
      _nets(("plain", "gated"), {}),
      {"eval_every": 100, "checkpoint_every": 100, "figures_every": 600},
    ),
    "short": _budget(
      f"{_STATIC}, 15 residual blocks of 64 features, one seed, 12 epochs, at most 4 hours of training",
      240,
      _MNIST,
      _nets(("plain",), {}, **{"arg.features": 64}),
      _EVERY | {"num_epochs": 12, "max_minutes": 240.0, "batch_size": 16, "optim.lr": 2e-3, "eval_every": 3100},
      same_data=True,
    ),
    "paper": _budget(
      f"{_STATIC}, 15 residual blocks, 15 gated layers and 2 blocks in each of 3 scales, three seeds, 200 epochs, "
      "until 20 evaluations are not better on the validation set; hours of a GPU",
      30 * 1440,
      _MNIST,
      _nets(("plain", "gated", "plusplus"), {"plusplus": 2}, 3),
      _EVERY | {"num_epochs": 200, "early_stopping": 20},
      full=True,
    ),
    "test": _budget(
      "mnist5k, 40 steps of small nets: for tests", 1, f"{_MNIST}:test", _nets(("plain", "gated"), {}), {}
    ),
  },
  "table=4-recurrent": {
    "quick": _budget(
      "mnist5k binarised once (4,000 training images), 5 layers of 8 units, one seed, 600 steps",
      10,
      f"{_MNIST}:quick",
      _nets(("row_lstm",), {}),
      {"eval_every": 100, "checkpoint_every": 100, "figures_every": 600},
    ),
    "short": _budget(
      f"{_STATIC}, 7 layers of 16 units, one seed, 10 epochs, at most 3 hours of training",
      150,
      _MNIST,
      _nets(("row_lstm",), {}),
      _EVERY | {"num_epochs": 10, "max_minutes": 180.0},
      same_data=True,
    ),
    "paper": _budget(
      f"{_STATIC}, 7 layers of 16 units, three seeds, 200 epochs, until 20 evaluations are not better on the "
      "validation set; hours of a GPU",
      10 * 1440,
      _MNIST,
      _nets(("row_lstm",), {}, 3),
      _EVERY | {"num_epochs": 200, "early_stopping": 20},
      full=True,
    ),
    "test": _budget("mnist5k, 40 steps of a small net: for tests", 1, f"{_MNIST}:test", _nets(("row_lstm",), {}), {}),
  },
  "table=5": {
    "quick": _budget(
      "cifar10/small (4,000 training, 1,000 test images), one block of 24 features a scale, one seed, 200 steps",
      20,
      f"{_CIFAR}:quick",
      _nets(("plusplus",), {}),
      {"keep_best": "", "eval_every": 200, "figures_every": 200},
    ),
    "short": _budget(
      "cifar10/small (4,000 training, 1,000 test images), two blocks of 48 features a scale or 10 gated layers, one "
      "seed, at most 60 minutes of training each",
      150,
      _CIFAR,
      _nets(("plusplus", "gated"), {"gated": 10}),
      {"keep_best": "", "max_minutes": 60.0, "eval_every": 250, "checkpoint_every": 250, "figures_every": 2500},
    ),
    "paper": _budget(
      "CIFAR-10 (50,000 training, 10,000 test images), 160 features, 5 blocks a scale: several GPU days",
      300 * 1440,
      f"{_CIFAR}:data=cifar10/full,features=160,blocks=5",
      _nets(("plusplus",), {}),
      {"keep_best": "", "num_epochs": 500},
      full=True,
    ),
  },
  "table=5-closed": closed_form.BUDGETS,
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  if item == "table=5-closed":
    found = closed_form.report(closed_form.SEEDS[name], folder)
  else:
    found = exact_tables.report(CLAIMS[item], RUNS[item][name], folder)
  return found | {"numbers": {"item": item} | found["numbers"]}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if numbers["item"] == "table=5-closed":
    return closed_form.summary(numbers)
  system = {"table=4": "PixelCNN", "table=4-recurrent": "PixelRNN", "table=5": "PixelCNN, bits per dimension"}
  return exact_tables.summary(CLAIMS[numbers["item"]], numbers, system[numbers["item"]])
