"""Zhang, Isola & Efros, "Colorful Image Colorization" (ECCV 2016).

https://arxiv.org/abs/1603.08511
  python -m dgm_jax reproduce zhang2016 --table=1 --budget=quick --manual_dir=FOLDER

Table 1: the area under the curve of errors in (a, b), plain and rebalanced, for L2, for classification over bins, and
for that with rebalanced weights.
"""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import colours

_COLUMNS = ("auc", "auc_rebalanced", "mae", "colourfulness", "frechet")
_LABELS = {"l2": "L2", "class": "bins", "full": "bins, rebalanced"}
_PUBLISHED = {  # on 10,000 images of ImageNet
  "grey": (89.1, 58.0),
  "another": (84.2, 57.3),
  "l2": (91.2, 64.4),
  "class": (91.6, 65.1),
  "full": (89.5, 67.3),
}

PAPER = Paper(
  authors="Zhang, Isola & Efros",
  title="Colorful Image Colorization",
  venue="ECCV 2016",
  url="https://arxiv.org/abs/1603.08511",
  items={"table=1": "Area under the curve of errors in (a, b), for L2 and for bins, plain and rebalanced"},
  published={
    "table=1": {
      f"{cell} {name}": Value(value, verified=False)
      for cell, values in _PUBLISHED.items()
      for name, value in zip(("auc", "auc_rebalanced"), values, strict=True)
    }
  },
  notes={
    "table=1": (
      "Published: 10,000 validation images of ImageNet, networks trained on 1.3 million, 313 bins; the numbers are not "
      "verified. Ours are of CIFAR-10 and compare with none of them: what can be compared is the order, and that a "
      "grey picture is near to all.",
      "Ours: 261 bins that hold colours of sRGB, soft targets over all bins, weights with lambda = 1/2 (rebalanced) or "
      "1, annealed mean with T = 0.38.",
    ),
  },
)

_CONFIG = "configs/colouriser.py"
_measure = functools.partial(measured.of_runs, measure=colours.measure)
_CAVEAT = "Other images and smaller networks: its numbers are not comparable with the published ones."


def _cells(seeds: int) -> dict[str, list[dict[str, Any]]]:
  kinds = {
    "l2": {"arg.loss": "l2"},
    "class": {"arg.loss": "bins", "model.args.rebalance": 1.0},
    "full": {"arg.loss": "bins", "model.args.rebalance": 0.5},
  }
  return {cell: [{**kind, "seed": seed} for seed in range(seeds)] for cell, kind in kinds.items()}


def _budget(what: str, minutes: float, config: str, seeds: int) -> Budget:
  return Budget(what, minutes=minutes, caveat=_CAVEAT, config=config, cells=_cells(seeds), measure=_measure)


RUNS = {
  "table=1": {
    "quick": _budget("cifar10/small (3,500 images), a quarter of the channels, 8 epochs, one seed", 20, _CONFIG, 1),
    "short": _budget("cifar10/small (3,500 images), a quarter of the channels, 8 epochs, three seeds", 60, _CONFIG, 3),
    "test": _budget("noise, 40 steps of tiny networks, one seed: for tests", 1, f"{_CONFIG}:test", 1),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  return colours.report(RUNS[item][name], PAPER.published[item], _LABELS, _COLUMNS, folder)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  published = "; ".join(f"{cell} {a:g}, {b:g}" for cell, (a, b) in _PUBLISHED.items())
  return {
    "system": "colours for grey photographs: AuC, rebalanced AuC, colourfulness",
    "data": "CIFAR-10 (published: ImageNet)",
    "published": f"{published} (unverified)",
    "ours": colours.ours(numbers, _LABELS, ("auc", "auc_rebalanced", "colourfulness")),
  }
