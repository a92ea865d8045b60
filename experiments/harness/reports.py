"""Reports: published numbers beside ours, with the runs each comes from; as JSON, text, and in experiments/results/."""

import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pandas as pd

from dgm_jax.core import errors, figures, files
from dgm_jax.experiments.harness import measured, plots, stages, tables
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.sweeps import curves, definition, states, tasks

_FORMAT = 1


def run_names(module: ModuleType, item: str, budget: str) -> list[str]:
  """Names of all runs of an item, which are folders in runs/."""
  return [n for names in stages.run_names(module.RUNS[item][budget]).values() for n in names] or ["computed"]


def num_finished(folder: pathlib.Path, module: ModuleType, item: str, budget: str) -> int:
  """Number of finished runs of an item."""
  names = run_names(module, item, budget)
  return sum(states.is_finished(folder, name) for name in names)


def add_session(folder: pathlib.Path, seconds: float) -> None:
  """Records how long a command worked on a budget; the measured cost is the sum."""
  sessions = files.read_json(folder / "sessions.json") or []
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  files.write_json(folder / "sessions.json", [*sessions, {"ended": now, "seconds": round(seconds, 1)}])


def _commands(folder: pathlib.Path, planned: papers.Budget) -> dict[str, str]:
  """{run: the command that runs it alone}, for a sweep."""
  found = tasks.read(folder)
  if found is None:
    return {}
  common = definition.typed_common(found.config, found.common)
  return {run.name: definition.shell_command(run, folder) for run in stages.make_runs(planned, common, folder)}


def _runs(folder: pathlib.Path, planned: papers.Budget, names: list[str], item_command: str) -> dict[str, dict]:
  """{run: state, command, seed, commit, hardware, wall time ...}."""
  commands = _commands(folder, planned)
  found = {}
  for name in names:
    path = states.folder(folder, name)
    state = states.state(path)
    about = measured.provenance(path) if (path / "run.json").exists() else {}
    command = commands.get(name, item_command)
    found[name] = {"state": state.state, "step": state.step, "note": state.note, "command": command, **about}
  return found


def _warnings(planned: papers.Budget, paper: papers.Paper, item: str, budget: str) -> list[str]:
  found = []
  if not planned.full:
    found.append(f"Budget {budget!r} is not the paper's recipe: {planned.what}. {planned.caveat}")
  if any(not value.verified for value in paper.published.get(item, {}).values()):
    found.append("Published numbers marked unverified were not read in their source.")
  return found


def make(root: pathlib.Path, name: str, module: ModuleType, item: str, budget: str) -> dict[str, Any]:
  """The report of an item, from its finished runs."""
  folder, planned, paper = papers.folder(root, name, item, budget), module.RUNS[item][budget], module.PAPER
  names = run_names(module, item, budget)
  command = f"python -m dgm_jax reproduce {name} --{item} --budget={budget} --root={root}"
  runs = _runs(folder, planned, names, command)
  sessions = files.read_json(folder / "sessions.json") or []
  done = [r for r in runs.values() if r["state"] == "finished"]
  return {
    "format": _FORMAT,
    "paper": name,
    "citation": f"{paper.authors}, {paper.title} ({paper.venue})",
    "url": paper.url,
    "item": item,
    "title": paper.items[item],
    "budget": budget,
    "what": planned.what,
    "full": planned.full,
    "finished": len(done),
    "of": len(names),
    "minutes": round(sum(s["seconds"] for s in sessions) / 60, 2),
    "hardware": ", ".join(sorted({r["hardware"] for r in done})),
    "command": command,
    "warnings": _warnings(planned, paper, item, budget),
    "protocol": [f"Ours: {planned.what}.", *paper.notes[item]],
    **module.report(item, budget, folder),
    "runs": runs,
  }


