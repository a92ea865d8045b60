"""Figures of a latent space: codes by class, decoded plane, interpolations, true against approximate posteriors."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import latent_figures, quadrature
from dgm_jax.evaluate.active_units import activities

_DRAWS = 256  # draws of q that locate it
_LEAST = dict(num_examples=1, grid=2, num_pairs=1, num_steps=2, num_posteriors=0, num_points=4, batch_size=1)  # noqa: C408
NEEDS = ("reconstruct",)  # methods of the model


class Densities(NamedTuple):
  """Posterior densities of B examples, each on a square of P x P points; [b, i, j] is at (z1[b, i], z2[b, j]).

  Attributes:
    z1, z2: the coordinates, [B, P].
    p: p(z|x), exact, [B, P, P].
    q: q(z|x), [B, P, P]; zero where log q is not known at every z (planar flows).
    error: the grid's error in log p(x), [B]; see evaluate.quadrature.
  """

  z1: jax.Array
  z2: jax.Array
  p: jax.Array
  q: jax.Array
  error: jax.Array


def quantile_grid(num_points: int) -> jax.Array:
  """Phi^-1((i + 1/2) / n), i = 0..n-1: points at equal quantiles of N(0, 1) (Kingma & Welling, 2014, fig. 4)."""
  return ndtri((jnp.arange(num_points) + 0.5) / num_points)


def principal_components(z: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Principal component analysis of z [N, L].

  Returns:
    (the first two principal coordinates of z - mean, [N, 2]; each axis's share of the variance, [L], decreasing).
    The sign of an axis is such that its largest loading is positive.
  """
  centred = z - jnp.mean(z, 0)
  _, singular, axes = jnp.linalg.svd(centred, full_matrices=False)
  largest = jnp.take_along_axis(axes, jnp.argmax(jnp.abs(axes), 1)[:, None], 1)
  variance = jnp.square(singular)
  return centred @ (axes * jnp.sign(largest))[:2].T, variance / jnp.sum(variance)


def interpolate(start: jax.Array, end: jax.Array, num_steps: int) -> jax.Array:
  """(1 - t) start + t end for num_steps values of t from 0 to 1, both ends included: [B, L] twice -> [B, T, L]."""
  t = jnp.linspace(0.0, 1.0, num_steps)[:, None]
  return (1 - t) * start[:, None] + t * end[:, None]


def posterior_densities(
  bound_model: Any, key: jax.Array, batch: dict, num_points: int = 80, grid_points: int = 400, radius: float = 6.0
) -> Densities:
  """p(z|x) = p(x, z) / p(x) and q(z|x) on a square that covers four standard deviations of both; L = 2.

  p(x) is computed by quadrature on a separate grid, so that the sum of p over the square, times the area of a cell, is
  1 if the square covers its mass.

  Args:
    bound_model: a model with infer and log_joint, bound to its parameters.
    key: for the draws of q that locate it.
    batch: B examples.
    num_points: P.
    grid_points, radius: of the quadrature, see evaluate.quadrature.

  Raises:
    UserError: see quadrature.posterior.
  """
  return densities(bound_model, key, batch, quadrature.posterior(bound_model, batch, grid_points, radius), num_points)


def densities(bound_model: Any, key: jax.Array, batch: dict, exact: quadrature.Posterior, num_points: int) -> Densities:
  """`posterior_densities` given the result of the quadrature."""
  q = bound_model.infer(batch)
  z, _ = jax.vmap(lambda key: q.sample_and_log_prob(seed=key))(jax.random.split(key, _DRAWS))
  variance = jnp.diagonal(exact.covariance, axis1=1, axis2=2)  # [B, 2]; may be rounded below 0 on a coarse grid
  spread = jnp.sqrt(jnp.maximum(variance, 0))
  low = jnp.minimum(exact.mean - 4 * spread, jnp.mean(z, 0) - 4 * jnp.std(z, 0))
  high = jnp.maximum(exact.mean + 4 * spread, jnp.mean(z, 0) + 4 * jnp.std(z, 0))
  half = jnp.max(high - low, 1, keepdims=True) / 2
  axes = ((low + high) / 2)[:, None] + half[:, None] * jnp.linspace(-1.0, 1.0, num_points)[:, None]  # [B, P, 2]
  z1, z2 = axes[..., 0], axes[..., 1]
  points = jnp.stack(jnp.broadcast_arrays(z1[:, :, None], z2[:, None, :]), -1).reshape(len(z1), -1, 2)
  points = jnp.swapaxes(points, 0, 1)  # [P P, B, 2]
  log_joint = jax.lax.map(lambda z: sum(bound_model.log_joint(batch, z)), points, batch_size=num_points)
  try:
    log_q = jax.lax.map(q.log_prob, points, batch_size=num_points)
  except NotImplementedError:
    log_q = jnp.full_like(log_joint, -jnp.inf)
  square = lambda a: jnp.exp(a).T.reshape(-1, num_points, num_points)
  return Densities(z1, z2, square(log_joint - exact.log_px), square(log_q), exact.error)


