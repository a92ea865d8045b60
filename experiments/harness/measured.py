"""Numbers from finished runs: means with standard errors over seeds, differences paired by test image.

standard error over seeds   s / sqrt(S), s the standard deviation over the S seeds (denominator S - 1)
paired by image             the mean difference over the N test images, each image's value averaged over seeds first;
                            its standard error is over images, for fixed trained models.  If each seed has its own test
                            set (folds), the images of all of them are pooled
paired by seed              the mean difference between runs of the same seed, and its standard error over seeds
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

_LEVEL = 0.95  # of the one-sided tests that decide whether an order is shown


class Mean(NamedTuple):
  """A mean over seeds; the error is None for one seed."""

  mean: float
  stderr: float | None
  values: tuple[float, ...]


class Paired(NamedTuple):
  """The first minus the second value; for NLL (nats), below zero if the first is better.

  Attributes:
    difference: mean over images and seeds.
    stderr_images: standard error over images.
    by_seed: difference between the two runs of each seed.
    stderr_seeds: standard error over seeds; None for one seed.
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


def of_seeds(runs: Mapping[int, compare.Run], names: Iterable[str]) -> dict[str, dict[str, Any]]:
  """{name: mean, standard error and values by seed} of test/NAME in the results of {seed: run}, where runs have it."""
  found: dict[str, dict[str, Any]] = {}
  for name in names:
    values = {seed: run.results[f"test/{name}"] for seed, run in runs.items() if f"test/{name}" in run.results}
    if values:
      over = mean(list(values.values()))
      by_seed = {str(seed): value for seed, value in values.items()}
      found[name] = {"mean": over.mean, "stderr": over.stderr, "by_seed": by_seed}
  return found


def verdict(difference: float, stderr_images: float, stderr_seeds: float | None, num_seeds: int) -> str:
  """Whether a difference is below or above zero by a z test over images and a t test over seeds, both at 95 %."""
  bound = stderr_images * float(scipy.stats.norm.ppf(_LEVEL))
  if stderr_seeds is not None:
    bound = max(bound, stderr_seeds * float(scipy.stats.t.ppf(_LEVEL, num_seeds - 1)))
  if abs(difference) <= bound:
    return "undecided"
  return "lower" if difference < 0 else "higher"


def words(found: str, claimed: str) -> str:
  """What a verdict says about the claim that a difference is "lower" or "higher"."""
  if found == "undecided":
    return "cannot be told"
  return "shown" if found == claimed else "the opposite is shown"


def named_words(found: str, claimed: str) -> str:
  """`words` with the verdict before them: "lower: shown"."""
  return words(found, claimed) if found == "undecided" else f"{found}: {words(found, claimed)}"


def read(folder: pathlib.Path, names: Sequence[str]) -> dict[int, compare.Run]:
  """{seed: run} for the finished runs of a sweep."""
  done = [states.folder(folder, n) for n in names if states.is_finished(folder, n)]
  runs = [compare.read(str(path)) for path in done]
  return {int(run.results["seed"]): run for run in runs}


def file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """File in which `of_runs` saves the measurements of a run."""
  return folder / "measured" / f"{name}.npz"


def of_runs(folder: pathlib.Path, names: Mapping[str, Sequence[str]], measure: Callable[[Any], dict[str, Any]]) -> None:
  """Measures every finished run, loaded by dgm_jax.load, and saves the arrays in `file`; skips runs already measured.

  Args:
    folder: the budget's folder.
    names: {cell: its runs}.
    measure: loaded run -> {name: array}.
  """
  for name in [name for runs in names.values() for name in runs]:
    path = file(folder, name)
    if states.is_finished(folder, name) and not path.exists():
      print(f"  measuring {name}", flush=True)
      path.parent.mkdir(exist_ok=True)
      files.save_arrays(path, **measure(dgm_jax.load(states.folder(folder, name))))


def arrays(folder: pathlib.Path, names: Sequence[str]) -> list[dict[str, np.ndarray]]:
  """The arrays that `of_runs` saved, for the runs already measured."""
  paths = [file(folder, name) for name in names]
  return [files.load_arrays(path) for path in paths if path.exists()]


def by_image(values: np.ndarray, same_images: bool = True) -> np.ndarray:
  """Values [S, N] of S seeds: averaged over seeds, [N], or, if each seed has its own images, pooled, [S N]."""
  return values.mean(0) if same_images else values.ravel()


