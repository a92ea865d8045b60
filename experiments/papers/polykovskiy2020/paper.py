"""Polykovskiy et al., "Molecular Sets (MOSES)" (Frontiers in Pharmacology, 2020): rows of its table of models.

https://arxiv.org/abs/1811.12823
  python -m dgm_jax reproduce polykovskiy2020 --table=2 --budget=short --manual_dir=FOLDER    # with the files of moses
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.sweeps import axes

_METRICS = {  # in results.json: (title, digits)
  "molecules_complete": ("complete", 4),
  "molecules_valid": ("valid", 4),
  "molecules_unique@1000": ("unique@1000", 4),
  "molecules_unique@10000": ("unique@10000", 4),
  "molecules_novel": ("novel", 4),
  "molecules_filters": ("filters", 4),
  "molecules_snn": ("SNN", 4),
  "molecules_fragments": ("Frag", 4),
  "molecules_scaffolds": ("Scaf", 4),
  "molecules_internal_diversity_1": ("IntDiv", 4),
  "molecules_internal_diversity_2": ("IntDiv2", 4),
  "molecules_fcd": ("FCD", 3),
  "molecules_fcd_of_train": ("FCD of training molecules", 3),
  "molecules_logP": ("logP", 3),
  "molecules_QED": ("QED", 4),
  "molecules_SA": ("SA", 3),
  "molecules_weight": ("weight", 2),
  "nll": ("NLL, nats", 2),
  "collapse_rate": ("KL", 2),
  "active_units": ("active units", 0),
  "strings_greedy": ("greedy reconstruction", 3),
}
_PUBLISHED = {
  "VAE of MOSES": Value(0.9767, "FCD .099"),
  "CharRNN": Value(0.9748, "FCD .073"),
  "AAE": Value(0.9368, "FCD .556"),
  "JTN-VAE": Value(1.0, "FCD .395"),
  "LatentGAN": Value(0.8966, "FCD .297"),
  "NGram": Value(0.2376),
  "HMM": Value(0.076),
}
PAPER = Paper(
  authors="Polykovskiy, Zhebrak, Sanchez-Lengeling, et al.",
  title="Molecular Sets (MOSES): A Benchmarking Platform for Molecular Generation Models",
  venue="Frontiers in Pharmacology 2020",
  url="https://arxiv.org/abs/1811.12823",
  items={"table=2": "Molecules drawn by VAEs of SELFIES, derivations and characters, by the measures of MOSES"},
  published={"table=2": _PUBLISHED},
  notes={
    "table=2": (
      "Published: 1,584,663 training molecules and 30,000 draws.  Ours: 100,000 and 10,000, against 10,000 test "
      "molecules; FCD, Frag and Scaf depend on these numbers, so that FCD stands beside that of training molecules.",
      "The posterior of the VAE of MOSES collapsed, as its authors say: its draws are those of a character RNN.  KL "
      "and active units stand beside ours.",
      "log p is of a sequence: the three tokenisations write the same molecules, of which a SMILES can be written in "
      "other ways, too.",
    )
  },
)

_CONFIG = "configs/selfies_vae_moses.py"
_CELLS = {
  name: {"arg.tokens": tokens}
  for name, tokens in (("SELFIES", "selfies"), ("grammar", "rule"), ("characters", "character"))
}
_OF_EQUATIONS = {"grammar": {"arg.tokens": "rule"}, "characters": {"arg.tokens": "character"}}


def _cells(of: dict[str, dict], seeds: int) -> dict[str, list[axes.Overrides]]:
  return {cell: [overrides | {"seed": seed} for seed in range(seeds)] for cell, overrides in of.items()}


RUNS = {
  "table=2": {
    "quick": Budget(
      "5,000 molecules, small networks, 1,500 steps, one seed", 30, config=f"{_CONFIG}:quick", cells=_cells(_CELLS, 1)
    ),
    "short": Budget("100,000 molecules, one seed", 400, config=_CONFIG, cells=_cells(_CELLS, 1)),
    "paper": Budget(
      "1,584,663 molecules, five times the steps, three seeds, 30,000 draws",
      6000,
      full=True,
      config=f"{_CONFIG}:size=0",
      common={"num_steps": 100_000, "evaluate.molecules.num_samples": 30_000},
      cells=_cells(_CELLS, 3),
    ),
    "test": Budget(
      "300 equations, 40 steps, one seed: for tests", 1, config=f"{_CONFIG}:test", cells=_cells(_OF_EQUATIONS, 1)
    ),
  }
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers and a table, a line for each measure."""
  names, cells = stages.run_names(RUNS[item][name]), {}
  for cell, runs in names.items():
    if found := measured.of_seeds(measured.read(folder, runs), _METRICS):
      cells[cell] = found
  rows = []
  for metric, (title, digits) in _METRICS.items():
    if any(metric in found for found in cells.values()):
      text = lambda v, digits=digits: tables.plus_minus(v["mean"], v["stderr"], digits=digits)
      each = [tables.cell(text(v[metric]) if metric in v else "", names[cell]) for cell, v in cells.items()]
      rows.append([tables.cell(title), *each])
  old = [
    [tables.cell(model), tables.published(f"{v.value:g}"), tables.published(v.more)] for model, v in _PUBLISHED.items()
  ]
  made = [
    tables.table("Molecules drawn", ["", *cells], rows),
    tables.table("Published", ["model", "valid", ""], old),
  ]
  means = {cell: {m: v["mean"] for m, v in found.items()} for cell, found in cells.items()}
  return {"numbers": {"cells": means}, "tables": made, "figures": [], "sentences": []}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  shown = lambda v: f"valid {v['molecules_valid']:.3f}" if "molecules_valid" in v else f"NLL {v['nll']:.2f}"
  ours = ", ".join(f"{cell} {shown(v)}" for cell, v in numbers["cells"].items())
  return {"system": "VAE of molecules", "data": "MOSES, see budget", "published": "VAE valid .977", "ours": ours}
