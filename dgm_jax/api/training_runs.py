"""Trains a run from Python: the same loop, checks, files and resumption as `dgm_jax train`."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
from ml_collections import ConfigDict

from dgm_jax.api.loading import load
from dgm_jax.api.own_arrays import Part, collect, data_settings, remove_arrays, require_x, write_arrays
from dgm_jax.api.settings import make_config, set_value
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import compilation_cache, errors, paths
from dgm_jax.training import train as training
from dgm_jax.training.build import data_section
from dgm_jax.training.restore import config_of_run
from dgm_jax.training.workdir import folder, legacy_configs, run_record


@contextlib.contextmanager
def starting(place: pathlib.Path, started: str, again: str) -> Iterator[None]:
  """Context that removes the arrays written to a folder if no work began there; Ctrl-C becomes a KeyboardInterrupt.

  Args:
    place: the folder of a run or a sweep.
    started: the file that it has once it began.
    again: the call that continues it.
  """
  had_folder, had_data = place.exists(), (place / legacy_configs.OWN_DATA).exists()
  try:
    yield
  except errors.StoppedError as e:
    raise KeyboardInterrupt(f"{e} {again} continues.") from None
  finally:
    if not had_data and not (place / started).exists():
      remove_arrays(place)
      if not had_folder and place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def call(function: str, config: str | ConfigDict | None, place: pathlib.Path, overrides: Mapping[str, Any]) -> str:
  """The call as text, for the records of a run."""
  shown = "a ConfigDict" if isinstance(config, ConfigDict) else repr(config)
  return f"dgm_jax.{function}({shown}, {str(place)!r}, **{dict(overrides)!r})"


def train(
  config: str | ConfigDict | None = None,
  *,
  x: Part | None = None,
  y: npt.ArrayLike | None = None,
  mask: npt.ArrayLike | None = None,
  valid: Part | float | None = None,
  test: Part | float | None = None,
  workdir: str | os.PathLike[str] | None = None,
  **overrides: Any,
) -> LatentModel:
  """Trains, or resumes, a run and evaluates it; a finished run is not repeated.

  Args:
    config: name or file of a config with its argument, "iwae_mnist:k=5", or a ConfigDict; None to resume the run in
      workdir with its own config.
    x: data instead of those of the config: examples [N, ...], or a mapping of x, y, mask.  They are written to
      workdir/data.npz.
    y, mask: labels [N]; 1 where x is observed.
    valid, test: the validation and the test set, like x, or the share of x to hold out at random (by default 0.1).
    workdir: the run's folder; None for a new one in the system's temporary folder, which is printed.
    **overrides: values of the config by path, **{"optim.lr": 1e-3, "num_steps": 1000}.

  Returns:
    The trained model, with the numbers of results.json as `results`; the same as dgm_jax.load(workdir).

  Raises:
    UserError: an invalid config or data, or a workdir that is not this run's.
    DivergenceError: NaN or Inf; the last checkpoint is kept.
    KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved, and the same call resumes.
  """
  if workdir is None:
    errors.require(config is not None, "Neither config nor workdir is given; name a config, e.g. 'iwae_mnist:k=5'.")
    workdir = tempfile.mkdtemp(prefix="dgm_jax_")
    print(f"The run's folder is {workdir}.", flush=True)
  require_x(x, y=y, mask=mask, valid=valid, test=test)
  place = paths.folder("workdir", workdir)
  compilation_cache.use()
  with (
    starting(place, "config.json", f"dgm_jax.train(workdir={str(place)!r})"),
    folder.disk_errors(place),
    run_record.called(call("train", config, place, overrides)),
  ):
    if config is None:
      errors.require(
        x is None and not overrides, "Without a config, the run's own config and data are taken: give no others."
      )
      made = ConfigDict(config_of_run(place))
    elif x is None:
      made = make_config(config, overrides)
    else:
      made = _on_arrays(config, overrides, place, *collect(x, y, mask, valid, test))
    training.train_and_evaluate(made, place)
  return load(place)


def _on_arrays(
  config: str | ConfigDict, overrides: Mapping[str, Any], place: pathlib.Path, arrays: dict, options: dict[str, float]
) -> ConfigDict:
  """The config with config.data for the arrays, which are written to the run's folder."""
  given = [path for path in overrides if path in ("data.name", "data.path", "data.data_dir")]
  errors.require(not given, f"{given and given[0]!r} is given as well as x: give one of them.")
  made = make_config(config, {}, "array")
  if isinstance(config, ConfigDict):
    data = data_section("array", config.to_dict()["data"]["transforms"])
    with made.unlocked():
      made.data = data
  for path, value in {**data_settings(place.absolute(), options), **overrides}.items():
    set_value(made, path, value)
  folder.check(place, made.to_dict())
  write_arrays(place, arrays)
  return made
