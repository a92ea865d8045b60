"""Planar flows fitted to the four energies of Rezende & Mohamed (2015): p(z) = exp(-U(z)) / Z in the plane.

The energies, with a wall around the window, are those of dgm_jax/distributions/energies.py.
"""

import functools
import math
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax.distributions.bijectors.planar import PlanarFlow
from dgm_jax.distributions.energies import ENERGIES, WINDOW, energy
from dgm_jax.experiments.harness import computed

BINS = 100  # of the pictures


class Setting(NamedTuple):
  """Setting of the fits.

  Attributes:
    lengths: numbers K of planar layers.
    steps, batch, rate: of RMSprop, with decay and momentum 0.9.
    temper_steps: log p is weighted by min(1, 0.01 + t / temper_steps) at step t.
    seeds: number of fits for each energy and length.
    draws: draws from each fitted flow, for its KL.
    pictured: draws from a flow, for its picture.
  """

  lengths: tuple[int, ...]
  steps: int
  batch: int
  rate: float
  temper_steps: int
  seeds: int
  draws: int = 200_000
  pictured: int = 1_000_000


def log_normaliser(name: str, n: int = 1201) -> float:
  """log Z by the trapezoid rule on n x n points of |z_d| <= 8, ten scales of the wall beyond the window."""
  side = np.linspace(-2 * WINDOW, 2 * WINDOW, n)
  z = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), -1), jnp.float32)
  density = np.exp(-np.asarray(energy(name, z), np.float64))
  return math.log(np.trapezoid(np.trapezoid(density, side), side))


def start(key: jax.Array, length: int) -> dict[str, jax.Array]:
  """Initial parameters: a flow near the identity with base N(0, I).

  Layers act as z + v tanh(w'z + b) with w'v = softplus(w'u) - 1, which is 0 at w'u = log(e - 1).
  """
  key_w, key_u = jax.random.split(key)
  w = jax.random.normal(key_w, (length, 2))
  u = math.log(math.e - 1) * w / jnp.sum(jnp.square(w), -1, keepdims=True)
  noise = 0.1 * jax.random.normal(key_u, (length, 2))
  return {"base": jnp.zeros(4), "w": w, "u": u + noise, "b": jnp.zeros(length)}


def fit(name: str, length: int, setting: Setting, key: jax.Array) -> dict[str, jax.Array]:
  """The flow's parameters after minimising KL(q || p) up to log Z, E_q[log q + weight_t U]."""
  tx = optax.rmsprop(setting.rate, decay=0.9, momentum=0.9)

  def loss(params, key, weight):
    z, log_q = PlanarFlow(**params).sample_and_log_prob(seed=key, sample_shape=(setting.batch,))
    return jnp.mean(log_q + weight * energy(name, z))

  def one(carry, t):
    params, state = carry
    weight = jnp.minimum(1.0, 0.01 + t / setting.temper_steps)
    grads = jax.grad(loss)(params, jax.random.fold_in(key, t), weight)
    updates, state = tx.update(grads, state, params)
    return (optax.apply_updates(params, updates), state), None

  params = start(jax.random.fold_in(key, setting.steps), length)
  (params, _), _ = jax.lax.scan(one, (params, tx.init(params)), jnp.arange(setting.steps))
  return params


def divergence(name: str, params: dict[str, jax.Array], key: jax.Array, draws: int) -> tuple[jax.Array, jax.Array]:
  """(E_q[log q + U], its standard error): KL(q || p) minus log Z."""
  z, log_q = PlanarFlow(**params).sample_and_log_prob(seed=key, sample_shape=(draws,))
  values = log_q + energy(name, z)
  return jnp.mean(values), jnp.std(values) / math.sqrt(draws)


def histogram(params: dict[str, jax.Array], key: jax.Array, draws: int) -> np.ndarray:
  """The density of q on BINS x BINS squares of the window, estimated from draws, [z_1, z_2]."""
  z = PlanarFlow(**params).sample(seed=key, sample_shape=(draws,))
  counts, *_ = np.histogram2d(*np.asarray(z).T, bins=BINS, range=[[-WINDOW, WINDOW]] * 2)
  return (counts / (draws * (2 * WINDOW / BINS) ** 2)).astype(np.float32)


def fitted(name: str, length: int, setting: Setting) -> dict[str, np.ndarray]:
  """{"kl" [S], "kl_error" [S], "density" of the best of the S fits}."""
  key = jax.random.fold_in(jax.random.key(length), sorted(ENERGIES).index(name))
  keys = jax.random.split(key, setting.seeds)

  @jax.jit
  @jax.vmap
  def one(key):
    params = fit(name, length, setting, jax.random.fold_in(key, 0))
    return params, divergence(name, params, jax.random.fold_in(key, 1), setting.draws)

  params, (value, error) = one(keys)
  kl = np.asarray(value, np.float64) + log_normaliser(name)
  best = jax.tree.map(lambda a: a[int(np.argmin(kl))], params)
  return {"kl": kl, "kl_error": np.asarray(error), "density": histogram(best, key, setting.pictured)}


def pieces(setting: Setting) -> list[tuple[str, str, int]]:
  """(file name, energy, length) of every fit."""
  return [(f"{name}_{length:02d}", name, length) for name in ENERGIES for length in setting.lengths]


def compute(folder: pathlib.Path, setting: Setting) -> None:
  """Computes the missing fits, a file for each energy and length."""
  made = {file: functools.partial(fitted, name, length, setting) for file, name, length in pieces(setting)}
  config = {"model": "planar flows of energies", **setting._asdict()}
  computed.write(folder, config, 0, setting.steps, made, what="fits")
