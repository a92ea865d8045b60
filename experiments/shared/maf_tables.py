"""The five tables of Papamakarios et al. (2017) as cells: what papers print of nets on each, and our runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.sweeps import axes

CONFIG = "configs/flow_uci.py"
SETS = ("power", "gas", "hepmass", "miniboone", "bsds300")
_SIZES = "the published sets, preprocessing and splits"


def published(rows: Mapping[str, Sequence[float]]) -> dict[str, Value]:
  """{"maf-5-power": NLL} from {net: log-likelihoods on SETS}."""
  return {f"{net}-{name}": Value(-value) for net, row in rows.items() for name, value in zip(SETS, row, strict=True)}


def label(nets: Mapping[str, str], cell: str) -> str:
  """maf-5-power -> MAF (5), POWER."""
  net, _, name = cell.rpartition("-")
  return f"{nets[net]}, {name.upper()}"


def _cells(nets: Mapping[str, axes.Overrides], data: Mapping[str, axes.Overrides]) -> dict[str, list[axes.Overrides]]:
  return {
    f"{net}-{name}": [{**of_net, **of_set, "seed": 0}] for net, of_net in nets.items() for name, of_set in data.items()
  }


def budgets(nets: Mapping[str, axes.Overrides], days: float, recipe: str, **options: Any) -> dict[str, Budget]:
  """Budgets `paper`, all nets on all sets, and `test`.

  Args:
    nets: {net: overrides of flow_uci}.
    days: estimated, of two cores.
    recipe: of the training, in words.
    options: of `paper`, such as full.
  """
  best = {"keep_best": "valid/log_px", "keep_checkpoints": 1}
  common = {"config": CONFIG, "measure": exact_tables.measure}
  sets = {name: {"arg.data": f"maf/{name}"} for name in SETS}
  return {
    "paper": Budget(
      f"{_SIZES}, one seed, {recipe}", 1440 * days, cells=_cells(nets, sets), common=best, **common, **options
    ),
    "test": Budget(
      "grey levels of mnist5k, 40 steps of small networks: for tests",
      1,
      cells=_cells(nets, {"miniboone": {}}),
      common=best,
      **(common | {"config": f"{CONFIG}:test"}),
    ),
  }
