"""Bayesian optimisation in the latent space: a sparse GP, and batches by expected improvement (Kusner et al., 2017)."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar
from dgm_jax.inference import acquisition
from dgm_jax.models.supervised import sparse_gp

METHODS = ("ei", "random")


class Options(NamedTuple):
  """Of a search.

  Attributes:
    rounds, batch: rounds of so many points.
    attempts: decodings of a point, of which the commonest valid string is kept.
    num_inducing: inducing points, a random part of the points.
    iterations: of L-BFGS for the hyper-parameters in the first round; a fifth of them in the later ones.
    grid: random points among which the best is improved by L-BFGS.
    method: "ei"; or "random": the same number of points, uniform in the same box.
    seed: of everything.
  """

  rounds: int = 5
  batch: int = 50
  attempts: int = 25
  num_inducing: int = 500
  iterations: int = 50
  grid: int = 10_000
  method: str = "ei"
  seed: int = 0

  def check(self) -> "Options":
    """Returns itself.  Raises UserError for an invalid value."""
    errors.choose("method of search", self.method, METHODS)
    for name in ("rounds", "batch", "attempts", "num_inducing", "iterations", "grid"):
      errors.require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)}; it must be 1 or more.")
    return self


PUBLISHED = Options()


class Found(NamedTuple):
  """A point of a search: its round, its code [L], the commonest valid string or None, and its score."""

  round: int
  z: np.ndarray
  text: str | None
  score: float


class Fit(NamedTuple):
  """A GP of standardised targets: the posterior, and the mean and deviation of the targets."""

  post: sparse_gp.Posterior
  mean: float
  deviation: float

  def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation of y), [N] each."""
    with jax.enable_x64(True):
      mean, variance = jax.device_get(_predict(self.post, jnp.asarray(x, jnp.float64)))
      noise = math.exp(float(self.post.hyper.log_noise))
    return self.mean + self.deviation * mean, self.deviation * np.sqrt(variance + noise)


_predict = jax.jit(sparse_gp.predict)
_condition = jax.jit(sparse_gp.condition)
_loss = jax.jit(jax.value_and_grad(lambda hyper, *data: -sparse_gp.bound(hyper, *data) / data[1].shape[0]))


def fit(x: np.ndarray, y: np.ndarray, num_inducing: int, iterations: int, seed: int, before: Any = None) -> Fit:
  """A sparse GP of y [N] at x [N, D], its hyper-parameters by L-BFGS on the collapsed bound.

  Args:
    x, y: the points.
    num_inducing: inducing inputs, a random part of x.
    iterations: of L-BFGS.
    seed: of the inducing inputs.
    before: the Fit whose hyper-parameters are the first ones.
  """
  mean, deviation = float(np.mean(y)), float(np.std(y)) or 1.0
  with jax.enable_x64(True):
    data = (jnp.asarray(x, jnp.float64), jnp.asarray((y - mean) / deviation, jnp.float64))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:num_inducing])
    inducing = data[0][chosen]
    first = sparse_gp.start(*data) if before is None else before.post.hyper
    flat, restore = jax.flatten_util.ravel_pytree(first)

    def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
      found, gradient = _loss(restore(jnp.asarray(v)), inducing, *data)
      return float(found), np.asarray(jax.flatten_util.ravel_pytree(gradient)[0])

    around = [(v - 6, v + 6) for v in np.asarray(flat).tolist()]
    best = scipy.optimize.minimize(
      loss, np.asarray(flat), jac=True, method="L-BFGS-B", bounds=around, options={"maxiter": iterations}
    )
    return Fit(_condition(restore(jnp.asarray(best.x)), inducing, *data), mean, deviation)


