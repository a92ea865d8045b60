"""The linear-Gaussian model of Rainforth et al. (2018), and the signal-to-noise ratio of its gradient estimates.

  z ~ N(mu, I),   x | z ~ N(z, I),   q(z|x) = N(A x + b, 2/3 I)

At the optimum A = I/2, b = mu/2, and mu is the mean of the data.  The generative network is mu, the inference network
b; both are perturbed.  The gradient estimators, by name:

  mu                 generative network, the bound with K samples
  b, b_dreg, b_stl   inference network, the same bound: reparameterised, doubly reparameterised (Tucker et al., 2019),
                     and without the score term (sticking the landing)
  b_rws, b_rws_dreg  inference network, wake phase of reweighted wake-sleep: by score functions, and by paths

For every draw b_stl = b_dreg + b_rws_dreg, and b_dreg is unbiased, so the bias of b_stl is the mean of b_rws_dreg.
"""

import functools
import math
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import files
from dgm_jax.experiments.harness import computed
from dgm_jax.inference import objectives
from dgm_jax.principles.latent.options import Options

PARTS = 10  # into which the repeats are divided, for standard errors
WHOLE = np.ones(PARTS, bool)  # the mask of all parts
_OPTIONS = Options()._asdict()
_SIGNALS = {"b": "b_dreg", "b_rws": "b_rws_dreg"}  # estimators with the same expectation and less noise
_ESTIMATORS = {
  "mu": ("iwae", "reparameterised"),
  "b": ("iwae", "reparameterised"),
  "b_dreg": ("iwae", "dreg"),
  "b_stl": ("iwae", "stl"),
  "b_rws": ("rws", "reparameterised"),
  "b_rws_dreg": ("rws", "dreg"),
}


class Setting(NamedTuple):
  """Setting of an experiment.

  Attributes:
    points: number of data points N.
    repeats: gradient estimates for each data point.
    ks, ms: numbers of samples, K with M = 1 and M with K = 1.
    dim, perturbation, seed: dimension, scale of the perturbation, and seed of the model.
    perturb_a: whether A is perturbed as well.  This moves q(z|x) further from the posterior for larger x; near K = 10
      the O(1/K) bias of the bound then shows in the mean of mu's gradient, whose SNR grows more slowly than sqrt(K).
    estimators: names of the estimators to draw; b also needs b_dreg, and b_rws needs b_rws_dreg.
  """

  points: int
  repeats: int
  ks: tuple[int, ...]
  ms: tuple[int, ...]
  dim: int = 20
  perturbation: float = 0.01
  seed: int = 0
  perturb_a: bool = False
  estimators: tuple[str, ...] = ("mu", "b", "b_dreg")


class Model(NamedTuple):
  """Data and perturbed parameters: x [N, D], mu [D], A [D, D], b [D]."""

  x: jax.Array
  mu: jax.Array
  a: jax.Array
  b: jax.Array


def make_model(setting: Setting) -> Model:
  """Draws data, and perturbs the parameters around their optimum."""
  keys = jax.random.split(jax.random.key(setting.seed), 6)
  normal = jax.random.normal
  dim = setting.dim
  true_mu = normal(keys[0], (dim,))
  x = true_mu + math.sqrt(2) * normal(keys[1], (setting.points, dim))
  best = x.mean(0)  # maximises the likelihood; the posterior's mean is (x + mu) / 2
  off = lambda key, shape: setting.perturbation * normal(key, shape)
  return Model(
    x,
    best + off(keys[2], (dim,)),
    jnp.eye(dim) / 2 + (off(keys[3], (dim, dim)) if setting.perturb_a else 0.0),
    best / 2 + off(keys[4], (dim,)),
  )


def gradients(
  model: Model, key: jax.Array, num_repeats: int, k: int, names: tuple[str, ...] = ("mu", "b", "b_dreg")
) -> dict[str, jax.Array]:
  """Estimates with K samples, {name: [R, N, D]}, all from the same draws; for the names see the module's docstring."""
  n, dim = model.x.shape
  noise = math.sqrt(2 / 3) * jax.random.normal(key, (k, num_repeats * n, dim))  # [K, B, D], B = R N
  x = jnp.tile(model.x, (num_repeats, 1))
  z = x @ model.a.T + model.b + noise
  log_w = jnp.sum(-0.5 * (z - model.mu) ** 2 - 0.5 * (x - z) ** 2 + 0.75 * noise**2, -1)  # up to a constant
  terms = {
    "theta": z - model.mu,
    "path": -(z - model.mu) + (x - z) + 1.5 * noise,  # d log w / dz, and dz/db = I
    "score": 1.5 * noise,
  }

  def estimate(name):
    found = objectives.coefficients(*_ESTIMATORS[name], log_w, _OPTIONS)._asdict()
    parts = ("theta",) if name == "mu" else ("path", "score")
    total = sum(jnp.einsum("kb,kbd->bd", found[p], terms[p]) for p in parts if found[p] is not None)
    return total.reshape(num_repeats, n, dim)

  return {name: estimate(name) for name in names}


