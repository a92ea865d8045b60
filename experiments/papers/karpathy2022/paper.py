"""Karpathy, "nanoGPT" (2022): transformers of the characters of Shakespeare's plays.

https://github.com/karpathy/nanoGPT
  python -m dgm_jax reproduce karpathy2022 --table=1 --budget=quick --manual_dir=FOLDER   # with input.txt
  python -m dgm_jax reproduce karpathy2022 --table=1 --budget=paper --manual_dir=FOLDER

Table 1: the validation losses of its README, nats per character.  (Without FOLDER the text is downloaded.)
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value

LABELS = {
  "small": "4 layers of width 128, contexts of up to 64, batches of 12, 2,000 steps",
  "large": "6 layers of width 384, contexts of up to 256, batches of 64, 5,000 steps, dropout 0.2",
}
METRICS = {  # name in results.json: (title, digits)
  "nats_per_character": ("nats per character", 4),
  "nats_per_character_sliding": ("nats, contexts of T/2 or more", 4),
  "bits_per_character": ("bits per character", 3),
  "bits_per_character_sliding": ("bits, contexts of T/2 or more", 3),
}
PAPER = Paper(
  authors="Karpathy",
  title="nanoGPT",
  venue="GitHub 2022",
  url="https://github.com/karpathy/nanoGPT",
  items={"table=1": "Validation loss of transformers of the characters of Shakespeare's plays"},
  published={"table=1": {"small": Value(1.88), "large": Value(1.4697)}},
  notes={
    "table=1": (
      "Published: the README's validation losses, nats per character: 1.88 at the end of the small run, an average "
      "over 20 random batches of 12 windows, and 1.4697, the best of the large run, over 200 batches of 64. The last "
      "10 % of the characters are the validation set; there is no test set. Adam with b2 = 0.99, rate 1e-3 after 100 "
      "steps of warm-up, falling to 1e-4 along a cosine, decoupled weight decay 0.1 of matrices, gradients clipped at "
      "1.",
      "Ours: the same split and optimiser, and the same network but for a bias of the outputs; both losses are exact, "
      "over all of the last 111,540 characters but the first, at the end of the run. As published: windows of T + 1 "
      "characters whose first is given, so that the contexts have 1 to T characters. Beside it the same model with at "
      "least T/2 characters before each.",
      "Normalisation is the sum of p over all pairs of the first two characters, one number for each seed.",
      "Ours also learns the first character of a window, from a learned first input: one more position and one more "
      "term in the loss of 65 or 257. Clipping is at T for losses that are sums over a window. GELU is its tanh form.",
    ),
  },
)

_CONFIG = "configs/transformer_text.py"


def _runs(size: str, seeds: int) -> list[dict[str, Any]]:
  return [{"arg.size": size, "seed": seed} for seed in range(seeds)]


RUNS = {
  "table=1": {
    "quick": Budget(
      "the small net, its whole recipe, one seed",
      minutes=12,
      full=True,
      config=_CONFIG,
      cells={"small": _runs("small", 1)},
    ),
    "short": Budget(
      "the small net, its whole recipe, five seeds",
      minutes=60,
      full=True,
      config=_CONFIG,
      cells={"small": _runs("small", 5)},
    ),
    "paper": Budget(
      "both nets, their whole recipes, one seed of the large one",
      minutes=2200,
      full=True,
      config=_CONFIG,
      cells={"small": _runs("small", 5), "large": _runs("large", 1)},
    ),
    "test": Budget(
      "a small net of the licence's text, 40 steps, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      cells={"small": _runs("small", 2)},
    ),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers and a table."""
  names, cells, rows = stages.run_names(RUNS[item][name]), {}, []
  for cell, run_names in names.items():
    runs = measured.read(folder, run_names)
    if not runs:
      continue
    found = {m: measured.mean([run.results[f"test/{m}"] for run in runs.values()]) for m in METRICS}
    numbers = {m: {"mean": value.mean, "stderr": value.stderr} for m, value in found.items()}
    sums = [run.results["test/normalisation"] for run in runs.values()]
    cells[cell] = numbers["nats_per_character"] | {"metrics": numbers, "seeds": len(runs), "normalisation": sums}
    line = [tables.cell(LABELS[cell]), tables.published(f"{PAPER.published[item][cell].value:g}")]
    line += [
      tables.cell(tables.plus_minus(found[m].mean, found[m].stderr, digits=digits), run_names)
      for m, (_, digits) in METRICS.items()
    ]
    rows.append(line)
  columns = ["", "published nats per character", *(title for title, _ in METRICS.values())]
  made = [tables.table("± standard error over seeds", columns, rows)]
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": []}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  cells = numbers["cells"]
  ours = [f"{cell} {tables.plus_minus(found['mean'], found['stderr'], digits=3)}" for cell, found in cells.items()]
  published = PAPER.published["table=1"]
  return {
    "system": "autoregressive transformer, nats per character",
    "data": "tiny_shakespeare, nanoGPT's split",
    "published": ", ".join(f"{cell} {published[cell].value:g}" for cell in cells),
    "ours": ", ".join(ours),
  }
