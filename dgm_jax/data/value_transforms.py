"""Transforms of the values of x, entry by entry: to binary numbers, to [0, 1], to densities on the real line."""

import functools
import math

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.data.statistics import Statistics, per_example
from dgm_jax.data.transform import Transform, add_log_det


def _grey(x: jax.Array) -> jax.Array:
  """uint8 0..255, bool, or numbers in [0, 1] as float32 in [0, 1]."""
  return x.astype(jnp.float32) / (255.0 if x.dtype == jnp.uint8 else 1.0)


def _require_grey(name: str, train: Statistics) -> None:
  low, high = train.range
  errors.require(
    train.dtype in ("uint8", "bool") or (low >= 0 and high <= 1),
    f"Transform {name!r} takes grey levels (uint8), bool, or numbers in [0, 1]; x is {train.dtype} in "
    f"[{low:.4g}, {high:.4g}]. Other numbers take data.transforms=standardize and a likelihood of them, such as "
    "gaussian_bounded.",
  )


def binarize(train: Statistics, how: str, seed: int) -> Transform:
  """Binarises grey levels to 0 and 1, for Bernoulli decoders.

  dynamic: a fresh draw with mean x at every use (Salakhutdinov & Murray, 2008; Burda et al., 2016); epoch: one draw
  for each example and epoch; static: one fixed draw for each example, a function of `seed`; threshold: 1 above the
  middle.  Log-likelihoods under different binarisations, including Larochelle's fixed draw (the data set
  binarized_mnist), are not comparable.
  """
  check = functools.partial(_require_grey, "binarize")
  check(train)
  if how == "threshold":
    threshold = lambda x: (_grey(x) > 0.5).astype(jnp.float32)
    return Transform(lambda key, batch: batch | {"x": threshold(batch["x"])}, threshold, check=check)
  draw = lambda key, x: jax.random.bernoulli(key, _grey(x)).astype(jnp.float32)
  if how == "dynamic":
    return Transform(lambda key, batch: batch | {"x": draw(key, batch["x"])}, _grey, check=check)

  def fixed(key, batch):
    never = jnp.zeros_like(batch["index"])
    epoch = batch.get("epoch", never) if how == "epoch" else never
    return batch | {"x": per_example(draw, "binarize", seed, epoch, batch["index"])(batch["x"])}

  return Transform(fixed, _grey, check=check)


def scale(train: Statistics) -> Transform:
  """Scales grey levels and colours to [0, 1]."""
  check = functools.partial(_require_grey, "scale")
  check(train)
  return Transform(lambda key, batch: batch | {"x": _grey(batch["x"])}, _grey, check=check)


def dequantize(train: Statistics, levels: int, once: bool, seed: int) -> Transform:
  """(x + u) / levels with u ~ U[0, 1): maps integers 0 .. levels - 1 to a density on [0, 1] (Uria et al., 2013).

  u is fresh at every use, or, with `once`, one fixed draw for each example, a function of `seed`, as in the code of
  MAF (Papamakarios et al., 2017): a model then trains on real vectors, and can fit their noise.

  The density of the result bounds the log-probability of the integers: E_u log p(x') - D log levels <= log P(x) (Theis
  et al., 2016); - D log levels is added to log_det.
  """
  errors.require(2 <= levels <= 2**16, f"Transform 'dequantize': levels = {levels}; it must be 2 to 65536.")

  def check(found):
    low, high = found.range
    errors.require(
      found.is_integer and low >= 0 and high < levels,
      f"Transform 'dequantize' takes integers 0 .. {levels - 1}; x is {found.dtype} in [{low:.4g}, {high:.4g}].",
    )

  check(train)

  def apply(key, batch):
    x = batch["x"].astype(jnp.float32)
    noise = lambda key, x: jax.random.uniform(key, x.shape)
    fixed = per_example(noise, "dequantize", seed, jnp.zeros_like(batch["index"]), batch["index"])
    y = jnp.minimum((x + (fixed(x) if once else noise(key, x))) / levels, 1 - 2**-24)  # rounding may give 1
    return add_log_det(batch, jnp.full(x.shape, -math.log(levels))) | {"x": y}

  return Transform(apply, lambda x: (x.astype(jnp.float32) + 0.5) / levels, check=check)


def logit(train: Statistics, alpha: float) -> Transform:
  """logit(alpha + (1 - 2 alpha) x), from [0, 1] to the real line (Dinh et al., 2017); adds log |dy/dx| to log_det."""
  errors.require(1e-7 <= alpha < 0.5, f"Transform 'logit': alpha = {alpha}; it must be at least 1e-7, less than 0.5.")

  def check(found):
    low, high = found.range
    errors.require(
      low >= 0 and high <= 1,
      f"Transform 'logit' takes numbers in [0, 1]; x is in [{low:.4g}, {high:.4g}]. Put 'scale' or 'dequantize' first.",
    )

  check(train)
  squeeze = lambda x: alpha + (1 - 2 * alpha) * x
  logit = lambda p: jnp.log(p) - jnp.log1p(-p)

  def apply(key, batch):
    p = squeeze(batch["x"].astype(jnp.float32))
    log_det = math.log1p(-2 * alpha) - jnp.log(p) - jnp.log1p(-p)
    return add_log_det(batch, log_det) | {"x": logit(p)}

  return Transform(apply, lambda x: logit(squeeze(x.astype(jnp.float32))), check=check)


def standardize(train: Statistics) -> Transform:
  """(x - mean) / std for each feature, with statistics of the observed entries of the training split.

  A constant feature keeps its scale.  Adds - sum log std to log_det.
  """
  mean, std = jnp.asarray(train.mean, jnp.float32), jnp.asarray(train.std, jnp.float32)
  standardize = lambda x: (x.astype(jnp.float32) - mean) / std

  def apply(key, batch):
    x = standardize(batch["x"])
    return add_log_det(batch, jnp.broadcast_to(-jnp.log(std), x.shape)) | {"x": x}

  return Transform(apply, standardize)
