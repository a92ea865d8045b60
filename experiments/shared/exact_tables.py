"""Tables of exact test NLL, published and ours: of the checkpoint, and of the run, that are best in validation.

The runs of a cell with one seed are alternatives, such as learning rates: the one with the best validation log p(x) is
taken.  The test set is looked at once, at that run's best checkpoint.  Without a validation set there are no
alternatives, and the checkpoint is the last one.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dgm_jax.api import loading
from dgm_jax.core import files
from dgm_jax.evaluate import exact_likelihood, invertibility, normalisation, training_statistics
from dgm_jax.experiments.harness import measured, paper, stages, tables
from dgm_jax.experiments.shared import nll_tables
from dgm_jax.sweeps import states
from dgm_jax.training.experiment import evaluation_key

_CHECKS = ("normalisation", "normalisation_states", "invertibility")


class Claims(NamedTuple):
  """What a paper's table says.

  Attributes:
    published: {cell: NLL}.
    label: maps a cell to its name in tables.
    pairs: (first, second): the first has the smaller NLL in the paper, on the same data.
    units: of the numbers.
    nats: in a unit.
    over: the numbers on the x axis of a figure, by cell, where the item is one.
    axis: what they are.
  """

  published: Mapping[str, paper.Value]
  label: Callable[[str], str]
  pairs: Sequence[tuple[str, str]] = ()
  units: str = "nats"
  nats: float = 1.0
  over: Mapping[str, float] = {}
  axis: str = ""


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> None:
  """log p(x) of the test examples at the best checkpoint of each finished run, and its mean on the validation set."""
  for name in [name for runs in names.values() for name in runs]:
    path, place = measured.file(folder, name), states.folder(folder, name)
    if states.is_finished(folder, name) and not path.exists():
      print(f"  measuring {name}", flush=True)
      path.parent.mkdir(exist_ok=True)
      config = files.read_json(place / "config.json") or {}
      run = loading.of_run(place, "best" if config.get("keep_best") else "latest")
      files.save_arrays(path, **of_state(run.experiment, run.state, config["evaluate"]))


def of_state(experiment: Any, state: Any, evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """log_px, log_px_transformed [N] on the test set, the mean of the latter in validation, and what the numbers are.

  Args:
    experiment: the built experiment.
    state: of the checkpoint that is measured.
    evaluations: config.evaluate of the run; of these exact_likelihood, and invertibility and normalisation if it has
      them: of the same state and statistics as the likelihood, of which a run's own results need not be.
  """
  options = evaluations.get("exact_likelihood", {})
  given = {name: value for name, value in options.items() if name not in ("bits", "statistics")}
  key, run = evaluation_key(), exact_likelihood.make_log_px(experiment, **given)
  state = training_statistics.as_evaluated(experiment, state, key, options)
  found = run(state, key, experiment.splits.test)
  held_out = experiment.splits.valid
  valid = np.array([np.nan]) if held_out is None else run(state, key, held_out)["log_px_transformed"]
  arrays = {name: np.asarray(found[name]) for name in ("log_px", "log_px_transformed")}
  arrays |= {"valid": np.mean(valid, dtype=np.float64), "step": np.asarray(int(state.step))}
  arrays["kind"] = np.asarray(exact_likelihood.kind(experiment))
  return arrays | _checks(experiment, state, key, evaluations)


def _checks(experiment: Any, state: Any, key: jax.Array, evaluations: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The sum or integral of p, with what it is over, and the worst error of inverses."""
  found, model, test = {}, experiment.model, experiment.splits.test
  if "normalisation" in evaluations or (getattr(model, "num_levels", None) and getattr(model, "num_orders", 0) == 1):
    found |= normalisation.evaluate(experiment, state, key, test, **evaluations.get("normalisation", {}))
  if "invertibility" in evaluations:
    options = {**evaluations["invertibility"], "layers": False}
    found["invertibility"] = invertibility.evaluate(experiment, state, key, test, **options)["invertibility"]
  return {name: np.asarray(found[name]) for name in _CHECKS if name in found}


