"""Named, pure, seeded transforms of batches, composed by name and applied inside the compiled step.

config.data.transforms = ("flip", "dequantize", "logit:alpha=1e-6", "standardize") applies them in this order; results
and metrics record the names.  A batch is a dict with x, `index` (the number of each example within the data set) and,
in training, `epoch`.  A transform works on a batch and, mapped over keys, on single examples.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.data import colours, conditioning, crops, missing_mechanisms, restacking
from dgm_jax.data import value_transforms as values
from dgm_jax.data.statistics import Statistics, per_example
from dgm_jax.data.transform import Transform


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
  "binarize": (values.binarize, {"how": ("dynamic", "epoch", "static", "threshold"), "seed": 0}),
  "scale": (values.scale, {}),
  "dequantize": (values.dequantize, {"levels": 256, "once": False, "seed": 0}),
  "logit": (values.logit, {"alpha": 1e-6}),
  "standardize": (values.standardize, {}),
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
