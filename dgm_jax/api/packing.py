"""Packs a trained run into one file, and loads it without the run's folder and without its data."""

import json
import os
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dgm_jax.api.exported import export_all
from dgm_jax.api.model_card import card
from dgm_jax.api.packed_file import from_tensors, read_members, to_tensors, write_members
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import errors, files
from dgm_jax.data import stored
from dgm_jax.sweeps import tasks
from dgm_jax.training.build import build
from dgm_jax.training.comparable import about
from dgm_jax.training.experiment import make_init
from dgm_jax.training.restore import config_of_run, restore
from dgm_jax.training.workdir import legacy_configs
from dgm_jax.training.workdir.run_record import versions

SUFFIX = ".dgm"
DTYPES = ("float32", "float16", "bfloat16")
_CALL = re.compile(r"dgm_jax\.\w+\('([^']+)'")  # in Python
_FLAG = re.compile(r"--config=(.+)")  # a word of a command line


def without_optimiser(state: Any) -> Any:
  """The part of a state that evaluation and sampling use; its parameters are the moving averages, if there are any."""
  state = state.averaged().replace(opt_state=())
  return state.replace(averages=None)


def named_leaves(state: Any) -> dict[str, Any]:
  """{"params/encoder/kernel": array} of a state."""
  paths = jax.tree_util.tree_leaves_with_path(state)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def _narrow(array: np.ndarray, dtype: str) -> np.ndarray:
  """float32 in the dtype of storage; other arrays are not changed."""
  return array.astype(jnp.dtype(dtype)) if array.dtype == np.float32 and array.ndim else array


def _config_of(command: str) -> str:
  """The config that a command, or a call in Python, names; "" if it names none."""
  if call := _CALL.match(command):
    return call[1]
  try:
    words = shlex.split(command.replace("--config ", "--config=", 1))
  except ValueError:  # it is no command line
    return ""
  return next((flag[1] for word in words if (flag := _FLAG.fullmatch(word))), "")


def config_name(workdir: pathlib.Path) -> str:
  """NAME[:ARGUMENT] of the config that a run was trained with, from its command or its sweep; "" if neither says it."""
  records = files.read_json(workdir / "run.json") or []
  found = [name for record in records if (name := _config_of(record.get("command", "")))]
  if found:
    return found[-1]
  root = next(iter(workdir.absolute().parents[1:2]), workdir)
  sweep = tasks.read(root) if (root / "sweep.json").exists() else None
  return sweep.config if sweep else ""


def pack(
  workdir: str | os.PathLike[str],
  out: str | os.PathLike[str],
  *,
  dtype: str = "float32",
  export_programs: bool = False,
  k: int = 100,
  checkpoint: str = "latest",
) -> pathlib.Path:
  """Writes one file from which `load` restores a trained run anywhere: without its folder, its data, and pickle.

  Args:
    workdir: the run's folder.
    out: the file, by convention with the suffix .dgm.
    dtype: in which parameters are stored; "float16" and "bfloat16" halve the file and round the parameters.
    export_programs: whether to add sampler, encoder and log p(x) as programs that need no dgm_jax; see api/README.md.
    k: importance samples of the exported log p(x).
    checkpoint: "latest", "best" (by config.keep_best) or a step.

  Returns:
    The path of the file.

  Raises:
    UserError: there is no run or no checkpoint, its data are missing, or the file cannot be written.
  """
  path, workdir = pathlib.Path(out), pathlib.Path(workdir)
  errors.choose("value of dtype", dtype, DTYPES)
  errors.require(k >= 1, f"k = {k}; the number of importance samples must be 1 or more.")
  errors.require(not path.is_dir(), f"{path} is a folder; name a file.")
  found = config_of_run(workdir)
  config = ConfigDict(found)
  experiment, state = restore(config, workdir, checkpoint)
  results = files.read_json(workdir / "results.json") or {}
  if results.get("step") != int(state.step):  # not the results of these parameters
    results = {"step": int(state.step)} | about(config, experiment)
  arrays = {name: _narrow(np.asarray(a), dtype) for name, a in named_leaves(without_optimiser(state)).items()}
  description, statistics = stored.describe(found["data"]["transforms"], experiment.splits)
  records = files.read_json(workdir / "run.json") or [{}]
  model = {
    "config": config_name(workdir),
    "dtype": dtype,
    "trained_with": records[-1].get("versions", {}),
    "packed_with": versions(),
    "data": description,
    "programs": {},
  }
  members = {"model.safetensors": to_tensors(arrays), "statistics.safetensors": b""}
  members["statistics.safetensors"] = to_tensors(statistics)
  if export_programs:
    programs, model["programs"] = export_all(experiment, without_optimiser(state), arrays, k)
    members |= {f"programs/{name}.jax": program for name, program in programs.items()}
  as_json = lambda value: (json.dumps(value, indent=2) + "\n").encode()
  members |= {"config.json": as_json(config.to_dict()), "results.json": as_json(results), "model.json": as_json(model)}
  members["card.md"] = card(config.to_dict(), results, model, arrays).encode()
  write_members(path, members)
  return path


def _filled(template: Any, arrays: Mapping[str, np.ndarray], path: pathlib.Path) -> Any:
  """A state with the shapes of `template` from its named arrays."""
  wanted = named_leaves(template)
  fits = wanted.keys() == arrays.keys() and all(arrays[name].shape == leaf.shape for name, leaf in wanted.items())
  errors.require(
    fits, f"The parameters in {path} do not fit the model of its config: it was packed by another version of dgm_jax."
  )
  leaves = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in wanted.items()]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)


def unpack(path: pathlib.Path) -> LatentModel:
  """The model in a packed file.

  Raises:
    UserError: the file is damaged, or is none.
  """
  members = read_members(path)
  names = ("model.json", "config.json", "results.json", "model.safetensors", "statistics.safetensors")
  missing = [name for name in names if name not in members]
  errors.require(not missing, f"{path} is not a packed model: it has no {missing and missing[0]}.")
  model, given, results = (json.loads(members[name]) for name in names[:3])
  found = legacy_configs.upgraded(given)
  config = ConfigDict(found)
  statistics = from_tensors(members["statistics.safetensors"])
  loaded = stored.stand_in(found["data"]["transforms"], model["data"], statistics)
  experiment = build(config, loaded)
  template = without_optimiser(jax.eval_shape(make_init(experiment, found["seed"])))
  state = _filled(template, from_tensors(members["model.safetensors"]), path)
  no_data: Any = stored.NoData(f"The model in {path}", model["data"]["about"])
  return LatentModel(experiment._replace(splits=no_data), state, config, results, path)