def chosen(folder: pathlib.Path, planned: paper.Budget) -> dict[str, dict[int, tuple[str, dict[str, np.ndarray]]]]:
  """{cell: {seed: (run, its measurements)}}, the best in validation of each seed's runs, where all are measured."""
  found: dict[str, dict[int, tuple[str, dict]]] = {}
  for cell, names in stages.run_names(planned).items():
    by_seed: dict[int, list[tuple[str, dict]]] = {}
    for overrides, name in zip(stages.cells(planned)[cell], names, strict=True):
      arrays = measured.arrays(folder, [name])
      by_seed.setdefault(overrides["seed"], []).append((name, arrays[0] if arrays else {}))
    for seed, runs in by_seed.items():
      assert len(runs) == 1 or not any(np.isnan(r[1].get("valid", 0.0)) for r in runs), (cell, seed)
    best = {s: max(runs, key=lambda r: r[1]["valid"]) for s, runs in by_seed.items() if all(r[1] for r in runs)}
    if best:
      found[cell] = dict(sorted(best.items()))
  return found


def _in_units(arrays: Mapping[str, np.ndarray], nats: float) -> dict[str, np.ndarray]:
  """The measurements of a run, with log p(x) in units of so many nats."""
  return {name: a / nats if name in ("log_px_transformed", "valid") else a for name, a in arrays.items()}


def _cell(runs: Mapping[int, tuple[str, dict]], alternatives: int) -> dict[str, Any]:
  """The numbers of a cell."""
  nll = measured.mean([-a["log_px_transformed"].mean(dtype=np.float64) for _, a in runs.values()])
  images = np.stack([a["log_px_transformed"] for _, a in runs.values()]).mean(0)
  first = next(iter(runs.values()))[1]
  sums = {name: float(first[name]) for name in _CHECKS if name in first}
  valid = measured.mean([-float(a["valid"]) for _, a in runs.values()]).mean
  return {
    "nll": nll.mean,
    "stderr_seeds": nll.stderr,
    "stderr_images": float(images.std(ddof=1) / len(images) ** 0.5),
    "valid_nll": valid if np.isfinite(valid) else None,
    "by_seed": {str(seed): value for seed, value in zip(runs, nll.values, strict=True)},
    "steps": {str(seed): int(a["step"]) for seed, (_, a) in runs.items()},
    "kind": str(first["kind"]),
    "alternatives": alternatives,
    "runs": [name for name, _ in runs.values()],
    **sums,
  }


def _row(claims: Claims, cell: str, found: Mapping[str, Any], full: bool) -> list[dict]:
  value = claims.published.get(cell)
  shown = "none" if value is None else f"{value.value:g} {value.more}".strip()
  row = [tables.cell(claims.label(cell)), tables.published(shown, value is None or value.verified)]
  if not found:
    return [*row, tables.cell("not finished"), *[tables.cell("")] * 4]
  difference = ""
  if value is not None:
    difference = tables.difference(found["nll"] - value.value, found["stderr_seeds"], full and value.verified)
  one = f"{found['normalisation']:.6f}" if "normalisation" in found else ""
  texts = (tables.plus_minus(found["nll"], found["stderr_seeds"]), f"± {found['stderr_images']:.2f}")
  texts += ("" if found["valid_nll"] is None else f"{found['valid_nll']:.2f}", one, difference)
  return row + [tables.cell(text, found["runs"]) for text in texts]


def _pairs(claims: Claims, runs: Mapping[str, Mapping[int, tuple[str, dict]]]) -> dict[str, dict[str, Any]]:
  """Paired differences of NLL by example, over the seeds that both cells have."""
  found = {}
  for a, b in claims.pairs:
    seeds = sorted(runs.get(a, {}).keys() & runs.get(b, {}).keys())
    if seeds:
      nll = lambda cell, seeds=seeds: np.stack([-runs[cell][s][1]["log_px_transformed"] for s in seeds])
      pair = measured.difference(nll(a).astype(np.float64), nll(b).astype(np.float64))
      found[f"{claims.label(a)} − {claims.label(b)}"] = pair._asdict() | {"by_seed": list(pair.by_seed)}
  return found


