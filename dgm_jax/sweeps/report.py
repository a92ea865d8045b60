"""Reports a sweep: a table with errors over seeds, curves, parallel coordinates, all runs as CSV and Parquet.

A setting is the overrides of a run without `seed`.  Runs that differ only in the seed are one row of the table, with
mean and standard error s / sqrt(n), where s is the standard deviation over the n seeds (denominator n - 1).
"""

import pathlib
from collections.abc import Sequence

import pandas as pd

from dgm_jax.core import errors, figures
from dgm_jax.core.files import flatten, read_json, write_text, write_with
from dgm_jax.sweeps import axes, curves, plots, states, tasks
from dgm_jax.training import early_stopping
from dgm_jax.training.workdir import legacy_configs, metrics

_CRITERIA = ("aic", "bic", "icl")
_PREFERRED = ("test/nll", "test/log_px", "valid/log_px", "valid/elbo", "train/loss")


def read(root: pathlib.Path) -> tuple[pd.DataFrame, list[str]]:
  """(table with one row per run, config paths that the sweep varies).

  Columns: name, state, step, minutes (of training), note, the varied paths, and every metric of the run: its latest
  value in metrics.jsonl, or its value in results.json.

  Raises:
    UserError: the folder holds no sweep.
  """
  definition = tasks.read(root)
  errors.require(definition is not None, f"{root} holds no sweep (it has no sweep.json).")
  paths = sorted({path for overrides in definition.runs.values() for path in overrides})
  rows = []
  for name, overrides in definition.runs.items():
    folder = states.folder(root, name)
    config = flatten(legacy_configs.read_config(folder) or {})
    state = states.state(folder)
    seconds = sum(e["wall_s"].get("train", 0.0) for e in read_json(folder / "run.json") or [])
    values = {path: curves.plain(overrides.get(path, config.get(path))) for path in paths}
    measured = {k: v for k, v in states.last_values(folder).items() if "/" in k and isinstance(v, int | float)}
    row = {"name": name, "state": state.state, "step": state.step, "minutes": seconds / 60, "note": state.note}
    rows.append(row | values | measured)
  runs = pd.DataFrame(rows, columns=None if rows else ["name", "state", "step", "minutes", "note"])
  for path in (p for p in paths if p.startswith("arg.")):  # arguments are text; as numbers they sort 2, 12
    numbers = pd.to_numeric(runs[path], errors="coerce")
    if numbers.notna().all():
      runs[path] = numbers
  return runs, paths


def choose_metric(runs: pd.DataFrame, name: str) -> str:
  """The metric to sort by: `name`, else the first available default; "" if nothing was measured.

  Raises:
    UserError: no run has the metric `name`.
  """
  measured = [c for c in runs.columns if "/" in c]
  if name and measured:
    return errors.choose("metric", name, measured)
  return next((m for m in (*_PREFERRED, *measured) if m in measured), "")


def settings(runs: pd.DataFrame, paths: list[str], metric: str) -> pd.DataFrame:
  """One row per setting of finished runs, best first: varied paths, number of runs, mean and stderr of the metric."""
  keys = [path for path in paths if path != "seed"]
  done = runs[(runs["state"] == "finished") & runs[metric].notna()]
  if not keys:
    done = done.assign(setting="all")
    keys = ["setting"]
  table = done.groupby(keys, dropna=False)[metric].agg(runs="count", mean="mean", stderr="sem").reset_index()
  return table.sort_values("mean", ascending=early_stopping.score(metric, {metric: 1.0}) < 0, ignore_index=True)


def _table(frame: pd.DataFrame, metric: str) -> str:
  shown = frame.assign(
    mean=[
      f"{m:.4f}" + (f" ± {e:.4f}" if pd.notna(e) else "") for m, e in zip(frame["mean"], frame["stderr"], strict=True)
    ]
  ).drop(columns="stderr")
  return shown.rename(columns={"mean": metric}).to_string(index=False)


def _named(runs: pd.DataFrame, kinds: tuple[str, ...], title: str) -> list[str]:
  chosen = runs[runs["state"].isin(kinds)]
  if chosen.empty:
    return []
  lines = [
    f"  {r['name']}: {r['state']} at step {r['step']:,}" + (f", {r['note']}" if r["note"] else "")
    for _, r in chosen.iterrows()
  ]
  return [f"\n{title} ({len(chosen)})", *lines]


def summary(runs: pd.DataFrame, paths: list[str], metric: str) -> str:
  """The report as text: the table, the best setting, and the runs that failed, were pruned or are not finished."""
  counts = runs["state"].value_counts()
  lines = [f"{len(runs)} runs: " + ", ".join(f"{counts[s]} {s}" for s in states.STATES if s in counts)]
  table = settings(runs, paths, metric) if metric else pd.DataFrame()
  if table.empty:
    lines.append("No run is finished yet.")
  else:
    better = "lower is better" if early_stopping.score(metric, {metric: 1.0}) < 0 else "higher is better"
    lines += [
      f"\n{metric}, mean ± standard error over runs that differ only in the seed; {better}",
      _table(table, metric),
    ]
    keys = [c for c in table.columns if c not in ("runs", "mean", "stderr")]
    lines.append("\nBest: " + ", ".join(f"{k}={axes.show(table[k].tolist()[0])}" for k in keys))
  lines += _named(runs, ("failed",), "Failed")
  lines += _named(runs, ("pruned",), "Pruned")
  lines += _named(runs, ("running", "interrupted", "waiting"), "Not finished")
  return "\n".join(lines)


