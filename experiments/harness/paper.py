"""Interface of a paper's module: PAPER, published numbers; RUNS, budgets of each table and figure; report(); summary().

A paper is a folder of experiments/papers, named after it, with a paper.py that defines these.
Items are named "table=1", "figure=2"; budgets "quick" (minutes on two cores), "short" (an hour or so), "paper" (the
full recipe).
"""

import importlib
import pathlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from dgm_jax.core import errors, files
from dgm_jax.sweeps.axes import Overrides

_EXPERIMENTS = pathlib.Path(__file__).parents[1]
RESULTS = _EXPERIMENTS / "results"
BUDGETS = ("quick", "short", "paper", "test")


class Value(NamedTuple):
  """A published number.

  Attributes:
    value: the number, in the units of its table.
    more: what the table prints beside it, for example the active units "16+5".
    verified: whether it was read in its source; if not, it is shown as unverified and no conclusion is drawn from it.
    stderr: its published standard error, or the largest that the paper's rounding leaves; None if there is none.
  """

  value: float
  more: str = ""
  verified: bool = True
  stderr: float | None = None


class Paper(NamedTuple):
  """A paper and its published numbers.

  Attributes:
    authors, title, venue, url: bibliographic data.
    items: {"table=1": what it shows}.
    published: {"table=1": {cell: Value}}; unknown numbers are left out.
    notes: {"table=1": the paper's protocol and ours, in sentences}.
  """

  authors: str
  title: str
  venue: str
  url: str
  items: Mapping[str, str]
  published: Mapping[str, Mapping[str, Value]]
  notes: Mapping[str, tuple[str, ...]]


class Budget(NamedTuple):
  """What is run for a table or figure: a sweep, or a computation without the training loop.

  Attributes:
    what: data, length of training and samples, in words.
    minutes: estimated wall time on two cores.
    full: whether it is the paper's own recipe, so that its numbers can be compared with the published ones.
    same_data: whether data and split are the paper's though the recipe is not; a full one's are.
    caveat: if it is not full, what that means for the comparison.
    config: FILE[:ARGUMENT] of the sweep.
    common: {path: value} of all its runs.
    cells: {cell of the table: overrides of its runs, which differ only in the seed}.
    after: as `cells`, for runs that start from the parameters of finished ones: their init_from names a cell and means
      its run with the same seed, which may itself start from another.  They are planned once that run is finished.
    compute: (folder) -> None: computes a run's folder without the training loop; resumes where it was interrupted.
    measure: (folder, {cell: names of its runs}) -> None, for a sweep: measures on the finished runs what their
      evaluations do not contain, into folder/measured.  It is called by every command and skips what is there.
  """

  what: str
  minutes: float
  full: bool = False
  same_data: bool = False
  caveat: str = "Its numbers are not comparable with the published ones."
  config: str = ""
  common: Mapping[str, Any] = {}
  cells: Mapping[str, list[Overrides]] = {}
  after: Mapping[str, list[Overrides]] = {}
  compute: Callable[[pathlib.Path], None] | None = None
  measure: Callable[[pathlib.Path, Mapping[str, list[str]]], None] | None = None


def names() -> list[str]:
  """Papers that can be reproduced: the folders of experiments/papers that have a paper.py."""
  return sorted(path.parent.name for path in (_EXPERIMENTS / "papers").glob("*/paper.py"))


def load(name: str) -> ModuleType:
  """The module of a paper, experiments/papers/NAME/paper.py.

  Raises:
    UserError: there is none; the message has the nearest name or the choices.
  """
  return importlib.import_module(f"dgm_jax.experiments.papers.{errors.choose('paper', name, names())}.paper")


def budget(module: ModuleType, item: str, name: str) -> Budget:
  """The budget `name` of an item.

  Raises:
    UserError: the paper has no such table or figure, or the item has no such budget.
  """
  kind = item.partition("=")[0]
  known = [i for i in module.RUNS if i.startswith(f"{kind}=")]
  errors.choose(f"{kind} of {module.__name__.split('.')[-2]}", item, known)
  return module.RUNS[item][errors.choose(f"budget of {item}", name, module.RUNS[item])]


def folder(root: pathlib.Path, paper: str, item: str, name: str) -> pathlib.Path:
  """Folder of a budget's runs and report: ROOT/burda2016/table1/quick."""
  return root / paper / item.replace("=", "") / name


def results_file(paper: str, item: str, name: str) -> pathlib.Path:
  """File with the saved numbers of a finished budget."""
  return RESULTS / f"{paper}_{item.replace('=', '')}_{name}.json"


def cost(paper: str, item: str, name: str, planned: Budget) -> str:
  """Wall time in words: measured if the budget's numbers are saved, else estimated."""
  kept: Any = files.read_json(results_file(paper, item, name))
  if kept is not None and kept.get("minutes"):
    return f"{show_minutes(kept['minutes'])} measured ({kept['hardware']})"
  return f"about {show_minutes(planned.minutes)} estimated (2 cores)"


def show_minutes(minutes: float) -> str:
  """A time in words, to about two digits."""
  if minutes < 1.5:
    return f"{60 * minutes:.0f} s"
  if minutes < 90:
    return f"{minutes:.0f} min"
  return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:,.0f} days"
