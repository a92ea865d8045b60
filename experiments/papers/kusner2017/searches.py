"""What is measured on runs of equations: searches, predictions of scores from codes, paths and planes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.molecules import search, targets
from dgm_jax.applications.molecules.molecule_vae import MoleculeVAE
from dgm_jax.data.files import tokens
from dgm_jax.experiments.harness import measured


class Size(NamedTuple):
  """Of the searches of a budget: simulations, the options of each, and how many equations are known to it."""

  simulations: int
  options: search.Options
  known: int


SIZES = {
  "test": Size(2, search.Options(1, 3, 2, 20, 2, 50), 200),
  "quick": Size(2, search.Options(3, 10, 10, 200, 20, 2000), 5000),
  "short": Size(3, search.Options(5, 50, 25, 500, 20), 20_000),
  "paper": Size(10, search.Options(5, 50, 25, 500, 30), 100_000),
}


def _vae(run: Any) -> MoleculeVAE:
  return MoleculeVAE(run.experiment.model, run.state, run.experiment.splits.about)


def _known(run: Any, most: int) -> list[str]:
  splits = run.experiment.splits
  x = np.concatenate([np.asarray(part["x"]) for part in splits.parts().values()])
  return tokens.decode(x[np.sort(np.random.default_rng(0).permutation(len(x))[:most])], splits.about)


def measure(run: Any, name: str) -> dict[str, np.ndarray]:
  """Scores, strings and predictions of the simulations.

  Returns:
    For method ei and random: NAME_valid, NAME_average, NAME_best [S]; NAME_texts [S], the best strings, and NAME_true,
    their scores with the division of numbers; and rmse, log_py [S] of a tenth that the GP has not seen.
  """
  size, vae = SIZES[name], _vae(run)
  known = _known(run, size.known)
  codes = np.asarray(vae.encode(known).mean, np.float64)
  y = np.array([targets.equation_score(text) for text in known])
  target, found = targets.equations("python2"), {}

  def put(key: str, value: Any) -> None:
    found.setdefault(key, []).append(value)

  for s in range(size.simulations):
    order = np.random.default_rng(s).permutation(len(y))
    test, train = order[: len(y) // 10], order[len(y) // 10 :]
    fitted = search.fit(codes[train], y[train], size.options.num_inducing, size.options.iterations, s)
    for key, value in search.quality(fitted, codes[test], y[test]).items():
      put(key, value)
    for method in search.METHODS:
      options = size.options._replace(method=method, seed=s)
      points = search.search(
        codes[train], y[train], vae.decode_often, target.score, target.valid, target.worst, options
      )
      best = min(points, key=lambda point: point.score)
      for key, value in search.summary(points).items():
        put(f"{method}_{key}", value)
      put(f"{method}_texts", best.text or "")
      put(f"{method}_true", targets.equation_score(best.text or ""))
  return {key: np.array(values) for key, values in found.items()}


def paths(run: Any, steps: int = 9, side: int = 5) -> dict[str, np.ndarray]:
  """{"paths": strings [3, steps + 2] between test equations, "plane": strings [side, side] around one}."""
  vae, splits = _vae(run), run.experiment.splits
  texts = tokens.decode(np.asarray(splits.test["x"])[:6], splits.about)
  pairs = list(zip(texts[::2], texts[1::2], strict=True))
  centre = np.asarray(vae.encode([texts[0]]).mean[0], np.float64)
  axes = np.linalg.qr(np.random.default_rng(0).normal(size=(len(centre), 2)))[0].T
  spread = float(np.std(np.asarray(vae.encode(texts).mean)))
  grid = np.linspace(-2 * spread, 2 * spread, side)
  plane = vae.decode(np.array([centre + a * axes[0] + b * axes[1] for a in grid for b in grid]), beam=1)
  between = [[a, *vae.interpolate(a, b, steps=steps, beam=1), b] for a, b in pairs]
  return {"paths": np.array(between), "plane": np.array(plane).reshape(side, side)}


def of_search(name: str) -> Callable:
  """Measures the runs of a budget, see harness.measured.of_runs."""
  return functools.partial(measured.of_runs, measure=functools.partial(measure, name=name))


def of_paths(name: str) -> Callable:
  """As of_search, of `paths`."""
  del name
  return functools.partial(measured.of_runs, measure=paths)
