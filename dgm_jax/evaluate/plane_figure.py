"""A picture of a density on the plane: data, density, draws, and the grid of the noise that a flow bends."""

import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, figures
from dgm_jax.core import figure_style as style

NEEDS = ("log_prob", "generate")  # of the model
_LINES, _POINTS, _REACH = 13, 61, 3.0  # of the grid in the noise
_DRAWN = 1000  # points
_SHARE, _MARGIN = 0.001, 0.15  # of the data beyond each edge of the window, at first, and what is added to its sides


def check(*, bins: int = 2, num_samples: int = 1) -> None:
  """Raises UserError for an invalid option."""
  for name, value, least in (("bins", bins, 2), ("num_samples", num_samples, 1)):
    errors.require(value >= least, f"evaluate.plane_figure.{name} = {value}; it must be {least} or more.")


def bent(model: Any, state: Any) -> jax.Array | None:
  """Lines z_d = constant in the noise of a flow as points x, [2 LINES, POINTS, 2]; None of a model without a flow."""
  if not hasattr(model, "bijectors"):
    return None
  at, along = jnp.linspace(-_REACH, _REACH, _LINES), jnp.linspace(-_REACH, _REACH, _POINTS)
  across = jnp.stack(jnp.broadcast_arrays(at[:, None], along[None]), -1)
  z = jnp.concatenate([across, across[..., ::-1]]).reshape(-1, 2)

  def inverse(state, z):
    bound = model.bind({"params": state.params, **state.variables})
    for _, bijector in bound.bijectors()[::-1]:
      z = bijector.inverse(z)
    return z

  return jax.device_get(jax.jit(inverse)(state, z).reshape(2 * _LINES, _POINTS, 2))


def draw_density(axis: Any, density: jax.Array, low: jax.Array, high: jax.Array, top: float) -> None:
  """p [G, G] on the cells of a window, the first coordinate to the right; colours end at `top`."""
  extent = [low[0], high[0], low[1], high[1]]
  axis.imshow(density.T, origin="lower", cmap="cividis", extent=extent, vmin=0, vmax=top)


def draw_points(axis: Any, points: jax.Array) -> None:
  """The first points [n, 2], small."""
  axis.plot(*points[:_DRAWN].T, ".", markersize=0.6, color=style.COLOURS[1], rasterized=True)


def draw_lines(axis: Any, lines: jax.Array) -> None:
  """Bent lines [L, P, 2], thin."""
  for line in lines:
    axis.plot(*line.T, linewidth=0.3, color=style.COLOURS[0])


def _window(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(lower [2], upper [2]) corners of a rectangle that shows nearly all points."""
  low, high = jnp.quantile(x, jnp.asarray([_SHARE, 1 - _SHARE]), 0)
  return low - _MARGIN * (high - low), high + _MARGIN * (high - low)


def _density(model: Any, state: Any, low: jax.Array, high: jax.Array, bins: int) -> jax.Array:
  """p at the centres of bins x bins cells, [G, G]."""
  centres = [(jnp.arange(bins) + 0.5) / bins * (b - a) + a for a, b in zip(low, high, strict=True)]
  points = jnp.stack(jnp.meshgrid(*centres, indexing="ij"), -1)

  def run(state, points):
    bound = model.bind({"params": state.params, **state.variables})
    return jnp.exp(jax.lax.map(lambda x: bound.log_prob({"x": x, "index": jnp.arange(bins)}), points))

  return jax.jit(run)(state, points)


def draw(
  path: pathlib.Path, x: jax.Array, density: jax.Array, draws: jax.Array, lines: jax.Array | None
) -> list[pathlib.Path]:
  """Writes the picture: a panel for the data [N, 2], p [G, G], the draws [n, 2] and, of a flow, the bent lines."""
  x, density, draws = jax.device_get((x, density, draws))
  (low, high), top = jax.device_get(_window(x)), float(jnp.quantile(density, 0.995))
  panels = [
    ("data", functools.partial(draw_points, points=x)),
    ("density", functools.partial(draw_density, density=density, low=low, high=high, top=top)),
    ("draws", functools.partial(draw_points, points=draws)),
  ]
  if lines is not None:
    panels.append(("grid of the noise", functools.partial(draw_lines, lines=lines)))
  side = style.PAGE / 4
  picture = figures.new(side * len(panels), side + 0.2)
  for i, (title, fill) in enumerate(panels):
    axis = picture.add_subplot(1, len(panels), i + 1, title=title)
    fill(axis)
    axis.set(xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")
  return figures.save(path, picture)


def evaluate(
  experiment: Any, state: Any, key: jax.Array, arrays: dict, *, bins: int = 120, num_samples: int = 2000
) -> dict[str, Any]:
  """A figure of examples x [2] as the model sees them, p(x), draws, and the grid of the noise that a flow bends.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    bins: cells of the picture of p in each direction.
    num_samples: draws; the first 1,000 are shown.

  Returns:
    "figures": {"plane": path -> writes it}.

  Raises:
    UserError: x is no point of the plane, or the model is given a context.
  """
  model, size = experiment.model, math.prod(experiment.model.data_shape)
  errors.require(size == 2, f"evaluate.plane_figure shows densities of the plane; x has {size} entries.")
  errors.require("context" not in arrays, "evaluate.plane_figure shows p(x); this model is given a context.")
  apply = jax.jit(jax.vmap(experiment.transforms.evaluate))
  batch = {name: jnp.asarray(a) for name, a in arrays.items()}
  x = apply(jax.random.split(key, len(batch["x"])), batch)["x"].reshape(-1, 2)
  sample = lambda state, key: model.bind({"params": state.params, **state.variables}).generate(key, num_samples)
  draws = jax.jit(sample)(state, key).reshape(-1, 2)
  found = (x, _density(model, state, *_window(x), bins), draws, bent(model, state))
  return {"figures": {"plane": lambda path: draw(path, *found)}}
