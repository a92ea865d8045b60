"""The config of a run, also of a run made by an earlier version or moved from another place."""

import pathlib
from typing import Any

from dgm_jax.core import records, renamed
from dgm_jax.evaluate.sample_features.measure import Options
from dgm_jax.training import optimisers
from dgm_jax.training.workdir import recovery

# Options that configs of earlier versions lack, with the values that those versions used.
_ADDED = {"keep_best": "", "early_stopping": 0, "max_minutes": None, "init_from": ""}
_ADDED |= {"sample_devices": 0, "shard_params": False, "dtype": "float32", "remat": False}
_ADDED |= {"figure_formats": ["png"], "loggers": ["tensorboard"], "grace_seconds": 30.0, "track": {}}
_ADDED_OPTIM = optimisers.Options._field_defaults  # of config.optim, where there is an optimiser
# of config.data, for the data set `array`
_ADDED_ARRAY = {"target": None, "columns": None, "missing": None, "separator": None, "decimal": ".", "header": None}
_ADDED_SAMPLES = Options._field_defaults  # of evaluate.samples
_ADDED_LATENT = {"chunk": 0, "temper_steps": 0}  # of config.objective, for the principle latent
# of config.objective, for the principle adversarial
_ADDED_GAMES = {
  "augment": "none", "augment_strength": 1.0, "ada_target": 0.0, "ada_span": 500_000.0, "orthogonal": 0.0,
  "norm_statistics": "moving", "standing_batches": 16, "standing_size": 64, "log_sigmas": False,
}  # fmt: skip

OWN_DATA = "data.npz"  # arrays that a run, or a sweep, was given from Python
PREPARED = "dgm_arrays"  # folder of their splits


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
  """A config of an earlier version under today's names, with the values that it left out."""
  config = renamed.upgraded(config)
  for name, value in _ADDED.items():
    config.setdefault(name, value)
  if config.get("optim") != {}:
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in _ADDED_OPTIM.items()}
    config["optim"] = config.get("optim", {}) | {k: v for k, v in as_json.items() if k not in config.get("optim", {})}
  if "discriminator" in config.get("optim", {}):
    own = dict.fromkeys(optimisers.OWN_OF_PLAYERS)
    config["optim"]["discriminator"] = own | config["optim"]["discriminator"]
  for section in ("evaluate", "track"):  # the former against the test set unless said otherwise
    if "samples" in config.get(section, {}):
      defaults = {k: list(v) if isinstance(v, tuple) else v for k, v in _ADDED_SAMPLES.items()}
      left_out = {k: v for k, v in defaults.items() if section == "evaluate" or k != "against"}
      config[section] = config[section] | {"samples": left_out | config[section]["samples"]}
  if config.get("principle", "latent") == "latent" and "num_samples" in config.get("objective", {}):
    config["objective"] = _ADDED_LATENT | config["objective"]
  if config.get("principle") == "adversarial" and "pack" in config.get("objective", {}):
    config["objective"] = _ADDED_GAMES | config["objective"]
  if config.get("model", {}).get("name") == "bernoulli_product" and config.get("principle") == "own_bound":
    config["principle"] = "maximum_likelihood"
    config["evaluate"] = {"exact_likelihood" if k == "means" else k: v for k, v in config["evaluate"].items()}
  if config.get("data", {}).get("name") == "array":
    config["data"] = _ADDED_ARRAY | config["data"]
  return config


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
  """config.json, or the copy in a checkpoint, as `upgraded` gives it; None if there is none.

  Data that lie in the run's own folder, or that of its sweep, are found there wherever the folder is now.
  """
  config = recovery.config(workdir) if workdir.is_dir() else None
  if config is None:
    return None
  records.check(workdir / "config.json", config, records.CONFIG_OF_RUN)
  config = upgraded(config)
  if pathlib.Path(config.get("data", {}).get("path") or "").name == OWN_DATA:
    for folder in (workdir, *list(workdir.absolute().parents)[1:2]):
      if (folder / OWN_DATA).exists():
        place = folder.absolute()
        config["data"] |= {"path": str(place / OWN_DATA), "data_dir": str(place)}
        break
  return config
