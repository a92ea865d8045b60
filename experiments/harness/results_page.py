"""experiments/README.md: every committed result beside the published numbers, a section per paper."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.experiments.harness import comparisons, paper, tables

INTRODUCTION = """Written by `python scripts/update_readme.py` from `experiments/results/*.json`, which hold config,
command, seed, commit, versions, hardware and time of every number. ± is a standard error over seeds, masks or splits.

```bash
python -m dgm_jax reproduce --list                                     # papers, tables, figures and their cost
python -m dgm_jax reproduce --plan=10                                  # what else fits in so many hours
python -m dgm_jax reproduce burda2016 --table=1 --budget=quick         # minutes on two cores
python -m dgm_jax reproduce burda2016 --table=1 --budget=paper --manual_dir=FOLDER --launcher=slurm --gpus=1
python -m dgm_jax reproduce rainforth2018 --figure=2 --format=pdf
python -m dgm_jax reproduce --page_of_results                          # a page of these results, with their figures
```

One command trains what a table or figure needs (as a sweep, seeds as lanes), evaluates all runs with one random key,
and prints the published numbers next to ours: standard errors over seeds and test images, differences paired by image,
protocol. Budget `quick` takes minutes on two cores, `short` an hour or so; `paper` is the full recipe, which some
tables already have at `short`. Only numbers of the paper's recipe are judged: two agree if they are within two joint
standard errors or, where the paper prints no error, within 0.5 nats or 3 % (`experiments/harness/comparisons.py`). The
same command continues after any interruption; `--cells=vae-1,iwae-5` trains only a part. `ROOT/index.html` shows
everything. `--save` stores the numbers of a finished budget in `experiments/results/`, from which this page is made.

A paper is `experiments/papers/NAME/paper.py`, with `PAPER` (published numbers), `RUNS` (what each table and budget
runs, as overrides of a config), `report()` and `summary()`; see `experiments/harness/paper.py`. Labs of a course are
in [course/README.md](course/README.md)."""

_COLUMNS = ("what", "published", "ours", "budget", "numbers")


def line(cells: Sequence[str]) -> str:
  """A row of a table in Markdown."""
  return f"| {' | '.join(text.replace('|', '&#124;') for text in cells)} |"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A table in Markdown."""
  return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)])


def _number(value: float, stderr: float | None, digits: int) -> str:
  return tables.plus_minus(value, stderr or None, digits=digits)


def _by_cell(module: Any, found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
  """(what, published, ours) of each cell that has a published number."""
  published = module.PAPER.published.get(found["item"], {})
  made = getattr(module, "ours", comparisons.ours)(found["numbers"])
  rows = []
  for name, ours in made.items():
    if (value := published.get(name)) is None:
      continue
    digits = 2 if abs(value.value) >= 2 else 3
    text = _number(value.value, value.stderr, digits) + ("" if value.verified else " (unverified)")
    rows.append((name, text, _number(ours.value, ours.stderr, digits)))
  return rows


def _rows(found: Mapping[str, Any], file: str) -> list[tuple[str, ...]]:
  """Rows of one result: a cell each, or else what the paper's summary says, a part each."""
  module = paper.load(found["paper"])
  same = comparisons.has_published_data(found)
  budget, link = found["budget"] + ("" if same else ", other data"), f"[json](results/{file})"
  if cells := _by_cell(module, found):
    judged = {c.name: c.agrees for c in comparisons.cells(found) if c.full and c.published.verified}
    said = {name: f"{budget}, the paper's recipe: {'agrees' if yes else 'differs'}" for name, yes in judged.items()}
    return [(*row, said.get(row[0], budget), link) for row in cells]
  end = (budget, link)
  summary = module.summary(found["numbers"])
  parts = summary["ours"].split("; ")
  return [(summary["system"] if i == 0 else "", summary["published"] if i == 0 else "", p, *end)
          for i, p in enumerate(parts)]  # fmt: skip


def _command(found: Mapping[str, Any]) -> str:
  """The command of a report, as it is today and without the folder of the runs."""
  words = found["command"].replace("python -m experiments.reproduce", "python -m dgm_jax reproduce").split()
  return " ".join(w for w in words if not w.startswith(("--root=", "--budget="))) + " --budget=BUDGET"


def _item(item: str, results: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
  """The section of a table or figure."""
  first = results[0][1]
  summary = paper.load(first["paper"]).summary
  parts = []
  for _, found in results:
    done = "" if found["finished"] == found["of"] else f" ({found['finished']} of {found['of']} runs)"
    parts.append(f"- `{found['budget']}`: {found['what']}{done}; data: {summary(found['numbers'])['data']}.")
  rows = [row for file, found in results for row in _rows(found, file)]
  return "\n\n".join([
    f"### {item.replace('=', ' ').capitalize()}: {first['title']}",
    table(_COLUMNS, rows),
    "\n".join(parts),
    f"`{_command(first)}`",
  ])  # fmt: skip


def page(folder: pathlib.Path) -> str:
  """The whole page, in Markdown."""
  found = {p.name: json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))}
  found = {name: f for name, f in found.items() if "paper" in f}
  counted = comparisons.count(cell for f in found.values() for cell in comparisons.cells(f))
  sections = []
  for name in dict.fromkeys(f["paper"] for f in found.values()):
    results = [(file, f) for file, f in found.items() if f["paper"] == name]
    about = results[0][1]
    sections.append(f"## {name}\n\n{about['citation']}, <{about['url']}>.")
    for item in dict.fromkeys(f["item"] for _, f in results):
      sections.append(_item(item, [(file, f) for file, f in results if f["item"] == item]))
  return "\n\n".join(["# Results", counted, INTRODUCTION, *sections]) + "\n"
