"""What an experiment gives to metrics of samples: draws of its classes, and the modes of its data."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors


def conditional(experiment: Any) -> Callable:
  """(state, key, n) -> (x, classes [n]): draws of classes as frequent as in training, or uniform ones of a VAE."""
  model = experiment.model
  if hasattr(model, "discriminate") and isinstance(getattr(model, "num_classes", None), int):
    counts = jnp.bincount(jnp.asarray(experiment.splits.train["y"]).astype(jnp.int32), length=model.num_classes)

    def draw_of_game(state, key, n):
      classes = jax.random.categorical(jax.random.fold_in(key, 1), jnp.log(counts), shape=(n,))
      return experiment.system.sample(state, key, n, y=classes), classes

    return draw_of_game
  generate, count = getattr(type(model), "generate", None), getattr(model, "num_classes", None)
  names = () if generate is None else inspect.signature(generate).parameters
  errors.require(
    "context" in names and isinstance(count, int),
    "The metrics 'nearest', 'agreement' and 'by_class' need a class-conditional model, with num_classes and "
    "generate(key, n, context=...), or a game of two players that knows the classes: num_classes of 'gan', "
    "conditional = True of games of images.",
  )

  def draw(state, key, n):
    classes = jax.random.randint(jax.random.fold_in(key, 1), (n,), 0, count)
    bound = model.bind({"params": state.params, **state.variables})
    return bound.generate(key, n, context=jax.nn.one_hot(classes, count)), classes

  return draw


def known_modes(experiment: Any, key: jax.Array) -> tuple[np.ndarray, np.ndarray] | None:
  """(modes [C, 2], scales [2]) of data with known modes, after the transforms; None where there are none."""
  about = experiment.splits.about
  if "modes" not in about:
    return None
  errors.require(about["noise"] > 0, "The metric 'modes' counts samples within 3 noise; data.noise is 0.")
  centres = np.asarray(about["modes"], np.float32)
  moved = np.concatenate([centres, centres[:1] + about["noise"] * np.eye(centres.shape[1], dtype=np.float32)])
  arrays = {"x": moved, "y": np.zeros(len(moved), np.int32), "index": np.arange(len(moved), dtype=np.int32)}
  found = np.asarray(experiment.transforms.evaluate(key, jax.tree.map(jnp.asarray, arrays))["x"], np.float64)
  count = len(centres)
  return found[:count], np.abs(np.diag(found[count:] - found[0]))