def _curves(folder: pathlib.Path, found: dict[str, Any]) -> pd.DataFrame:
  """All logged values of the runs; where nothing was trained, the points of the figures, with their titles."""
  if tasks.read(folder) is not None:
    return curves.table(folder)
  rows = [
    {"run": "computed", "figure": figure["title"], "step": x, "metric": line["name"], "value": y}
    for figure in found["figures"]
    for line in figure["series"]
    for x, y in line["points"]
  ]
  return pd.DataFrame(rows, columns=["run", "figure", "step", "metric", "value"])


def write(
  root: pathlib.Path, name: str, module: ModuleType, item: str, budget: str, formats: Sequence[str] = ()
) -> dict[str, Any]:
  """Writes report.json, report.txt, curves.parquet and figures beside the runs; returns the report.

  Figures are written as PNG, which the page shows, and in these formats.
  """
  folder = papers.folder(root, name, item, budget)
  with figures.writing(dict.fromkeys(("png", *formats))):
    found = make(root, name, module, item, budget)
    plots.draw(folder, found["figures"])
  _, note = curves.write_table(folder, "curves", _curves(folder, found))
  found["warnings"] += [note] if note else []
  files.write_json(folder / "report.json", found)
  files.write_text(folder / "report.txt", as_text(found) + "\n")
  return found


def as_text(found: dict[str, Any]) -> str:
  """A report as text."""
  done = (
    f"{found['finished']} of {found['of']} runs finished, {found['minutes']:.1f} minutes, {found['hardware'] or '?'}"
  )
  lines = [found["citation"], found["url"], f"{found['item'].replace('=', ' ').capitalize()}: {found['title']}"]
  lines += [f"Budget {found['budget']}: {found['what']}", done]
  lines += [f"! {sentence}" for sentence in found["warnings"]]
  lines += [f"\n{tables.as_text(table)}" for table in found["tables"]]
  lines += ["", *found["sentences"]] if found["sentences"] else []
  lines += ["\nProtocol", *[f"  {sentence}" for sentence in found["protocol"]]]
  lines += [f"\nFigure: {figure['title']} ({figure['file']})" for figure in found["figures"] if figure["file"]]
  missing = [n for n, r in found["runs"].items() if r["state"] != "finished"]
  lines += ["\nNot finished", *[f"  {n}: {found['runs'][n]['state']}" for n in missing]] if missing else []
  return "\n".join(lines)


def _replace_folders(value: Any, folders: dict[str, str]) -> Any:
  """Replaces folders of this machine in all text by placeholders, {folder: placeholder}."""
  text = json.dumps(value, ensure_ascii=False)
  for folder, word in folders.items():
    text = text.replace(json.dumps(folder)[1:-1], word)
  return json.loads(text)


def save(found: dict[str, Any], cells: Mapping[str, list[str]] | None = None) -> pathlib.Path:
  """Saves a finished budget in experiments/results/, without figures that are pictures.

  Args:
    found: the report.
    cells: {cell: its runs} that must be finished; None for all runs.

  Raises:
    UserError: one of these runs is not finished.
  """
  needed = [*found["runs"]] if cells is None else [name for names in cells.values() for name in names]
  done = [name for name in needed if found["runs"][name]["state"] == "finished"]
  item = f"{found['paper']} --{found['item']} --budget={found['budget']}"
  errors.require(
    len(done) == len(needed),
    f"--save needs finished runs: {item} has {len(done)} of {len(needed)}"
    + (f" for {', '.join(cells)}." if cells else "; choose finished cells with --cells."),
  )
  path = papers.results_file(found["paper"], found["item"], found["budget"])
  kept = found | {"figures": [figure | {"file": ""} for figure in found["figures"] if figure["series"]]}
  kept["runs"] = {name: run for name, run in found["runs"].items() if run["state"] == "finished"}
  root = next((w.partition("=")[2] for w in found["command"].split() if w.startswith("--root=")), "")
  folders = {root: "runs/reproduce"} if root else {}
  folders |= {
    word.partition("=")[2].strip("'"): "FOLDER"
    for run in kept["runs"].values()
    for word in run["command"].split()
    if "data.manual_dir=" in word
  }
  files.write_json(path, _replace_folders(kept, folders))
  return path
