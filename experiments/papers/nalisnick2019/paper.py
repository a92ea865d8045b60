"""Nalisnick et al., "Do Deep Generative Models Know What They Don't Know?" (ICLR 2019).

https://arxiv.org/abs/1810.09136
  python -m dgm_jax prepare-data fashion_mnist mnist
  python -m dgm_jax reproduce nalisnick2019 --table=fashion
  python -m dgm_jax reproduce nalisnick2019 --table=fashion --budget=short

Table fashion: flows, a PixelCNN and a VAE of Fashion-MNIST, and the AUROC of three scores against MNIST.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.api import loading
from dgm_jax.configs import densities_fashion
from dgm_jax.core import files
from dgm_jax.evaluate import out_of_distribution
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.sweeps import states
from dgm_jax.training.experiment import evaluation_key

_CONFIG, _ITEM = "configs/densities_fashion.py", "table=fashion"
_LABELS = {
  "glow": "Glow (2 levels)",
  "realnvp": "RealNVP (5 layers)",
  "maf": "MAF (5 layers)",
  "pixelcnn": "Gated PixelCNN",
  "vae": "VAE",
}
_SCORES = {"": "log p", "ratio_": "log p − log p₀", "typicality_": "typicality"}
_LEAST = 2.0  # standard errors that a conclusion takes

PAPER = Paper(
  authors="Nalisnick, Matsukawa, Teh, Gorur & Lakshminarayanan",
  title="Do Deep Generative Models Know What They Don't Know?",
  venue="ICLR 2019",
  url="https://arxiv.org/abs/1810.09136",
  items={_ITEM: "AUROC of Fashion-MNIST against MNIST, by kind of model"},
  published={_ITEM: {}},
  notes={
    _ITEM: (
      "Published: flows, PixelCNNs and VAEs of Fashion-MNIST give MNIST the higher likelihood. The paper shows "
      "histograms of log p and no AUROC.",
      "All models are of grey levels 0 .. 255 and trained on the 60,000 images of Fashion-MNIST; log p of flows is a "
      "bound by one draw of noise, that of the VAE a bound by importance samples, that of the PixelCNN exact.",
      "Scores, of which AUROC is the chance that a test image of Fashion-MNIST has the higher one: log p; log p − log "
      "p₀, p₀ of independent pixels by their frequencies (Ren et al., 2019, with a simpler p₀); minus the distance of "
      "log p from its mean over training images (Nalisnick et al., 2019b, of single images).",
    )
  },
)


def independent(train: np.ndarray, levels: int = 256) -> Callable[..., jax.Array]:
  """(key, arrays) -> log p₀ [N] of independent pixels, p₀(x_d = v) = (count of v + 1) / (N + levels)."""
  flat = train.reshape(len(train), -1)
  counts = np.stack([np.bincount(flat[:, d], minlength=levels) for d in range(flat.shape[1])])
  log_p = np.log((counts + 1) / (len(flat) + levels))  # [D, levels]

  def log_px(key, arrays):
    del key
    x = np.asarray(arrays["x"]).reshape(len(arrays["x"]), -1)
    return jax.numpy.asarray(log_p[np.arange(x.shape[1]), x].sum(1), jax.numpy.float32)

  return log_px


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> None:
  """The results of out_of_distribution, with p₀ of independent pixels, of each finished run."""
  for name in [name for runs in names.values() for name in runs]:
    path, place = measured.file(folder, name), states.folder(folder, name)
    if states.is_finished(folder, name) and not path.exists():
      print(f"  measuring {name}", flush=True)
      path.parent.mkdir(exist_ok=True)
      run = loading.of_run(place)
      options = run.config.evaluate.out_of_distribution.to_dict()
      parts, key = run.experiment.splits, evaluation_key()
      options["simpler"] = independent(np.asarray(parts.train["x"]))
      found = out_of_distribution.evaluate(run.experiment, run.state, key, parts.test, **options)
      files.save_arrays(path, **{n: np.asarray(v) for n, v in found.items()}, entries=parts.test["x"][0].size)


def _budget(what: str, minutes: float, config: str, **options: Any) -> Budget:
  cells = {kind: [{"arg.model": kind, "seed": 0}] for kind in densities_fashion.MODELS}
  return Budget(what, minutes, config=config, cells=cells, measure=measure, **options)


RUNS = {
  _ITEM: {
    "quick": _budget("small networks, one seed, 2,000 steps of batches of 100", 40, f"{_CONFIG}:quick"),
    "short": _budget("one seed, 20 epochs of batches of 100", 480, _CONFIG),
    "paper": _budget(
      "one seed, 100 epochs of batches of 100", 2400, _CONFIG, common={"num_epochs": 100, "log_every": 600}, full=True
    ),
    "test": _budget("40 steps of small networks on mnist5k: for tests", 1, f"{_CONFIG}:test"),
  }
}


def _cell(arrays: Mapping[str, np.ndarray], runs: Sequence[str]) -> dict[str, Any]:
  """Bits per dimension of both sets, and {score: [AUROC, its standard error]}."""
  bits = lambda name: -float(arrays[name]) / (float(arrays["entries"]) * np.log(2))
  scores = {name: [float(arrays[f"ood_{name}auroc"]), float(arrays[f"ood_{name}auroc_stderr"])] for name in _SCORES}
  of = {"bits_test": bits("ood_log_px_test"), "bits_other": bits("ood_log_px"), "kind": str(arrays["ood_kind"])}
  return of | {"scores": scores, "examples": int(arrays["ood_examples"]), "runs": list(runs)}


def _sentences(cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """For each model, which of the two sets has the higher likelihood, as far as can be told."""
  said = []
  for kind, found in cells.items():
    area, error = found["scores"][""]
    what = "MNIST" if area < 0.5 - _LEAST * error else "the test set" if area > 0.5 + _LEAST * error else ""
    higher = f"{what} has the higher likelihood" if what else "neither set has the higher likelihood"
    said.append(f"{_LABELS[kind]}: {higher}, AUROC {tables.plus_minus(area, error, digits=3)}.")
  return said


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """A row for each kind of model: bits per dimension of both sets, and three AUROCs."""
  cells, rows = {}, []
  for kind, names in stages.run_names(RUNS[item][name]).items():
    arrays = measured.arrays(folder, names)
    if not arrays:
      rows.append([tables.cell(text) for text in (_LABELS[kind], "not finished", *[""] * (1 + len(_SCORES)))])
      continue
    found = cells[kind] = _cell(arrays[0], names)
    texts = [f"{found['bits_test']:.3f}", f"{found['bits_other']:.3f}"]
    texts += [tables.plus_minus(*found["scores"][score], digits=3) for score in _SCORES]
    rows.append([tables.cell(_LABELS[kind]), *(tables.cell(text, names) for text in texts)])
  columns = [
    "",
    "bits per dimension, test set",
    "bits per dimension, MNIST",
    *(f"AUROC, {n}" for n in _SCORES.values()),
  ]
  count = max((found["examples"] for found in cells.values()), default=0)
  note = f"AUROC ± standard error over {count:,} images of each set; below 1/2 MNIST has the higher scores."
  return {
    "numbers": {"cells": cells},
    "tables": [tables.table("Fashion-MNIST against MNIST", columns, rows, note)],
    "figures": [],
    "sentences": _sentences(cells),
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda kind, found: f"{_LABELS[kind]} {tables.plus_minus(*found['scores'][''], digits=3)}"
  return {
    "system": "flows, PixelCNN and VAE of Fashion-MNIST",
    "data": "Fashion-MNIST against MNIST",
    "published": "MNIST has the higher likelihood",
    "ours": "AUROC of log p: " + ", ".join(show(kind, found) for kind, found in numbers["cells"].items()),
  }
