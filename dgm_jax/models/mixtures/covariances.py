"""Four kinds of covariances for the C components of a mixture on D dimensions.

A covariance is stored as `roots`, and an E-step sums moments of y = root^-1 (x - mean), in the coordinates defined by
the E-step's parameters: float32 is then accurate enough for any location and units of the data.

  kind        covariance               roots
  full        root_c root_c'           [C, D, D], lower triangular
  tied        root root'               [D, D], lower triangular
  diagonal    diag(root_c^2)           [C, D]
  spherical   root_c^2 I               [C]

Weights w [C, B] of an example in a component are responsibilities times other weights of the example.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.models.mixtures.base import positive


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


def _transpose(a: jax.Array) -> jax.Array:
  return jnp.swapaxes(a, -1, -2)


def _log_diagonal(roots: jax.Array) -> jax.Array:
  return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(roots, axis1=-2, axis2=-1))), -1)


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
  return a[..., :, None] * b[..., None, :]


def _root_of(covariance: jax.Array, floor: float, root: jax.Array) -> jax.Array:
  """The root of covariance + floor I, plus a ridge against rounding; `root` where the Cholesky still fails."""
  dim, eps = covariance.shape[-1], jnp.finfo(covariance.dtype).eps
  trace = jnp.trace(covariance, axis1=-2, axis2=-1)[..., None, None]
  ridge = (floor + eps * trace) * jnp.eye(dim, dtype=covariance.dtype)
  found = jnp.linalg.cholesky((covariance + _transpose(covariance)) / 2 + ridge)
  return jnp.where(jnp.isfinite(found).all((-2, -1), keepdims=True), found, root)


# Full: one product whitens a block for all components, [C D, D] x [D, B]; examples are then the last axis


def _full_y(x, means, roots):
  """[C, D, B]."""
  inverse, center = inverse_root(roots), jnp.mean(means, 0)
  offset = jnp.einsum("cde,ce->cd", inverse, means - center)
  c, dim = means.shape
  return (inverse.reshape(c * dim, dim) @ (x - center).T).reshape(c, dim, -1) - offset[..., None]


def _full_moments(x, means, roots, w):
  y = _full_y(x, means, roots)
  first = jnp.einsum("cb,cdb->cd", w, y)
  return Moments(jnp.sum(w, 1), first, jnp.einsum("cdb,ceb->cde", y * w[:, None], y))


def _full_update(means, roots, s, mass, floor):
  m = s.first / positive(s.weight)[:, None]
  scatter = s.second - _outer(s.first, m)
  covariance = roots @ (scatter / positive(mass)[:, None, None]) @ _transpose(roots)
  return means + jnp.einsum("cde,ce->cd", roots, m), _root_of(covariance, floor, roots)


def _full_move(s, means, roots, new_means, new_roots):
  inverse = inverse_root(new_roots)
  a, b = inverse @ roots, jnp.einsum("cde,ce->cd", inverse, new_means - means)
  turned = jnp.einsum("cde,ce->cd", a, s.first)
  cross = _outer(turned, b)
  second = a @ s.second @ _transpose(a) - cross - _transpose(cross) + s.weight[:, None, None] * _outer(b, b)
  return Moments(s.weight, turned - s.weight[:, None] * b, second)


FULL = Kind(
  start=lambda scale, c: jnp.broadcast_to(jnp.diag(scale), (c, *scale.shape * 2)),
  squares=lambda x, means, roots: jnp.sum(jnp.square(_full_y(x, means, roots)), 1),
  log_det=lambda roots, dim: _log_diagonal(roots),
  moments=_full_moments,
  update=_full_update,
  move=_full_move,
  trace_inverse=lambda roots, dim: jnp.sum(jnp.square(inverse_root(roots)), (-2, -1)),
  spread=lambda noise, roots, component: jnp.einsum("nde,ne->nd", roots[component], noise),
  size=lambda c, dim: c * dim * (dim + 1) // 2,
)


# Tied: all components share the same coordinates, whitened once


def _tied_y(x, means, roots):
  """(root^-1 (x - center) [B, D], root^-1 (means - center) [C, D]), center the mean of the means."""
  inverse, center = inverse_root(roots), jnp.mean(means, 0)
  return (x - center) @ inverse.T, (means - center) @ inverse.T


def _tied_squares(x, means, roots):
  y, v = _tied_y(x, means, roots)
  square = jnp.sum(jnp.square(y), 1) - 2 * v @ y.T + jnp.sum(jnp.square(v), 1)[:, None]
  return jnp.maximum(square, 0)


def _tied_moments(x, means, roots, w):
  y, v = _tied_y(x, means, roots)
  weight, sums = jnp.sum(w, 1), w @ y
  total = (y * jnp.sum(w, 0)[:, None]).T @ y
  cross = v.T @ sums
  return Moments(weight, sums - weight[:, None] * v, total - cross - cross.T + (v * weight[:, None]).T @ v)


def _tied_update(means, roots, s, mass, floor):
  m = s.first / positive(s.weight)[:, None]
  covariance = roots @ ((s.second - s.first.T @ m) / jnp.sum(mass)) @ roots.T
  return means + m @ roots.T, _root_of(covariance, floor, roots)


def _tied_move(s, means, roots, new_means, new_roots):
  inverse = inverse_root(new_roots)
  a, b = inverse @ roots, (new_means - means) @ inverse.T
  turned = s.first @ a.T
  cross = turned.T @ b
  second = a @ s.second @ a.T - cross - cross.T + (b * s.weight[:, None]).T @ b
  return Moments(s.weight, turned - s.weight[:, None] * b, second)


TIED = Kind(
  start=lambda scale, c: jnp.diag(scale),
  squares=_tied_squares,
  log_det=lambda roots, dim: _log_diagonal(roots),
  moments=_tied_moments,
  update=_tied_update,
  move=_tied_move,
  trace_inverse=lambda roots, dim: jnp.sum(jnp.square(inverse_root(roots)), (-2, -1)),
  spread=lambda noise, roots, component: noise @ roots.T,
  size=lambda c, dim: dim * (dim + 1) // 2,
)


# Diagonal, and spherical as a diagonal of D equal entries


def _columns(roots):
  """[C, D], or [C, 1] for spherical."""
  return roots.reshape(roots.shape[0], -1)


def _diagonal_y(x, means, roots):
  """[C, D, B]."""
  return (x.T[None] - means[..., None]) / _columns(roots)[..., None]


def _diagonal_moments(x, means, roots, w):
  y = _diagonal_y(x, means, roots)
  second = jnp.sum(w[:, None] * jnp.square(y), -1)
  return Moments(jnp.sum(w, 1), jnp.sum(w[:, None] * y, -1), second if roots.ndim == 2 else jnp.sum(second, 1))


def _diagonal_update(means, roots, s, mass, floor):
  m = s.first / positive(s.weight)[:, None]
  left = s.first * m if roots.ndim == 2 else jnp.sum(s.first * m, 1) / means.shape[1]
  per = (lambda a: a[:, None]) if roots.ndim == 2 else lambda a: a
  second = s.second if roots.ndim == 2 else s.second / means.shape[1]
  variance = jnp.square(roots) * jnp.maximum(second - left, 0) / per(positive(mass)) + floor
  return means + _columns(roots) * m, jnp.sqrt(variance)


def _diagonal_move(s, means, roots, new_means, new_roots):
  a, b = _columns(roots / new_roots), (new_means - means) / _columns(new_roots)
  turned, weight = s.first * a, s.weight[:, None]
  change = -2 * turned * b + weight * jnp.square(b)
  second = s.second * jnp.square(a if roots.ndim == 2 else a[:, 0])
  second += change if roots.ndim == 2 else jnp.sum(change, 1)
  return Moments(s.weight, turned - weight * b, second)


DIAGONAL = Kind(
  start=lambda scale, c: jnp.broadcast_to(scale, (c, *scale.shape)),
  squares=lambda x, means, roots: jnp.sum(jnp.square(_diagonal_y(x, means, roots)), 1),
  log_det=lambda roots, dim: jnp.sum(jnp.log(jnp.abs(roots)), 1),
  moments=_diagonal_moments,
  update=_diagonal_update,
  move=_diagonal_move,
  trace_inverse=lambda roots, dim: jnp.sum(1 / jnp.square(roots), 1),
  spread=lambda noise, roots, component: noise * roots[component],
  size=lambda c, dim: c * dim,
)
SPHERICAL = DIAGONAL._replace(
  start=lambda scale, c: jnp.full(c, jnp.sqrt(jnp.mean(jnp.square(scale)))),
  log_det=lambda roots, dim: dim * jnp.log(jnp.abs(roots)),
  trace_inverse=lambda roots, dim: dim / jnp.square(roots),
  spread=lambda noise, roots, component: noise * roots[component][:, None],
  size=lambda c, dim: c,
)

KINDS = {"full": FULL, "tied": TIED, "diagonal": DIAGONAL, "spherical": SPHERICAL}
