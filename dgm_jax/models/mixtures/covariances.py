"""Four kinds of covariances for the C components of a mixture on D dimensions.

A covariance is stored as `roots`, and an E-step sums moments of y = root^-1 (x - mean), in the coordinates defined by
the E-step's parameters: float32 is then accurate enough for any location and units of the data.  Clusters may be far
apart, too: with means 10,000 standard deviations apart log p(x) is accurate to 3e-3 nats, or to 1.2e-2 where entries
have a correlation of 0.99; ten times as far, to 0.1.

  kind        covariance               roots
  full        root_c root_c'           [C, D, D], lower triangular
  tied        root root'               [D, D], lower triangular
  diagonal    diag(root_c^2)           [C, D]
  spherical   root_c^2 I               [C]

Weights w [C, B] of an example in a component are responsibilities times other weights of the example.
"""

import jax
import jax.numpy as jnp

from dgm_jax.models.mixtures.base import NEAR, distances_by_nearest, positive
from dgm_jax.models.mixtures.covariance_kind import Kind, Moments, inverse_root, log_diagonal, root_of, transpose


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
  return a[..., :, None] * b[..., None, :]


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
  covariance = roots @ (scatter / positive(mass)[:, None, None]) @ transpose(roots)
  return means + jnp.einsum("cde,ce->cd", roots, m), root_of(covariance, floor, roots)


def _full_move(s, means, roots, new_means, new_roots):
  inverse = inverse_root(new_roots)
  a, b = inverse @ roots, jnp.einsum("cde,ce->cd", inverse, new_means - means)
  turned = jnp.einsum("cde,ce->cd", a, s.first)
  cross = _outer(turned, b)
  second = a @ s.second @ transpose(a) - cross - transpose(cross) + s.weight[:, None, None] * _outer(b, b)
  return Moments(s.weight, turned - s.weight[:, None] * b, second)


FULL = Kind(
  start=lambda scale, c: jnp.broadcast_to(jnp.diag(scale), (c, *scale.shape * 2)),
  squares=lambda x, means, roots: jnp.sum(jnp.square(_full_y(x, means, roots)), 1),
  log_det=lambda roots, dim: log_diagonal(roots),
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


def _if_near(near, far, y, v, *args):
  """near(y, v, *args) if squares about the common center are accurate, else far(y, v, *args), which is slower."""
  return jax.lax.cond(jnp.max(jnp.sum(jnp.square(v), 1)) < NEAR, near, far, y, v, *args)


def _tied_squares(x, means, roots):
  def near(y, v):
    return jnp.maximum(jnp.sum(jnp.square(y), 1) - 2 * v @ y.T + jnp.sum(jnp.square(v), 1)[:, None], 0)

  def far(y, v):
    return distances_by_nearest(y, v, jnp.argmin(near(y, v), 0)).T

  return _if_near(near, far, *_tied_y(x, means, roots))


def _tied_moments(x, means, roots, w):
  return _if_near(_moments_about_center, _moments_about_expected_mean, *_tied_y(x, means, roots), w)


def _moments_about_center(y, v, w):
  weight, sums = jnp.sum(w, 1), w @ y
  total = (y * jnp.sum(w, 0)[:, None]).T @ y
  cross = v.T @ sums
  return Moments(weight, sums - weight[:, None] * v, total - cross - cross.T + (v * weight[:, None]).T @ v)


def _moments_about_expected_mean(y, v, w):
  """The same about u = sum_c w_c v_c / W of each example, W = sum_c w_c.

    sum_c w_c (y - v_c)(y - v_c)' = W (y - u)(y - u)' + 1/2 sum_cj w_c w_j / W (v_c - v_j)(v_c - v_j)'

  Where means are far apart w_c w_j is 0, so that nothing large cancels.
  """
  total = jnp.sum(w, 0)
  share = w / jnp.where(total > 0, total, 1)
  y = y - share.T @ v
  between = jnp.einsum("cj,cjd->cd", w @ share.T, v[:, None] - v)
  return Moments(jnp.sum(w, 1), w @ y - between, (y * total[:, None]).T @ y + v.T @ between)


def _tied_update(means, roots, s, mass, floor):
  m = s.first / positive(s.weight)[:, None]
  covariance = roots @ ((s.second - s.first.T @ m) / jnp.sum(mass)) @ roots.T
  return means + m @ roots.T, root_of(covariance, floor, roots)


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
  log_det=lambda roots, dim: log_diagonal(roots),
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
