"""Emission distributions p(x_t | z_t) of a hidden Markov model with C states: normal vectors, or symbols.

Both families have the same methods; params is a dict with the names of `initial`, x holds the N steps of all
sequences, and w [C, N] is the weight of a step in a state.

  initial(mean, num_states)       -> {name: key -> array}, initialisers of the parameters
  start(key, x, num_states)       -> params to start EM from
  log_prob(params, x)             -> log p(x | c), [N, C]
  sums(params, x, w)              -> what `update` needs, sums over the steps
  update(params, s)               -> params that maximise the expected log p(x, z) - penalty + log_prior
  move(params, s, new)            -> s in the coordinates of the new params
  penalty(params)                 -> r [C]: EM maximises the likelihood with p(x, z) exp(-sum_t r(z_t))
  log_prior(params)               -> log-prior of params up to a constant
  copied(key, params, source, empty) -> each state a copy of source [C], with `empty` [C] ones moved
  expected(params, weights [N, C]) -> E[x], or the most probable symbol, for these weights of the states
  draw(key, params, states [N])   -> x ~ p(x | c)
  size(num_states)                -> number of free parameters
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.models.mixtures import base, covariances
from dgm_jax.models.mixtures.base import Params, log_shares
from dgm_jax.models.mixtures.located import draw_normal, log_normal

SEEDINGS = ("kmeans", "random")
_LLOYD = 10  # passes of Lloyd's algorithm


def _lloyd(x: jax.Array, means: jax.Array) -> jax.Array:
  """Means [C, D] after _LLOYD passes of k-means from `means`."""

  def step(means, _):
    own = jax.nn.one_hot(jnp.argmin(base.distances(x, means), 1), means.shape[0], dtype=x.dtype, axis=0)
    count = jnp.sum(own, 1, keepdims=True)
    return jnp.where(count > 0, own @ x / jnp.maximum(count, 1), means), None

  return jax.lax.scan(step, means, length=_LLOYD)[0]


class Gaussian(NamedTuple):
  """x ~ N(mean_c, covariance_c), x [N, D]; covariance and floor as in located.Located.

  Attributes:
    dim: D.
    covariance: a name of covariances.KINDS.
    floor: e in the penalty e/2 tr(covariance_c^-1).
    seeding: initial means: "kmeans", k-means++ and Lloyd's algorithm on the steps, or "random", random steps.
  """

  dim: int
  covariance: str
  floor: float
  seeding: str

  @property
  def _kind(self) -> covariances.Kind:
    return covariances.KINDS[self.covariance]

  def initial(self, mean: jax.Array, num_states: int) -> dict[str, Callable]:
    means = lambda key: mean + 0.1 * jax.random.normal(key, (num_states, self.dim))
    return {"means": means, "roots": lambda key: jnp.asarray(self._kind.start(jnp.ones(self.dim), num_states))}

  def start(self, key: jax.Array, x: jax.Array, num_states: int) -> Params:
    if self.seeding == "kmeans":
      means = _lloyd(x, base.spread_out(key, x, num_states))
    else:
      means = base.random_rows(key, x, num_states)
    return {"means": means, "roots": self._kind.start(base.scale_about(x, means, self.floor), num_states)}

  def log_prob(self, params: Params, x: jax.Array) -> jax.Array:
    return log_normal(self._kind, x, params["means"], params["roots"])

  def sums(self, params: Params, x: jax.Array, w: jax.Array) -> covariances.Moments:
    return self._kind.moments(x, params["means"], params["roots"], w)

  def update(self, params: Params, s: covariances.Moments) -> Params:
    means, roots = self._kind.update(params["means"], params["roots"], s, s.weight, self.floor)
    return {"means": means, "roots": roots}

  def move(self, params: Params, s: covariances.Moments, new: Params) -> covariances.Moments:
    return self._kind.move(s, params["means"], params["roots"], new["means"], new["roots"])

  def penalty(self, params: Params) -> jax.Array:
    return 0.5 * self.floor * self._kind.trace_inverse(params["roots"], self.dim)

  def log_prior(self, params: Params) -> jax.Array | float:
    return 0.0

  def copied(self, key: jax.Array, params: Params, source: jax.Array, empty: jax.Array) -> Params:
    roots = params["roots"] if self.covariance == "tied" else params["roots"][source]
    new = {"means": params["means"][source], "roots": roots}
    elsewhere = self.draw(key, new, jnp.arange(source.shape[0]))
    return new | {"means": jnp.where(empty[:, None], elsewhere, new["means"])}

  def expected(self, params: Params, weights: jax.Array) -> jax.Array:
    return weights @ params["means"]

  def draw(self, key: jax.Array, params: Params, states: jax.Array) -> jax.Array:
    return draw_normal(key, self._kind, params["means"], params["roots"], states)

  def size(self, num_states: int) -> int:
    return num_states * self.dim + self._kind.size(num_states, self.dim)

  @property
  def support(self) -> tuple[float, float]:
    """The range of x."""
    return -math.inf, math.inf


class Categorical(NamedTuple):
  """x ~ p_c, x [N, 1] in 0 .. S - 1.

  Attributes:
    num_symbols: S.
    smoothing: pseudo-counts s, a prior Dirichlet(1 + s) on each p_c.
  """

  num_symbols: int
  smoothing: float

  def _one_hot(self, x: jax.Array, dtype) -> jax.Array:
    return jax.nn.one_hot(x[:, 0].astype(jnp.int32), self.num_symbols, dtype=dtype)

  def initial(self, mean: jax.Array, num_states: int) -> dict[str, Callable]:
    del mean
    logits = lambda key: 0.1 * jax.random.normal(key, (num_states, self.num_symbols))
    return {"log_emission": lambda key: jax.nn.log_softmax(logits(key))}

  def start(self, key: jax.Array, x: jax.Array, num_states: int) -> Params:
    """The mean of the frequencies in all steps and of these with random weights, in each state."""
    frequency = jnp.mean(self._one_hot(x, jnp.promote_types(x.dtype, jnp.float32)), 0)
    weighted = frequency * jax.random.exponential(key, (num_states, self.num_symbols), frequency.dtype)
    return {"log_emission": log_shares(frequency + weighted / jnp.sum(weighted, 1, keepdims=True))}

  def _rows(self, params: Params) -> jax.Array:
    return jax.nn.log_softmax(params["log_emission"])  # a gradient step does not keep them normalised

  def log_prob(self, params: Params, x: jax.Array) -> jax.Array:
    return self._rows(params).T[x[:, 0].astype(jnp.int32)]

  def sums(self, params: Params, x: jax.Array, w: jax.Array) -> jax.Array:
    """Expected counts of each symbol in each state, [C, S]."""
    del params
    return w @ self._one_hot(x, w.dtype)

  def update(self, params: Params, s: jax.Array) -> Params:
    del params
    return {"log_emission": log_shares(s, self.smoothing)}

  def move(self, params: Params, s: jax.Array, new: Params) -> jax.Array:
    del params, new
    return s

  def penalty(self, params: Params) -> jax.Array:
    return jnp.zeros((), params["log_emission"].dtype)

  def log_prior(self, params: Params) -> jax.Array:
    return self.smoothing * jnp.sum(self._rows(params))

  def copied(self, key: jax.Array, params: Params, source: jax.Array, empty: jax.Array) -> Params:
    """An empty state is the mean of its source and one symbol drawn from it."""
    copy = params["log_emission"][source]
    symbol = jax.nn.one_hot(jax.random.categorical(key, copy), self.num_symbols, dtype=copy.dtype)
    return {"log_emission": jnp.where(empty[:, None], log_shares(jnp.exp(copy) + symbol), copy)}

  def expected(self, params: Params, weights: jax.Array) -> jax.Array:
    return jnp.argmax(weights @ jnp.exp(self._rows(params)), 1)

  def draw(self, key: jax.Array, params: Params, states: jax.Array) -> jax.Array:
    return jax.random.categorical(key, params["log_emission"][states])

  def size(self, num_states: int) -> int:
    return num_states * (self.num_symbols - 1)

  @property
  def support(self) -> tuple[float, float]:
    """The range of x."""
    return 0.0, self.num_symbols - 1.0
