"""What a kind of covariance provides, see covariances.py, and what those with matrices share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Moments(NamedTuple):
  """Sums over examples, additive over parts of the data.

  Attributes:
    weight: sum w, [C].
    first: sum w y, [C, D].
    second: sum w y y': [C, D, D] for full; [D, D], summed over components, for tied; its diagonal [C, D] for diagonal;
      its trace [C] for spherical.
  """

  weight: jax.Array
  first: jax.Array
  second: jax.Array


class Kind(NamedTuple):
  """The functions of a kind of covariance; means [C, D], roots as above.

  Attributes:
    start: (scale [D], C) -> roots of the covariance diag(scale^2), or for spherical of mean(scale^2) I.
    squares: (x [B, D], means, roots) -> |y|^2, [C, B].
    log_det: roots, D -> log |det root|, [C] or [].
    moments: (x, means, roots, w) -> Moments.
    update: (means, roots, moments, mass [C], floor) -> (means, roots) with these moments; covariances are sums over
      `mass` plus floor I.
    move: (moments, means, roots, new means, new roots) -> the moments in the coordinates of the new ones.
    trace_inverse: roots, D -> tr(covariance^-1), [C] or [].
    spread: (noise [n, D], roots, component [n]) -> root noise, [n, D].
    size: (C, D) -> number of free parameters in the covariances.
  """

  start: Callable
  squares: Callable
  log_det: Callable
  moments: Callable
  update: Callable
  move: Callable
  trace_inverse: Callable
  spread: Callable
  size: Callable


def inverse_root(root: jax.Array) -> jax.Array:
  """root^-1 of lower triangular matrices, [..., D, D]."""
  eye = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
  return jax.lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)


def transpose(a: jax.Array) -> jax.Array:
  """Of the last two axes."""
  return jnp.swapaxes(a, -1, -2)


def log_diagonal(roots: jax.Array) -> jax.Array:
  """log |det| of triangular matrices, [...]."""
  return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(roots, axis1=-2, axis2=-1))), -1)


def root_of(covariance: jax.Array, floor: float, root: jax.Array) -> jax.Array:
  """The root of covariance + floor I, plus a ridge against rounding; `root` where the Cholesky still fails."""
  dim, eps = covariance.shape[-1], jnp.finfo(covariance.dtype).eps
  trace = jnp.trace(covariance, axis1=-2, axis2=-1)[..., None, None]
  ridge = (floor + eps * trace) * jnp.eye(dim, dtype=covariance.dtype)
  found = jnp.linalg.cholesky((covariance + transpose(covariance)) / 2 + ridge)
  return jnp.where(jnp.isfinite(found).all((-2, -1), keepdims=True), found, root)
