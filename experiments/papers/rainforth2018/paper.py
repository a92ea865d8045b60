"""Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (ICML 2018).

https://arxiv.org/abs/1802.04537
  python -m dgm_jax reproduce rainforth2018 --figure=1
  python -m dgm_jax reproduce rainforth2018 --figure=2
  python -m dgm_jax reproduce rainforth2018 --table=1 --budget=quick

Figures 1 and 2: gradient estimates in a linear-Gaussian model; table 1: objectives on MNIST.  Each has its own file.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Paper
from dgm_jax.experiments.papers.rainforth2018 import figure1, figure2, table1

_ITEMS = {"figure=1": figure1, "figure=2": figure2, "table=1": table1}
PAPER = Paper(
  authors="Rainforth, Kosiorek, Le, Maddison, Igl, Wood & Teh",
  title="Tighter Variational Bounds are Not Necessarily Better",
  venue="ICML 2018",
  url="https://arxiv.org/abs/1802.04537",
  items={item: module.TITLE for item, module in _ITEMS.items()},
  published={"table=1": table1.PUBLISHED},
  notes={item: module.NOTES for item, module in _ITEMS.items()},
)
RUNS = {item: module.BUDGETS for item, module in _ITEMS.items()}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of what is drawn or trained so far."""
  found = _ITEMS[item].report(name, folder)
  return found | {"numbers": {"item": item, **found["numbers"]}}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return _ITEMS[numbers["item"]].summary(numbers)
