"""The tables of Burda et al. (2016): published numbers, the runs of each, and the orders that the paper claims."""

from typing import Any

from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared.nll_tables import Claims
from dgm_jax.sweeps import axes

IWAE = "configs/iwae_mnist.py"
_SYSTEMS = {"vae-1": (1, "elbo"), "vae-5": (5, "elbo"), "vae-50": (50, "elbo")}
_SYSTEMS |= {"iwae-5": (5, "iwae"), "iwae-50": (50, "iwae")}
_THEN = {"vae-1": "iwae-50", "iwae-50": "vae-1"}  # table 2: {first stage: second stage}

PUBLISHED = {
  "table=1": {
    "vae-1": Value(86.76, "19"),
    "vae-5": Value(86.47, "20"),
    "vae-50": Value(86.35, "20"),
    "iwae-5": Value(85.54, "22"),
    "iwae-50": Value(84.78, "25"),
    "vae-1-2layers": Value(85.33, "16+5"),
    "vae-5-2layers": Value(85.01, "17+5"),
    "vae-50-2layers": Value(84.78, "17+5"),
    "iwae-5-2layers": Value(83.89, "21+5"),
    "iwae-50-2layers": Value(82.90, "26+7"),
  },
  "table=1-omniglot": {
    "vae-1": Value(108.11, "28"),
    "vae-5": Value(107.62, "28"),
    "vae-50": Value(107.80, "28"),
    "iwae-5": Value(106.12, "34"),
    "iwae-50": Value(104.67, "41"),
    "vae-1-2layers": Value(107.58, "28+4"),
    "vae-5-2layers": Value(106.31, "30+5"),
    "vae-50-2layers": Value(106.30, "30+5"),
    "iwae-5-2layers": Value(104.79, "38+6"),
    "iwae-50-2layers": Value(103.38, "44+7"),
  },
  "table=2": {
    "vae-1": Value(86.76, "19"),
    "iwae-50": Value(84.78, "25"),
    "vae-1-then-iwae-50": Value(84.88, "22"),
    "iwae-50-then-vae-1": Value(86.02, "23"),
  },
  "table=3": {
    "vae-1": Value(88.71, "19"),
    "vae-5": Value(88.83, "19"),
    "vae-50": Value(89.05, "20"),
    "iwae-5": Value(87.63, "22"),
    "iwae-50": Value(87.10, "24"),
    "vae-1-2layers": Value(88.08, "16+5"),
    "vae-5-2layers": Value(87.63, "17+5"),
    "vae-50-2layers": Value(87.86, "17+6"),
    "iwae-5-2layers": Value(86.17, "21+5"),
    "iwae-50-2layers": Value(85.32, "24+7"),
  },
}


def label(cell: str) -> str:
  """vae-5-2layers -> VAE k = 5, 2 layers; vae-1-then-iwae-50 -> VAE k = 1 → IWAE k = 50."""
  first, _, second = cell.partition("-then-")
  name, k, *more = first.split("-")
  return f"{name.upper()} k = {k}" + (", 2 layers" if more else "") + (f" → {label(second)}" if second else "")


_ORDERS = [("iwae-50", "iwae-5", "vae-1")]
_PAIRS = [("iwae-50", "vae-1"), ("iwae-5", "vae-5"), ("iwae-50", "vae-50")]
_BOTH = {
  "orders": [tuple(c + more for c in order) for more in ("", "-2layers") for order in _ORDERS],
  "pairs": [(a + more, b + more) for more in ("", "-2layers") for a, b in _PAIRS],
}
_SWITCHED = {"orders": [("vae-1-then-iwae-50", "vae-1"), ("iwae-50", "iwae-50-then-vae-1")]}
CLAIMS = {
  item: Claims(published, label, **(_SWITCHED if item == "table=2" else _BOTH)) for item, published in PUBLISHED.items()
}


def system(cell: str) -> dict[str, Any]:
  """The overrides of a system such as vae-5 or iwae-50."""
  k, bound = _SYSTEMS[cell]
  return {"arg.k": k, "objective.bound": bound}


def make_cells(seeds: int, names: tuple[str, ...] = tuple(_SYSTEMS), **more: Any) -> dict[str, list[axes.Overrides]]:
  """{cell: overrides of its runs}, with `more` in all of them."""
  return {name: [{**system(name), **more, "seed": seed} for seed in range(seeds)] for name in names}


def _two_depths(seeds: int) -> dict[str, list[axes.Overrides]]:
  """All cells with one and with two stochastic layers."""
  two = make_cells(seeds, **{"arg.layers": 2}).items()
  return make_cells(seeds, **{"arg.layers": 1}) | {f"{name}-2layers": runs for name, runs in two}


def _switched(seeds: int, length: dict[str, int]) -> dict[str, list[axes.Overrides]]:
  """Each system of table 2, continued with the other's objective at a constant rate of 1e-4."""
  rate = {"arg.constant": True, "optim.lr": 1e-4}
  return {
    f"{first}-then-{second}": [
      {**system(second), **rate, **length, "init_from": first, "seed": seed} for seed in range(seeds)
    ]
    for first, second in _THEN.items()
  }


