"""Lakshminarayanan, Pritzel & Blundell, "Simple and Scalable Predictive Uncertainty ... Deep Ensembles" (NIPS 2017).

https://arxiv.org/abs/1612.01474
  python -m dgm_jax reproduce lakshminarayanan2017 --figure=1
  python -m dgm_jax prepare-data uci/concrete --manual_dir=FOLDER   # and uci/wine; or by download
  python -m dgm_jax reproduce lakshminarayanan2017 --table=1

Figure 1: uncertainty of nets on y = x^3 + noise.  Table 1: RMSE and NLL of UCI tables over 20 random splits, deep
ensembles compared with MC dropout (Gal & Ghahramani, 2016), Bayes by backprop (Blundell et al., 2015) and one net.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.core import config_args
from dgm_jax.experiments.harness import comparisons, measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.lakshminarayanan2017 import figure1, table1
from dgm_jax.sweeps import axes

PAPER = Paper(
  authors="Lakshminarayanan, Pritzel & Blundell",
  title="Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
  venue="NIPS 2017",
  url="https://arxiv.org/abs/1612.01474",
  items={
    "figure=1": "Bands of uncertainty on y = x^3 + noise: ensembles of squared errors and of NLL, one net, and others",
    "table=1": "RMSE and NLL of UCI tables over 20 random splits",
  },
  published={"figure=1": {}, "table=1": table1.values()},
  notes={
    "figure=1": (
      "20 x ~ U[-4, 4), noise N(0, 9), one hidden layer of 100 units (Hernandez-Lobato & Adams, 2015). The paper's "
      "claim: the spread of nets trained by squared errors is too narrow, and an ensemble trained by NLL is uncertain "
      "where there are no data. It prints no numbers; its rate and length of training were not read in the source.",
      "Bands are three standard deviations of the predictive distribution; for nets trained by squared errors, of the "
      "spread between members. MC dropout and Bayes by backprop are not in the paper's figure; the latter is given the "
      "noise variance.",
    ),
    "table=1": (
      "Protocol of Hernandez-Lobato & Adams (2015): 20 random splits of 90 and 10 % (protein: 5), one hidden layer of "
      "50 ReLU units (protein: 100), 40 epochs, x and y standardised by the training split. Published: VI of Graves "
      "(2011), backprop and PBP from PBP's paper, ± standard error; MC dropout ± standard deviation; deep ensembles of "
      "five, without an error. The log-likelihoods of PBP and MC dropout are shown as NLL.",
      "Ours: the published indices of the splits were not available, so new splits are drawn; NLL and RMSE are in "
      "the units of y, ± the standard error over splits. The single net's rate and batches of 32 were chosen on "
      "validation splits of concrete and red wine. "
      "One net: the mean over the five members. The ensemble's density is the mixture of its "
      "members'; 'as a normal' has the mixture's mean and variance, as in the paper. No adversarial training.",
      "MC dropout, 1000 draws: rate 0.05 (concrete: 0.005, by a validation split), 400 epochs (ten times the "
      "protocol's, as published), the scale of the noise by maximum likelihood (the published one was tuned). Bayes by "
      "backprop, 1000 draws: prior N(0, 1), 400 epochs, the same noise model; it is not Graves' VI. Its settings, and "
      "wine's dropout rate, were not tuned on validation data.",
    ),
  },
)

_MEMBERS = 5
_RATES = {"concrete": 0.005}  # dropout rates chosen by a validation split; 0.05 elsewhere
_UCI, _TOY = "configs/uci_regression.py", "configs/cubic_toy.py"


def _pieces(data: tuple[str, ...], splits: int, members: int, test: bool) -> table1.Pieces:
  """{"net-concrete": () -> (configs of the splits, seeds of their members)}; split s has seeds M s .. M s + M - 1."""

  def piece(name: str, method: str, count: int) -> tuple[list, list[list[int]]]:
    number = range(5 if name == "protein" else splits)
    words = f"{'test,' if test else ''}data={name},method={method}"
    configs = [config_args.load(f"{_UCI}:{words},split={s}").unlock() for s in number]
    for config in configs if method == "dropout" else ():
      config.model.args.dropout = _RATES.get(name, 0.05)
    return configs, [[count * s + m for m in range(count)] for s in number]

  counts = {"net": members, "dropout": 1, "bayes": 1}
  return {
    f"{method}-{name}": functools.partial(piece, name, method, n) for name in data for method, n in counts.items()
  }


def _toys(members: int = _MEMBERS) -> dict[str, list[axes.Overrides]]:
  counts = {"mse": members, "net": members, "dropout": 1, "bayes": 1}
  return {method: [{"arg.method": method, "seed": m} for m in range(n)] for method, n in counts.items()}


_CAVEAT = "The protocol is the papers'; the splits, and the settings beyond the protocol, are ours."
_NO_NUMBERS = "There are no published numbers to compare with."
_FIVE = "40 epochs of batch 32 (400 for MC dropout and Bayes by backprop)"
_TABLES = {  # what, minutes, tables, splits, members
  "quick": (f"concrete and red wine, {_FIVE}", 4, ("concrete", "wine"), 20, _MEMBERS),
  "short": (f"six tables, {_FIVE}", 15, ("boston", "concrete", "energy", "wine", "yacht", "white"), 20, _MEMBERS),
  "paper": (f"nine tables, protein with 5 splits, {_FIVE}", 120, tuple(table1.PUBLISHED), 20, _MEMBERS),
  "test": ("the toy y = x^3 in place of a table, 40 steps: for tests", 1, ("concrete",), 2, 2),
}
_predictions = functools.partial(measured.of_runs, measure=figure1.predictions)
RUNS = {
  "figure=1": {
    "quick": Budget(
      "20 training points, 2,000 full-batch steps, five members",
      minutes=2,
      caveat=_NO_NUMBERS,
      config=_TOY,
      cells=_toys(),
      measure=_predictions,
    ),
    "test": Budget(
      "20 training points, 40 steps, two members: for tests",
      minutes=1,
      caveat=_NO_NUMBERS,
      config=f"{_TOY}:test",
      cells=_toys(2),
      measure=_predictions,
    ),
  },
  "table=1": {
    name: Budget(
      f"{what}, {splits} splits, {members} members",
      minutes=minutes,
      same_data=name != "test",
      caveat=_CAVEAT,
      compute=functools.partial(table1.compute, _pieces(data, splits, members, name == "test")),
    )
    for name, (what, minutes, data, splits, members) in _TABLES.items()
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, figures, sentences."""
  if item == "figure=1":
    return figure1.report(stages.run_names(RUNS[item][name]), folder)
  _, _, data, _, _ = _TABLES[name]
  return table1.report(data, folder)


def ours(numbers: dict[str, Any]) -> dict[str, comparisons.Ours]:
  """Our numbers by published cell."""
  return {} if "bands" in numbers else table1.ours(numbers)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return figure1.summary(numbers) if "bands" in numbers else table1.summary(numbers)
