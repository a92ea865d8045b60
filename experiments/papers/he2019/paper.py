"""He, Spokoyny, Neubig & Berg-Kirkpatrick, "Lagging Inference Networks and Posterior Collapse" (ICLR 2019).

https://arxiv.org/abs/1901.05534
  python -m dgm_jax reproduce he2019 --table=1 --budget=quick
  python -m dgm_jax reproduce he2019 --table=1 --budget=short --manual_dir=FOLDER    # with kjv.txt
  python -m dgm_jax reproduce he2019 --figure=3 --budget=quick

Table 1: NLL, KL, mutual information and active units of VAEs of sentences, with aggressive updates and without.
Figure 3: the means of q(z|x) against those of the posterior p(z|x) during training, on simulated sentences.
"""

import pathlib
from typing import Any

from dgm_jax.configs import sentence_vae_text
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.harness.tables import cell as cell_of
from dgm_jax.experiments.harness.tables import table
from dgm_jax.experiments.papers.bowman2016 import tables
from dgm_jax.experiments.papers.he2019 import trajectories
from dgm_jax.sweeps import axes

PAPER = Paper(
  authors="He, Spokoyny, Neubig & Berg-Kirkpatrick",
  title="Lagging Inference Networks and Posterior Collapse in Variational Autoencoders",
  venue="ICLR 2019",
  url="https://arxiv.org/abs/1901.05534",
  items={
    "table=1": "NLL, KL, mutual information and active units of VAEs of sentences",
    "figure=3": "Means of q(z|x) against those of p(z|x) during training, simulated sentences",
  },
  published={
    "table=1": {
      "lm": Value(328.1, "Yahoo"),
      "plain": Value(328.8, "KL 0, MI 0, Yahoo"),
      "annealed": Value(328.6, "KL 0, MI 0, Yahoo"),
      "aggressive": Value(328.0, "KL 5.4, MI 3.0, Yahoo"),
      "aggressive, annealed": Value(326.6, "KL 6.7, MI 3.2, Yahoo"),
    },
    "figure=3": {},
  },
  notes={
    "table=1": (
      "Published: answers of Yahoo, z of 32 dimensions, LSTMs of 1,024 units, dropout 0.5, SGD at a rate of 1 that "
      "is halved, batches of 32, NLL by 500 importance samples; the weight of the KL rises from 0.1 to 1 in 10 epochs. "
      "Hours, as multiples of the plain VAE: 2.20.",
      "Ours: other sentences, LSTMs of 256 units, dropout 0.3 and Adam at a rate of 0.001; encoder and decoder have "
      "an optimiser each, with their own clipping. All runs have the same number of updates of the decoder, and the "
      "weight of the KL rises with these; steps of the aggressive runs also count the updates of the encoder alone.",
      "No word dropout. The mutual information is an estimate: exact in q(z) over the test set, with one z for each "
      "sentence.",
    ),
    "figure=3": (
      "Published: simulated sentences with one dimension of z, a figure. Its set and code are not public: ours is "
      "another set of the same kind. The posterior means are integrals on a grid.",
    ),
  },
)

_INCOMPARABLE = "not comparable with the published numbers."
_CONFIG = "configs/sentence_vae_text.py"
_LINEAR = {"objective.beta_steps": 5000, "objective.beta_start": 0.1}
_CELLS = {
  "lm": {"arg.method": "lm"},
  "plain": {"arg.method": "plain"},
  "annealed": {"arg.method": "plain"} | _LINEAR,
  "aggressive": {"arg.method": "aggressive"},
  "aggressive, annealed": {"arg.method": "aggressive"} | _LINEAR,
}


def _cells(seeds: int, steps: int, anneal: int) -> dict[str, list[axes.Overrides]]:
  """Runs of `steps` updates of the decoder, in the first `anneal` of which the weight of the KL rises."""
  made = {}
  for cell, overrides in _CELLS.items():
    length = {"num_steps": steps}
    if "aggressive" in cell:
      length = {"num_steps": sentence_vae_text.MOST_STEPS * steps, "objective.decoder_updates": steps}
    own = overrides | ({"objective.beta_steps": anneal} if "objective.beta_steps" in overrides else {})
    made[cell] = [own | length | {"seed": seed} for seed in range(seeds)]
  return made


RUNS = {
  "table=1": {
    "quick": Budget(
      "simulated sentences (10,000 for training, 20 words, at most 9 of them), 3,000 updates of the decoder with "
      "batches of 64, one seed",
      minutes=15,
      config=f"{_CONFIG}:quick",
      cells=_cells(1, 3000, 1500),
      caveat=f"Simulated sentences, of which z explains much: {_INCOMPARABLE}",
    ),
    "short": Budget(
      "verses of the King James Bible, 10,000 updates of the decoder with batches of 32, one seed",
      minutes=1200,
      config=f"{_CONFIG}:data=kjv",
      cells=_cells(1, 10_000, 6000),
      caveat=f"Another text: {_INCOMPARABLE}",
    ),
    "test": Budget(
      "simulated sentences, 40 steps, one seed: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      cells=_cells(1, 40, 20),
    ),
  },
  "figure=3": {
    "quick": Budget(
      "simulated sentences with z of one dimension, 200 of them shown, 3,000 updates of the decoder at most",
      minutes=10,
      compute=lambda folder: trajectories.compute(folder, steps=3000, every=250, shown=200),
    ),
    "test": Budget(
      "simulated sentences with z of one dimension, 20 steps: for tests",
      minutes=0.5,
      compute=lambda folder: trajectories.compute(folder, steps=20, every=10, shown=8, test=True),
    ),
  },
}


_ENDS = (("minutes", ".1f"), ("decoder_updates", ",.0f"), ("beta", ".2f"))


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables and figures."""
  if item == "figure=3":
    return trajectories.report(folder)
  names = stages.run_names(RUNS[item][name])
  found = {cell: measured.read(folder, runs) for cell, runs in names.items()}
  made = tables.numbers(found, names, PAPER.published[item])
  more = {"train/mutual_information": "mutual information", "train/aggressive": "the aggressive phase"}
  drawn = tables.curves(folder, names, more)
  rows = []
  for cell, runs in names.items():
    if found[cell]:
      ends = {name: tables.last(folder, runs, f"train/{name}") for name in ("decoder_updates", "beta")}
      ends = {"minutes": tables.minutes(folder, runs)} | {name: v for name, v in ends.items() if v is not None}
      made["numbers"]["cells"][cell] |= ends
      texts = [f"{ends[name]:{form}}" if name in ends else "" for name, form in _ENDS]
      rows.append([cell_of(cell), *map(cell_of, texts)])
  columns = ["", "minutes of training steps", "updates of the decoder, if not all", "last weight of the KL, if not 1"]
  made["tables"].append(table("Length of the runs", columns, rows))
  return made | {"figures": drawn["figures"]}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if "lag" in numbers:
    return trajectories.summary(numbers)
  return tables.summary(numbers, PAPER.published["table=1"])
