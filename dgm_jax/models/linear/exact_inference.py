"""Exact factor analysis and probabilistic PCA (Tipping & Bishop, 1999), with or without missing entries.

  z ~ N(0, I),   x | z ~ N(W z + b, diag(psi)),   psi = s^2 for all entries in probabilistic PCA.

Parameters are {"loadings": W [D, L], "loc": b [D], "log_variance": log psi, [D] or []}.  Functions take x [B, D] and
mask [B, D], 1 where x is observed; unobserved values, even NaN, have no influence.  With mask None all of x is
observed: then the examples share one posterior covariance, and a step costs D L per example instead of D L^2.  e_step
and m_step maximise the likelihood of the observed entries: only z is latent.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

MIN_VARIANCE = 1e-6  # without it the likelihood is unbounded where a factor explains an entry fully (Heywood's case)

Params = dict[str, jax.Array]


class Posterior(NamedTuple):
  """p(z | x_observed) and the likelihood.

  Attributes:
    mean: E[z | x_observed], [B, L].
    covariance: Cov[z | x_observed], [B, L, L]; [1, L, L] without a mask.
    log_px: log p(x_observed), [B], nats.
  """

  mean: jax.Array
  covariance: jax.Array
  log_px: jax.Array


def _residual(params: Params, x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array]:
  """(x - b with 0 for missing entries [B, D], the mask as floats [B, D] or [1, D])."""
  if mask is None:
    return x - params["loc"], jnp.ones((1, x.shape[1]), x.dtype)
  return jnp.where(mask > 0, x - params["loc"], 0), (mask > 0).astype(params["loadings"].dtype)


def posterior(params: Params, x: jax.Array, mask: jax.Array | None = None) -> Posterior:
  """N(z; M^-1 W' Psi^-1 (x - b), M^-1), M = I + W' Psi^-1 W, and log p(x), all given the observed entries alone."""
  w, dim = params["loadings"], params["loadings"].shape[1]
  log_variance = jnp.broadcast_to(params["log_variance"], w.shape[:1])
  residual, seen = _residual(params, x, mask)
  precision = seen * jnp.exp(-log_variance)
  root = jnp.linalg.cholesky(jnp.eye(dim, dtype=w.dtype) + jnp.einsum("bd,dl,dk->blk", precision, w, w))
  covariance = jax.vmap(lambda r: jax.scipy.linalg.cho_solve((r, True), jnp.eye(dim, dtype=w.dtype)))(root)
  projected = (precision * residual) @ w
  mean = projected @ covariance[0] if mask is None else jnp.einsum("blk,bk->bl", covariance, projected)
  log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), 1) + seen @ log_variance
  # |Psi^-1/2 (r - W m)|^2 + |m|^2, instead of r' Psi^-1 r - p' m, whose terms are large where a variance is small
  square = jnp.sum(precision * jnp.square(residual - seen * (mean @ w.T)), 1) + jnp.sum(jnp.square(mean), 1)
  return Posterior(mean, covariance, -0.5 * (jnp.sum(seen, 1) * math.log(2 * math.pi) + log_det + square))


def conditional(params: Params, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(x, with E[x | x_observed] for missing entries [B, D]; Cov[x | x_observed], [B, D, D], 0 for observed entries)."""
  w, q = params["loadings"], posterior(params, x, mask)
  mean = q.mean @ w.T + params["loc"]
  hidden = (mask <= 0).astype(w.dtype)
  noise = jnp.diag(jnp.exp(jnp.broadcast_to(params["log_variance"], w.shape[:1])))
  covariance = jnp.einsum("dl,blk,ek->bde", w, q.covariance, w) + noise
  return jnp.where(mask > 0, x, mean), hidden[:, :, None] * hidden[:, None, :] * covariance


class Statistics(NamedTuple):
  """Sums over examples, additive over parts of the data; v = (z, 1), r = x - b, m the mask.

  Attributes:
    count: sum m, [D].
    vv: sum m E[v v'], [D, L + 1, L + 1]; [1, L + 1, L + 1] without a mask.
    rv: sum m r E[v], [D, L + 1].
    rr: sum m r^2, [D].
  """

  count: jax.Array
  vv: jax.Array
  rv: jax.Array
  rr: jax.Array


def collect(
  params: Params, q: Posterior, x: jax.Array, mask: jax.Array | None = None, weight: jax.Array | None = None
) -> Statistics:
  """The expected sufficient statistics under q; `weight` [B] is the weight of each example, None for 1."""
  residual, seen = _residual(params, x, mask)
  weight = jnp.ones(x.shape[0], q.mean.dtype) if weight is None else weight
  v = jnp.concatenate([q.mean, jnp.ones_like(q.mean[:, :1])], 1)
  weighed = weight[:, None] * v
  if mask is None:
    vv = (weighed.T @ v + jnp.sum(weight) * jnp.pad(q.covariance[0], (0, 1)))[None]
    count = jnp.full(x.shape[1], jnp.sum(weight))
  else:
    second = v[:, :, None] * v[:, None, :] + jnp.pad(q.covariance, ((0, 0), (0, 1), (0, 1)))
    vv, count = jnp.einsum("bd,bij->dij", seen * weight[:, None], second), weight @ seen
  return Statistics(count, vv, residual.T @ weighed, weight @ jnp.square(residual))


def e_step(
  params: Params, x: jax.Array, mask: jax.Array | None = None, weight: jax.Array | None = None
) -> tuple[Statistics, jax.Array]:
  """(the statistics under p(z | x_observed), the sum of log p(x_observed) []), at these parameters."""
  q = posterior(params, x, mask)
  log_px = jnp.sum(q.log_px) if weight is None else weight @ q.log_px
  return collect(params, q, x, mask, weight), log_px


def m_step(params: Params, s: Statistics, ridge: jax.Array | float = 0.0) -> Params:
  """The parameters that maximise the expected log-likelihood of (x_observed, z): a regression of each entry on z.

  An entry that no example observes keeps its parameters.

  Args:
    params: parameters at the E-step.
    s: statistics from the E-step.
    ridge: [L], weights of a penalty sum_dl ridge_l / (2 psi_d) W_dl^2 on the summed expectation.
  """
  seen = s.count > 0
  dim = s.vv.shape[1]
  some = seen if s.vv.shape[0] > 1 else jnp.any(seen)[None]
  vv = jnp.where(some[:, None, None], s.vv, jnp.eye(dim, dtype=s.vv.dtype))
  ridged = vv + jnp.diag(jnp.zeros(dim, vv.dtype).at[:-1].set(ridge))
  if vv.shape[0] > 1:
    slopes = jnp.linalg.solve(ridged, s.rv[..., None])[..., 0]  # (W_d, the change of b_d)
  else:
    slopes = jnp.linalg.solve(ridged[0], s.rv.T).T
  left = s.rr - 2 * jnp.sum(slopes * s.rv, 1) + jnp.sum((slopes[:, None] @ vv)[:, 0] * slopes, 1)
  if params["log_variance"].ndim == 0:
    variance = jnp.where(
      jnp.any(seen), jnp.sum(left) / jnp.maximum(jnp.sum(s.count), 1e-30), jnp.exp(params["log_variance"])
    )
  else:
    variance = jnp.where(seen, left / jnp.where(seen, s.count, 1), jnp.exp(params["log_variance"]))
  return {
    "loadings": jnp.where(seen[:, None], slopes[:, :-1], params["loadings"]),
    "loc": params["loc"] + jnp.where(seen, slopes[:, -1], 0),
    "log_variance": jnp.log(jnp.maximum(variance, MIN_VARIANCE)),
  }


def move(params: Params, s: Statistics, new: Params) -> Statistics:
  """The statistics about the location of `new`, with the same E[v]."""
  by = new["loc"] - params["loc"]
  rv = s.rv - by[:, None] * s.vv[:, -1]
  return Statistics(s.count, s.vv, rv, s.rr - 2 * by * s.rv[:, -1] + jnp.square(by) * s.count)


class Moments(NamedTuple):
  """Sums over examples: their number, r = x - b [D], and r r' [D, D]."""

  count: jax.Array
  first: jax.Array
  second: jax.Array


def moments(params: Params, x: jax.Array, weight: jax.Array) -> Moments:
  """The moments of complete data; `weight` [B] is the weight of each example."""
  residual = x - params["loc"]
  weighed = weight[:, None] * residual
  return Moments(jnp.sum(weight), jnp.sum(weighed, 0), weighed.T @ residual)


def closed_form(params: Params, s: Moments) -> Params:
  """Maximum likelihood of probabilistic PCA: W = U (Lambda - s^2 I)^1/2, s^2 the mean of the other D - L eigenvalues.

  Tipping & Bishop (1999), equations 7 and 8.
  """
  dim, latent_dim = params["loadings"].shape
  mean = s.first / s.count
  values, vectors = jnp.linalg.eigh(s.second / s.count - mean[:, None] * mean)
  values, vectors = values[::-1], vectors[:, ::-1]
  noise = jnp.maximum(jnp.mean(values[latent_dim:]) if latent_dim < dim else 0.0, MIN_VARIANCE)
  scales = jnp.sqrt(jnp.maximum(values[:latent_dim] - noise, 0))
  loadings = vectors[:, :latent_dim] * scales
  return {"loadings": loadings, "loc": params["loc"] + mean, "log_variance": jnp.log(noise)}


def move_moments(params: Params, s: Moments, new: Params) -> Moments:
  """The moments about the location of `new`."""
  by = new["loc"] - params["loc"]
  cross = s.first[:, None] * by
  return Moments(s.count, s.first - s.count * by, s.second - cross - cross.T + s.count * by[:, None] * by)


def start(key: jax.Array, x: jax.Array, mask: jax.Array | None, latent_dim: int, isotropic: bool = False) -> Params:
  """Parameters to start EM from: means and variances of the observed entries, random loadings of that scale."""
  mask = jnp.ones_like(x) if mask is None else mask
  count = jnp.maximum(jnp.sum(mask > 0, 0), 1)
  loc = jnp.sum(jnp.where(mask > 0, x, 0), 0) / count
  variance = jnp.maximum(jnp.sum(jnp.where(mask > 0, jnp.square(x - loc), 0), 0) / count, MIN_VARIANCE)
  loadings = jnp.sqrt(variance / latent_dim)[:, None] * jax.random.normal(key, (x.shape[1], latent_dim), x.dtype)
  return {"loadings": loadings, "loc": loc, "log_variance": jnp.log(jnp.mean(variance) if isotropic else variance)}


def fit(
  params: Params, x: jax.Array, mask: jax.Array, tolerance: float = 1e-6, max_steps: int = 1000, block: int = 1024
) -> tuple[Params, jax.Array, jax.Array]:
  """EM until a step increases the log-likelihood by less than `tolerance` nats per example, or for max_steps.

  Args:
    params: initial parameters; a scalar log_variance selects probabilistic PCA.
    x, mask: [N, D].
    tolerance, max_steps: stopping rule.
    block: examples per block of the E-step.

  Returns:
    (params, the mean of log p(x_observed) before the last step, the number of steps).
  """
  n, num_blocks = x.shape[0], -(-x.shape[0] // block)
  blocks = lambda a: jnp.pad(a, ((0, num_blocks * block - n), (0, 0))).reshape(num_blocks, block, -1)
  parts = blocks(x), blocks((mask > 0).astype(x.dtype))  # padding rows are unobserved and add nothing to the sums

  def step(state):
    params, log_px, _, i = state
    sums = jax.lax.map(lambda part: e_step(params, *part), parts)
    total, found = jax.tree.map(lambda a: jnp.sum(a, 0), sums)
    return m_step(params, total), found / n, log_px, i + 1

  def goes_on(state):
    _, log_px, before, i = state
    return (i < max_steps) & ((i < 2) | (log_px - before >= tolerance))

  low = jnp.asarray(-jnp.inf, x.dtype)
  params, log_px, _, steps = jax.lax.while_loop(goes_on, step, (params, low, low, jnp.int32(0)))
  return params, log_px, steps
