"""Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation" (NIPS 2017).

https://arxiv.org/abs/1705.07057
  python -m dgm_jax reproduce papamakarios2017 --table=gaussian
  python -m dgm_jax reproduce papamakarios2017 --table=2 --budget=short
  python -m dgm_jax prepare-data maf/power maf/hepmass maf/miniboone maf/bsds300
  python -m dgm_jax reproduce papamakarios2017 --table=1 --budget=paper --manual_dir=FOLDER    # with ethylene_CO.csv

Table 1: MADE, RealNVP and MAF on five tables of real numbers, see table1.py.  Table 2: the same nets on logits of
dequantised MNIST, without and with the class.  table=gaussian: its rows in closed form, which check the protocol.
"""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.experiments.harness import comparisons
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.papamakarios2017 import gaussian, table1
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.sweeps import axes

_CONFIG = "configs/maf_mnist.py"
_TABLE_2 = {  # log-likelihood without and with the class
  "made": (-1380.8, -1361.9),
  "made-mog": (-1038.5, -1030.3),
  "realnvp-5": (-1323.2, -1326.3),
  "realnvp-10": (-1370.7, -1371.3),
  "maf-5": (-1300.5, -1302.9),
  "maf-10": (-1313.1, -1316.8),
  "maf-mog": (-1100.3, -1092.3),
}
_NETS: dict[str, dict[str, Any]] = {
  "made": {"arg.layers": 1, "arg.norm": "none", "optim.lr": 1e-3},
  "made-mog": {"arg.layers": 0, "arg.base": "mog", "optim.lr": 1e-3},
  "realnvp-5": {"arg.kind": "coupling"},
  "realnvp-10": {"arg.kind": "coupling", "arg.layers": 10},
  "maf-5": {},
  "maf-10": {"arg.layers": 10},
  "maf-mog": {"arg.base": "mog"},
}
_LABELS = {
  "made": "MADE",
  "made-mog": "MADE MoG",
  "realnvp-5": "RealNVP (5)",
  "realnvp-10": "RealNVP (10)",
  "maf-5": "MAF (5)",
  "maf-10": "MAF (10)",
  "maf-mog": "MAF MoG (5)",
}
_CLASS = "-class"
PUBLISHED: dict[str, dict[str, Value]] = {
  "table=1": table1.PUBLISHED,
  "table=2": {
    f"{net}{more}": Value(-value)
    for net, values in _TABLE_2.items()
    for more, value in zip(("", _CLASS), values, strict=True)
  },
  "table=gaussian": gaussian.PUBLISHED,
}
PAPER = Paper(
  authors="Papamakarios, Pavlakou & Murray",
  title="Masked Autoregressive Flow for Density Estimation",
  venue="NIPS 2017",
  url="https://arxiv.org/abs/1705.07057",
  items={
    "table=1": table1.TITLE,
    "table=2": "Test NLL of logits of MNIST, without and with the class",
    "table=gaussian": gaussian.TITLE,
  },
  published=PUBLISHED,
  notes={
    "table=1": table1.NOTES,
    "table=2": (
      "Published as log-likelihoods, mean ± two standard errors over test digits; NLL here.",
      "Published: two hidden layers of 1,024, batch normalisation between layers, Adam with 1e-3 for MADE and 1e-4 "
      "for flows, batches of 100, l2 1e-6, noise drawn once; training ends when 30 epochs are not better on the "
      "validation set.",
      "Ours: the same, with fresh noise at every use. RealNVP couples halves of the pixels; one network gives "
      "log-scale and shift.",
      "With the class: log 1/10 sum_y p(x|y), the density of x. Statistics of batch normalisation are those of the "
      "whole training set, layer by layer.",
      "As printed, five layers are better than ten. Another implementation of MAF (5) with 512 units prints "
      "1299.3 after 20 epochs and 1283.0 after 70.",
    ),
    "table=gaussian": gaussian.NOTES,
  },
)  # fmt: skip


def _label(cell: str) -> str:
  """maf-5-class -> MAF (5), with the class."""
  net = cell.removesuffix(_CLASS)
  return _LABELS[net] + ("" if net == cell else ", with the class")


_ORDER = ("made-mog", "maf-5", "realnvp-5", "made")  # from the least NLL to the greatest
_PAIRS = [(f"{a}{more}", f"{b}{more}") for more in ("", _CLASS) for a, b in itertools.pairwise(_ORDER)]
CLAIMS = exact_tables.Claims(PUBLISHED["table=2"], _label, _PAIRS)
_CLAIMS = {"table=1": table1.CLAIMS, "table=2": CLAIMS}
_BEST = {"keep_best": "valid/log_px", "keep_checkpoints": 1}


def _cells(nets: Sequence[str], classes: Sequence[bool] = (False,)) -> dict[str, list[axes.Overrides]]:
  return {
    f"{net}{_CLASS * given}": [{**_NETS[net], **({"arg.condition": True} if given else {}), "seed": 0}]
    for net in nets
    for given in classes
  }


def _budget(what: str, minutes: float, config: str, cells: dict, common: dict[str, Any], **options: Any) -> Budget:
  common = _BEST | common
  return Budget(what, minutes, config=config, cells=cells, common=common, measure=exact_tables.measure, **options)


_MNIST = "MNIST (50,000, 10,000, 10,000)"
_MAIN = ("made", "made-mog", "realnvp-5", "maf-5")
_TABLE_BUDGETS = {
  "quick": _budget(
    "mnist5k (4,000 training digits), 256 units, without the class, one seed, 4,000 steps",
    15,
    f"{_CONFIG}:quick",
    _cells(_MAIN),
    {"eval_every": 400, "checkpoint_every": 4000, "figures_every": 4000},
  ),
  "short": _budget(
    f"{_MNIST}, 512 units, four of the nets without and with the class, one seed, 30 epochs",
    480,
    f"{_CONFIG}:hidden=512",
    _cells(_MAIN, (False, True)),
    {"num_epochs": 30, "early_stopping": 0, "log_every": 500, "eval_every": 500, "checkpoint_every": 5000},
    same_data=True,
  ),
  "paper": _budget(
    f"{_MNIST}, 1,024 units, all nets, one seed, until 30 epochs are not better on the validation set",
    6 * 1440,
    _CONFIG,
    _cells(tuple(_NETS), (False, True)),
    {},
    full=True,
  ),
  "test": _budget(
    "mnist5k, a few steps of a small network: for tests",
    1,
    f"{_CONFIG}:test",
    _cells(("made", "maf-5"), (False, True)),
    {},
  ),
}
RUNS = {"table=1": table1.BUDGETS, "table=2": _TABLE_BUDGETS, "table=gaussian": gaussian.BUDGETS}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  if item == "table=gaussian":
    found = gaussian.report(gaussian.SEEDS[name], folder)
  else:
    found = exact_tables.report(_CLAIMS[item], RUNS[item][name], folder)
  return found | {"numbers": {"item": item} | found["numbers"]}


def ours(numbers: dict[str, Any]) -> dict[str, comparisons.Ours]:
  """Our numbers by cell; those in closed form have no seeds: their error is that over noise and digits together."""
  return gaussian.ours(numbers) if numbers["item"] == "table=gaussian" else comparisons.ours(numbers)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if numbers["item"] == "table=gaussian":
    return gaussian.summary(numbers)
  return exact_tables.summary(_CLAIMS[numbers["item"]], numbers, "MADE, RealNVP and MAF")
