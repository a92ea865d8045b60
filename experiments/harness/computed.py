"""Budgets without the training loop: arrays are computed and saved in pieces, so that a computation can be resumed."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.training.workdir import run_record
from dgm_jax.training.workdir.folder import create
from dgm_jax.training.workdir.lock import locked


def read(folder: pathlib.Path, name: str) -> dict[str, np.ndarray] | None:
  """The arrays that `write` saved under a name in a budget's folder; None if they are missing."""
  path = folder / "runs" / "computed" / f"{name}.npz"
  return files.load_arrays(path) if path.exists() else None


def write(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  seed: int,
  step: int,
  made: Mapping[str, Callable[[], dict[str, Any]]],
  what: str = "draws",
) -> None:
  """Computes and writes the missing pieces of `made`, {name: () -> arrays}, one file each; results.json marks the end.

  Raises:
    UserError: the folder holds results of another config; `what` names them.
  """
  old = files.read_json(folder / "config.json") if folder.is_dir() else None
  errors.require(
    old in (None, json.loads(json.dumps(config))), f"{folder} holds {what} computed with other settings: {old}."
  )
  if (folder / "results.json").exists():
    return
  create(folder, config)
  with locked(folder):
    record = run_record.RunRecord(folder, seed, 0)
    with record.timed("total"):
      for name, make in made.items():
        if not (folder / f"{name}.npz").exists():
          with record.timed(name):
            files.save_arrays(folder / f"{name}.npz", **make())
          print(f"  {name}", flush=True)
    record.finish()
    files.write_json(folder / "results.json", {"seed": seed, "step": step})
