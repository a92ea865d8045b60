"""Tables of RMSE and NLL of regression over random splits: published rows beside ours, differences paired by split."""

import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import comparisons, computed, measured, paper, tables
from dgm_jax.experiments.shared import data_lanes
from dgm_jax.inference import predictions

Pieces = Mapping[str, Callable[[], tuple[list, list[list[int]]]]]  # {"net-concrete": () -> (configs, seeds)}

_COLUMNS = ("VI", "BP", "PBP", "MC dropout", "ensemble")
_ERRORS = {"VI": "s.e.", "BP": "s.e.", "PBP": "s.e.", "MC dropout": "s.d.", "ensemble": ""}
_NUM_SPLITS = 20  # of the published errors
# (RMSE, its error) and (log-likelihood, its error) by _COLUMNS; BP has no likelihood, the ensemble's is an NLL
PUBLISHED: dict[str, tuple[Sequence[tuple], Sequence[tuple]]] = {
  "boston": (
    ((4.320, 0.291), (3.228, 0.195), (3.014, 0.180), (2.97, 0.85), (3.28,)),
    ((-2.903, 0.071), (), (-2.574, 0.089), (-2.46, 0.25), (2.41,)),
  ),
  "concrete": (
    ((7.128, 0.123), (5.977, 0.221), (5.667, 0.093), (5.23, 0.53), (6.03,)),
    ((-3.391, 0.017), (), (-3.161, 0.019), (-3.04, 0.09), (3.06,)),
  ),
  "energy": (
    ((2.646, 0.081), (1.098, 0.074), (1.804, 0.048), (1.66, 0.19), (2.09,)),
    ((-2.391, 0.029), (), (-2.042, 0.019), (-1.99, 0.09), (1.38,)),
  ),
  "kin8nm": (
    ((0.099,), (0.091,), (0.098,), (0.10,), (0.09,)),
    ((0.897, 0.010), (), (0.896, 0.006), (0.95, 0.03), (-1.20,)),
  ),
  "naval": (
    ((0.005,), (0.001,), (0.006,), (0.01,), (0.00,)),
    ((3.734, 0.116), (), (3.731, 0.006), (3.80, 0.05), (-5.63,)),
  ),
  "power": (
    ((4.327, 0.035), (4.182, 0.040), (4.124, 0.035), (4.02, 0.18), (4.11,)),
    ((-2.890, 0.010), (), (-2.837, 0.009), (-2.80, 0.05), (2.79,)),
  ),
  "protein": (
    ((4.842, 0.031), (4.539, 0.029), (4.732, 0.013), (4.36, 0.04), (4.71,)),
    ((-2.992, 0.006), (), (-2.973, 0.003), (-2.89, 0.01), (2.83,)),
  ),
  "wine": (
    ((0.646, 0.008), (0.645, 0.010), (0.635, 0.008), (0.62, 0.04), (0.64,)),
    ((-0.980, 0.013), (), (-0.968, 0.014), (-0.93, 0.06), (0.94,)),
  ),
  "yacht": (
    ((6.887, 0.675), (1.182, 0.165), (1.015, 0.054), (1.11, 0.38), (1.58,)),
    ((-3.439, 0.163), (), (-1.634, 0.016), (-1.55, 0.12), (1.18,)),
  ),
}


def values() -> dict[str, paper.Value]:
  """{"concrete NLL, PBP": Value}; log-likelihoods are converted to NLL."""

  def value(mean: float, printed: Sequence[float], column: str) -> paper.Value:
    if len(printed) == 1:
      return paper.Value(mean)
    scale = _NUM_SPLITS**-0.5 if _ERRORS[column] == "s.d." else 1.0
    return paper.Value(mean, f"± {printed[1]:g} {_ERRORS[column]}", stderr=scale * printed[1])

  found = {}
  for data, (rmse, log_py) in PUBLISHED.items():
    for column, numbers, likelihoods in zip(_COLUMNS, rmse, log_py, strict=True):
      sign = 1 if column == "ensemble" else -1
      found[f"{data} RMSE, {column}"] = value(numbers[0], numbers, column)
      if likelihoods:
        found[f"{data} NLL, {column}"] = value(sign * likelihoods[0], likelihoods, column)
  return found


