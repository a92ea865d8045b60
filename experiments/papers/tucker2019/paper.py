"""Tucker et al., "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives" (ICLR 2019).

  python -m dgm_jax reproduce tucker2019 --figure=1
  python -m dgm_jax reproduce tucker2019 --figure=2

Paper: https://arxiv.org/abs/1810.04152.  Figure 1: gradient estimates on a Gaussian toy; figure 2: training curves on
MNIST.  Each has its own file.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Paper
from dgm_jax.experiments.papers.tucker2019 import figure1, figure2

_ITEMS = {"figure=1": figure1, "figure=2": figure2}
PAPER = Paper(
  authors="Tucker, Lawson, Gu & Maddison",
  title="Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives",
  venue="ICLR 2019",
  url="https://arxiv.org/abs/1810.04152",
  items={item: module.TITLE for item, module in _ITEMS.items()},
  published={item: {} for item in _ITEMS},
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
