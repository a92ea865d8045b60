"""Draws of a trained model: of p(x), also with truncated probabilities, and of the missing entries of examples."""

import inspect
import math
import numbers
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, memory, rng
from dgm_jax.core.batches import Arrays
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.data import conditioning
from dgm_jax.data.files import tokens
from dgm_jax.data.sets import array
from dgm_jax.evaluate import image_games
from dgm_jax.models.base import support

_ROWS = 64  # examples that are completed at once


def _bound(experiment: Any, state: Any) -> Any:
  return experiment.model.bind({"params": state.params, **state.variables})


_OF_GAMES = ("y", "truncation")  # options of games of two players


def _check_game(model: Any, name: str, options: Mapping[str, Any]) -> None:
  """`check` for the options of games of two players."""
  is_game = hasattr(model, "latent") and hasattr(model, "discriminate")
  for option in options:
    errors.require(is_game, f"{option} is for games of two players, such as model biggan; {name!r} is none.")
  if (y := options.get("y")) is not None:
    classes = getattr(model, "num_classes", None)
    errors.require(classes is not None, f"y = {y}: model {name!r} of this run is not conditional on a class.")
    errors.require(
      isinstance(y, numbers.Integral) and 0 <= y < classes,
      f"y = {y}; the classes of model {name!r} are 0 .. {(classes or 0) - 1}.",
    )
  if (bound := options.get("truncation")) is not None:
    errors.require(bound > 0, f"truncation = {bound}; it must be positive.")
    normal = image_games.takes_truncation(model)
    errors.require(normal, f"truncation = {bound} is for normal noise; model {name!r} of this run has another.")


def check(model: Any, name: str, options: Mapping[str, Any]) -> None:
  """Raises UserError unless draws of the model take these options: temperature, top_k, top_p; y, truncation.

  Args:
    model: a Flax module.
    name: of the model, for the message.
    options: those that are given.
  """
  _check_game(model, name, {k: v for k, v in options.items() if k in _OF_GAMES})
  options = {k: v for k, v in options.items() if k not in _OF_GAMES}
  takes = inspect.signature(type(model).generate).parameters if hasattr(model, "generate") else {}
  for option in options:
    errors.require(
      option in takes,
      f"--{option} is for autoregressive models with entries of finitely many values; model {name!r} has no {option}.",
    )


def make(experiment: Any, options: Mapping[str, Any]) -> Callable:
  """(state, key, n) -> n draws of x, [n, ...], with the options of the model's `generate`; see `check`."""
  if not options:
    return experiment.system.sample
  if set(options) <= set(_OF_GAMES):
    return _make_of_game(experiment.system, options.get("y"), options.get("truncation"))
  return lambda state, key, n: _bound(experiment, state).generate(key, n, **options)


def _make_of_game(system: Any, y: int | None, truncation: float | None) -> Callable:
  """`make` for two players: with a truncation the statistics of batch normalisation are pooled for it."""

  def draw(state, key, n):
    if truncation is not None and system.prepare is not None:
      state = system.prepare(state, rng.stream(jax.random.key(0), "prepare"), truncation=truncation)
    return system.sample(state, key, n, y=None if y is None else jnp.full(n, y), truncation=truncation)

  return draw


def samples(experiment: Any, state: Any, key: jax.Array, n: int, name: str, options: Mapping[str, Any]) -> Any:
  """n draws of x, [n, ...].

  Raises:
    UserError: a conditional model, which has no x to draw; options that the model does not take; too little memory.
  """
  errors.require(
    experiment.system.sample is not None, f"Model {name!r} is a conditional model p(y given x): it cannot sample x."
  )
  check(experiment.model, name, options)
  draw = jax.jit(make(experiment, options), static_argnums=2)
  memory.check(jax.make_jaxpr(draw, static_argnums=2)(state, key, n), "Sampling", "give a smaller --num_samples")
  return jax.device_get(draw(state, key, n))