def ours(numbers: Mapping[str, Any]) -> dict[str, comparisons.Ours]:
  """Our numbers by published cell: the mixture of the ensemble's members, and MC dropout."""
  found = {}
  for data, methods in numbers["tables"].items():
    for method, column in (("ensemble", "ensemble"), ("dropout", "MC dropout")):
      for metric in ("rmse", "nll"):
        n = methods[method]
        found[f"{data} {metric.upper()}, {column}"] = comparisons.Ours(n[metric], n[f"{metric}_stderr"])
  return found


_LABELS = {
  "net": "one net",
  "ensemble": "ensemble, mixture",
  "normal": "ensemble, as a normal",
  "dropout": "MC dropout",
  "bayes": "Bayes by backprop",
}
_BESIDE = {"ensemble": "ensemble", "normal": "ensemble", "dropout": "MC dropout"}  # published column beside ours
_PAIRS = [("ensemble", "net"), ("ensemble", "normal"), ("ensemble", "dropout"), ("ensemble", "bayes")]


def compute(pieces: Pieces, folder: pathlib.Path) -> None:
  """Trains what is missing and writes the predictions, a file for each method and table."""
  made = {cell: functools.partial(_predictions, piece) for cell, piece in pieces.items()}
  computed.write(folder, _description(pieces), 0, 0, made, "predictions")


def _predictions(piece: Callable) -> dict[str, np.ndarray]:
  return data_lanes.predictions(*piece())


def _description(pieces: Pieces) -> dict[str, Any]:
  """The config of the first split, and the seeds, of each piece."""
  found = {cell: piece() for cell, piece in pieces.items()}
  return {cell: {"config": configs[0].to_dict(), "seeds": seeds} for cell, (configs, seeds) in found.items()}


