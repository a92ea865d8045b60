"""Density estimation of red and white wine by ten folds: a normal, mixtures of factor analysers, mixture MADE.

All folds of a model are lanes of one compiled program; see data_lanes.  The columns are standardised by each fold's
training rows, and NLL is that of the standardised columns.  A tenth of the rows chooses the checkpoint and, of several
settings, the one with the best mean over the folds; the closed-form normal is fitted to all rows outside the test set.
"""

import functools
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from ml_collections import ConfigDict

from dgm_jax import data
from dgm_jax.core import config_args
from dgm_jax.experiments.harness import computed, measured, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared import data_lanes

TITLE = "Test NLL of red and white wine, ten folds"
NOTES = (
  "Published: 11 columns, standardised; 90 % of the rows for training, of which a ninth are for validation; RNADE has "
  "ten folds and mixtures of normals or Laplace distributions, deep nets 100 units a layer and 20 components.",
  "The published folds are others, so that ± over folds covers the choice of the folds in ours alone.",
  "The row of the normal, in closed form, has no settings: it checks data, standardisation and units. It is the mean "
  "over ten divisions of the rows into folds, whose standard deviation is 0.01 nats; its ± is over the folds of one.",
  "Ours: tanh units, no direct connections from inputs to outputs, Adam at 3e-3 with weight decay, batches of 100.",
  "Columns of the wines have few different values, of which a mixture can make spikes: no noise is added, in the paper "
  "as in ours.",
)
_DATA, _FOLDS, _DIVISIONS = ("red", "white"), 10, 10
_WHOLE = "normalisation"
_PUBLISHED = {
  "gaussian": (13.18, 13.20),
  "mfa": (10.19, 10.73),
  "made": (9.36, 10.23),
  "made-2layers": (9.63, 10.23),
  "made-2orders": (9.07, 10.03),
}
PUBLISHED = {
  f"{name}-{row}": Value(nll) for row, values in _PUBLISHED.items() for name, nll in zip(_DATA, values, strict=True)
}
_NOTE = (
  "Nats of the standardised columns; log p(x) is exact. Of MADE's densities of one column given others, of the first "
  "fold and eight test rows, the integral that is farthest from 1."
)
_LABELS = {
  "gaussian": "a normal, closed form",
  "mfa": "mixture of factor analysers",
  "made": "mixture MADE, one layer",
  "made-2layers": "mixture MADE, two layers",
  "made-2orders": "mixture MADE, two orders",
}
_BESIDE = {
  "gaussian": "Gaussian",
  "mfa": "MFA",
  "made": "RNADE, fixed order",
  "made-2layers": "RNADE, two hidden layers",
  "made-2orders": "RNADE, one hidden layer, two orders",
}
_PAIRS = (("made", "mfa"), ("mfa", "gaussian"), ("made-2layers", "made"), ("made-2orders", "made"))


class Setting(NamedTuple):
  """What a budget computes.

  Attributes:
    rows: the models, keys of the labels.
    folds: how many of the ten folds are computed.
    steps: training steps of MADE.
    grid: its weight decays.
    factors: (components, factors) of the mixtures of factor analysers.
    words: further arguments of MADE's config.
    num_points: on the grid by which the conditional densities of MADE of the first fold are integrated.
  """

  rows: Sequence[str]
  folds: int
  steps: int
  grid: Sequence[float]
  factors: Sequence[tuple[int, int]]
  words: str = ""
  num_points: int = 60_000


def _of_fold(config: ConfigDict, fold: int, **options: Any) -> ConfigDict:
  with config.unlocked():
    config.update_from_flattened_dict({"seed": fold, **options})
  return config


def made_configs(setting: Setting, name: str, row: str, decay: float) -> list[ConfigDict]:
  """A config of mixture MADE for each fold."""
  more = {"made-2layers": ",layers=2", "made-2orders": ",masks=2"}.get(row, "") + setting.words
  load = lambda fold: config_args.load(f"configs/made_uci.py:data={name},fold={fold}{more}")
  options = {"optim.weight_decay": decay, "num_steps": setting.steps}
  return [_of_fold(load(fold), fold, **options) for fold in range(setting.folds)]


