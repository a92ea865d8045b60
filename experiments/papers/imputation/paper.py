"""Imputation of tables by several weighed methods, beside each of them and others; no paper prints these numbers.

Jarrett, Cebere, Liu, Curth & van der Schaar, "HyperImpute: Generalized Iterative Imputation with Automatic Model
Selection" (ICML 2022), https://arxiv.org/abs/2206.07769, chooses a method by column on hidden entries, too.

  python -m dgm_jax prepare-data uci/white --manual_dir=FOLDER   # and the five others; or by download
  python -m dgm_jax reproduce imputation --table=1 --budget=quick
  python -m dgm_jax reproduce imputation --table=1 --budget=short

The method is that of `dgm_jax impute`, see dgm_jax/applications/imputation/README.md.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.experiments.harness import computed, tables
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.experiments.papers.imputation import masked
from dgm_jax.experiments.shared import error_tables

CHOSEN = ("red", "concrete", "grapes")  # the tables by which settings were chosen; conclusions are on the others
_LABELS = {
  "auto": "dgm_jax impute",
  "orderless": "networks alone",
  "forest": "iterated extra trees",
  "missforest": "missForest-like",
  "mice": "iterated ridge",
  "knn": "5 neighbours",
  "mean": "mean",
}
_TITLE = "Errors of imputed entries: several weighed methods beside each of them"
_NOTES = (
  "Tables: six of UCI; red and white wine with the colour as a class; cancer, diabetes, grapes (wine, with its class) "
  "and digits (with their class) of scikit-learn. Numbers are standardised; errors are over the missing entries.",
  "Settings of the method were chosen on red wine, concrete and grapes; conclusions are drawn on the other tables.",
  "A mask is a seed: all methods have the same entries hidden, and differences are paired by mask. mcar: completely at "
  "random; mar: decided by three columns in ten, which are observed; mnar: values above the mean go missing.",
  "Iterated extra trees, missForest-like (random forests), ridge and neighbours are those of scikit-learn, chained "
  "where a column is predicted from the others; 50 trees with sqrt(D) columns a split.",
)
PAPER = Paper(
  authors="Jarrett, Cebere, Liu, Curth & van der Schaar",
  title="HyperImpute: Generalized Iterative Imputation with Automatic Model Selection",
  venue="ICML 2022",
  url="https://arxiv.org/abs/2206.07769",
  items={"table=1": _TITLE},
  published={"table=1": {}},
  notes={"table=1": _NOTES},
)
_CLAIMS = error_tables.Claims(
  error="MSE",
  over="masks",
  published={},
  labels=_LABELS,
  pairs=(("auto", "forest"), ("auto", "missforest"), ("orderless", "missforest"), ("auto", "knn")),
  digits=4,
)


class Setting(NamedTuple):
  """What a budget computes.

  Attributes:
    data: names of masked.load.
    mechanisms, rates: of masked.hidden.
    masks: number of masks; each has its index as the seed.
    methods: of _LABELS.
    options: of the networks.
    rows: about how many rows of a table; None for all.
  """

  data: tuple[str, ...]
  mechanisms: tuple[str, ...] = ("mcar",)
  rates: tuple[float, ...] = (0.3,)
  masks: int = 2
  methods: tuple[str, ...] = tuple(_LABELS)
  options: tuple[tuple[str, int], ...] = (("steps", 2000), ("models", 3), ("width", 256))
  rows: int | None = None

  def cells(self) -> list[tuple[str, str, float]]:
    """(table, mechanism, rate) of each block of the report."""
    return [(d, m, r) for d in self.data for m in self.mechanisms for r in self.rates]


_ALL = (*masked.UCI, "wines", *masked.CARRIED)
_SETTINGS = {
  "quick": ("six tables, 30 % missing completely at random", 60, Setting((*masked.UCI[:5], "diabetes"))),
  "short": (
    "all tables, 10, 30 and 50 % missing completely at random",
    600,
    Setting(_ALL, rates=(0.1, 0.3, 0.5), masks=3),
  ),
  "paper": (
    "all tables, three mechanisms, 10, 30 and 50 % missing",
    3600,
    Setting(_ALL, ("mcar", "mar", "mnar"), (0.1, 0.3, 0.5), 5),
  ),
  "test": (
    "80 rows of a table, a few steps of small networks: for tests",
    1,
    Setting(
      ("grapes",), options=(("steps", 1), ("models", 2), ("width", 8)), methods=("auto", "forest", "mean"), rows=80
    ),
  ),
}


def _name(cell: tuple[str, str, float]) -> str:
  data, mechanism, rate = cell
  return f"{data} {mechanism} {100 * rate:.0f}%"


def _piece(setting: Setting, cell: tuple[str, str, float], method: str) -> dict[str, np.ndarray]:
  """The measures of each mask, [S]."""
  data, mechanism, rate = cell
  table = masked.load(data)
  if setting.rows is not None:
    table = table._replace(x=table.x[:: max(1, len(table.x) // setting.rows)])
  found = [
    masked.measure(table, method, masked.hidden(table.x, mechanism, rate, seed), seed, **dict(setting.options))
    for seed in range(setting.masks)
  ]
  return {name: np.array([f[name] for f in found]) for name in found[0]}


def _compute(setting: Setting, folder: pathlib.Path) -> None:
  made = {
    f"{_name(cell).replace(' ', '-')}-{method}": functools.partial(_piece, setting, cell, method)
    for cell in setting.cells()
    for method in setting.methods
  }
  config = {"data": list(setting.data), "mechanisms": list(setting.mechanisms), "rates": list(setting.rates)}
  config |= {"masks": setting.masks, "methods": list(setting.methods), **dict(setting.options)}
  computed.write(folder, config, 0, 0, made, "errors")


RUNS = {
  "table=1": {
    name: Budget(
      f"{what}; {setting.masks} masks",
      minutes,
      full=name == "paper",
      same_data=name != "test",
      caveat="There are no published numbers to compare with.",
      compute=functools.partial(_compute, setting),
    )
    for name, (what, minutes, setting) in _SETTINGS.items()
  }
}


def _more(values: dict[str, dict[str, dict[str, np.ndarray]]]) -> dict[str, Any]:
  """The table of the other measures, means over masks."""
  rows = []
  for cell, methods in values.items():
    for method, found in methods.items():
      show = lambda name, digits, found=found: "" if np.isnan(found[name]).any() else f"{found[name].mean():.{digits}f}"
      line = [cell, _LABELS[method], show("wrong", 3), show("log_loss", 3), show("coverage", 3), show("seconds", 0)]
      rows.append([tables.cell(text) for text in line])
  columns = ["table", "method", "wrong classes", "log loss of classes", "coverage of 90 % intervals", "seconds"]
  return tables.table("Classes, intervals and seconds", columns, rows, "Means over masks.")


def _verdict(values: dict[str, dict[str, dict[str, np.ndarray]]]) -> str:
  """In how many settings of tables not used for choosing the method is lowest, or not told from the lowest."""
  best, worst, of = 0, [], 0
  for cell, methods in values.items():
    if cell.split()[0] in CHOSEN or "auto" not in methods or len(methods) < 2:
      continue
    of += 1
    ours = methods["auto"]["mse"]
    rivals = {m: found["mse"] for m, found in methods.items() if m not in ("auto", "orderless")}
    rival = min(rivals, key=lambda m: rivals[m].mean())
    gap = ours - rivals[rival]
    error = gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else 0.0
    best += gap.mean() <= 2 * error
    if "forest" in rivals:
      worst.append((ours.mean() / rivals["forest"].mean() - 1, cell))
  if not of:
    return ""
  text = f"On tables not used for choosing settings, the error of {_LABELS['auto']} is lowest, or within two paired "
  text += f"standard errors of the lowest, in {best} of {of} settings"
  if worst:
    share, cell = max(worst)
    text += f"; against iterated extra trees it is at worst {100 * share:+.1f} % ({cell})"
  return text + "."


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Errors of the finished pieces, and their differences paired by mask."""
  setting, found = _SETTINGS[name][-1], {}
  for cell in setting.cells():
    pieces = {m: computed.read(folder, f"{_name(cell).replace(' ', '-')}-{m}") for m in setting.methods}
    found[_name(cell)] = {m: piece for m, piece in pieces.items() if piece is not None}
  values = {cell: {m: error_tables.by_seed(p["mse"]) for m, p in pieces.items()} for cell, pieces in found.items()}
  names = {f"{cell}-{m}": ["computed"] for cell in values for m in values[cell]}
  made = error_tables.report(_CLAIMS, values, names, ())
  made["tables"] = [*made["tables"], _more(found)]
  made["sentences"] = [s for s in (_verdict(found), *made["sentences"]) if s]
  return made | {"numbers": {"item": item, **made["numbers"]}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  return error_tables.summary(_CLAIMS, numbers, "imputation by weighed methods, MSE", ("auto", "forest"))
