"""Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets" (ICML 2019).

  python -m dgm_jax prepare-data uci/white --manual_dir=FOLDER   # and the five others; or by download
  python -m dgm_jax reproduce mattei2019 --table=2 --budget=quick
  python -m dgm_jax reproduce mattei2019 --figure=1 --budget=quick
  python -m dgm_jax reproduce mattei2019 --table=1 --budget=quick

Paper: https://arxiv.org/abs/1812.02633.  Figure 1: likelihoods of digits; table 1: classifiers of imputed digits;
table 2: imputation of UCI tables.  Each has its own file.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Paper
from dgm_jax.experiments.papers.mattei2019 import figure1, table1, table2

_ITEMS = {"figure=1": figure1, "table=1": table1, "table=2": table2}
PAPER = Paper(
  authors="Mattei & Frellsen",
  title="MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets",
  venue="ICML 2019",
  url="https://arxiv.org/abs/1812.02633",
  items={item: module.TITLE for item, module in _ITEMS.items()},
  published={item: module.PUBLISHED for item, module in _ITEMS.items()},
  notes={item: module.NOTES for item, module in _ITEMS.items()},
)
RUNS = {item: module.BUDGETS for item, module in _ITEMS.items()}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of what is trained and measured so far."""
  found = _ITEMS[item].report(name, folder)
  return found | {"numbers": {"item": item, **found["numbers"]}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return _ITEMS[numbers["item"]].summary(numbers)
