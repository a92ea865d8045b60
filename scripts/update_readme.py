"""Writes what is generated of the documents, from results, papers and docstrings; --check only compares.

  python scripts/update_readme.py
  python scripts/update_readme.py --check

README.md: the table of results.  experiments/README.md: all results.  configs/README.md: all configs.  Exit status: 0
everything is up to date, 1 --check found a difference.
"""

import argparse
import importlib
import json
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from dgm_jax.core import config_args  # noqa: E402
from dgm_jax.experiments.harness import comparisons, paper, results_page, tables  # noqa: E402

_BEGIN, _END = "<!-- results: scripts/update_readme.py writes what follows -->", "<!-- end of results -->"
_COLUMNS = ("what", "data", "published", "ours")
_FEW = (  # rows of README's table: file, cell, what, data
  ("burda2016_table1_short", "iwae-5", "IWAE k = 5, NLL in nats, after 20 of 3,280 epochs", "MNIST"),
  ("ipsen2021_table1_short", "white-miwae", "MIWAE, RMSE of missing entries", "white wine, missing not at random"),
  ("ipsen2021_table1_short", "white-known", "not-MIWAE, RMSE of missing entries", "white wine, missing not at random"),
  ("lakshminarayanan2017_table1_quick", "concrete NLL, ensemble", "deep ensemble, NLL in nats", "concrete"),
  ("lakshminarayanan2017_table1_quick", "wine RMSE, MC dropout", "MC dropout, RMSE", "red wine"),
)


def _quick_start(found: dict[str, Any]) -> tuple[str, ...]:
  """The row of the quick start."""
  results = found["results"]
  nll = tables.plus_minus(results["test/nll"], results["test/log_px_stderr"])
  return "quick start: IWAE k = 5, NLL in nats", "5,000 digits of MNIST", "none", nll


def few_results(folder: pathlib.Path) -> str:
  """README's table of results."""
  rows = [_quick_start(json.loads((folder / "iwae_mnist5k_quick.json").read_text()))]
  for name, cell, what, data in _FEW:
    found = json.loads((folder / f"{name}.json").read_text())
    module = paper.load(found["paper"])
    published = module.PAPER.published[found["item"]][cell]
    ours = getattr(module, "ours", comparisons.ours)(found["numbers"])[cell]
    theirs = f"{published.value:g} ([{found['paper']}]({found['url']}))"
    rows.append((what, data, theirs, tables.plus_minus(ours.value, ours.stderr)))
  return results_page.table(_COLUMNS, rows)


def readme(text: str, folder: pathlib.Path) -> str:
  """The README's text with the table replaced by the one made from the results."""
  before, _, rest = text.partition(_BEGIN)
  _, _, after = rest.partition(_END)
  if not (rest and after):
    raise SystemExit(f"error: README.md has no place for the table, between {_BEGIN!r} and {_END!r}.")
  return f"{before}{_BEGIN}\n\n{few_results(folder)}\n\n{_END}{after}"


def _title(docstring: str) -> str:
  """The first paragraph, as one line."""
  return " ".join(docstring.partition("\n\n")[0].split())


def _section(name: str) -> str:
  """A config's docstring, in Markdown: title, text and commands as written."""
  module = importlib.import_module(f"dgm_jax.configs.{name}")
  title, text = _title(module.__doc__), module.__doc__.partition("\n\n")[2]
  sweeps = sorted(k for k in vars(module) if re.fullmatch(r"sweep(_\w+)?", k))
  listed = f"\nSweeps: {', '.join(f'`{s}`' for s in sweeps)}.\n" if sweeps else ""
  return f"## {name}\n\n{title}\n\n```text\n{text.strip()}\n```\n{listed}"


def configs() -> str:
  """configs/README.md."""
  names = config_args.names()
  titles = {n: importlib.import_module(f"dgm_jax.configs.{n}").__doc__ for n in names}
  introduction = (
    "# Configs\n\nWritten by `python scripts/update_readme.py` from the docstrings of the files here. "
    "`python -m dgm_jax train --config=NAME:ARGUMENT --workdir=FOLDER` trains a config; words and key=value pairs "
    "after the colon are its arguments, `--config.PATH=VALUE` changes any value, and `base.py` says what each "
    "value means.\n"
  )
  listed = results_page.table(("config", "what"), [(f"[{n}](#{n})", _title(titles[n])) for n in names])
  return "\n".join([introduction, listed, "", *map(_section, names)]).rstrip() + "\n"


def _differences(path: pathlib.Path, old: str, new: str) -> str:
  there, made = set(old.splitlines()), set(new.splitlines())
  lines = [f"  there: {x}" for x in old.splitlines() if x not in made]
  lines += [f"  generated: {x}" for x in new.splitlines() if x not in there]
  return f"error: {path} is not up to date; python scripts/update_readme.py writes it.\n" + "\n".join(lines[:20])


def main(argv: Sequence[str] | None = None) -> int:
  """Writes or checks the pages; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if something would change")
  parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="folder with README.md, experiments and configs")
  args = parser.parse_args(argv)
  results, status = args.root / "experiments" / "results", 0
  pages = {
    args.root / "README.md": lambda old: readme(old, results),
    args.root / "experiments" / "README.md": lambda _: results_page.page(results),
    args.root / "configs" / "README.md": lambda _: configs(),
  }
  for path, make in pages.items():
    old = path.read_text() if path.exists() else ""
    new = make(old)
    if old == new:
      continue
    if args.check:
      print(_differences(path, old, new), file=sys.stderr)
      status = 1
    else:
      path.write_text(new)
  return status


if __name__ == "__main__":
  sys.exit(main())