def continued(
  experiment: Any, state: Any, key: jax.Array, n: int, name: str, options: Mapping[str, Any], prompt: str
) -> Any:
  """n texts that begin with `prompt`, token ids [n, T].

  Args:
    experiment, state, key: the run and the key of the draws.
    n: number of texts.
    name: of the model, for messages.
    options: temperature, top_k, top_p, those that are given.
    prompt: a text of fewer tokens than x has.

  Raises:
    UserError: no model of text; a prompt that is empty, too long or has unknown tokens; options out of range.
  """
  about, model = experiment.splits.about, experiment.model
  errors.require(
    "tokens" in about and hasattr(model, "complete"),
    f"--prompt is for autoregressive models of text, such as transformer and lstm; {name!r} of these data is none.",
  )
  check(model, name, options)
  ids, length = tokens.ids_of(prompt, about), math.prod(model.data_shape)
  errors.require(
    len(ids) < length,
    f"--prompt has {len(ids)} tokens; the model's texts have {length}: give at most {length - 1}.",
  )
  x = jnp.zeros((n, length), jnp.int32).at[:, : len(ids)].set(ids)
  batch = {"x": x, "mask": jnp.broadcast_to((jnp.arange(length) < len(ids)).astype(jnp.float32), x.shape)}
  draw = jax.jit(lambda state, key, batch: _bound(experiment, state).complete(key, batch, **options))
  memory.check(jax.make_jaxpr(draw)(state, key, batch), "Sampling", "give a smaller --num_samples")
  return jax.device_get(draw(state, key, batch))


def as_text(x: Any, experiment: Any) -> str | None:
  """The texts of token ids x [n, T]; None for other data."""
  about = experiment.splits.about
  return tokens.listed(tokens.decode(x, about)) if "tokens" in about and x.ndim == 2 else None


def read(path: str, experiment: Any, transforms: tuple[str, ...]) -> Arrays:
  """The examples of a file, whose missing entries `complete` draws: x in the type of the training set, and the mask.

  Missing are empty cells of a table, NaN, and entries where an array `mask` of a .npz file is 0.

  Raises:
    UserError: the file cannot be read, has no missing entry, or does not fit the model.
  """
  arrays = array.examples(pathlib.Path(path).expanduser())
  shape = experiment.transforms.shape
  given = list(arrays["x"].shape)
  errors.require(
    arrays["x"][0].size == math.prod(shape),
    f"--complete={path}: x is of shape {given}; [N, {', '.join(map(str, shape))}] is expected.",
  )
  errors.require(
    "mask" in arrays,
    f"--complete={path}: no entry is missing; leave cells of a table empty, or save a .npz with x and a mask that is 0 "
    "where x is to be drawn.",
  )
  arrays |= {name: arrays[name].reshape(-1, *shape) for name in ("x", "mask")}
  needs_y = conditioning.gives_labels(transforms)
  errors.require(
    not needs_y or "y" in arrays, f"--complete={path}: the model is given the class of each example; add an array y."
  )
  arrays = {name: arrays[name] for name in ("x", "mask", *(("y",) if needs_y else ()))}
  found, (least, greatest) = experiment.transforms.given(arrays)
  low, high = support(experiment.model)
  errors.require(
    low <= least and greatest <= high,
    f"--complete={path}: x has values in [{least:g}, {greatest:g}] after the run's transforms; the model expects "
    f"[{low:g}, {high:g}].",
  )
  return {"index": jax.device_get(jnp.arange(len(found["x"]), dtype=jnp.int32))} | found


def complete(experiment: Any, state: Any, key: jax.Array, arrays: Arrays, name: str, options: Mapping[str, Any]) -> Any:
  """x after the run's transforms, with draws of the entries with mask 0 given the others, [N, ...].

  Args:
    experiment, state, key: the run and the key of the draws.
    arrays: x, mask and index; see `read`.
    name: of the model, for messages.
    options: temperature, top_k, top_p, those that are given.

  Raises:
    UserError: the model cannot complete x, or not with this mask.
  """
  errors.require(
    hasattr(experiment.model, "complete"),
    f"--complete is for models that draw some entries of x given others, as autoregressive ones; {name!r} is none.",
  )
  check(experiment.model, name, options)
  if hasattr(experiment.model, "check_known"):
    seen = conditioning.of_x(arrays["mask"], experiment.transforms.given_columns)
    _bound(experiment, state).check_known(seen)
  step = lambda state, key, batch: _bound(experiment, state).complete(key, batch, **options)
  return make_evaluate_examples(step, experiment.transforms.evaluate, _ROWS)(state, key, arrays)
