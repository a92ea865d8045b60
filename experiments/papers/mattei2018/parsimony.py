"""The likelihood of Gaussian decoders with and without a floor on their variances, beside that of the best mixture."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgm_jax
from dgm_jax.core import files
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.papers.mattei2018 import npmle
from dgm_jax.sweeps import states
from dgm_jax.training.workdir import metrics

FLOOR = 2.0**-4
_LATE = 0.75  # the part of a run after which its steps count as its end


def _likelihood(run: Any, samples: int) -> dict[str, np.ndarray]:
  """{"log_px" [N], "elbo" [N]} of the training images."""
  found = run.importance(run.experiment.splits.train["x"], samples, transform=True, batch_size=50, chunk=100)
  return {name: np.asarray(found[name]) for name in ("log_px", "elbo")}


def mixture(x: jax.Array, floor: float, climbs: int = 5) -> dict[str, np.ndarray]:
  """Mean log-likelihood of the best mixture, nats: bounds "below" and "above", estimate "searched"; x [N, D]."""
  found = jax.jit(npmle.fit, static_argnums=1)(x, floor)

  @jax.jit
  def bounds(x, mixture):
    log_px = npmle.log_prob(x, mixture)
    return npmle.certificate(x, log_px, floor), npmle.search(x, log_px, mixture, floor, climbs)

  certified, gradient = bounds(x, found.mixture)
  below = np.asarray(found.log_px)
  return {"below": below, "above": below + np.asarray(certified), "searched": below + np.asarray(gradient)}


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]], samples: int) -> None:
  """Likelihoods of the training images under the finished runs, and that of the best mixture, into folder/measured."""
  measured.of_runs(folder, names, lambda run: _likelihood(run, samples))
  path = measured.file(folder, "mixture")
  done = [n for runs in names.values() for n in runs if measured.file(folder, n).exists()]
  if done and not path.exists():
    print("  fitting the best mixture", flush=True)
    experiment = dgm_jax.load(states.folder(folder, done[0])).experiment
    train = experiment.splits.train
    x = experiment.transforms.evaluate(jax.random.key(0), {"x": train["x"], "index": train["index"]})["x"]
    files.save_arrays(path, **mixture(jnp.reshape(x, (len(x), -1)), FLOOR))


def _end(folder: pathlib.Path, name: str) -> float | None:
  """The training ELBO at the end of a run, a mean over its last quarter; None if it has not begun."""
  rows = [(r["step"], r["train/elbo"]) for r in metrics.read(states.folder(folder, name)) if "train/elbo" in r]
  late = [value for step, value in rows if step >= _LATE * rows[-1][0]]
  return float(np.mean(late)) if late else None


def _cell(folder: pathlib.Path, names: Sequence[str], best: Mapping[str, float]) -> dict[str, Any]:
  """Numbers of a cell, {} before any run is measured."""
  runs = measured.arrays(folder, names)
  if not runs:
    return {}
  log_px, elbo = (measured.mean([float(r[name].mean()) for r in runs]) for name in ("log_px", "elbo"))
  ends = [end for name in names if (end := _end(folder, name)) is not None]
  late = measured.mean(ends)
  found = {"elbo": elbo.mean, "log_px": log_px.mean, "log_px_stderr": log_px.stderr, "elbo_stderr": elbo.stderr}
  found |= {"late": late.mean, "late_stderr": late.stderr, "late_by_seed": list(late.values)}
  if best:
    found["gap"] = best["below"] - log_px.mean
    beyond = late.mean - best["above"]
    found["beyond"] = measured.verdict(beyond, 0.0, late.stderr, len(ends))
  return found


def report(names: Mapping[str, list[str]], folder: pathlib.Path) -> dict[str, Any]:
  """Likelihoods of both decoders, the best mixture, and whether ELBO <= log p(x) <= best mixture."""
  path = measured.file(folder, "mixture")
  best = {k: float(v) for k, v in files.load_arrays(path).items()} if path.exists() else {}
  cells = {cell: _cell(folder, runs, best) for cell, runs in names.items()}
  rows = []
  for cell, n in cells.items():
    if not n:
      rows.append([tables.cell(cell), tables.cell("not finished"), *[tables.cell("")] * 3])
      continue
    gap = f"{n['gap']:.2f}" if cell == "floor" and "gap" in n else ""
    texts = [tables.plus_minus(n[k], n[f"{k}_stderr"]) for k in ("late", "elbo", "log_px")]
    rows.append([tables.cell(cell), *[tables.cell(text, names[cell]) for text in (*texts, gap)]])
  columns = ["decoder", "ELBO while training, last quarter", "ELBO", "log p(x)", "parsimony gap"]
  note = "Log-density in nats per training image, ± standard error over seeds."
  made = [tables.table("Likelihood of the training set", columns, rows, note)]
  if best:
    texts = [tables.cell(f"{best[name]:.3f}") for name in ("below", "searched", "above")]
    columns = ["fitted by EM", "if the climbs found the greatest gradient", "certified: at most"]
    title = f"Best mixture of normals with variances of at least {FLOOR:g}, nats per image"
    made.append(tables.table(title, columns, [texts]))
  kept = {cell: n for cell, n in cells.items() if n}
  return {
    "numbers": {"mixture": best, "cells": kept},
    "tables": made,
    "figures": _figures(folder, names, best),
    "sentences": _sentences(kept, best),
  }


def _figures(folder: pathlib.Path, names: Mapping[str, list[str]], best: Mapping[str, float]) -> list[dict[str, Any]]:
  drawn = []
  for metric, what in (("train/elbo", "training ELBO"), ("valid/log_px", "validation log p(x)")):
    lines = []
    for cell, runs in names.items():
      begun = [name for name in runs if metrics.read(states.folder(folder, name))]
      if (curve := measured.late_curve(folder, begun, metric)).points:
        lines.append(tables.series(cell, curve.points, begun, band=curve.band))
    if best and lines:
      ends = [p[0] for line in lines for p in line["points"]]
      level = [(x, best["above"]) for x in (min(ends), max(ends))]
      lines.append(tables.series("best mixture with the floor, training set", level, style="theory"))
    if lines:
      figure = tables.figure(f"{what.capitalize()}, nats per image", "step", f"{what}, nats", lines)
      figure["file"] = f"{metric.replace('/', '_')}.png"
      drawn.append(figure)
  return drawn


def _sentences(cells: Mapping[str, dict[str, Any]], best: Mapping[str, float]) -> list[str]:
  if not best:
    return []
  found = []
  if (free := cells.get("no floor")) is not None:
    words = measured.words(free["beyond"], "higher")
    found.append(
      "Claim that the decoder without a floor exceeds the best possible with one (Student's t over seeds, 95 %): "
      f"{words}; {free['late']:.1f} nats against {best['above']:.1f}."
    )
  if (held := cells.get("floor")) is not None:
    holds = held["elbo"] <= held["log_px"] <= best["below"]
    found.append(
      f"With the floor, ELBO {held['elbo']:.2f} <= log p(x) {held['log_px']:.2f} <= best mixture {best['below']:.2f} "
      f"(at most {best['above']:.2f}): {'holds' if holds else 'does not hold'}; the parsimony gap is {held['gap']:.1f} "
      "nats per image, or less, since importance sampling underestimates log p(x)."
    )
  return found


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  best, cells = numbers["mixture"], numbers["cells"]
  held, free = cells["floor"], cells["no floor"]
  return {
    "system": "Gaussian VAE, 5 latent variables, with and without a floor on its variances",
    "data": "grey levels, training set",
    "published": "without a floor the likelihood diverges",
    "ours": f"ELBO without floor {free['late']:.0f}; with it ELBO {held['elbo']:.1f}, log p(x) {held['log_px']:.1f}, "
    f"best mixture {best['below']:.2f} to {best['above']:.2f} (certified): parsimony gap {held['gap']:.1f}",
  }
