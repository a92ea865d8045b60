"""Single imputation of UCI tables, half of whose entries are missing completely at random: table 2.

MIWAE has K = 20, MVAE K = 1.  A seed is a mask: all models and methods have the same entries hidden for a given seed.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dgm_jax.core import config_args
from dgm_jax.experiments.harness import computed
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared import data_lanes, error_tables, masked_tables

TITLE = "Mean squared error of imputed entries of UCI tables, half of them missing completely at random"
NOTES = (
  "Published: five masks, standard deviations in parentheses where they were read; the published missForest, PCA, kNN "
  "and mean are other implementations, and the kind of PCA was not read in the source.",
  "Settings of the authors' notebook with the paper's tanh: two layers of 128, floor(D / 2) latent dimensions, "
  "Student-t for p(x|z) and q(z|x), a learned constant for what is missing, Adam with 1e-3, batch 64, 2,002 epochs, "
  "imputation with 10,000 samples. Their initialisation is orthogonal, ours is Glorot's.",
  "Columns are standardised with all entries before any are hidden; the wine tables do not contain the quality.",
  "GAIN (Yoon et al., 2018) is not run; its published RMSE, 0.0546 for breast (unverified), is for 20 % missing and "
  "columns scaled to [0, 1].",
  "Each mask has its own model, whose seed is the mask's number: ± is over masks and includes the effect of "
  "initialisation and batches.",
  masked_tables.NOTE,
)
_CONFIG = "configs/miwae_uci.py"
_DATA = ("banknote", "breast", "concrete", "red", "white", "yeast")
_SAMPLES = {"miwae": 20, "mvae": 1}
_PUBLISHED = {
  "miwae": (0.446, 0.280, 0.501, 0.643, 0.735, 0.964),
  "mvae": (0.593, 0.318, 0.587, 0.686, 0.782, 0.997),
  "forest": (0.676, 0.291, 0.510, 0.697, 0.798, 1.41),
  "ppca": (0.682, 0.729, 0.938, 0.890, 0.865, 1.05),
  "knn": (0.744, 0.831, 0.962, 0.981, 0.929, 1.17),
  "mean": (1.02, 1.00, 1.01, 1.00, 1.00, 1.06),
}
_DEVIATIONS = dict(zip(_DATA, (0.038, 0.021, 0.040, 0.026, 0.033, 0.057), strict=True))  # of MIWAE
PUBLISHED = {
  f"{data}-{row}": Value(value, f"({_DEVIATIONS[data]:.3f})" if row == "miwae" else "", verified=False)
  for row, values in _PUBLISHED.items()
  for data, value in zip(_DATA, values, strict=True)
}
_CLAIMS = error_tables.Claims(
  error="MSE",
  over="masks",
  published=PUBLISHED,
  labels={"miwae": "MIWAE", "mvae": "MVAE"} | masked_tables.LABELS,
  pairs=(("miwae", "forest"), ("miwae", "mvae"), ("miwae", "ppca"), ("miwae", "mean")),
  digits=3,
)


class Setting(NamedTuple):
  """What a budget computes.

  Attributes:
    words: arguments of the config.
    data: tables.
    masks: number of masks; each has its index as the seed.
    methods: other methods.
  """

  words: str
  data: tuple[str, ...] = _DATA
  masks: int = 5
  methods: tuple[str, ...] = tuple(masked_tables.LABELS)


def configs(setting: Setting, data: str, row: str) -> list[ConfigDict]:
  """The config of each mask; other methods use that of any model, for its table."""
  common = f"data={data},k={_SAMPLES.get(row, 1)}{',' if setting.words else ''}{setting.words}"
  return [config_args.load(f"{_CONFIG}:{common},mask={i}") for i in range(setting.masks)]


def _piece(setting: Setting, data: str, row: str) -> dict[str, np.ndarray]:
  """Errors "mse" [S] of the masks."""
  of = configs(setting, data, row)
  if row in _SAMPLES:
    return data_lanes.imputation_errors(of, range(setting.masks))
  filled = lambda table: masked_tables.squared_error(table, masked_tables.fill(table, row))
  return {"mse": np.stack([filled(masked_tables.read(config)) for config in of])}


def _compute(setting: Setting, folder: pathlib.Path) -> None:
  rows = (*_SAMPLES, *setting.methods)
  made = {f"{d}-{row}": functools.partial(_piece, setting, d, row) for d in setting.data for row in rows}
  config = {f"{d}-{row}": configs(setting, d, row)[0].to_dict() for d in setting.data for row in _SAMPLES}
  config |= {"methods": list(setting.methods), "masks": setting.masks}
  computed.write(folder, config, 0, 0, made, "errors")


_SETTINGS = {  # what, minutes, setting
  "quick": ("5,000 updates of batch 64, imputed with 1,000 samples", 15, Setting("quick")),
  "paper": ("2,002 epochs of batch 64, imputed with 10,000 samples", 200, Setting("")),
  "short": (
    "2,002 epochs of batch 64, imputed with 10,000 samples",
    60,
    Setting("", ("banknote", "breast", "concrete", "yeast")),
  ),
  "test": (
    "mnist5k's grey levels as a table, 40 steps of a small network: for tests",
    1,
    Setting("test", ("white",), 2, ("mean",)),
  ),
}
BUDGETS = {
  name: Budget(
    f"{', '.join(setting.data)}, {setting.masks} masks; {what}",
    minutes,
    full=name in ("short", "paper"),
    same_data=name != "test",
    compute=functools.partial(_compute, setting),
  )
  for name, (what, minutes, setting) in _SETTINGS.items()
}


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Errors of the finished pieces, and their differences paired by mask."""
  setting = _SETTINGS[name][-1]
  values: dict[str, dict] = {data: {} for data in setting.data}
  for data in setting.data:
    for row in (*_SAMPLES, *setting.methods):
      if (found := computed.read(folder, f"{data}-{row}")) is not None:
        values[data][row] = error_tables.by_seed(found["mse"])
  names = {f"{data}-{row}": ["computed"] for data in setting.data for row in values[data]}
  return error_tables.report(_CLAIMS, values, names, ())  # no published number is verified


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  rows = ("miwae", "forest")
  return error_tables.summary(_CLAIMS, numbers, "MIWAE, MSE of entries missing completely at random", rows)
