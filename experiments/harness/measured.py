"""Numbers out of finished runs: means with standard errors over seeds, differences paired by test image.

standard error over seeds   s / sqrt(S), s the standard deviation over the S seeds with S - 1 in its denominator
paired by image             the mean over the N test images of the difference, each image's value averaged over the
                            seeds first; its standard error is over images, for these trained models.  Where each seed
                            has a test set of its own (folds), over the images of all of them
paired by seed              the difference of the means of two runs of the same seed, and the standard error over seeds
"""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

import dgm_jax
from dgm_jax.core import files
from dgm_jax.evaluate import compare
from dgm_jax.sweeps import states
from dgm_jax.training.workdir import metrics

_LEVEL = 0.95  # of the one-sided tests that an order is said to be shown by


class Mean(NamedTuple):
  """A mean over seeds; the error is None for one seed."""

  mean: float
  stderr: float | None
  values: tuple[float, ...]


class Paired(NamedTuple):
  """A value of the first minus that of the second; of NLL, nats, below zero where the first is better.

  Attributes:
    difference: the mean over images and seeds.
    stderr_images: over the images.
    by_seed: of each seed's pair of runs.
    stderr_seeds: over the seeds; None for one.
    verdict: "lower", "higher", or "undecided".
  """

  difference: float
  stderr_images: float
  by_seed: tuple[float, ...]
  stderr_seeds: float | None
  verdict: str


def mean(values: Sequence[float]) -> Mean:
  """Mean and standard error."""
  a = np.asarray(values, np.float64)
  error = float(a.std(ddof=1) / math.sqrt(len(a))) if len(a) > 1 else None
  return Mean(float(a.mean()), error, tuple(map(float, a)))


def verdict(difference: float, stderr_images: float, stderr_seeds: float | None, num_seeds: int) -> str:
  """Whether a difference is below or above zero by both errors: z over images, Student's t over seeds, each at 95 %."""
  bound = stderr_images * float(scipy.stats.norm.ppf(_LEVEL))
  if stderr_seeds is not None:
    bound = max(bound, stderr_seeds * float(scipy.stats.t.ppf(_LEVEL, num_seeds - 1)))
  if abs(difference) <= bound:
    return "undecided"
  return "lower" if difference < 0 else "higher"


def words(found: str, claimed: str) -> str:
  """What a verdict says of the claim that a difference is "lower", or "higher"."""
  if found == "undecided":
    return "cannot be told"
  return "shown" if found == claimed else "the opposite is shown"


def named_words(found: str, claimed: str) -> str:
  """`words` with the verdict before them: "lower: shown"."""
  return words(found, claimed) if found == "undecided" else f"{found}: {words(found, claimed)}"


def read(folder: pathlib.Path, names: Sequence[str]) -> dict[int, compare.Run]:
  """{seed: run} of those runs of a sweep that are finished."""
  done = [states.folder(folder, n) for n in names if states.is_finished(folder, n)]
  runs = [compare.read(str(path)) for path in done]
  return {int(run.results["seed"]): run for run in runs}


def file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """Where of_runs writes what it measured of a run."""
  return folder / "measured" / f"{name}.npz"


def of_runs(folder: pathlib.Path, names: Mapping[str, Sequence[str]], measure: Callable[[Any], dict[str, Any]]) -> None:
  """Writes `file`, {name: array} of each finished run as dgm_jax.load has it; none is done twice.

  Args:
    folder: of the budget.
    names: {cell: its runs}.
    measure: of a loaded run.
  """
  for name in [name for runs in names.values() for name in runs]:
    path = file(folder, name)
    if states.is_finished(folder, name) and not path.exists():
      print(f"  measuring {name}", flush=True)
      path.parent.mkdir(exist_ok=True)
      files.save_arrays(path, **measure(dgm_jax.load(states.folder(folder, name))))


def arrays(folder: pathlib.Path, names: Sequence[str]) -> list[dict[str, np.ndarray]]:
  """What of_runs wrote of those runs that are measured."""
  paths = [file(folder, name) for name in names]
  return [files.load_arrays(path) for path in paths if path.exists()]