_QUICK = {"batch_size": 20, "figures_every": 1000, "eval_every": 1000, "evaluate.importance_sampling.num_samples": 1000}
_SHORT = {"num_steps": 12_000, "evaluate.importance_sampling.num_samples": 1000}
_MNIST5K = "mnist5k (4,000 training, 500 test images)"
_TEST = "mnist5k, 40 steps of a small network, two seeds, NLL by 20 samples: for tests"

_TABLE_1 = {
  "quick": Budget(
    f"{_MNIST5K}, one layer, three seeds, 37 epochs of batch 20, NLL by 5000 samples",
    minutes=12,
    config=f"{IWAE}:quick",
    common={"batch_size": 20, "num_steps": 7500, "figures_every": 7500},
    cells=make_cells(3),
  ),
  "short": Budget(
    "MNIST (60,000, 10,000), one layer, three seeds, 20 epochs of batch 100, NLL by 1000 samples",
    minutes=100,
    same_data=True,
    config=f"{IWAE}:quick,data=mnist",
    common=_SHORT,
    cells=make_cells(3),
  ),
  "paper": Budget(
    "MNIST (60,000, 10,000), one and two layers, three seeds, 3,280 epochs of batch 20, NLL by 5000 samples",
    minutes=30 * 1440,
    full=True,
    config=IWAE,
    cells=_two_depths(3),
  ),
  "test": Budget(_TEST, minutes=2, config=f"{IWAE}:test", cells=make_cells(2)),
}

_OMNIGLOT = {
  "quick": Budget(
    "omniglot_resized/small (2,720 training, 2,120 test images), one layer, k = 1 and 5, "
    "three seeds, 22 epochs of batch 20, NLL by 1000 samples",
    minutes=4,
    caveat="This is another version of the data, so its numbers are not comparable with the published ones.",
    config=f"{IWAE}:quick,data=omniglot_resized/small",
    common=_QUICK | {"num_steps": 3000},
    cells=make_cells(3, ("vae-1", "vae-5", "iwae-5")),
  ),
  "short": Budget(
    "OMNIGLOT (24,345, 8,070), one layer, three seeds, 49 epochs of batch 100, NLL by 1000 samples",
    minutes=100,
    same_data=True,
    config=f"{IWAE}:quick,data=omniglot",
    common=_SHORT,
    cells=make_cells(3),
  ),
  "paper": Budget(
    "OMNIGLOT (24,345, 8,070), one and two layers, three seeds, 3,280 epochs of batch 20, NLL by 5000 samples",
    minutes=13 * 1440,
    full=True,
    config=f"{IWAE}:data=omniglot",
    cells=_two_depths(3),
  ),
}

_TABLE_2 = {
  "quick": Budget(
    f"{_MNIST5K}, three seeds, 15 epochs of batch 20, then 10 under the other objective at rate 1e-4, NLL by 1000 "
    "samples",
    minutes=6,
    config=f"{IWAE}:quick",
    common=_QUICK,
    cells=make_cells(3, tuple(_THEN), num_steps=3000),
    after=_switched(3, {"num_steps": 2000}),
  ),
  "short": Budget(
    "MNIST (60,000, 10,000), three seeds, 20 epochs of batch 100, then 13 under the other objective at rate 1e-4, NLL "
    "by 1000 samples",
    minutes=90,
    same_data=True,
    config=f"{IWAE}:quick,data=mnist",
    common={"evaluate.importance_sampling.num_samples": 1000},
    cells=make_cells(3, tuple(_THEN), num_steps=12_000),
    after=_switched(3, {"num_steps": 8000}),
  ),
  "paper": Budget(
    "MNIST (60,000, 10,000), three seeds, 3,280 epochs of batch 20, then 2,187 under the other objective at rate 1e-4, "
    "NLL by 5000 samples",
    minutes=25 * 1440,
    full=True,
    config=IWAE,
    cells=make_cells(3, tuple(_THEN)),
    after=_switched(3, {"num_epochs": 3**7}),
  ),
  "test": Budget(
    _TEST,
    minutes=1,
    config=f"{IWAE}:test",
    cells=make_cells(2, tuple(_THEN)),
    after=_switched(2, {"num_steps": 20}),
  ),
}

_TABLE_3 = {
  "quick": Budget(
    f"{_MNIST5K} binarised once, one layer, k = 1 and 5, three seeds, 37 epochs of batch 20, NLL by 1000 samples",
    minutes=4,
    config=f"{IWAE}:quick",
    common=_QUICK | {"num_steps": 7500, "data.transforms": ("binarize:static",)},
    cells=make_cells(3, ("vae-1", "vae-5", "iwae-5")),
  ),
  "short": Budget(
    "static MNIST (50,000, 10,000), one layer, three seeds, 24 epochs of batch 100, NLL by 1000 samples",
    minutes=100,
    same_data=True,
    config=f"{IWAE}:quick,data=binarized_mnist",
    common=_SHORT,
    cells=make_cells(3),
  ),
  "paper": Budget(
    "static MNIST (50,000, 10,000), one and two layers, three seeds, 3,280 epochs of batch 20, NLL by 5000 samples",
    minutes=25 * 1440,
    full=True,
    config=f"{IWAE}:data=binarized_mnist",
    cells=_two_depths(3),
  ),
}

RUNS = {"table=1": _TABLE_1, "table=2": _TABLE_2, "table=3": _TABLE_3, "table=1-omniglot": _OMNIGLOT}
