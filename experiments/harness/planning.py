"""What can be run and what is still to be: published cells that no committed result is beside, and what each costs.

A cell is a published number that was read in its source.  It can be compared by a budget with the paper's recipe, or
with its data and split; of these the first is taken that fits by itself.  The hours of a budget are shared among its
runs; a computation without runs gives all its cells at once.
"""

import shlex
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from dgm_jax.core import files
from dgm_jax.experiments.harness import comparisons, paper, stages


class Work(NamedTuple):
  """Cells that one budget of a table or figure compares.

  Attributes:
    paper, item, budget: for example burda2016, table=1, short.
    cells: their names.
    hours: estimated, of two cores.
    full: whether it is the paper's recipe.
    alone: whether the cells can be run without the budget's others.
  """

  paper: str
  item: str
  budget: str
  cells: tuple[str, ...]
  hours: float
  full: bool
  alone: bool

  @property
  def command(self) -> str:
    """The command that runs it and saves its numbers."""
    words = ["python", "-m", "dgm_jax", "reproduce", self.paper, f"--{self.item}", f"--budget={self.budget}"]
    return shlex.join([*words, *([f"--cells={','.join(self.cells)}"] if self.alone else []), "--save"])


def verified(module: ModuleType, item: str) -> list[str]:
  """The cells of an item whose published numbers were read in their source."""
  return [name for name, value in module.PAPER.published.get(item, {}).items() if value.verified]


def compared(name: str, module: ModuleType, item: str) -> dict[str, bool]:
  """{cell with a committed number beside its published one: whether one is at the paper's budget}."""
  found: dict[str, bool] = {}
  for budget in module.RUNS[item]:
    if (kept := files.read_json(paper.results_file(name, item, budget))) is not None:
      for cell in comparisons.cells(kept):
        if cell.published.verified:
          found[cell.name] = found.get(cell.name, False) or cell.full
  return found


def listing() -> str:
  """Text that lists papers, tables, figures and the cost of each budget."""
  lines = []
  for name in paper.names():
    module = paper.load(name)
    lines.append(f"{name}: {module.PAPER.authors}, {module.PAPER.title} ({module.PAPER.venue})")
    for item, budgets in module.RUNS.items():
      lines.append(f"  --{item}  {module.PAPER.items[item]}")
      if cells := verified(module, item):
        done = compared(name, module, item)
        full = sum(done.values())
        lines.append(f"    {len(cells)} published cells, {len(done)} compared, {full} of them at the paper's budget")
      for budget in (b for b in paper.BUDGETS if b in budgets and b != "test"):
        lines.append(
          f"    --budget={budget:<6} {paper.cost(name, item, budget, budgets[budget])}: {budgets[budget].what}"
        )
  return "\n".join(lines)


def _of_budget(name: str, item: str, which: str, budget: paper.Budget, wanted: list[str]) -> list[Work]:
  """The work of a budget, a cell each where its cells are those of the table."""
  hours, runs = budget.minutes / 60, stages.run_names(budget)
  every = len({run for names in runs.values() for run in names})
  if not set(wanted) & set(runs):  # a computation, or cells of other names: all of them or none
    made = files.read_json(paper.results_file(name, item, which)) is not None
    return [Work(name, item, which, tuple(wanted), hours, budget.full, False)] if wanted and not made else []
  share = lambda cell: hours * len(runs[cell]) / every
  return [Work(name, item, which, (cell,), share(cell), budget.full, True) for cell in wanted if cell in runs]


def _left(name: str, module: ModuleType, item: str) -> Iterator[Work]:
  """All that could be run for the cells of an item, the paper's recipe first."""
  done, cells = compared(name, module, item), verified(module, item)
  for which, budget in sorted(module.RUNS[item].items(), key=lambda named: not named[1].full):
    if which != "test" and (budget.full or budget.same_data):
      wanted = [cell for cell in cells if not (done.get(cell) if budget.full else cell in done)]
      yield from _of_budget(name, item, which, budget, wanted)


def plan(hours: float) -> tuple[list[Work], list[Work]]:
  """(what fits in so many hours of two cores, cheapest cells first; what is left of the rest)."""
  taken: dict[tuple[str, str, str], Work] = {}
  for name in paper.names():
    module = paper.load(name)
    for item in module.RUNS:
      for work in _left(name, module, item):
        keys = [(name, item, cell) for cell in work.cells]
        if all(key not in taken or taken[key].hours > hours >= work.hours for key in keys):
          taken |= dict.fromkeys(keys, work)
  chosen, rest, total = [], [], 0.0
  for work in sorted(dict.fromkeys(taken.values()), key=lambda w: w.hours / len(w.cells)):
    fits = total + work.hours <= hours
    (chosen if fits else rest).append(work)
    total += work.hours * fits
  return chosen, rest


def joined(works: list[Work]) -> list[Work]:
  """The cells of one budget together, one command for each, in the order of their first ones."""
  found: dict[tuple[str, str, str], Work] = {}
  for work in works:
    key = work[:3]
    before = found.get(key)
    found[key] = (
      work if before is None else before._replace(cells=before.cells + work.cells, hours=before.hours + work.hours)
    )
  return list(found.values())


def as_text(hours: float) -> str:
  """The plan as a list of commands."""
  chosen, rest = plan(hours)
  count = lambda works: sum(len(w.cells) for w in works)
  total = lambda works: sum(w.hours for w in works)
  lines = [f"{'hours':>7}  cells  command"]
  lines += [f"{w.hours:7.2f}  {len(w.cells):5}  {w.command}" for w in joined(chosen)]
  full = count([w for w in chosen if w.full])
  return "\n".join([
    *lines,
    "",
    f"{count(chosen)} cells, {full} of them at the paper's budget, in {total(chosen):.1f} of {hours:g} hours of two "
    f"cores (estimated; --list has measured times). Published raw files: --manual_dir=FOLDER.",
    f"Left: {count(rest)} cells, {total(rest):,.0f} hours.",
  ])  # fmt: skip
