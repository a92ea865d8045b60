"""The classifier of a run, by which an evaluation of another run sees its samples."""

import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_features.features import Features, with_last_input
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import legacy_configs

_GREY = ("scale", "binarize")  # transforms that take numbers in [0, 1] as they take grey levels
_ONLY_TRAINING = ("flip", "restack")


def load(option: str, folder: str) -> Features:
  """The hidden units and class probabilities of the classifier in a run's folder.

  x is given as the other run's model sees it.  A classifier whose transforms begin with `scale` or `binarize` gets it
  through them, so that images in [0, 1] are what it was trained on; any other gets it as it is, and its run must have
  the transforms of the other one.

  Args:
    option: the option that names the folder, for the message.
    folder: of the run.

  Raises:
    UserError: the run is no classifier, or has no checkpoint.
  """
  place = pathlib.Path(folder)
  config = legacy_configs.read_config(place)
  errors.require(config is not None, f"{option} = {folder!r} holds no run (it has no config.json).")
  experiment, state = restore(ConfigDict(config), place)
  model = experiment.model
  count = getattr(model, "num_classes", None)
  errors.require(
    count is not None and hasattr(model, "summary"),
    f"{option} = {folder!r} is a run of {type(model).__module__.rpartition('.')[2]!r}, which is no classifier.",
  )
  names = [t.partition(":")[0] for t in config["data"]["transforms"]]
  names = [name for name in names if name not in _ONLY_TRAINING]
  transform = experiment.transforms.evaluate if names[:1] and names[0] in _GREY else lambda key, batch: batch
  variables, key = {"params": state.params, **state.variables}, jax.random.key(0)

  def embed(x: jax.Array) -> dict[str, jax.Array]:
    zeros = jnp.zeros(x.shape[0], jnp.int32)
    batch = transform(key, {"x": x, "index": zeros, "y": zeros})
    found, last = with_last_input(lambda: model.apply(variables, key, batch, method="summary"))
    return {"features": last, "probs": found["probs"]}

  classes = experiment.splits.about.get("classes")
  of_grey = (0.0, 1.0) if names[:1] and names[0] in _GREY else None
  name = f"{place.name}, {experiment.splits.train['x'].shape[0]:,} examples, step {int(state.step)}"
  shape = tuple(experiment.splits.train["x"].shape[1:])
  return Features(name, embed, shape, of_grey, count, classes=None if classes is None else tuple(map(str, classes)))