def _curve_metrics(runs: pd.DataFrame, metric: str) -> list[str]:
  """The metrics to plot as curves: training loss, and the held-out metric most similar to `metric`."""
  held_out = [c for c in runs.columns if c.split("/")[0] == "valid"] or [
    c for c in runs.columns if c.split("/")[0] == "test"
  ]
  alike = metric.rpartition("/")[2].replace("nll", "log_px")
  chosen = [c for c in held_out if c.endswith(f"/{alike}")] or held_out
  return [c for c in ("train/loss", *chosen[:1]) if c in runs.columns]


def _varies_one_number(runs: pd.DataFrame, varied: list[str]) -> bool:
  """Whether exactly one path is varied, not counting the seed, and is numeric with two values or more."""
  if len(varied) != 1 or varied[0] == "seed" or runs[varied[0]].nunique() < 2:
    return False
  return all(isinstance(v, int | float) and not isinstance(v, bool) for v in runs[varied[0]].tolist())


def _groups(runs: pd.DataFrame, paths: list[str]) -> dict[str, list[str]]:
  """{setting: its runs}, which differ only in the seed; one setting if nothing else is varied."""
  varied = [p for p in paths if p != "seed" and runs[p].nunique(dropna=False) > 1]
  found: dict[str, list[str]] = {}
  for run in runs.to_dict("records"):  # of Python's own numbers
    found.setdefault(", ".join(f"{p}={axes.show(run[p])}" for p in varied) or "all runs", []).append(run["name"])
  return found


def _draw(root: pathlib.Path, out: pathlib.Path, runs: pd.DataFrame, paths: list[str], metric: str) -> list[str]:
  """Draws the figures that this sweep has; returns the names of their files."""
  drawn = [out / "curves.png"]
  groups, of_run = _groups(runs, paths), dict(zip(runs["name"], runs[metric].tolist(), strict=True))
  rows = {label: [metrics.read(states.folder(root, name)) for name in names] for label, names in groups.items()}
  values = {label: pd.Series([of_run[name] for name in names]).mean() for label, names in groups.items()}
  curves.save_curves(drawn[0], rows, values, metric, _curve_metrics(runs, metric))
  varied = [path for path in paths if path != "seed" and runs[path].nunique() > 1] or [p for p in paths if p == "seed"]
  whole = runs[runs[metric].notna()]
  if varied and len(whole) > 1:
    columns = {path: whole[path].tolist() for path in varied}
    plots.save_parallel(out / "parallel.png", columns, whole[metric].tolist(), metric)
    drawn.append(out / "parallel.png")
  if _varies_one_number(whole, varied):
    measured = {c.upper(): f"test/{c}" for c in _CRITERIA}
    criteria = {label: whole[c].tolist() for label, c in measured.items() if c in whole and whole[c].notna().any()}
    x, y = whole[varied[0]].tolist(), whole[metric].tolist()
    plots.save_comparison(out / "comparison.png", varied[0], x, y, metric, criteria)
    drawn.append(out / "comparison.png")
  return [file.name for path in drawn for file in figures.paths(path)]


def write(
  root: pathlib.Path, metric: str = "", out: pathlib.Path | None = None, formats: Sequence[str] = ("png",)
) -> str:
  """Writes report.txt, settings.csv, runs.csv, runs.parquet, curves.parquet and figures; returns text and paths.

  The figures are curves and parallel; if a single number is varied, also comparison, with AIC, BIC and ICL if the runs
  have them.

  Args:
    root: folder of the sweep.
    metric: metric to sort by; "" for a default (see choose_metric).
    out: folder of the report; ROOT/report if not given.
    formats: of the figures, see core.figure_style.FORMATS.
  """
  runs, paths = read(root)
  metric = choose_metric(runs, metric)
  out = out or root / "report"
  out.mkdir(parents=True, exist_ok=True)
  text, files = summary(runs, paths, metric), ["report.txt", "runs.csv"]
  write_text(out / "report.txt", text + "\n")
  write_with(out / "runs.csv", lambda p: runs.to_csv(p, index=False))
  written = [curves.write_table(out, "runs", runs), curves.write_table(out, "curves", curves.table(root))]
  files += [name for name, _ in written if name not in files]
  text += "".join(f"\n\n{note}" for _, note in written if note)
  if metric:
    write_with(out / "settings.csv", lambda p: settings(runs, paths, metric).to_csv(p, index=False))
    with figures.writing(formats):
      files += ["settings.csv", *_draw(root, out, runs, paths, metric)]
  return f"{text}\n\nFiles\n" + "\n".join(f"  {out / file}" for file in files)