def mfa_configs(setting: Setting, name: str, components: int, factors: int) -> list[ConfigDict]:
  """A config of a mixture of factor analysers for each fold, trained by EM."""
  words = f"family=factor_analysers,c={components},d={factors},data={name}"
  folds = {"data.folds": _FOLDS, "data.valid_fraction": 0.1, "batch_size": 0}
  return [
    _of_fold(config_args.load(f"configs/mixture_uci.py:{words}"), fold, **folds, **{"data.fold": fold})
    for fold in range(setting.folds)
  ]


def _normal(name: str, folds: int, division: int) -> list[np.ndarray]:
  """log p(x) of each fold's test rows under the normal with the moments of its training rows, in float64."""
  found = []
  for i in range(folds):
    splits = data.load(f"uci/{name}", folds=_FOLDS, fold=i, split_seed=division)
    train, test = (np.asarray(a["x"], np.float64) for a in (splits.train, splits.test))
    loc, scale = train.mean(0), train.std(0)
    train, test = ((x - loc) / scale for x in (train, test))
    found.append(scipy.stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True)).logpdf(test))
  return found


def normal(setting: Setting, name: str) -> dict[str, np.ndarray]:
  """Log-likelihoods of the folds of the other models, and the mean NLL of each of ten divisions into folds."""
  of = [_normal(name, setting.folds, division) for division in range(_DIVISIONS)]
  divisions = np.array([-np.mean([log_px.mean() for log_px in each]) for each in of])
  fold = np.repeat(np.arange(setting.folds), [len(log_px) for log_px in of[0]])
  return {"log_px": np.concatenate(of[0]), "fold": fold, "setting": np.array(""), "divisions": divisions}