def check(**options: int) -> None:
  """Raises UserError for an invalid option."""
  for name, value in options.items():
    least = _LEAST[errors.choose("option of evaluate.latent_space", name, _LEAST)]
    errors.require(value >= least, f"evaluate.latent_space.{name} = {value}; it must be {least} or more.")


def _encode(experiment: Any, state: Any, key: jax.Array, arrays: dict, batch_size: int) -> dict[str, jax.Array]:
  """{"z": the codes [N, L]}; with several layers, {"first_layer": the codes of the layer next to x}."""

  def eval_step(state, key, batch):
    bound_model = experiment.model.bind({"params": state.params, **state.variables})
    if hasattr(experiment.model, "encode"):
      return {"z": bound_model.encode(batch)}
    q = bound_model.infer(batch)
    name = "first_layer" if hasattr(q, "conditional_means") else "z"
    return {name: activities(q, key, 64)[0][0]}

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)(state, key, arrays)


def _transformed(experiment: Any, key: jax.Array, arrays: dict) -> jax.Array:
  """x of these examples after the transforms."""
  run = make_evaluate_examples(lambda state, key, batch: batch["x"], experiment.transforms.evaluate, len(arrays["x"]))
  return run(None, key, arrays)


def _is_image(shape: tuple[int, ...]) -> bool:
  return len(shape) == 3 and shape[-1] in (1, 3)


def _scatter(z: jax.Array, arrays: dict) -> tuple[Any, dict]:
  """(the figure of the codes, its numbers)."""
  coordinates, shares = principal_components(z)
  labels = ("z1", "z2")
  if z.shape[1] == 2:
    coordinates = z
  else:
    labels = tuple(f"principal component {i + 1} ({shares[i]:.0%} of the variance)" for i in range(2))
  classes = arrays["y"] if "y" in arrays and jnp.issubdtype(arrays["y"].dtype, jnp.integer) else None
  draw = functools.partial(latent_figures.save_scatter, points=coordinates, classes=classes, labels=labels)
  return draw, {"latent_two_components": float(jnp.sum(shares[:2]))}


def _manifold(experiment: Any, reconstruct: Any, z: jax.Array, grid: int) -> Any:
  """The figure of the decoded plane, at quantiles of N(0, I) or, for other p(z), of a normal fitted to the codes."""
  known = hasattr(experiment.model, "infer") and getattr(experiment.model, "prior", "standard_normal")
  loc, scale, what = jnp.zeros(2), jnp.ones(2), "N(0, 1)"
  if known != "standard_normal":
    loc, scale, what = jnp.mean(z, 0), jnp.std(z, 0), "a normal fitted to the codes"
  z1, z2 = (loc[i] + scale[i] * quantile_grid(grid) for i in range(2))
  points = jnp.stack(jnp.meshgrid(z1, z2, indexing="ij"), -1).reshape(-1, 2)
  images = reconstruct(points)
  images = images.reshape(grid, grid, *images.shape[1:])
  return functools.partial(latent_figures.save_manifold, images=images, z1=z1, z2=z2, what=what)


