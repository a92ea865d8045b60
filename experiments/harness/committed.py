"""The page of all committed results: experiments/results/*.json as tables and figures, without running anything.

Results saved with their tables and figures are shown as their papers made them.  Of older ones only the numbers are
kept, as nested mappings: a mapping of mappings becomes a table with a row for each, and one whose names are numbers
also a figure over these numbers.
"""

import base64
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.core import files
from dgm_jax.experiments.harness import page, paper, tables

_DETAILS = {"by_seed", "runs", "item"}
_OTHERS = "Other runs and measurements"


def _is_leaf(value: Any) -> bool:
  """Whether a value is shown in a cell: a number, a word, or a mean with its error."""
  return isinstance(value, int | float | str) or (isinstance(value, Mapping) and "mean" in value)


def _leaves(node: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in node.items() if _is_leaf(v) and k not in _DETAILS}


def _text(value: Any, error: Any = None) -> str:
  if isinstance(value, Mapping):
    return _text(value["mean"], value.get("stderr", value.get("stderr_seeds")))
  if isinstance(value, bool | str):
    return str(value)
  shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
  return shown.replace("-", "−") + (f" ± {error:.2g}" if isinstance(error, int | float) else "")


def _error_of(name: str, names: Sequence[str]) -> str | None:
  """The name of the error of a value, among those of a row."""
  general = {"mean": "stderr", "difference": "stderr", "nll": "stderr_seeds", "slope": "stderr", "kl": "stderr"}
  return next((n for n in (f"{name}_stderr", general.get(name)) if n in names), None)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
  """{name of a column: name of its error or None} of the leaves of rows; errors are no columns of their own."""
  names = list(dict.fromkeys(name for row in rows for name in row))
  errors = {name: _error_of(name, names) for name in names}
  return {name: error for name, error in errors.items() if name not in errors.values()}


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], published: Mapping[str, paper.Value]) -> dict[str, Any]:
  leaves = {name: _leaves(row) for name, row in rows.items()}
  columns, beside = _columns(list(leaves.values())), published.keys() & rows.keys()
  cell = lambda row, name, error: tables.cell(_text(row[name], row.get(error)) if name in row else "")

  def line(name, row):
    cells = [tables.cell(name)]
    if beside:
      value = published.get(name)
      cells.append(tables.published(f"{value.value:g}", value.verified) if value else tables.cell(""))
    return cells + [cell(row, column, error) for column, error in columns.items()]

  head = ["", *(["published"] if beside else []), *(c.replace("_", " ").replace("/", " ") for c in columns)]
  return tables.table(title, head, [line(*item) for item in leaves.items()])


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None


def _line(name: str, node: Mapping[str, Any]) -> tuple[str, dict] | None:
  """(name of the value, a line) of a mapping from at least three numbers to rows; None for any other."""
  points = {_number(k): _leaves(v) for k, v in node.items() if isinstance(v, Mapping)}
  if len(points) < 3 or None in points or len(points) < len(node):
    return None
  column = next((c for c, v in next(iter(points.values())).items() if not isinstance(v, str | Mapping)), None)
  if column is None or any(column not in row for row in points.values()):
    return None
  return column, tables.series(name, sorted((x, float(row[column])) for x, row in points.items()))


def _titled(*words: str) -> str:
  return ", ".join(filter(None, words))


def shown(numbers: Mapping[str, Any], published: Mapping[str, paper.Value], title: str = "") -> tuple[list, list]:
  """(tables, figures) of nested numbers; see the module."""
  groups = {k: v for k, v in numbers.items() if isinstance(v, Mapping) and k not in _DETAILS and not _is_leaf(v)}
  rows = {k: v for k, v in groups.items() if _leaves(v)}
  made = [_table(title or "Numbers", rows, published)] if rows else []
  if not title and (alone := _leaves(numbers)):
    made.insert(0, _table("Settings and totals", {"": alone}, {}))
  lines = {name: found for name, node in groups.items() if (found := _line(name, node))}
  value = next(iter(lines.values()))[0].replace("_", " ") if lines else ""
  drawn = [tables.figure(title or next(iter(lines)), "setting", value, [s for _, s in lines.values()])] if lines else []
  for name, node in groups.items():
    more = shown(node, published, _titled(title, name))
    made, drawn = made + more[0], drawn + more[1]
  return made, drawn


def _of_paper(found: dict[str, Any]) -> dict[str, Any]:
  module = paper.load(found["paper"])
  row = module.summary(found["numbers"])
  short = f"{row['system']}, {row['data']}: {row['ours']}. Published: {row['published']}."
  found |= {"sentences": [short, *found["sentences"]]}
  if "tables" in found:
    return found
  made, drawn = shown(found["numbers"], module.PAPER.published.get(found["item"], {}))
  return found | {"tables": made, "figures": drawn}


def _other(path: pathlib.Path, found: dict[str, Any]) -> dict[str, Any]:
  """The report of a file of numbers that is not of a paper."""
  made, drawn = shown(found.get("results", found), {}, "")
  words = {name: found[name] for name in ("about", "what", "hardware") if isinstance(found.get(name), str)}
  title = path.stem.replace("_", " ")
  report = {"paper": "other", "citation": _OTHERS, "url": "", "item": title, "title": title, "budget": "once"}
  report |= {"finished": 1, "of": 1, "minutes": 0, "hardware": words.pop("hardware", ""), "warnings": []}
  commands = [s["command"] for s in found.get("starts", [])] or [found.get("command", "")]
  report |= {"sentences": list(words.values()), "tables": made, "figures": drawn, "protocol": []}
  return report | {"command": commands[-1] if isinstance(commands[-1], str) else "", "runs": {}}


def read(folder: pathlib.Path = paper.RESULTS) -> list[dict[str, Any]]:
  """The reports of all results in a folder, those of papers first; pictures beside them belong to their namesakes."""
  found, others = [], []
  for path in sorted(folder.glob("*.json")):
    one = files.read_json(path)
    (found if "paper" in one else others).append(
      (_of_paper(one) if "paper" in one else _other(path, one)) | {"folder": "", "id": path.stem}
    )
  for path in sorted(folder.glob("*.png")):
    picture = tables.picture(path.stem, "") | {"data": base64.b64encode(path.read_bytes()).decode()}
    others.append(_other(path, {}) | {"figures": [picture], "folder": "", "id": path.stem})
  return [*found, *others]


def write(path: pathlib.Path) -> pathlib.Path:
  """Writes the page; returns its path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write_text(path, page.render(read()))
  return path
