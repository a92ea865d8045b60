"""Pictures of a GAN: walks between two z, and between two classes, and samples at falling truncation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, figures, rng
from dgm_jax.evaluate import image_games

NEEDS = ("latent", "generate", "discriminate")  # methods of the model
_THRESHOLDS = (2.0, 1.0, 0.7, 0.5, 0.3, 0.1, 0.04)


def check(*, rows: int = 8, steps: int = 9, thresholds: Sequence[float] = _THRESHOLDS, seed: int = 0) -> None:
  """Raises UserError for an invalid option."""
  errors.require(rows >= 1, f"evaluate.walks.rows = {rows}; it must be 1 or more.")
  errors.require(steps >= 2, f"evaluate.walks.steps = {steps}; it must be 2 or more.")
  errors.require(0 <= seed < 2**32, f"evaluate.walks.seed = {seed}; it must be in 0 .. 2^32 - 1.")
  for value in thresholds:
    errors.require(value > 0, f"evaluate.walks.thresholds has {value!r}; a truncation must be positive.")


def prepare(experiment: Any, **options: Any) -> Callable[..., dict[str, Any]]:
  """(state, key, arrays) -> what `evaluate` returns; raises UserError if the game makes no images of its own."""
  image_games.check("walks", experiment, images=True)
  return lambda state, key, arrays: evaluate(experiment, state, key, arrays, **options)


def slerp(start: jax.Array, end: jax.Array, steps: int) -> jax.Array:
  """Points on the great circle between two vectors, lengths between theirs: [B, L] twice -> [B, T, L] (White, 2016).

  sin((1 - t) w) / sin w start + sin(t w) / sin w end,  w the angle between them, t = 0 .. 1
  """
  norm = lambda a: jnp.linalg.norm(a, axis=-1, keepdims=True)
  cosine = jnp.sum(start * end, -1, keepdims=True) / jnp.maximum(norm(start) * norm(end), 1e-12)
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))[:, None]
  t = jnp.linspace(0.0, 1.0, steps)[:, None]
  sine = jnp.sin(angle)
  flat = sine < 1e-4  # nearly parallel: a straight line
  safe = jnp.where(flat, 1.0, sine)
  of = lambda share: jnp.where(flat, share, jnp.sin(share * angle) / safe)
  return of(1 - t) * start[:, None] + of(t) * end[:, None]


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  rows: int = 8,
  steps: int = 9,
  thresholds: Sequence[float] = _THRESHOLDS,
  seed: int = 0,
) -> dict[str, Any]:
  """Pictures alone: figures/walks_z, walks_classes (with classes) and walks_truncation (where z can be truncated).

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test set.
    rows: of each picture; they have different z, and classes one after another.
    steps: of a walk.
    thresholds: of the truncation, from left to right, for the same uniform numbers.
    seed: of z.

  Raises:
    UserError: the model makes no images, or none without a context.
  """
  del arrays
  image_games.check("walks", experiment, images=True)
  model, system = experiment.model, experiment.system
  key = jax.random.fold_in(key, seed)
  classes = getattr(model, "num_classes", None)
  y = None if classes is None else jnp.arange(rows) % classes
  keys = jax.random.split(key)
  start, end = (model.latent(k, rows) for k in keys)
  draw = jax.jit(lambda state, z, y: system.sample(state, key, z.shape[0], y=y, z=z))
  flat = lambda a: a.reshape(-1, *a.shape[2:])
  repeated = None if y is None else jnp.repeat(y, steps)
  found = {"walks_z": _grid(draw(state, flat(slerp(start, end, steps)), repeated), steps)}
  if y is not None:
    share = jnp.linspace(0.0, 1.0, steps)[None, :, None]
    first, second = jax.nn.one_hot(y, classes)[:, None], jax.nn.one_hot((y + 1) % classes, classes)[:, None]
    found["walks_classes"] = _grid(
      draw(state, jnp.repeat(start, steps, 0), flat((1 - share) * first + share * second)), steps
    )
  if image_games.takes_truncation(model) and thresholds:
    found["walks_truncation"] = _truncated(system, model, state, keys[0], y, rows, thresholds)
  return {"figures": {name: partial(_save, grid=grid) for name, grid in found.items()}}


def _truncated(
  system: Any, model: Any, state: Any, key: jax.Array, y: Any, rows: int, thresholds: Sequence[float]
) -> Any:
  def draw(state, t):
    if system.prepare is not None:
      state = system.prepare(state, rng.stream(jax.random.key(0), "prepare"), truncation=t)
    return system.sample(state, key, rows, y=y, z=model.latent(key, rows, t))

  compiled = jax.jit(draw)
  found = jnp.stack([compiled(state, jnp.float32(t)) for t in thresholds], 1)
  return _grid(found.reshape(-1, *found.shape[2:]), len(thresholds))


def _grid(images: jax.Array, columns: int) -> jax.Array:
  return figures.image_grid(images, columns=columns)


def _save(path: Any, grid: jax.Array) -> None:
  figures.save_image(path, grid)
