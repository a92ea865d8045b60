"""The linear-Gaussian model of Rainforth et al. (2018), and the signal-to-noise ratio of its gradient estimates.

  z ~ N(mu, I),   x | z ~ N(z, I),   q(z|x) = N(A x + b, 2/3 I)

At the optimum A = I/2, b = mu/2, and mu is the mean of the data.  The generative network is mu, the inference network
b; both are perturbed.
"""

import json
import math
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import errors, figures, objectives
from dgm_jax import workdir as wd
from dgm_jax.latent_options import Options
from dgm_jax.lock import locked

PARTS = 10  # of the repeats, for standard errors
_OPTIONS = Options()._asdict()
_NAMES = ("mu", "b", "b_dreg")


class Setting(NamedTuple):
  """Of the toy.

  Attributes:
    points: data points N.
    repeats: gradient estimates for each of them.
    ks, ms: numbers of samples, K with M = 1 and M with K = 1.
    dim, perturbation, seed: of the model.
    perturb_a: whether A is perturbed, too.  It takes q(z|x) further from the posterior the larger x is; for K near 10
      the O(1/K) bias of the bound then shows in the mean of mu's gradient, whose SNR rises less than sqrt(K) there.
  """

  points: int
  repeats: int
  ks: tuple[int, ...]
  ms: tuple[int, ...]
  dim: int = 20
  perturbation: float = 0.01
  seed: int = 0
  perturb_a: bool = False


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


def gradients(model: Model, key: jax.Array, num_repeats: int, k: int) -> dict[str, jax.Array]:
  """Estimates of the gradient of the bound by K samples, [R, N, D] each.

  Returns:
    "mu", of the generative network; "b", of the inference network, reparameterised; "b_dreg", doubly so.
  """
  n, dim = model.x.shape
  noise = math.sqrt(2 / 3) * jax.random.normal(key, (k, num_repeats * n, dim))  # [K, B, D], B = R N
  x = jnp.tile(model.x, (num_repeats, 1))
  z = x @ model.a.T + model.b + noise
  log_w = jnp.sum(-0.5 * (z - model.mu) ** 2 - 0.5 * (x - z) ** 2 + 0.75 * noise**2, -1)  # but for a constant
  path = -(z - model.mu) + (x - z) + 1.5 * noise  # d log w / dz, and dz/db = I
  plain = objectives.coefficients("iwae", "reparameterised", log_w, _OPTIONS)
  dreg = objectives.coefficients("iwae", "dreg", log_w, _OPTIONS)
  total = lambda weights, terms: jnp.einsum("kb,kbd->bd", weights, terms).reshape(num_repeats, n, dim)
  return {
    "mu": total(plain.theta, z - model.mu),
    "b": total(plain.path, path) + total(plain.score, 1.5 * noise),
    "b_dreg": total(dreg.path, path),
  }


def moments(model: Model, key: jax.Array, setting: Setting, k: int, m: int) -> dict[str, np.ndarray]:
  """Mean and variance of the estimate averaged over the data points, for each part of the repeats.

  Returns:
    {"mu_mean", "mu_variance", ...}: [10, D] in float64.
  """
  n, dim = model.x.shape
  per_part = setting.repeats // PARTS
  largest = max(1, 2_000_000 // (n * k * m * dim))  # repeats at once
  size = max(d for d in range(1, per_part + 1) if per_part % d == 0 and d <= largest)

  @jax.jit
  def sums(keys):
    def block(key):
      found = gradients(model, key, size * m, k)
      found = {name: g.reshape(size, m, n, dim).mean(1) for name, g in found.items()}
      return {name: (g.sum(0), jnp.square(g).sum(0)) for name, g in found.items()}  # [N, D]

    return jax.lax.map(block, keys)

  found: dict[str, list] = {f"{name}_{what}": [] for name in _NAMES for what in ("mean", "variance")}
  for part in range(PARTS):
    blocks = sums(jax.random.split(jax.random.fold_in(key, part), per_part // size))
    for name, (first, second) in blocks.items():
      mean = np.asarray(first, np.float64).sum(0) / per_part
      variance = (np.asarray(second, np.float64).sum(0) / per_part - mean**2) * per_part / (per_part - 1)
      found[f"{name}_mean"].append(mean.mean(0))
      found[f"{name}_variance"].append(variance.sum(0) / n**2)
  return {name: np.stack(a) for name, a in found.items()}


def pieces(setting: Setting) -> list[tuple[str, int, int]]:
  """(name, K, M) of all that is drawn."""
  return [(f"k{k:05d}", k, 1) for k in setting.ks] + [(f"m{m:05d}", 1, m) for m in setting.ms]


def compute(folder: pathlib.Path, setting: Setting) -> None:
  """Draws what is not there yet, a file for each K and M; results.json says that all are."""
  config = {"model": "linear-Gaussian", **setting._asdict()}
  old = wd.read_json(folder / "config.json") if folder.is_dir() else None
  errors.require(old in (None, json.loads(json.dumps(config))), f"{folder} holds draws of another setting: {old}.")
  if (folder / "results.json").exists():
    return
  wd.create(folder, config)
  with locked(folder):
    record, model = wd.RunRecord(folder, setting.seed, 0), make_model(setting)
    with record.timed("total"):
      for name, k, m in pieces(setting):
        if not (folder / f"{name}.npz").exists():
          with record.timed(name):
            key = jax.random.fold_in(jax.random.key(setting.seed + 1), 100_000 * m + k)
            figures.save_arrays(folder / f"{name}.npz", **moments(model, key, setting, k, m))
          print(f"  K = {k}, M = {m}", flush=True)
    record.finish()
    wd.write_json(folder / "results.json", {"seed": setting.seed, "step": setting.repeats})


def snr(found: dict[str, np.ndarray], name: str, kept: np.ndarray, repeats: int) -> tuple[float, np.ndarray]:
  """(over all dimensions, of each dimension [D]) from the parts that are `kept` [10].

  The square of the estimated mean is too large by the variance of the estimate, which is taken out.
  """
  variance = found[f"{name}_variance"][kept].mean(0)
  signal = "b_dreg" if name == "b" else name
  mean = found[f"{signal}_mean"][kept].mean(0)
  error = found[f"{signal}_variance"][kept].mean(0) * len(kept) / (repeats * kept.sum())
  total = max(float((mean**2 - error).sum()), 0.0)
  return math.sqrt(total / variance.sum()), np.abs(mean) / np.sqrt(variance)


def slope(counts: list[int], values: list[float]) -> float:
  """Of log value against log count."""
  return float(np.polyfit(np.log(counts), np.log(np.maximum(values, 1e-300)), 1)[0])


def slope_and_error(parts: list[dict[str, np.ndarray]], counts: list[int], name: str, repeats: int) -> tuple:
  """(slope, its jackknife standard error over the parts of the repeats)."""
  whole = np.ones(PARTS, bool)
  fit = lambda kept: slope(counts, [snr(p, name, kept, repeats)[0] for p in parts])
  without = [fit(np.arange(PARTS) != i) for i in range(PARTS)]
  return fit(whole), float(np.std(without) * math.sqrt(PARTS - 1))