def moments(model: Model, key: jax.Array, setting: Setting, k: int, m: int) -> dict[str, np.ndarray]:
  """Mean and variance of the estimate averaged over the data points, for each part of the repeats.

  Returns:
    {"mu_mean", "mu_variance", ...}: [10, D] in float64.
  """
  n, dim = model.x.shape
  per_part = setting.repeats // PARTS
  largest = max(1, 2_000_000 // (n * k * m * dim))  # most repeats at once
  size = max(d for d in range(1, per_part + 1) if per_part % d == 0 and d <= largest)

  @jax.jit
  def sums(keys):
    def block(key):
      found = gradients(model, key, size * m, k, setting.estimators)
      found = {name: g.reshape(size, m, n, dim).mean(1) for name, g in found.items()}
      return {name: (g.sum(0), jnp.square(g).sum(0)) for name, g in found.items()}  # [N, D]

    return jax.lax.map(block, keys)

  found: dict[str, list] = {f"{name}_{what}": [] for name in setting.estimators for what in ("mean", "variance")}
  for part in range(PARTS):
    blocks = sums(jax.random.split(jax.random.fold_in(key, part), per_part // size))
    for name, (first, second) in blocks.items():
      mean = np.asarray(first, np.float64).sum(0) / per_part
      variance = (np.asarray(second, np.float64).sum(0) / per_part - mean**2) * per_part / (per_part - 1)
      found[f"{name}_mean"].append(mean.mean(0))
      found[f"{name}_variance"].append(variance.sum(0) / n**2)
  return {name: np.stack(a) for name, a in found.items()}


def pieces(setting: Setting) -> list[tuple[str, int, int]]:
  """(name, K, M) of every piece of the computation."""
  return [(f"k{k:05d}", k, 1) for k in setting.ks] + [(f"m{m:05d}", 1, m) for m in setting.ms]


def compute(folder: pathlib.Path, setting: Setting) -> None:
  """Computes the missing moments of every K and M."""
  model = make_model(setting)

  def make(k, m):
    return moments(model, jax.random.fold_in(jax.random.key(setting.seed + 1), 100_000 * m + k), setting, k, m)

  made = {name: functools.partial(make, k, m) for name, k, m in pieces(setting)}
  computed.write(folder, {"model": "linear-Gaussian", **setting._asdict()}, setting.seed, setting.repeats, made)


def signal(found: dict[str, np.ndarray], name: str, kept: np.ndarray, repeats: int) -> float:
  """|E[g]|^2 from the parts in the mask `kept` [10].

  The square of the estimated mean is too large by the estimate's variance, which is subtracted; it may be negative.
  """
  mean = found[f"{name}_mean"][kept].mean(0)
  error = found[f"{name}_variance"][kept].mean(0) * len(kept) / (repeats * kept.sum())
  return float((mean**2 - error).sum())


def variance(found: dict[str, np.ndarray], name: str, kept: np.ndarray, repeats: int) -> float:
  """The sum of the variances of all dimensions."""
  del repeats
  return float(found[f"{name}_variance"][kept].mean(0).sum())


def snr(found: dict[str, np.ndarray], name: str, kept: np.ndarray, repeats: int) -> float:
  """|E[g]| / sqrt(sum of variances), over all dimensions."""
  square = signal(found, _SIGNALS.get(name, name), kept, repeats)
  return math.sqrt(max(square, 0.0) / variance(found, name, kept, repeats))


def snr_by_dimension(found: dict[str, np.ndarray], name: str) -> np.ndarray:
  """|E[g]| / sd(g), [D]."""
  return np.abs(found[f"{_SIGNALS.get(name, name)}_mean"].mean(0)) / np.sqrt(found[f"{name}_variance"].mean(0))


def slope(counts: list[int], values: list[float]) -> float:
  """Slope of log value against log count, by least squares."""
  return float(np.polyfit(np.log(counts), np.log(np.maximum(values, 1e-300)), 1)[0])


def jackknife(of: Callable[[np.ndarray], float]) -> tuple[float, float]:
  """(`of` all parts, its jackknife standard error over parts); `of` maps the mask of kept parts [10] to a number."""
  without = [of(np.arange(PARTS) != i) for i in range(PARTS)]
  return of(WHOLE), float(np.std(without) * math.sqrt(PARTS - 1))


def slope_and_error(
  parts: list[dict[str, np.ndarray]], counts: list[int], name: str, repeats: int, of: Callable = snr
) -> tuple[float, float]:
  """(slope of `of`, which is snr or variance, against the counts; its standard error)."""
  return jackknife(lambda kept: slope(counts, [of(p, name, kept, repeats) for p in parts]))


def read(setting: Setting, folder: pathlib.Path) -> dict[str, dict[int, dict]]:
  """{"k" or "m": {count: moments}} of the finished pieces."""
  found: dict[str, dict[int, dict]] = {"k": {}, "m": {}}
  for name, k, m in pieces(setting):
    if (folder / f"{name}.npz").exists():
      found[name[0]][k * m] = files.load_arrays(folder / f"{name}.npz")
  return found
