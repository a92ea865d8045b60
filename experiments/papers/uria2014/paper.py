"""Uria, Murray & Larochelle, "A Deep and Tractable Density Estimator" (ICML 2014).

https://arxiv.org/abs/1310.1757
  python -m dgm_jax prepare-data uci/red uci/white
  python -m dgm_jax reproduce uria2014 --table=wine
  python -m dgm_jax reproduce uria2014 --table=mnist --budget=short

Table wine: real-valued tables, see wine.py.  Table mnist: one net for all orders, and ensembles of orders, orders.py.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Paper
from dgm_jax.experiments.papers.uria2014 import orders, wine

PAPER = Paper(
  authors="Uria, Murray & Larochelle",
  title="A Deep and Tractable Density Estimator",
  venue="ICML 2014",
  url="https://arxiv.org/abs/1310.1757",
  items={"table=mnist": orders.TITLE, "table=wine": wine.TITLE},
  published={"table=mnist": orders.PUBLISHED, "table=wine": wine.PUBLISHED},
  notes={"table=mnist": orders.NOTES, "table=wine": wine.NOTES},
)
RUNS = {"table=mnist": orders.BUDGETS, "table=wine": wine.BUDGETS}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  found = (wine if item == "table=wine" else orders).report(name, folder)
  return found | {"numbers": {"item": item} | found["numbers"]}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return (wine if numbers["item"] == "table=wine" else orders).summary(numbers)