def _figure(claims: Claims, cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """NLL over the numbers of `claims.over`."""
  points = sorted((claims.over[cell], n["nll"]) for cell, n in cells.items())
  line = tables.series("test NLL", points, [run for n in cells.values() for run in n["runs"]])
  return tables.figure(f"Test NLL by {claims.axis}", claims.axis, f"NLL, {claims.units}", [line], log="x")


_SELECTED = {
  True: "Of each run the checkpoint, and of runs that differ in settings the run, is the best on the validation set.",
  False: "There is no validation set: the checkpoint is the last one.",
}


def _validated(cells: Mapping[str, Mapping[str, Any]]) -> bool:
  return any(n["valid_nll"] is not None for n in cells.values()) or not cells


def _of_inverses(cells: Mapping[str, Mapping[str, Any]]) -> str:
  """The worst error of the flows' inverses and of their log p in single precision."""
  worst = max((n["invertibility"] for n in cells.values() if "invertibility" in n), default=None)
  return "" if worst is None else f" The worst error of the flows' inverses and of log p in float32 is {worst:.1g}."


def _of_sum(cells: Mapping[str, Mapping[str, Any]]) -> str:
  """What the sums of p are over."""
  counts = sorted({int(n["normalisation_states"]) for n in cells.values() if "normalisation_states" in n})
  states = " or ".join(f"{count:,}" for count in counts)
  return f" The sum of p is over the {states} states of the entries that come first in the order." if counts else ""


def report(claims: Claims, planned: paper.Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the measured runs in a folder: numbers, tables, figures, sentences."""
  runs, names = chosen(folder, planned), stages.run_names(planned)
  runs = {cell: {s: (name, _in_units(a, claims.nats)) for s, (name, a) in of.items()} for cell, of in runs.items()}
  count = {cell: len(of) for cell, of in names.items()}
  cells = {cell: _cell(of, count[cell] // max(1, len(of))) for cell, of in runs.items()}
  pairs = _pairs(claims, runs)
  columns = ["", "published NLL", "ours ± over seeds", "over examples", "validation", "sum of p", "ours − published"]
  kinds = ", ".join(sorted({n["kind"] for n in cells.values()}))
  note = f"{claims.units.capitalize()}; log p(x) is {kinds or 'exact'}. {_SELECTED[_validated(cells)]}{_of_sum(cells)}"
  note += _of_inverses(cells)
  rows = [_row(claims, cell, cells.get(cell, {}), planned.full) for cell in names]
  made = [tables.table("Test NLL", columns, rows, note)]
  if pairs:
    lines = [tables.paired_row(n, p, measured.named_words(p["verdict"], "lower")) for n, p in pairs.items()]
    heads = ["first − second", "NLL difference ± over examples", "by seed", "over seeds", "first is"]
    made.append(tables.table("Paired differences", heads, lines))
  figures = nll_tables.curves(folder, names, claims.label)
  return {
    "numbers": {"data": _data(folder, names), "cells": cells, "pairs": pairs},
    "tables": made,
    "figures": ([_figure(claims, cells)] if claims.over and cells else []) + figures,
    "sentences": [f"NLL, {n}: {measured.named_words(p['verdict'], 'lower')}." for n, p in pairs.items()],
  }


def _data(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> str:
  every = {cell: measured.read(folder, of) for cell, of in names.items()}
  return nll_tables.data_of({cell: runs for cell, runs in every.items() if runs})


def summary(claims: Claims, numbers: dict[str, Any], system: str) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  show = lambda cell, text: f"{claims.label(cell)} {text}"
  unverified = lambda value: "" if value.verified else " (unverified)"
  cells = numbers["cells"]
  published = {c: claims.published[c] for c in cells if c in claims.published}
  return {
    "system": system,
    "data": numbers["data"],
    "published": ", ".join(show(c, f"{v.value:g}{unverified(v)}") for c, v in published.items()) or "none",
    "ours": ", ".join(show(c, tables.plus_minus(n["nll"], n["stderr_seeds"])) for c, n in cells.items()),
  }