def of_split(parts: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
  """{method: {"nll" [N], "square" [N]}} of predictions [M, N, ...] on a split; for one member {"": its own}."""
  y = parts["y"]
  square = lambda mean: np.square(np.asarray(mean, np.float64) - y).sum(-1)
  own = {"nll": -parts["log_py"].mean(0, np.float64), "square": square(parts["mean"]).mean(0)}
  if len(parts["log_py"]) == 1:
    return {"": own}
  mixed = predictions.mixture({name: a for name, a in parts.items() if name != "y"})
  variance, error = np.asarray(mixed["variance"], np.float64), square(mixed["mean"])
  normal = 0.5 * (np.square(y - mixed["mean"]) / variance + np.log(2 * math.pi * variance)).sum(-1)
  nll = -np.asarray(mixed["log_py"], np.float64)
  return {"net": own, "ensemble": {"nll": nll, "square": error}, "normal": {"nll": normal, "square": error}}


def _read(data: Sequence[str], folder: pathlib.Path) -> dict[str, dict[str, dict[int, dict]]]:
  """{table: {method: {split: {"nll", "square"}}}} of the finished pieces."""
  found: dict[str, dict[str, dict[int, dict]]] = {}
  for name in data:
    for method in ("net", "dropout", "bayes"):
      arrays = computed.read(folder, f"{method}-{name}") or {"y": ()}
      for s in range(len(arrays["y"])):
        for label, values_of in of_split({k: a[s] for k, a in arrays.items()}).items():
          found.setdefault(name, {}).setdefault(label or method, {})[s] = values_of
  return found


def _numbers(by_split: Mapping[int, dict[str, np.ndarray]]) -> dict[str, Any]:
  rmse = measured.mean([math.sqrt(v["square"].mean()) for v in by_split.values()])
  nll = measured.mean([v["nll"].mean() for v in by_split.values()])
  return {
    "rmse": rmse.mean,
    "rmse_stderr": rmse.stderr,
    "nll": nll.mean,
    "nll_stderr": nll.stderr,
    "splits": len(by_split),
    "rmse_by_split": list(rmse.values),
    "nll_by_split": list(nll.values),
  }


def _difference(first: Mapping[int, dict], second: Mapping[int, dict]) -> dict[str, Any]:
  """NLL of the first minus that of the second, paired by test row and by split."""
  shared = sorted(first.keys() & second.keys())
  rows = [first[s]["nll"] - second[s]["nll"] for s in shared]
  every, by_split = np.concatenate(rows), measured.mean([row.mean() for row in rows])
  stderr = float(every.std(ddof=1) / math.sqrt(len(every)))
  verdict = measured.verdict(by_split.mean, stderr, by_split.stderr, len(shared))
  return {
    "difference": by_split.mean,
    "stderr_images": stderr,
    "stderr_seeds": by_split.stderr,
    "by_seed": list(by_split.values),
    "verdict": verdict,
  }


def _rows(data: str, found: Mapping[str, Any]) -> list[list[dict]]:
  """Published rows, then ours, each beside its published counterpart."""
  published, rows = values(), []

  def beside(metric: str, column: str) -> dict:
    value = published.get(f"{data} {metric}, {column}")
    return tables.cell("") if value is None else tables.published(f"{value.value:g} {value.more}".strip())

  for column in ("VI", "BP", "PBP"):
    if data in PUBLISHED:
      empty = tables.cell("")
      rows.append([tables.cell(f"{column}, published"), beside("RMSE", column), empty, beside("NLL", column), empty])
  for method, label in _LABELS.items():
    n, column = found.get(method), _BESIDE.get(method, "")
    ours = [tables.cell("not finished")] * 2
    if n:
      show = lambda key, n=n: f"{n[key]:.3f}" + (f" ± {n[f'{key}_stderr']:.3f}" if n["splits"] > 1 else "")
      ours = [tables.cell(show(key), ["computed"]) for key in ("rmse", "nll")]
    rows.append([tables.cell(label), beside("RMSE", column), ours[0], beside("NLL", column), ours[1]])
  return rows


def report(data: Sequence[str], folder: pathlib.Path) -> dict[str, Any]:
  """The report of a budget's folder: numbers, a table for each data set, and which differences of NLL are shown."""
  by_data = _read(data, folder)
  numbers = {data: {m: _numbers(v) for m, v in methods.items()} for data, methods in by_data.items()}
  pairs = {
    f"{data}: {_LABELS[a]} − {_LABELS[b]}": _difference(methods[a], methods[b])
    for data, methods in by_data.items()
    for a, b in _PAIRS
    if a in methods and b in methods and methods[a].keys() & methods[b].keys()
  }
  columns = ["", "published RMSE", "ours ± s.e.", "published NLL", "ours ± s.e."]
  note = "Nats and units of y; ± over splits."
  made = [tables.table(data, columns, _rows(data, numbers[data]), note) for data in numbers]
  if pairs:
    lines = [tables.paired_row(n, p, measured.named_words(p["verdict"], "lower")) for n, p in pairs.items()]
    heads = ["first − second", "NLL difference ± over test rows", "by split", "over splits", "first is"]
    made.append(tables.table("Paired differences", heads, lines))
  sentences = [f"NLL, {n}: {measured.named_words(p['verdict'], 'lower')}." for n, p in pairs.items()]
  return {"numbers": {"tables": numbers, "pairs": pairs}, "tables": made, "figures": [], "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  published, shown, ours = values(), [], []
  for data, methods in numbers["tables"].items():
    both = lambda column, d=data: "/".join(f"{published[f'{d} {m}, {column}'].value:g}" for m in ("RMSE", "NLL"))
    if data in PUBLISHED:
      shown.append(f"{data}: PBP {both('PBP')}, MC dropout {both('MC dropout')}, ensemble {both('ensemble')}")
    ours.append(
      f"{data}: "
      + ", ".join(
        f"{_LABELS[m]} {n['rmse']:.3f} ± {n['rmse_stderr']:.3f}/{n['nll']:.3f} ± {n['nll_stderr']:.3f}"
        for m, n in methods.items()
        if m != "normal" and n["splits"] > 1
      )
    )
  splits = max(n["splits"] for methods in numbers["tables"].values() for n in methods.values())
  return {
    "system": "deep ensembles of five, MC dropout, Bayes by backprop, one net",
    "data": f"UCI {', '.join(numbers['tables'])}, {splits} random splits",
    "published": f"RMSE/NLL, {'; '.join(shown)}",
    "ours": f"RMSE/NLL ± s.e. over splits, {'; '.join(ours)}",
  }
