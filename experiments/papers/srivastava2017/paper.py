"""Srivastava & Sutton, "Autoencoding Variational Inference for Topic Models" (ICLR 2017).

https://arxiv.org/abs/1703.01488
  python -m dgm_jax reproduce srivastava2017 --table=1 --budget=quick --manual_dir=FOLDER   # with kjv.txt
  python -m dgm_jax reproduce srivastava2017 --table=1 --budget=paper --manual_dir=FOLDER   # 20 newsgroups

Table 1: coherence and perplexity of ProdLDA, NVLDA, online LDA and NMF, and the topics themselves.  (In the paper they
are two tables.)
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value

LABELS = {"prodlda": "ProdLDA", "nvlda": "NVLDA", "lda": "LDA, online", "nmf": "NMF"}
METRICS = {  # name in results.json: (title, digits)
  "npmi": ("NPMI", 3),
  "document_perplexity": ("perplexity by the bound", 0),
  "completion_perplexity": ("perplexity of held-out words", 0),
}
_PAIRS = (("prodlda", "lda"), ("nvlda", "lda"), ("nmf", "lda"))
_READ_SECOND_HAND = {
  "prodlda": (0.24, 1172), "nvlda": (0.11, 1059), "lda": (0.11, 1046),
}  # fmt: skip

PAPER = Paper(
  authors="Srivastava & Sutton",
  title="Autoencoding Variational Inference for Topic Models",
  venue="ICLR 2017",
  url="https://arxiv.org/abs/1703.01488",
  items={"table=1": "Coherence and perplexity of topic models, and their topics"},
  published={
    "table=1": {
      f"{cell} {name}": Value(value, verified=False)
      for cell, pair in _READ_SECOND_HAND.items()
      for name, value in zip(("npmi", "document_perplexity"), pair, strict=True)
    }
  },
  notes={
    "table=1": (
      "Published: 20 newsgroups, 50 topics, 1,995 words; besides online LDA the paper has decoupled mean-field "
      "variational inference. ProdLDA's topics as dumped by the authors have an NPMI of 0.2506. Independent runs, "
      "reported in iTM-VAE's paper, have ProdLDA 0.236, NVLDA 0.162, LDA 0.131 (mean NPMI of the top 5 and top 10 "
      "words) and perplexities 1009, 1078, 893.",
      "In the authors' code batch normalisation at test time uses the moments of the single document; ours uses "
      "averages over training.",
      "Ours: NPMI of the top 10 words over pairs, by co-occurrence in documents of the training set (no other corpus, "
      "no sliding window); pairs that never co-occur count as -1. Perplexity by the bound averages over documents, as "
      "published; LDA's bound uses q(beta), but leaves out the KL of the topics. Perplexity of held-out words: half of "
      "each test document's words given the others, the same words for all models; it is comparable between models "
      "with different bounds.",
    ),
  },
)


def _cells(methods: Sequence[str], seeds: int) -> dict[str, list[dict[str, Any]]]:
  return {method: [{"arg.method": method, "seed": seed} for seed in range(seeds)] for method in methods}


_CONFIG = "configs/prodlda_text.py"
RUNS = {
  "table=1": {
    "quick": Budget(
      "the King James Bible, 951 training chapters, 2,000 words, 20 topics, three seeds",
      minutes=15,
      caveat="Another corpus: its numbers are not comparable with the published ones.",
      config=_CONFIG,
      cells=_cells(tuple(LABELS), 3),
    ),
    "paper": Budget(
      "20 newsgroups by date, 2,000 words, 50 topics, five seeds",
      minutes=300,
      caveat="The vocabulary and the reference corpus of the coherence are not the paper's.",
      config=f"{_CONFIG}:data=newsgroups,k=50",
      cells=_cells(tuple(LABELS), 5),
    ),
    "test": Budget(
      "documents of planted topics, 40 steps, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      cells=_cells(tuple(LABELS), 2),
    ),
  },
}


def _cell(runs: Mapping[int, compare.Run]) -> dict[str, Any]:
  topics = {"topics": runs[min(runs)].results["test/topics"], "seed_of_topics": min(runs)}
  return measured.of_seeds(runs, METRICS) | topics


def _beside(name: str, published: Any) -> list[Any]:
  """[published], or [] for the perplexity of held-out words, which the paper does not have."""
  return [] if name == "completion_perplexity" else [published]


def _row(cell: str, found: dict[str, Any], runs: Sequence[str]) -> list[dict]:
  line = [tables.cell(LABELS[cell])]
  for name, (_, digits) in METRICS.items():
    value = PAPER.published["table=1"].get(f"{cell} {name}")
    text = "none" if value is None else f"{value.value:g}"
    line += _beside(name, tables.published(text, value is None or value.verified))
    ours = tables.plus_minus(found[name]["mean"], found[name]["stderr"], digits=digits) if name in found else ""
    line.append(tables.cell(ours, runs))
  return line


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences, and the topics of the first seed."""
  names = stages.run_names(RUNS[item][name])
  runs = {cell: found for cell, run_names in names.items() if (found := measured.read(folder, run_names))}
  cells = {cell: _cell(found) for cell, found in runs.items()}
  columns = ["", *(t for name, (title, _) in METRICS.items() for t in (*_beside(name, f"published {title}"), title))]
  made = [tables.table("± standard error over seeds", columns, [_row(c, f, names[c]) for c, f in cells.items()])]
  pairs, sentences, rows = {}, [], []
  for first, second in _PAIRS:
    if first not in cells or second not in cells:
      continue
    by_seed = measured.seed_difference(*(cells[cell]["npmi"]["by_seed"] for cell in (first, second)))
    words = measured.pair(runs[first], runs[second], "completion_log_pw")
    a, b = LABELS[first], LABELS[second]
    if by_seed is not None:
      pairs[f"NPMI, {a} − {b}"] = by_seed
      difference = tables.plus_minus(by_seed["difference"], by_seed["stderr"], sign=True, digits=3)
      verdict = measured.words(by_seed["verdict"], "higher")
      sentences.append(f"Claim that the NPMI of {a} is above that of {b}: {verdict} ({difference}, paired by seed).")
    if words is not None:
      pairs[f"held-out words, {a} − {b}"] = words._asdict()
      rows.append(tables.paired_row(f"{a} − {b}", words._asdict(), words.verdict))
  if rows:
    columns = ["first − second", "difference ± over documents", "by seed", "error over seeds", "first is"]
    made.append(tables.table("NLL of a document's held-out words, nats, paired by document", columns, rows))
  for cell, found in cells.items():
    title = f"Topics of {LABELS[cell]}, seed {found['seed_of_topics']}, the most coherent first"
    made.append(tables.table(title, ["top words"], [[tables.cell(t, names[cell])] for t in found["topics"]]))
  return {"numbers": {"cells": cells, "pairs": pairs}, "tables": made, "figures": [], "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  cells = numbers["cells"]
  show = lambda found, name: tables.plus_minus(found[name]["mean"], found[name]["stderr"], digits=METRICS[name][1])
  ours = [
    f"{LABELS[cell]} {show(found, 'npmi')}, {show(found, 'completion_perplexity')}" for cell, found in cells.items()
  ]
  published = PAPER.published["table=1"]
  known = [f"{LABELS[c]} {published[f'{c} npmi'].value:g} (unverified)" for c in cells if f"{c} npmi" in published]
  words = [f"{LABELS[cell]}: “{found['topics'][0]}”" for cell, found in cells.items() if cell in ("prodlda", "lda")]
  return {
    "system": "topic models: NPMI, perplexity of held-out words, a topic",
    "data": "text, see protocol",
    "published": f"20 newsgroups, NPMI: {', '.join(known)}",
    "ours": f"{'; '.join(ours)}. {'; '.join(words)}",
  }