def have_same_images(runs: Iterable[compare.Run]) -> bool:
  """Whether all were evaluated on the same test set; otherwise each seed has its own."""
  return len({run.results["data_digest"] for run in runs}) == 1


def difference(first: np.ndarray, second: np.ndarray, same_images: bool = True) -> Paired:
  """First minus second for values [S, N] of the same S seeds and, within each seed, the same N images."""
  value, stderr = compare.paired(by_image(second, same_images), by_image(first, same_images))
  by_seed = mean((first - second).mean(1))
  return Paired(
    value, stderr, by_seed.values, by_seed.stderr, verdict(value, stderr, by_seed.stderr, len(by_seed.values))
  )


def seed_difference(first: Mapping[Any, float], second: Mapping[Any, float]) -> dict[str, Any] | None:
  """First minus second of {seed: value}, over the shared seeds, with a t test; None if no seed is shared."""
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return None
  found = mean([first[s] - second[s] for s in seeds])
  has_error = found.stderr is not None
  decided = verdict(found.mean, 0.0, found.stderr, len(seeds)) if has_error else "undecided"
  return {"difference": found.mean, "stderr": found.stderr, "by_seed": list(found.values), "verdict": decided}


def pair(first: Mapping[int, compare.Run], second: Mapping[int, compare.Run], value: str = "log_px") -> Paired | None:
  """The paired difference of NLL over the shared seeds; None if no seed is shared.

  For another `value`, such as "elbo", it is the difference of minus that value: below zero if the first is better.

  Raises:
    UserError: the runs were not evaluated on the same images.
  """
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return None
  for seed in seeds:
    compare.check([first[seed], second[seed]])
  nll = lambda runs: -np.stack([runs[s].values[value] for s in seeds]).astype(np.float64)  # [S, N]
  return difference(nll(first), nll(second), have_same_images(first.values()))


class Curve(NamedTuple):
  """A metric of several runs: (step, mean over runs), and for two runs or more (step, least, greatest)."""

  points: list[tuple[float, float]]
  band: list[tuple[float, float, float]]

  def over(self, scale: float) -> "Curve":
    """The curve against step / scale, for instance epochs."""
    return Curve([(x / scale, y) for x, y in self.points], [(x / scale, a, b) for x, a, b in self.band])


def curve(folder: pathlib.Path, names: Sequence[str], metric: str, most: int = 60) -> Curve:
  """The metric at the steps that all runs have logged, thinned to about `most` points."""
  rows = [{r["step"]: r[metric] for r in metrics.read(states.folder(folder, n)) if metric in r} for n in names]
  rows = [r for r in rows if r]
  steps = sorted(set.intersection(*map(set, rows))) if rows else []
  stride = max(1, math.ceil(len(steps) / most))
  kept = sorted({*steps[::stride], *steps[-1:]})
  values = {step: [r[step] for r in rows] for step in kept}
  points = [(step, float(np.mean(v))) for step, v in values.items()]
  return Curve(points, [(step, min(v), max(v)) for step, v in values.items()] if len(rows) > 1 else [])


def late_curve(folder: pathlib.Path, names: Sequence[str], metric: str) -> Curve:
  """`curve` without the first twentieth of its steps, which would dominate the scale of a plot."""
  found = curve(folder, names, metric)
  late = lambda points: [p for p in points if p[0] >= points[-1][0] / 20]
  return Curve(late(found.points), late(found.band))


def _hardware(start: Mapping[str, Any]) -> str:
  kind, devices = start.get("device_kind", "?"), len(start.get("devices", []))
  return f"{start.get('cpus', '?')} CPU cores" if kind == "cpu" else f"{devices} x {kind}"


def provenance(path: pathlib.Path) -> dict[str, Any]:
  """Where a run's numbers come from: seed, commit, hardware, versions, wall time; from its latest process."""
  starts = files.read_json(path / "run.json") or []
  if not starts:
    return {}
  last = starts[-1]
  return {
    "seed": last.get("seed"),
    "commit": last.get("git_commit"),
    "changed_since_commit": last.get("git_dirty"),
    "hardware": _hardware(last),
    "versions": {k: v for k, v in last.get("versions", {}).items() if k in ("python", "jax", "flax", "numpy")},
    "lanes": last.get("lanes", 1),
    "started": starts[0].get("started"),
    "finished": last.get("finished"),
    "seconds": round(sum(s["wall_s"].get("total", sum(s["wall_s"].values())) for s in starts), 1),
  }
