"""Named, pure, seeded transforms of batches, composed by name and applied inside the compiled step.

config.data.transforms = ("flip", "dequantize", "logit:alpha=1e-6", "standardize") applies them in this order; results
and metrics record the names.  A batch is a dict with x, `index` (the number of each example within the data set) and,
in training, `epoch`.  A transform works on a batch and, mapped over keys, on single examples.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.data import colours, conditioning, crops, missing_mechanisms, restacking
from dgm_jax.data.statistics import Statistics, per_example


class Transform(NamedTuple):
  """One transform.

  Attributes:
    apply: (key, batch) -> batch.
    expect: x -> x' without noise: E[x'] for a transform that is linear in its noise, else an approximation.
    only_training: whether it is applied in training but not in evaluation.
    check: raises UserError if the x of some statistics is not what the transform takes.
    keeps: x or a mask -> its entries that remain.
    given: the columns that become a context.
  """

  apply: Callable
  expect: Callable = lambda x: x
  only_training: bool = False
  check: Callable[[Statistics], None] = lambda found: None
  keeps: Callable = lambda a: a
  given: tuple[int, ...] = ()


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


def add_log_det(batch: dict, log_det: jax.Array) -> dict:
  """The batch with elementwise log-derivatives, summed over the observed entries of each example, added to log_det."""
  axes = tuple(range(jnp.ndim(batch["index"]), log_det.ndim))
  return batch | {"log_det": batch.get("log_det", 0.0) + jnp.sum(log_det * batch.get("mask", 1.0), axes)}


def _binarize(train: Statistics, how: str, seed: int) -> Transform:
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


def _scale(train: Statistics) -> Transform:
  """Scales grey levels and colours to [0, 1]."""
  check = functools.partial(_require_grey, "scale")
  check(train)
  return Transform(lambda key, batch: batch | {"x": _grey(batch["x"])}, _grey, check=check)


def _dequantize(train: Statistics, levels: int, once: bool, seed: int) -> Transform:
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


def _logit(train: Statistics, alpha: float) -> Transform:
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


def _standardize(train: Statistics) -> Transform:
  """(x - mean) / std for each feature, with statistics of the observed entries of the training split.

  A constant feature keeps its scale.  Adds - sum log std to log_det.
  """
  mean, std = jnp.asarray(train.mean, jnp.float32), jnp.asarray(train.std, jnp.float32)
  standardize = lambda x: (x.astype(jnp.float32) - mean) / std

  def apply(key, batch):
    x = standardize(batch["x"])
    return add_log_det(batch, jnp.broadcast_to(-jnp.log(std), x.shape)) | {"x": x}

  return Transform(apply, standardize)


def _standardize_targets(train: Statistics) -> Transform:
  """y' = (y - mean) / std, with statistics of the training split; y = batch["y_loc"] + batch["y_scale"] y'."""
  loc, scale = train.target_moments
  loc, scale = jnp.asarray(loc, jnp.float32), jnp.asarray(scale, jnp.float32)

  def apply(key, batch):
    y = batch["y"].astype(jnp.float32)
    return batch | {"y": (y - loc) / scale, "y_loc": jnp.full_like(y, loc), "y_scale": jnp.full_like(y, scale)}

  return Transform(apply)


def _flip(train: Statistics) -> Transform:
  """Mirrors each image left to right with probability 1/2, in training only."""
  errors.require(len(train.shape) == 3, f"Transform 'flip' takes images [H, W, C]; x has shape {list(train.shape)}.")

  def apply(key, batch):
    x = batch["x"]
    flipped = jax.random.bernoulli(key, shape=x.shape[:-3])[..., None, None, None]
    return batch | {"x": jnp.where(flipped, x[..., ::-1, :], x)}

  return Transform(apply, only_training=True)


def _lightness(train: Statistics) -> Transform:
  """x = (a, b) / 110 and batch["context"] = L / 50 - 1 of colours, in [-1, 1]; see colours.py."""
  return Transform(*colours.make(train))


def _pad(train: Statistics, size: int) -> Transform:
  """Zeros around each image, to size x size, the odd row and column at the end; for networks of certain sizes."""
  errors.require(len(train.shape) == 3, f"Transform 'pad' takes images [H, W, C]; x has shape {list(train.shape)}.")
  errors.require(
    max(train.shape[:2]) <= size <= 4096,
    f"Transform 'pad': size = {size}; the images are of {train.shape[0]} x {train.shape[1]} pixels already. Of a "
    "folder, data.image_size is the size to which they are scaled.",
  )
  sides = [((size - n) // 2, size - n - (size - n) // 2) for n in train.shape[:2]]
  pad = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [*sides, (0, 0)])

  def apply(key, batch):
    changed = {name: pad(batch[name]) for name in ("mask",) if name in batch}
    return batch | changed | {"x": pad(batch["x"])}

  return Transform(apply, pad)


def _crop(train: Statistics, length: int) -> Transform:
  """`length` consecutive entries of each sequence; see crops.py."""
  return Transform(*crops.make(train.shape, length))


def _restack(train: Statistics) -> Transform:
  """Combines the digits of stacked_mnist afresh at every training step; see restacking.py."""
  return Transform(restacking.make(train.shape, train.num_classes), only_training=True)


def _condition(train: Statistics, columns: str, names: Sequence[str] = ()) -> Transform:
  """batch["context"] = the label y as a one-hot vector [C], or columns of a table; see conditioning.py."""
  if columns:
    return Transform(*conditioning.make(train, columns, names))
  classes = train.num_classes
  return Transform(lambda key, batch: batch | {"context": jax.nn.one_hot(batch["y"], classes)})


def _labelled(train: Statistics, per_class: int) -> Transform:
  """In training, y = -1 except for the first `per_class` examples of each class, for semi-supervised learning."""
  errors.require(per_class >= 1, f"Transform 'labelled': per_class = {per_class}; it must be 1 or more.")
  y = train._arrays.get("y")
  errors.require(
    y is not None and jnp.issubdtype(y.dtype, jnp.integer),
    "Transform 'labelled' takes class labels; this data set has none (y is missing, or not an integer).",
  )
  order = jnp.argsort(jnp.asarray(y), stable=True)
  ordered = jnp.asarray(y)[order]
  rank = jnp.arange(len(y)) - jnp.searchsorted(ordered, ordered)  # within its class
  keeps = jnp.zeros(len(y), bool).at[order].set(rank < per_class)
  apply = lambda key, batch: batch | {"y": jnp.where(keeps[batch["index"]], batch["y"], -1)}
  return Transform(apply, only_training=True)


def _missing(name: str, mechanism: Callable) -> Callable:
  """Hides entries, with `training` in training only: x is 0 where mask is 0, `complete` is all of x, `hidden` 1."""

  def make(train: Statistics, training: bool = False, **options) -> Transform:
    draw = mechanism(train, **options)

    def apply(key, batch):
      x = batch["x"].astype(jnp.float32)
      seen = batch.get("mask", jnp.ones_like(x))
      never = jnp.zeros_like(batch["index"])  # the mask is the same in every epoch
      mask = seen * per_example(draw, name, options.get("seed", 0), never, batch["index"])(x)
      return batch | {"x": x * mask, "mask": mask, "hidden": seen - mask, "complete": x}

    return Transform(apply, lambda x: x.astype(jnp.float32), training)

  return make


# name -> (factory, its options: a tuple lists the choices, any other value is the default)
TRANSFORMS = {
  "binarize": (_binarize, {"how": ("dynamic", "epoch", "static", "threshold"), "seed": 0}),
  "scale": (_scale, {}),
  "dequantize": (_dequantize, {"levels": 256, "once": False, "seed": 0}),
  "logit": (_logit, {"alpha": 1e-6}),
  "standardize": (_standardize, {}),
  "standardize_targets": (_standardize_targets, {}),
  "flip": (_flip, {}),
  "lightness": (_lightness, {}),
  "pad": (_pad, {"size": 32}),
  "crop": (_crop, {"length": 65}),
  "restack": (_restack, {}),
  "condition": (_condition, {"columns": ""}),
  "labelled": (_labelled, {"per_class": 10}),
  "mcar": (_missing("mcar", missing_mechanisms.mcar), {"rate": 0.5, "seed": 0, "training": False}),
  "mar": (_missing("mar", missing_mechanisms.mar), {"rate": 0.5, "observed": 0.3, "seed": 0}),
  "mar_top": (_missing("mar_top", missing_mechanisms.mar_top), {"seed": 0, "training": False}),
  "mnar": (_missing("mnar", missing_mechanisms.mnar), {"rate": 0.5, "slope": 4.0, "seed": 0}),
  "above_mean": (_missing("above_mean", missing_mechanisms.above_mean), {"offset": 0.0, "share": 0.5}),
}
