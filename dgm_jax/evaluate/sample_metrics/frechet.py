"""The Frechet distance between normals fitted to two sets of features, with its standard error, and without its bias.

  d^2 = |mu - nu|^2 + tr A + tr B - 2 tr (A B)^1/2,   N(mu, A) of the samples, N(nu, B) of the real examples

(Dowson & Landau, 1982).  It is called FID only where the features are those of FID's Inception network.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import scipy.linalg

from dgm_jax.core import threads
from dgm_jax.evaluate.sample_metrics.moments import ROWS, Divided, Moments, divided, full

_SINGULAR = 1e-10  # smallest over largest eigenvalue of L' A L below which roots are taken by singular values
_RANK = 1e-13  # a direction with less than this share of the largest variance has none
_TRUSTED = 3.0  # multiples of the bias below which the linear term says little about the error


class Frechet(NamedTuple):
  """A distance.

  Attributes:
    value: d^2.
    stderr: its standard error over both sets; None where `why` says why.
    why: "" or the reason.
    bias: what two sets of these sizes and of one normal law have on average.
    variance: of d^2 to first order, whatever its size; None where a covariance is singular.
  """

  value: float
  stderr: float | None
  why: str
  bias: float
  variance: float | None


def num_parts(n: int, m: int, size: int, most: int = 4) -> int:
  """Into how many parts `infinity` divides n samples and m real examples of `size` features; 0 if they are too few."""
  return next((g for g in (most, most // 2) if g >= 2 and min(n, m) // g >= _least(size)), 0)


def _least(size: int) -> float:
  return max(1.5 * size, 10)


class _Roots(NamedTuple):
  """The roots of the eigenvalues of L' A L [R], and what the optimal maps need; the last two None if singular.

  T = L (L' A L)^-1/2 L' maps N(mu, A) to N(nu, B), and T^-1 = L'^-1 (L' A L)^1/2 L^-1 maps it back.
  """

  roots: np.ndarray
  forward: np.ndarray | None = None
  backward: np.ndarray | None = None


def _regular(a: np.ndarray, b: np.ndarray, maps: bool = True) -> _Roots | None:
  """By the Cholesky factor of B; None if either matrix is singular, or nearly."""
  try:
    factor = scipy.linalg.cholesky(b.T, lower=True, check_finite=False)  # b' = b, in the order of columns
  except np.linalg.LinAlgError:
    return None
  diagonal = np.diag(factor)
  if diagonal.min() ** 2 < _SINGULAR * diagonal.max() ** 2:
    return None
  by_factor = functools.partial(scipy.linalg.blas.dtrmm, 1.0, factor, lower=1)  # half the cost of a full product
  inner = by_factor(by_factor(a.T, side=1), trans_a=1, overwrite_b=1)
  with threads.one():
    found = scipy.linalg.eigh(inner, check_finite=False, driver="evd", overwrite_a=True, eigvals_only=not maps)
  values, vectors = found if maps else (found, None)
  if values[0] <= _SINGULAR * values[-1]:
    return None
  roots = np.sqrt(values)
  if vectors is None:
    return _Roots(roots)
  back = scipy.linalg.solve_triangular(factor, vectors, lower=True, trans="T", check_finite=False)
  square = lambda a: full(scipy.linalg.blas.dsyrk(1.0, a))
  return _Roots(roots, square(by_factor(vectors) / np.sqrt(roots)), square(back * np.sqrt(roots)))


def _singular(a: np.ndarray, b: np.ndarray) -> _Roots:
  """The roots alone, as singular values of L_A' L_B: without squaring, so that rounding does not grow to its root."""
  factors = []
  for matrix in (a, b):
    values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
    kept = values > _RANK * values[-1]
    factors.append(vectors[:, kept] * np.sqrt(values[kept]))
  product = factors[0].T @ factors[1]
  return _Roots(scipy.linalg.svdvals(product) if product.size else np.zeros(0))


def _solve(p: Moments, q: Moments, maps: bool = True) -> tuple[_Roots, np.ndarray | None]:
  """(roots and, if asked for, maps; basis [F, R] in which the maps are, None for all F directions)."""
  with threads.one(len(p.mean)):
    if found := _regular(p.covariance, q.covariance, maps):
      return found, None
  values, basis = scipy.linalg.eigh(p.covariance + q.covariance, check_finite=False)
  basis = basis[:, values > _RANK * values[-1]]  # neither set varies in the others
  if 0 < basis.shape[1] < len(values):
    inside = _regular(*(basis.T @ m.covariance @ basis for m in (p, q)), maps)
    if inside:
      return inside, basis
  return _singular(p.covariance, q.covariance), None


def _squared(p: Moments, q: Moments, roots: np.ndarray) -> float:
  shift = p.mean - q.mean
  value = float(shift @ shift + np.trace(p.covariance) + np.trace(q.covariance) - 2 * roots.sum())
  return max(value, 0.0)  # rounding


def bias(roots: np.ndarray, n: int, m: int) -> float:
  """What d^2 is on average for n and m draws of one normal law whose covariance has these eigenvalues, to O(1/n).

  (1/n + 1/m) (sum_i l_i + 1/2 sum_ij (1 + [i = j]) l_i l_j / (l_i + l_j)); of N(0, I_d) 2d/n + d(d + 1)/(2n), n = m.
  """
  values = roots[roots > 0]
  if not len(values):
    return 0.0
  pairs = sum(float((v * values / (v + values)).sum()) for v in values)
  return (1 / n + 1 / m) * float(values.sum() + 0.5 * (pairs + 0.5 * values.sum()))