def _best(candidates: Mapping[str, Callable[[], dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
  """Of {setting: () -> log-likelihoods} those with the best mean over the validation rows, and which they are."""
  found = {setting: compute() for setting, compute in candidates.items()}
  best = max(found, key=lambda setting: found[setting]["valid_log_px"].mean(dtype=np.float64))
  valid = {k: a["valid_log_px"].mean(dtype=np.float64) for k, a in found.items()}
  table = {"settings": np.array(list(valid)), "valid": np.array(list(valid.values()))}
  kept = {k: found[best][k] for k in ("log_px", "fold", _WHOLE) if k in found[best]}
  return kept | table | {"setting": np.array(best)}


def _piece(setting: Setting, name: str, row: str) -> dict[str, np.ndarray]:
  if row == "gaussian":
    return normal(setting, name)
  if row == "mfa":
    of = lambda c, d: data_lanes.log_likelihoods(mfa_configs(setting, name, c, d), eval_every=10)
    return _best({f"{c} components, {d} factors": functools.partial(of, c, d) for c, d in setting.factors})
  of = lambda decay: data_lanes.log_likelihoods(made_configs(setting, name, row, decay), 50, setting.num_points)
  return _best({f"weight decay {decay:g}": functools.partial(of, decay) for decay in setting.grid})


def _compute(setting: Setting, folder: pathlib.Path) -> None:
  made = {f"{n}-{row}": functools.partial(_piece, setting, n, row) for n, row in itertools.product(_DATA, setting.rows)}
  config = {"made": made_configs(setting, "red", "made", 0.0)[0].to_dict(), "setting": setting._asdict()}
  computed.write(folder, config, 0, 0, made, "log-likelihoods")


def _numbers(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  by_fold = [-float(arrays["log_px"][arrays["fold"] == i].mean(dtype=np.float64)) for i in np.unique(arrays["fold"])]
  nll = measured.mean(by_fold)
  found = {"nll": nll.mean, "stderr_seeds": nll.stderr, "by_seed": {str(i): v for i, v in enumerate(by_fold)}}
  found |= {"kind": "exact", "setting": str(arrays["setting"])}
  if "divisions" in arrays:
    each = measured.mean(arrays["divisions"].tolist())
    found |= {"nll": each.mean, "stderr_divisions": each.stderr, "of_division_0": nll.mean}
  if _WHOLE in arrays:
    found[_WHOLE] = float(arrays[_WHOLE])
  if "settings" in arrays:
    found["valid_nll"] = {str(k): -float(v) for k, v in zip(arrays["settings"], arrays["valid"], strict=True)}
  return found


def _difference(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """NLL of the first minus that of the second, paired by test row and by fold."""
  rows = (second["log_px"] - first["log_px"]).astype(np.float64)
  by_fold = measured.mean([rows[first["fold"] == i].mean() for i in np.unique(first["fold"])])
  stderr = float(rows.std(ddof=1) / len(rows) ** 0.5)
  verdict = measured.verdict(by_fold.mean, stderr, by_fold.stderr, len(by_fold.values))
  shared = {"stderr_images": stderr, "stderr_seeds": by_fold.stderr, "by_seed": list(by_fold.values)}
  return {"difference": by_fold.mean, "verdict": verdict, **shared}


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of a budget's folder: NLL of each table, and differences paired by row."""
  setting, full = _SETTINGS[name][-1], BUDGETS[name].full
  cells, pairs, made = {}, {}, []
  for name in _DATA:
    arrays = {row: computed.read(folder, f"{name}-{row}") for row in setting.rows}
    arrays = {row: a for row, a in arrays.items() if a is not None}
    lines = []
    for row, a in arrays.items():
      n = cells[f"{name}-{row}"] = _numbers(a)
      value = PUBLISHED[f"{name}-{row}"]
      difference = tables.difference(n["nll"] - value.value, n["stderr_seeds"], full or row == "gaussian")
      ours = tables.plus_minus(n["nll"], n["stderr_seeds"], digits=3)
      whole = f"{n[_WHOLE]:.6f}" if _WHOLE in n else ""
      shown = [tables.cell(text, ["computed"]) for text in (ours, whole, n["setting"], difference)]
      lines.append([tables.cell(_LABELS[row]), tables.published(f"{value.value:g} ({_BESIDE[row]})"), *shown])
    for a, b in _PAIRS:
      if a in arrays and b in arrays:
        pairs[f"{name}: {_LABELS[a]} − {_LABELS[b]}"] = _difference(arrays[a], arrays[b])
    columns = ["", "published NLL", "ours ± over folds", "integral", "chosen in validation", "ours − published"]
    made.append(tables.table(f"{name} wine", columns, lines, _NOTE))
  if pairs:
    lines = [tables.paired_row(n, p, measured.named_words(p["verdict"], "lower")) for n, p in pairs.items()]
    heads = ["first − second", "NLL difference ± over rows", "by fold", "over folds", "first is"]
    made.append(tables.table("Paired differences", heads, lines))
  sentences = [f"NLL, {n}: {measured.named_words(p['verdict'], 'lower')}." for n, p in pairs.items()]
  return {"numbers": {"cells": cells, "pairs": pairs}, "tables": made, "figures": [], "sentences": sentences}


_SETTINGS = {  # what, minutes, setting
  "quick": (
    "ten folds; mixture MADE of one layer of 100 units and 10 components, 2,000 steps, one weight decay",
    10,
    Setting(("gaussian", "mfa", "made"), _FOLDS, 2000, (1.0,), ((10, 3), (20, 3))),
  ),
  "short": (
    "ten folds; mixture MADE of one and two layers of 100 units, and of two orders, 10 components, 4,000 steps, three "
    "weight decays",
    90,
    Setting(
      ("gaussian", "mfa", "made", "made-2layers", "made-2orders"),
      _FOLDS,
      4000,
      (0.3, 1.0, 3.0),
      ((5, 3), (10, 3), (20, 3), (10, 6), (20, 6)),
    ),
  ),
  "test": (
    "two folds, 100 steps of a small net: for tests",
    1,
    Setting(("gaussian", "mfa", "made"), 2, 100, (0.3,), ((2, 1),), ",hidden=8,components=2", 5_000),
  ),
}
BUDGETS = {
  name: Budget(
    what,
    minutes,
    same_data=name != "test",
    caveat="Training is shorter than in the paper, and the settings are ours.",
    compute=functools.partial(_compute, setting),
  )
  for name, (what, minutes, setting) in _SETTINGS.items()
}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  of = lambda row: [f"{name}-{row}" for name in _DATA if f"{name}-{row}" in numbers["cells"]]
  rows = [row for row in _LABELS if of(row)]
  shown = lambda show: "; ".join(f"{_LABELS[row]} {'/'.join(map(show, of(row)))}" for row in rows)
  return {
    "system": "mixture MADE beside a normal and mixtures of factor analysers",
    "data": "red/white wine, ten folds",
    "published": "; ".join(f"{_BESIDE[r]} {'/'.join(f'{PUBLISHED[c].value:g}' for c in of(r))}" for r in rows),
    "ours": shown(lambda c: tables.plus_minus(*(numbers["cells"][c][k] for k in ("nll", "stderr_seeds")))),
  }