def quality(of: Fit, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """rmse and log_py, the mean log predictive density, on held-out points."""
  mean, deviation = of.predict(x)
  log_p = -0.5 * np.square((y - mean) / deviation) - np.log(deviation) - 0.5 * math.log(2 * math.pi)
  return {"rmse": float(np.sqrt(np.mean(np.square(y - mean)))), "log_py": float(np.mean(log_p))}


@jax.jit
def _mean_at(post: sparse_gp.Posterior, x: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jax.value_and_grad(lambda x: sparse_gp.predict(post, x[None])[0][0])(x)


def _log_ei(post: sparse_gp.Posterior, best: jax.Array, points: jax.Array, used: jax.Array, x: jax.Array) -> jax.Array:
  """Of x [N, D], where f is known to be its mean at the points [Q, D] that are used: means stay, variances shrink."""
  mean, _ = sparse_gp.predict(post, x)
  variance = sparse_gp.variance_given(post, x, points, used)
  return acquisition.log_expected_improvement(mean, jnp.sqrt(variance), best)


_log_ei_grid = jax.jit(_log_ei)
_minus_log_ei_at = jax.jit(
  lambda post, best, points, used, x: jax.value_and_grad(lambda x: -_log_ei(post, best, points, used, x[None])[0])(x)
)


def _improved(of: Callable, first: np.ndarray, box: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
  """The minimum of (x) -> (value, gradient) from `first` in a box, by L-BFGS; `first` where it is no better."""
  both = lambda x: tuple(np.asarray(a, np.float64) for a in of(jnp.asarray(x)))
  start = float(both(first)[0])
  bounds = list(zip(*(side.tolist() for side in box), strict=True))
  found = scipy.optimize.minimize(both, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 150})
  return (found.x, float(found.fun)) if found.fun < start else (first, start)


def propose(of: Fit, lower: np.ndarray, upper: np.ndarray, count: int, grid: int, seed: int) -> np.ndarray:
  """`count` points [count, D] in a box: each maximises the expected improvement, given f = its mean at those before."""
  g = np.random.default_rng(seed)
  with jax.enable_x64(True):
    candidates, box = g.uniform(lower, upper, (grid, len(lower))), (lower, upper)
    means = np.asarray(_predict(of.post, jnp.asarray(candidates))[0])
    best = _improved(functools.partial(_mean_at, of.post), candidates[means.argmin()], box)[1]
    chosen, used = np.zeros((count, len(lower))), np.zeros(count, bool)
    for i in range(count):
      given = (of.post, best, jnp.asarray(chosen), jnp.asarray(used))
      first = candidates[int(jnp.argmax(_log_ei_grid(*given, jnp.asarray(candidates))))]
      chosen[i], used[i] = _improved(functools.partial(_minus_log_ei_at, *given), first, box)[0], True
    return chosen


def commonest(texts: Sequence[str], valid: Callable[[str], bool]) -> str | None:
  """The commonest valid string of several decodings of a point; None without one."""
  counts = [(text, n) for text, n in Counter(texts).most_common() if valid(text)]
  return counts[0][0] if counts else None


def search(
  x: np.ndarray,
  y: np.ndarray,
  decode: Callable[[np.ndarray, int, int], list[list[str]]],
  score: Callable[[str], float],
  valid: Callable[[str], bool],
  worst: float,
  options: Options = PUBLISHED,
) -> list[Found]:
  """Minimises a score over points of the latent space.

  Args:
    x, y: codes [N, L] and scores [N] that are known.
    decode: (z [n, L], attempts, seed) -> attempts strings of each point.
    score, valid, worst: see targets.Target.
    options: see Options.

  Returns:
    The rounds x batch points in their order.
  """
  o = options.check()
  lower, upper, found, before = x.min(0), x.max(0), [], None
  with progress_bar(o.rounds * o.batch, description="search", unit="point") as bar:
    for i in range(o.rounds):
      seed = o.seed * 1000 + i
      if o.method == "ei":
        steps = o.iterations if before is None else max(1, o.iterations // 5)
        before = fit(x, y, o.num_inducing, steps, seed, before)
        z = propose(before, lower, upper, o.batch, o.grid, seed)
      else:
        z = np.random.default_rng(seed).uniform(lower, upper, (o.batch, x.shape[1]))
      texts = [commonest(some, valid) for some in decode(z, o.attempts, seed)]
      scores = np.array([worst if text is None else score(text) for text in texts])
      found += [Found(i, *row) for row in zip(z, texts, scores.tolist(), strict=True)]
      x, y = np.concatenate([x, z]), np.concatenate([y, scores])
      bar.update(o.batch)
  return found


def summary(found: Sequence[Found]) -> dict[str, float]:
  """valid: the share of points with a valid string; best; average: of the scores below the worst one, as published."""
  scores = np.array([f.score for f in found])
  below = scores[scores < scores.max()]
  return {
    "valid": sum(f.text is not None for f in found) / len(found),
    "best": float(scores.min()),
    "average": float(below.mean()) if len(below) else float("nan"),
    "average_of_all": float(scores.mean()),
  }
