"""Reconstructions by probabilistic PCA with M dimensions, and the least squared error possible with M dimensions."""

import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dgm_jax.core import figures
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.shared import linear_vae

_SHOWN = 8  # test images in the picture


def _x(run: Any, part: dict) -> np.ndarray:
  """Images as the model sees them, float64 [N, D]."""
  batch = {"x": part["x"], "index": part["index"]}
  x = run.experiment.transforms.evaluate(jax.random.key(0), batch)["x"]
  return np.asarray(x, np.float64).reshape(len(x), -1)


def projected(x: np.ndarray, loadings: np.ndarray, loc: np.ndarray) -> np.ndarray:
  """The point of the principal subspace loc + span W nearest to each x, [N, D]."""
  basis = np.linalg.qr(loadings)[0]
  return loc + (x - loc) @ basis @ basis.T


def measure(run: Any) -> dict[str, Any]:
  """Squared errors per pixel of test images, "error" [N] of E[x | E[z|x]] and "nearest" [N] of the projection; images.

  "train" is the projection's error on the training images.  "left_out" is the least error possible on them: the sum of
  the training covariance's eigenvalues beyond the M-th, per pixel.  "log_px" [N] is for the test images.
  """
  model, splits = run.experiment.model, run.experiment.splits
  test, train = _x(run, splits.test), _x(run, splits.train)
  bound = model.bind({"params": run.params})
  run_model = jax.jit(lambda x: (bound.reconstruct_batch(None, {"x": x}), bound.log_prob({"x": x})))
  given, log_px = jax.device_get(run_model(test.astype(np.float32).reshape(-1, *model.data_shape)))
  given = given.reshape(test.shape).astype(np.float64)
  w, loc = (np.asarray(run.params[name], np.float64) for name in ("loadings", "loc"))
  error = lambda x, other: np.mean(np.square(x - other), 1)
  return {
    "error": error(test, given),
    "nearest": error(test, projected(test, w, loc)),
    "train": error(train, projected(train, w, loc)).mean(),
    "left_out": linear_vae.eigenvalues(train)[w.shape[1] :].sum() / train.shape[1],
    "log_px": log_px,
    "x": test[:_SHOWN].reshape(-1, *model.data_shape),
    "shown": given[:_SHOWN].reshape(-1, *model.data_shape),
  }


def report(names: Mapping[str, list[str]], folder: pathlib.Path) -> dict[str, Any]:
  """Errors by M, whether they fall, and the images."""
  found = {cell: runs[0] for cell in names if (runs := measured.arrays(folder, names[cell]))}
  rows, numbers = [], {}
  for cell in names:
    if cell not in found:
      rows.append([tables.cell(cell), tables.cell("not finished"), *[tables.cell("")] * 4])
      continue
    a = found[cell]
    means = {name: float(a[name].mean()) for name in ("error", "nearest", "train", "left_out", "log_px")}
    errors = {f"{name}_stderr": float(a[name].std(ddof=1) / len(a[name]) ** 0.5) for name in ("error", "log_px")}
    numbers[cell] = means | errors
    texts = [tables.plus_minus(means["error"], errors["error_stderr"], digits=5)]
    texts += [f"{means[name]:.5f}" for name in ("nearest", "train", "left_out")]
    texts.append(tables.plus_minus(means["log_px"], errors["log_px_stderr"]))
    rows.append([tables.cell(cell)] + [tables.cell(text, names[cell]) for text in texts])
  columns = ["M", "error, PPCA", "error, projection", "the same, training", "eigenvalues left out", "log p(x)"]
  note = "Squared error per pixel of test images, ± standard error over images; log p(x) in nats of a density."
  falls = _falls(found)
  return {
    "numbers": {"reconstructions": numbers, "falls": falls},
    "tables": [tables.table("Reconstructions by probabilistic PCA", columns, rows, note)],
    "figures": _figures(found, numbers, names, folder) if found else [],
    "sentences": _sentences(falls),
  }


def _falls(found: Mapping[str, dict[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
  """The error for each M minus that for the previous M, paired by image."""
  falls = {}
  for a, b in itertools.pairwise(found):
    difference, stderr = compare.paired(found[a]["error"], found[b]["error"])
    verdict = measured.verdict(difference, stderr, None, 1)
    falls[f"M = {b} − M = {a}"] = {"difference": difference, "stderr": stderr, "verdict": verdict}
  return falls


def _sentences(falls: Mapping[str, dict[str, Any]]) -> list[str]:
  parts = [f"{name}: {measured.named_words(fall['verdict'], 'lower')}" for name, fall in falls.items()]
  return [f"Claim that the error falls with M: {'; '.join(parts)}."] if parts else []


def _figures(found: Mapping, numbers: Mapping, names: Mapping[str, list[str]], folder: pathlib.Path) -> list[dict]:
  first = next(iter(found.values()))
  images = np.stack([first["x"], *(a["shown"] for a in found.values())], 1)
  figures.save_image(folder / "reconstructions.png", figures.image_grid(images, len(images)))
  note = f"Top: test images; below: their reconstructions for M = {', '.join(found)}."
  runs = [name for cell in found for name in names[cell]]
  lines = [
    tables.series("PPCA, E[x | E[z|x]]", [(int(c), n["error"]) for c, n in numbers.items()], runs),
    tables.series("projection", [(int(c), n["nearest"]) for c, n in numbers.items()], runs),
    tables.series(
      "training, by the eigenvalues", [(int(c), n["left_out"]) for c, n in numbers.items()], style="theory"
    ),
  ]
  curve = tables.figure("Error by dimension", "dimensions M", "squared error per pixel", lines, log="xy")
  curve["file"] = "errors.png"
  return [tables.picture("Reconstructions", "reconstructions.png", note), curve]
