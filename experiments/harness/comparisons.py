"""Published numbers beside ours: which cells can be compared, and which agree.

A cell is one published number beside ours on the same data.  It agrees if

  |ours - published| <= 2 sqrt(s_ours^2 + s_published^2)      where the paper prints an error
  |ours - published| <= 0.5 nats, or 3 % of the published     where it does not

s are standard errors.  Only cells at the paper's own budget are judged.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dgm_jax.experiments.harness import paper

NATS, RELATIVE = 0.5, 0.03  # tolerances where no error is published


class Ours(NamedTuple):
  """One of our numbers.

  Attributes:
    value: in the units of the table.
    stderr: its standard error over seeds, masks or splits; 0 for a single run.
    in_nats: whether it is a log-likelihood of examples.
  """

  value: float
  stderr: float = 0.0
  in_nats: bool = False


class Cell(NamedTuple):
  """A published number beside ours on the same data; `full`: at the paper's budget."""

  name: str
  published: paper.Value
  ours: Ours
  full: bool

  @property
  def agrees(self) -> bool:
    """Whether the two are within the tolerance."""
    gap = abs(self.ours.value - self.published.value)
    if self.published.stderr is not None:
      return gap <= 2 * math.hypot(self.ours.stderr, self.published.stderr)
    return gap <= (NATS if self.ours.in_nats else RELATIVE * abs(self.published.value))


def ours(numbers: Mapping[str, Any]) -> dict[str, Ours]:
  """Our numbers by cell, of the tables made by experiments/shared: an NLL, or a mean over seeds."""
  found = {}
  for name, cell in numbers.get("cells", {}).items():
    if "nll" in cell:
      found[name] = Ours(cell["nll"], cell["stderr_seeds"] or 0.0, in_nats=True)
    elif "mean" in cell:
      found[name] = Ours(cell["mean"], cell.get("stderr") or cell.get("stderr_seeds") or 0.0)
  return found


def has_published_data(found: Mapping[str, Any]) -> bool:
  """Whether a saved report is of the paper's data and split."""
  budget = paper.load(found["paper"]).RUNS[found["item"]].get(found["budget"])
  return budget is not None and (budget.full or budget.same_data)


def cells(found: Mapping[str, Any]) -> list[Cell]:
  """The cells of a saved report; none if its data are not the paper's.

  A paper whose numbers have another form defines ours(numbers) itself.
  """
  if not has_published_data(found):
    return []
  module = paper.load(found["paper"])
  made = getattr(module, "ours", ours)(found["numbers"])
  published = module.PAPER.published.get(found["item"], {})
  full = module.RUNS[found["item"]][found["budget"]].full
  return [Cell(name, published[name], value, full) for name, value in made.items() if name in published]


def count(every: Iterable[Cell]) -> str:
  """How many cells are compared, at the paper's budget, and agree."""
  every = list(every)
  verified = [c for c in every if c.published.verified]
  full = [c for c in verified if c.full]
  further = len(every) - len(verified)
  return (
    f"**{len(verified)} published cells compared, of them {len(full)} at the paper's budget, "
    f"{sum(c.agrees for c in full)} of these within tolerance.**\n"
    f"{further} further published values are not verified: they were not read in their source."
  )