def _interpolations(reconstruct: Any, x: jax.Array, z: jax.Array, num_steps: int) -> Any:
  """The figure between the codes of the examples 0 and 1, 2 and 3, ...; x [2 R, H, W, C], z [2 R, L]."""
  path = interpolate(z[::2], z[1::2], num_steps)  # [R, T, L]
  images = reconstruct(path.reshape(-1, path.shape[-1]))
  images, ends = images.reshape(*path.shape[:2], *images.shape[1:]), x.reshape(-1, 2, *x.shape[1:])
  return functools.partial(latent_figures.save_interpolations, images=images, ends=ends)


def _posteriors(experiment: Any, state: Any, key: jax.Array, arrays: dict, num_points: int) -> tuple[Any, dict]:
  """(the figure of p(z|x) and q(z|x) of these examples, the largest error of the grid)."""

  def eval_step(state, key, batch):
    bound_model = experiment.model.bind({"params": state.params, **state.variables})
    return posterior_densities(bound_model, key, batch, num_points)._asdict()

  x = _transformed(experiment, key, arrays)
  values = make_evaluate_examples(eval_step, experiment.transforms.evaluate, len(x))(state, key, arrays)
  error = float(jnp.max(values.pop("error")))
  images = x if _is_image(x.shape[1:]) else None
  draw = functools.partial(latent_figures.save_posteriors, images=images, **values)
  return draw, {"latent_posterior_error": error}


def _check_model(model: Any) -> None:
  """Raises UserError if the model has no codes, or cannot decode them."""
  enough = hasattr(model, "reconstruct") and (hasattr(model, "infer") or hasattr(model, "encode"))
  needs = "evaluate.latent_space needs a model with infer or encode, and reconstruct"
  errors.require(enough, f"{needs}; {type(model).__module__} does not provide them.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 5000,
  grid: int = 20,
  num_pairs: int = 8,
  num_steps: int = 10,
  num_posteriors: int = 6,
  num_points: int = 80,
  batch_size: int = 100,
) -> dict[str, Any]:
  """Figures of the latent space of a model with `infer` or `encode`, as far as its dimensions and layers allow.

  A code is E_q[z|x], or z(x) of an autoencoder.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: number of examples whose codes are shown, the first ones.
    grid: images on each side of the manifold.
    num_pairs, num_steps: number of interpolations, and of images in each.
    num_posteriors: number of posteriors drawn, of the first examples; 0 for none.
    num_points: points on each side of a posterior's square.
    batch_size: examples at once.

  Returns:
    figures, {name: function of a path}: latent_codes (L >= 2; for L > 2 the first two principal components),
    latent_manifold (L = 2, images; Kingma & Welling, 2014, fig. 4), latent_interpolations (images) and
    latent_posteriors (L = 2 and a log p(x, z); Burda et al., 2016, appendix C).  With them latent_two_components, the
    share of the codes' variance in those components, and latent_posterior_error, the greatest error of log p(x), nats.

  Raises:
    UserError: the model has no codes, or cannot decode them.
  """
  model = experiment.model
  _check_model(model)
  arrays = {name: a[:num_examples] for name, a in arrays.items()}
  codes = _encode(experiment, state, key, arrays, batch_size)
  decoded, z = "z" in codes, next(iter(codes.values()))
  figures, numbers, latent_dim = {}, {}, z.shape[1]

  @jax.jit
  def reconstruct(z):
    return model.bind({"params": state.params, **state.variables}).reconstruct(z)

  if latent_dim >= 2:
    figures["latent_codes"], numbers = _scatter(z, arrays)
  first = lambda n: {name: a[:n] for name, a in arrays.items()}
  if decoded and _is_image(tuple(model.data_shape)) and (num_shown := 2 * min(num_pairs, len(z) // 2)):
    x = _transformed(experiment, key, first(num_shown))
    figures["latent_interpolations"] = _interpolations(reconstruct, x, z[:num_shown], num_steps)
    if latent_dim == 2:
      figures["latent_manifold"] = _manifold(experiment, reconstruct, z, grid)
  if decoded and latent_dim == 2 and hasattr(model, "log_joint") and num_posteriors:
    figures["latent_posteriors"], error = _posteriors(experiment, state, key, first(num_posteriors), num_points)
    numbers |= error
  return numbers | {"figures": figures}