def _influences(features: np.ndarray, mean: np.ndarray, shift: np.ndarray, curve: np.ndarray, basis) -> np.ndarray:
  """psi(x) = 2 shift'(x - mean) + (x - mean)' (I - T) (x - mean), [N]; `curve` is I - T in the basis.

  In float32: only its standard deviation is used.
  """
  found, curve = np.empty(len(features)), curve.astype(np.float32)
  for start in range(0, len(features), ROWS):
    part = np.asarray(features[start : start + ROWS], np.float64) - mean
    linear = 2 * (part @ shift)
    inside = (part if basis is None else part @ basis).astype(np.float32)
    found[start : start + ROWS] = linear + np.einsum("nf,nf->n", inside @ curve, inside, dtype=np.float64)
  return found


def from_moments(p: Moments, q: Moments) -> float:
  """d^2 of two sets of moments."""
  return _squared(p, q, _solve(p, q, maps=False)[0].roots)


def frechet(
  samples: np.ndarray, real: np.ndarray, of_samples: Divided | None = None, of_real: Divided | None = None
) -> Frechet:
  """d^2 of samples [N, F] and real examples [M, F], with its standard error from the same features.

  The standard error is that of the linear term, by the influence function psi of the distance,

    s.e.^2 = var psi(x) / N + var psi'(y) / M,   psi(x) = 2 (mu - nu)'(x - mu) + (x - mu)'(I - T)(x - mu),

  psi' with mu and nu exchanged and T^-1 for T.  It vanishes where both laws are equal, so that there is none where the
  distance is below three times its bias; where the quadratic term rules.

  Args:
    samples, real: features of any float type.
    of_samples, of_real: their moments, if they are known.

  Raises:
    UserError: fewer than two samples or real examples.
  """
  p, q = (of_samples or divided(samples, 0)).whole, (of_real or divided(real, 0)).whole
  found, basis = _solve(p, q)
  value, expected = _squared(p, q, found.roots), bias(found.roots, p.size, q.size)
  if found.forward is None or found.backward is None:
    few = min(p.size, q.size) <= len(p.mean)
    because = "there are no more examples than features" if few else "a set does not vary in all directions"
    return Frechet(value, None, f"the covariance of a set is singular: {because}", expected, None)
  identity, shift = np.eye(len(found.roots)), p.mean - q.mean
  of_p = _influences(samples, p.mean, shift, identity - found.forward, basis)
  of_q = _influences(real, q.mean, -shift, identity - found.backward, basis)
  variance = float(of_p.var(ddof=1) / p.size + of_q.var(ddof=1) / q.size)
  if value < _TRUSTED * expected:
    why = f"the distance is below {_TRUSTED:g} times its bias {expected:.4g}, where its linear term vanishes"
    return Frechet(value, None, why, expected, variance)
  return Frechet(value, variance**0.5, "", expected, variance)


class Extrapolated(NamedTuple):
  """The distance at infinitely many samples, its standard error, and the number of parts; None, and why not."""

  value: float | None
  stderr: float | None
  parts: int
  why: str = ""


def infinity(
  samples: np.ndarray,
  real: np.ndarray,
  whole: Frechet | None = None,
  of_samples: Divided | None = None,
  of_real: Divided | None = None,
  most: int = 4,
) -> Extrapolated:
  """The intercept of the regression of d^2 on 1/n (Chong & Forsyth, 2020), over disjoint parts of both sets.

  With G parts of n/G samples and m/G real examples, d^2 is on average d_inf^2 + g b, g = G for a part and 1 for the
  whole sets.  The quadratic part of its error behaves as a Brownian motion in g, so that the best linear unbiased
  intercept is that of the line through the whole sets and the mean over the parts,

    d_inf^2 = d_1 - (d_G - d_1) / (G - 1),   variance v + s^2 (1 + 1 / (G - 1)),

  v that of the linear term and s^2 that of the quadratic one, from the spread of the parts.

  Args:
    samples, real: features, in random order.
    whole: frechet(samples, real), if it is known.
    of_samples, of_real: their moments, in num_parts(...) parts, if they are known.
    most: the largest G; half of it where a part would have less than 1.5 times as many examples as features.
  """
  n, size = min(len(samples), len(real)), samples.shape[1]
  parts = num_parts(len(samples), len(real), size, most)
  if not parts:
    why = f"{n} examples are too few for {size} features: half of them must be {math.ceil(_least(size))} or more"
    return Extrapolated(None, None, 0, why)
  of_samples, of_real = of_samples or divided(samples, parts), of_real or divided(real, parts)
  whole = whole or frechet(samples, real, of_samples, of_real)
  values = np.array([from_moments(a, b) for a, b in zip(of_samples.parts, of_real.parts, strict=True)])
  value = whole.value - (values.mean() - whole.value) / (parts - 1)
  linear = whole.variance if whole.variance is not None else values.var(ddof=1) / parts
  quadratic = max(values.var(ddof=1) - linear * parts, 0.0) / parts**2
  return Extrapolated(float(value), float((linear + quadratic * parts / (parts - 1)) ** 0.5), parts)
