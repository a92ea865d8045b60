"""Mechanisms that make entries missing: completely at random, at random, not at random (Rubin, 1976).

Each returns draw(key, x of one example) -> mask, 1 where x stays observed.  The parameters depend on the seed and the
training set, on which the expected rate of missing entries is `rate`; the mask of an example is a function of
(seed, index), so that missing entries stay missing throughout training.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.statistics import Statistics


def _check(name: str, rate: float) -> None:
  errors.require(0 <= rate < 1, f"Transform {name!r}: rate = {rate}; it must be at least 0 and less than 1.")


def mcar(train: Statistics, rate: float, seed: int) -> Callable:
  """Completely at random: every entry is missing with probability `rate`."""
  del train, seed
  _check("mcar", rate)
  return lambda key, x: jax.random.bernoulli(key, 1 - rate, x.shape).astype(jnp.float32)


def _intercepts(logits: np.ndarray, rate: float) -> np.ndarray:
  """b [D] with mean_n sigmoid(logits[n, d] + b[d]) = rate, by bisection."""
  low, high = np.full(logits.shape[1], -100.0), np.full(logits.shape[1], 100.0)
  for _ in range(60):
    middle = (low + high) / 2
    too_many = (0.5 * (1 + np.tanh((logits + middle) / 2))).mean(0) > rate
    low, high = np.where(too_many, low, middle), np.where(too_many, middle, high)
  return (low + high) / 2


def mar(train: Statistics, rate: float, observed: float, seed: int) -> Callable:
  """At random: a share `observed` of the features is always observed, and decides which others are missing.

  P(d missing | x) = sigmoid(w_d' z + b_d), z the standardised observed features, w_d ~ N(0, I) scaled to unit variance
  of w_d' z, b_d such that each of the other features is missing at `rate` (as in Muzellec et al., 2020, section 4).
  """
  _check("mar", rate)
  errors.require(0 < observed < 1, f"Transform 'mar': observed = {observed}; it must be between 0 and 1.")
  features = math.prod(train.shape)
  errors.require(2 <= features <= 4096, f"Transform 'mar' is for tables of 2 to 4096 features; x has {features}.")
  rng = np.random.RandomState(seed)
  count = min(features - 1, max(1, round(observed * features)))
  seen, rest = np.split(rng.permutation(features), [count])
  directions = rng.standard_normal((count, features - count))

  def fit(z):
    scale = (z[:, seen] @ directions).std(0)
    weights = directions / np.where(scale > 0, scale, 1)
    return weights, _intercepts(z[:, seen] @ weights, rate)

  weights, bias = train.calibrated(fit)
  mean, std = (a.ravel().astype(np.float32) for a in (train.mean, train.std))

  def draw(key, x):
    logits = ((x.ravel() - mean) / std)[seen] @ weights.astype(np.float32) + bias.astype(np.float32)
    stays = jax.random.bernoulli(key, jax.nn.sigmoid(-logits)).astype(jnp.float32)
    return jnp.ones(features).at[rest].set(stays).reshape(x.shape)

  return draw


def mnar(train: Statistics, rate: float, slope: float, seed: int) -> Callable:
  """Not at random, self-masking: large values hide themselves (Ipsen, Mattei & Frellsen, 2021).

  P(d missing | x) = sigmoid(slope z_d + b_d), z standardised, b_d such that each feature is missing at `rate`; a large
  slope makes it a threshold, a negative one hides small values.
  """
  del seed
  _check("mnar", rate)
  [bias] = train.calibrated(lambda z: (_intercepts(slope * z, rate).astype(np.float32),))
  mean, std = (a.ravel().astype(np.float32) for a in (train.mean, train.std))

  def draw(key, x):
    logits = slope * (x.ravel() - mean) / std + bias
    return jax.random.bernoulli(key, jax.nn.sigmoid(-logits)).astype(jnp.float32).reshape(x.shape)

  return draw


def above_mean(train: Statistics, offset: float, share: float) -> Callable:
  """Not at random: in the first `share` of the features, values more than offset std above the mean are missing.

  Ipsen, Mattei & Frellsen (2021): half of the features with offset 0; their appendix E has other offsets.
  """
  errors.require(0 < share <= 1, f"Transform 'above_mean': share = {share}; it must be more than 0, at most 1.")
  count = int(share * math.prod(train.shape))
  errors.require(count >= 1, f"Transform 'above_mean': share = {share} selects no feature of {math.prod(train.shape)}.")
  limit = np.asarray(train.mean + offset * train.std, np.float32).ravel()
  limit[count:] = np.inf
  return lambda key, x: (x <= limit.reshape(x.shape)).astype(jnp.float32)


def mar_top(train: Statistics, seed: int) -> Callable:
  """At random, for images: parts of the top half are missing, depending on the bottom half, which is always observed.

  h = mean of the bottom half + 0.3, at most 1;   pi ~ Binomial(2, h): 0 hides the second quarter of the rows, 1 the
  first two, 2 the first (as in github.com/federicobergamin/MIWAE-PyTorch, for binary digits).
  """
  del seed
  low, high = train.range
  errors.require(
    len(train.shape) == 3 and train.shape[0] % 4 == 0 and low >= 0 and high <= 1,
    f"Transform 'mar_top' is for images [H, W, C] in [0, 1] with H a multiple of 4; x has shape {list(train.shape)} in "
    f"[{low:.4g}, {high:.4g}].",
  )
  height = train.shape[0]
  quarter = np.arange(height) * 4 // height  # the quarter of each row
  hides = np.stack([quarter == 1, quarter < 2, quarter == 0])

  def draw(key, x):
    h = jnp.minimum(jnp.mean(x[height // 2 :]) + 0.3, 1.0)
    pi = jnp.sum(jax.random.bernoulli(key, h, (2,)))
    rows = 1.0 - jnp.asarray(hides, jnp.float32)[pi]
    return jnp.broadcast_to(rows[:, None, None], x.shape)

  return draw
