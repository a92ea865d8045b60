"""Runs a sweep from Python: the same plan, folder and resumption as `dgm_jax sweep` on this machine."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from dgm_jax.api.loading import load
from dgm_jax.api.own_arrays import Part, collect, data_settings, require_x, write_arrays
from dgm_jax.api.settings import plain
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.api.training_runs import call, starting
from dgm_jax.core import errors, paths
from dgm_jax.sweeps import definition, drive, states, tasks

if TYPE_CHECKING:
  import pandas as pd


class Runs(Mapping[str, LatentModel]):
  """The trained models of a sweep by the names of their runs; each is loaded when it is asked for."""

  def __init__(self, root: pathlib.Path, names: Iterable[str]):
    self._root, self._names = root, tuple(names)

  def __contains__(self, name: object) -> bool:
    return name in self._names

  def __getitem__(self, name: str) -> LatentModel:
    return load(states.folder(self._root, errors.choose("run", name, self._names)))

  def __iter__(self) -> Iterator[str]:
    return iter(self._names)

  def __len__(self) -> int:
    return len(self._names)


class Sweep:
  """A sweep that has ended.

  Attributes:
    root: its folder.
    runs: {name: trained model}, loaded when they are asked for.
    table: a row for each run: name, state, step, minutes, the values that the sweep varies, and the run's results.
  """

  def __init__(self, root: pathlib.Path):
    self.root = root
    found = tasks.read(root)
    self.runs = Runs(root, found.runs if found else ())

  @property
  def table(self) -> "pd.DataFrame":
    from dgm_jax.sweeps import report  # needs pandas, of the extra `sweep`

    return report.read(self.root)[0]

  def __repr__(self) -> str:
    counts = self.table["state"].value_counts()
    return f"Sweep({self.root}, {', '.join(f'{n} {state}' for state, n in counts.items())})"


@contextlib.contextmanager
def _not_importing_the_script() -> Iterator[None]:
  """Context in which a process that Python starts does not first run the script that called us, as `spawn` does."""
  main = vars(sys.modules["__main__"])
  kept = {name: main[name] for name in ("__file__", "__spec__") if name in main}
  main.pop("__file__", None)
  main["__spec__"] = None
  try:
    yield
  finally:
    main |= kept


def _options(
  config: Any, jobs: int | None, max_lanes: int, memory: float, cpus: int, gpus: int | None, metric: str
) -> drive.Options:
  """The options of a sweep on this machine, validated."""
  errors.require(
    isinstance(config, str),
    f"A sweep takes the name or file of a config, e.g. 'iwae_mnist:quick', not a {type(config).__name__}.",
  )
  for label, value, least in (("max_lanes", max_lanes, 0), ("memory", memory, 0), ("cpus", cpus, 1)):
    errors.require(value >= least, f"{label} = {value}; it must be {least} or more.")
  return drive.Options("local", jobs, max_lanes, memory, cpus, gpus, {}, metric)


def _define(
  config: str, name: str, common: dict[str, Any], values: dict[str, list[Any]], command: str
) -> tuple[tasks.Definition, list[definition.Run]]:
  """The sweep as it is stored in its folder, and its runs."""
  common = definition.typed_common(config, common)
  runs = definition.make_runs(config, common, definition.overrides_of(config, name, values))
  return tasks.define(config, common, runs, command), runs


def _given(place: pathlib.Path, x: Part, *others: Any) -> tuple[dict[str, Any], dict[str, Any]]:
  """(the arrays, the settings of their config) of data that are given; see `collect`."""
  arrays, options = collect(x, *others)
  return arrays, data_settings(place.absolute(), options)


def sweep(
  config: str,
  *,
  root: str | os.PathLike[str],
  axes: Mapping[str, Iterable[Any]] | None = None,
  x: Part | None = None,
  y: npt.ArrayLike | None = None,
  mask: npt.ArrayLike | None = None,
  valid: Part | float | None = None,
  test: Part | float | None = None,
  name: str = "",
  metric: str = "",
  jobs: int | None = None,
  max_lanes: int = 0,
  memory: float = 0.0,
  cpus: int = 1,
  gpus: int | None = None,
  retry_failed: bool = False,
  **overrides: Any,
) -> Sweep:
  """Trains the runs of a sweep, as few compiled programs, and reports them; finished runs are never repeated.

  Args:
    config: name or file of a config with its argument, "iwae_mnist:quick".
    root: folder of the sweep, new or unfinished.
    axes: {path: values}, {"optim.lr": [1e-4, 1e-3], "seed": range(3)}; the sweep is their product, and that with the
      config's own sweep().
    x, y, mask, valid, test: data instead of those of the config, as in `train`; they are written to root/data.npz.
    name: use sweep_NAME() of the config instead of sweep().
    metric: metric to show and sort by.
    jobs: processes at once; None for as many as fit.
    max_lanes: the most runs in one program; 0 for as many as fit.
    memory, cpus, gpus: GB (0 for all that the device has), cores and GPUs of a process.
    retry_failed: whether to retry runs that ended with NaN or a mistake.
    **overrides: values that all runs have, by path, **{"num_steps": 1000}.

  Raises:
    UserError: an invalid config, axis or value, or a folder that holds another sweep; nothing is trained then.
    KeyboardInterrupt: Ctrl-C; the same call continues.
  """
  errors.require_package("pandas")  # of the report, which comes last
  from dgm_jax.sweeps import report

  place = paths.folder("root", root)
  chosen = _options(config, jobs, max_lanes, memory, cpus, gpus, metric)
  values = {path: [plain(v) for v in several] for path, several in (axes or {}).items()}
  common = {path: plain(value) for path, value in overrides.items()}
  require_x(x, y=y, mask=mask, valid=valid, test=test)
  arrays, settings = ({}, {}) if x is None else _given(place, x, y, mask, valid, test)
  common |= settings
  with starting(place, "sweep.json", f"The same call, with root={str(place)!r},"), _not_importing_the_script():
    found, runs = _define(config, name, common, values, call("sweep", config, place, overrides))
    tasks.check(place, found)
    if arrays:
      write_arrays(place, arrays)
    status = drive.run(place, found, runs, chosen, retry_failed)
  if status == drive.STOPPED:
    raise KeyboardInterrupt(f"The sweep stopped; the same call continues in {place}.")
  print(report.write(place, metric), flush=True)
  return Sweep(place)
