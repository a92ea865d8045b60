"""Bowman, Vilnis, Vinyals, Dai, Jozefowicz & Bengio, "Generating Sentences from a Continuous Space" (CoNLL 2016).

https://arxiv.org/abs/1511.06349
  python -m dgm_jax reproduce bowman2016 --table=2 --budget=short --manual_dir=FOLDER    # with kjv.txt
  python -m dgm_jax reproduce bowman2016 --table=2 --budget=paper                        # ptb, by download

Table 2: an LSTM and a VAE, with inputs of the decoder and without.  Figure 2: the weight of the KL and the KL during
training.  Figure 3: word dropout.  Table 8: sentences between two sentences.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from dgm_jax.applications.sentences.sentence_vae import SentenceVAE
from dgm_jax.data.files import tokens
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.bowman2016 import tables
from dgm_jax.sweeps import axes

_UNVERIFIED = {
  "lm": (100, "perplexity 116"),
  "vae": (101, "KL 2, perplexity 119"),
  "inputless lm": (135, "perplexity above 600"),
  "inputless vae": (125, "KL 15, perplexity 380"),
}
_DATA = (
  "Published (not verified at the source): the Penn Treebank of Mikolov, 10,000 words, NLL in nats for a sentence. "
  "Budgets other than paper have verses of the King James Bible, with 5,000 words and at most 39 tokens, or simulated "
  "sentences: other numbers, of which only the order can be compared."
)
_LOWER_BOUND = (
  "NLL of VAEs is by importance sampling (500 samples at short and paper), a bound; the paper's is that of the ELBO, "
  "KL included."
)
PAPER = Paper(
  authors="Bowman, Vilnis, Vinyals, Dai, Jozefowicz & Bengio",
  title="Generating Sentences from a Continuous Space",
  venue="CoNLL 2016",
  url="https://arxiv.org/abs/1511.06349",
  items={
    "table=2": "NLL, KL and perplexity of an LSTM and a VAE, with inputs of the decoder and without",
    "figure=2": "The weight of the KL and the KL during training",
    "figure=3": "NLL and KL by word dropout",
    "table=8": "Sentences between two sentences",
  },
  published={
    "table=2": {cell: Value(v, more, verified=False) for cell, (v, more) in _UNVERIFIED.items()},
    "figure=2": {},
    "figure=3": {},
    "table=8": {},
  },
  notes={
    "table=2": (
      _DATA,
      _LOWER_BOUND,
      "The inputless LSTM is the inputless VAE with 100 times the weight of the KL, whose z says nothing.",
      "The VAEs are trained with a sigmoid weight of the KL and, with inputs, word dropout 0.3. `plain` has neither.",
    ),
    "figure=2": ("The paper's weight rises over some 10,000 of 50,000 steps; ours at a quarter of the run.",),
    "figure=3": (_DATA, _LOWER_BOUND),
    "table=8": (
      "Pairs of test sentences; the likeliest sentences (beam 5) along the line between the means of q(z|x).",
    ),
  },
)

_CONFIG = "configs/sentence_vae_text.py"
_NO_Z = {"arg.inputless": True, "arg.method": "plain", "objective.beta": 100.0}
_TABLE2 = {
  "lm": {"arg.method": "lm"},
  "vae": {"arg.method": "annealed"},
  "plain": {"arg.method": "plain"},
  "inputless lm": _NO_Z,
  "inputless vae": {"arg.inputless": True, "arg.method": "annealed"},
}
_FIGURE2 = {name: {"arg.method": name} for name in ("plain", "annealed", "cyclical")}
_FIGURE3 = {f"{drop:g}": {"arg.method": "annealed", "arg.drop": drop} for drop in (0.0, 0.25, 0.5, 0.75, 1.0)}
_TABLE8 = {"vae": {"arg.method": "annealed"}}


def paths(run: Any, num_pairs: int = 4) -> dict[str, Any]:
  """{"paths": texts [P, 9]}: a test sentence, seven of the path, the other test sentence."""
  splits = run.experiment.splits
  vae = SentenceVAE(run.experiment.model, run.state, splits.about)
  length = splits.test["length"]
  fit = np.flatnonzero((length >= min(8, int(np.median(length)))) & (length <= 16))[: 2 * num_pairs]
  texts = tokens.decode(splits.test["x"][fit], splits.about)
  pairs = list(zip(texts[::2], texts[1::2], strict=False))
  return {"paths": np.array([[a, *vae.interpolate(a, b, steps=7, beam=5), b] for a, b in pairs])}


def _cells(of: dict[str, dict], seeds: int) -> dict[str, list[axes.Overrides]]:
  return {cell: [overrides | {"seed": seed} for seed in range(seeds)] for cell, overrides in of.items()}


def _budgets(of: dict[str, dict], short_minutes: float, measure: Any = None) -> dict[str, Budget]:
  more = {"measure": functools.partial(measured.of_runs, measure=measure)} if measure else {}
  return {
    "quick": Budget(
      "simulated sentences (10,000 for training, 20 words, at most 9 of them), 3,000 steps of batch 64, one seed",
      minutes=1.5 * len(of),
      config=f"{_CONFIG}:quick",
      cells=_cells(of, 1),
      caveat="Simulated sentences, of which z explains much: not comparable with the published numbers.",
      **more,
    ),
    "short": Budget(
      "verses of the King James Bible, 10,000 steps of batch 32, one seed",
      minutes=short_minutes,
      config=f"{_CONFIG}:data=kjv",
      cells=_cells(of, 1),
      caveat="Another text: not comparable with the published numbers.",
      **more,
    ),
    "paper": Budget(
      "ptb, all sentences and words, 40,000 steps of batch 32, one seed",
      minutes=6 * short_minutes,
      full=True,
      config=f"{_CONFIG}:data=ptb,words=0,length=83",
      common={"num_steps": 40_000},
      cells=_cells(of, 1),
      **more,
    ),
    "test": Budget(
      "simulated sentences, 40 steps, one seed: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      cells=_cells(of, 1),
      **more,
    ),
  }


RUNS = {
  "table=2": _budgets(_TABLE2, 400),
  "figure=2": _budgets(_FIGURE2, 240),
  "figure=3": _budgets(_FIGURE3, 400),
  "table=8": _budgets(_TABLE8, 80, paths),
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables and figures."""
  names = stages.run_names(RUNS[item][name])
  if item == "figure=2":
    return tables.curves(folder, names, {"train/beta": "weight of the KL"})
  if item == "table=8":
    return tables.paths(folder, names)
  found = {cell: measured.read(folder, runs) for cell, runs in names.items()}
  return tables.numbers(found, names, PAPER.published[item], by_dropout=item == "figure=3")


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return tables.summary(numbers, PAPER.published["table=2"])