def by_image(values: np.ndarray, same_images: bool = True) -> np.ndarray:
  """Values [S, N] of S seeds: averaged over the seeds, [N], or, where each has images of its own, all, [S N]."""
  return values.mean(0) if same_images else values.ravel()


def have_same_images(runs: Iterable[compare.Run]) -> bool:
  """Whether all were measured on one test set; else each seed has its own."""
  return len({run.results["data_digest"] for run in runs}) == 1


def difference(first: np.ndarray, second: np.ndarray, same_images: bool = True) -> Paired:
  """First minus second of values [S, N] of the same S seeds, and for each seed the same N images."""
  value, stderr = compare.paired(by_image(second, same_images), by_image(first, same_images))
  by_seed = mean((first - second).mean(1))
  return Paired(
    value, stderr, by_seed.values, by_seed.stderr, verdict(value, stderr, by_seed.stderr, len(by_seed.values))
  )


def seed_difference(first: Mapping[Any, float], second: Mapping[Any, float]) -> dict[str, Any] | None:
  """First minus second, {seed: value}, over the seeds that both have, with Student's t; None if there are none."""
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return None
  found = mean([first[s] - second[s] for s in seeds])
  told = found.stderr is not None
  shown = verdict(found.mean, 0.0, found.stderr, len(seeds)) if told else "undecided"
  return {"difference": found.mean, "stderr": found.stderr, "by_seed": list(found.values), "verdict": shown}


def pair(first: Mapping[int, compare.Run], second: Mapping[int, compare.Run], value: str = "log_px") -> Paired | None:
  """The difference of NLL over the seeds that both have; None if there is none.

  With another value, "elbo", of which more is better, the difference is of minus that.

  Raises:
    UserError: the runs were not measured on the same images.
  """
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return None
  for seed in seeds:
    compare.check([first[seed], second[seed]])
  nll = lambda runs: -np.stack([runs[s].values[value] for s in seeds]).astype(np.float64)  # [S, N]
  return difference(nll(first), nll(second), have_same_images(first.values()))


def curve(folder: pathlib.Path, names: Sequence[str], metric: str, most: int = 60) -> list[tuple[float, float]]:
  """(step, mean over runs) at the steps that all of them have, thinned."""
  rows = [{r["step"]: r[metric] for r in metrics.read(states.folder(folder, n)) if metric in r} for n in names]
  rows = [r for r in rows if r]
  steps = sorted(set.intersection(*map(set, rows))) if rows else []
  stride = max(1, math.ceil(len(steps) / most))
  kept = sorted({*steps[::stride], *steps[-1:]})
  return [(step, float(np.mean([r[step] for r in rows]))) for step in kept]


def late_curve(folder: pathlib.Path, names: Sequence[str], metric: str) -> list[tuple[float, float]]:
  """`curve` without the first twentieth of its steps, which would set the scale of a picture."""
  points = curve(folder, names, metric)
  return [p for p in points if p[0] >= points[-1][0] / 20]


def _hardware(start: Mapping[str, Any]) -> str:
  kind, devices = start.get("device_kind", "?"), len(start.get("devices", []))
  return f"{start.get('cpus', '?')} CPU cores" if kind == "cpu" else f"{devices} x {kind}"


def provenance(path: pathlib.Path) -> dict[str, Any]:
  """Where a run's numbers come from: seed, commit, hardware, versions, wall time; of the newest process that worked."""
  starts = files.read_json(path / "run.json") or []
  if not starts:
    return {}
  last = starts[-1]
  return {
    "seed": last["seed"],
    "commit": last.get("git_commit"),
    "changed_since_commit": last.get("git_dirty"),
    "hardware": _hardware(last),
    "versions": {k: v for k, v in last.get("versions", {}).items() if k in ("python", "jax", "flax", "numpy")},
    "lanes": last.get("lanes", 1),
    "started": starts[0]["started"],
    "finished": last.get("finished"),
    "seconds": round(sum(s["wall_s"].get("total", sum(s["wall_s"].values())) for s in starts), 1),
  }
