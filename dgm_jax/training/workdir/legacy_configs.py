"""The config of a run, also of one that an earlier version made."""

import pathlib

from dgm_jax.core.files import read_json
from dgm_jax.training import optimisers

# Options that configs of earlier versions lack, and what was done then.
_SINCE = {"keep_best": "", "early_stopping": 0, "max_minutes": None, "init_from": ""}


_SINCE |= {"sample_devices": 0, "shard_params": False, "dtype": "float32", "remat": False}


_SINCE |= {
  f"optim.{name}": value for name, value in optimisers.Options._field_defaults.items()
}  # if there is an optimiser


_SINCE_LATENT = {"chunk": 0, "temper_steps": 0}  # of config.objective of the principle latent, if it is not empty


def read_config(workdir: pathlib.Path) -> dict | None:
  """config.json, or None if there is none; what a run of an earlier version did not know has the value it had then."""
  config = read_json(workdir / "config.json") if workdir.is_dir() else None
  if isinstance(config, dict):
    unoptimised = config.get("optim") == {}
    for path, value in _SINCE.items():
      *sections, name = path.split(".")
      if unoptimised and sections == ["optim"]:
        continue
      node = config
      for section in sections:
        node = node.setdefault(section, {})
      node.setdefault(name, list(value) if isinstance(value, tuple) else value)  # as JSON has it
    if config.get("principle", "latent") == "latent" and "num_samples" in config.get("objective", {}):
      config["objective"] = _SINCE_LATENT | config["objective"]
  return config
