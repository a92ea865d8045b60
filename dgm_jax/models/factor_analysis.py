"""Factor analysis and probabilistic PCA (Tipping & Bishop, 1999) of data with missing entries, exact, and by EM.

  z ~ N(0, I),   x | z ~ N(W z + b, diag(psi)),   psi = s^2 for all entries in probabilistic PCA.

Parameters are {"loadings": W [D, L], "loc": b [D], "log_variance": log psi, [D] or []}.  Functions take x [B, D] and
mask [B, D], 1 where x is observed; what x is elsewhere, be it NaN, has no influence.  e_step and m_step are those of
the observed entries' likelihood: only z is latent.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions import Factorised, standard_normal

_MIN_VARIANCE = 1e-6  # where a factor explains an entry fully the likelihood has no maximum (Heywood's case)

Params = dict[str, jax.Array]


class Posterior(NamedTuple):
  """What the observed entries say.

  Attributes:
    mean: E[z | x_observed], [B, L].
    covariance: [B, L, L].
    log_px: log p(x_observed), [B], nats.
  """

  mean: jax.Array
  covariance: jax.Array
  log_px: jax.Array


def posterior(params: Params, x: jax.Array, mask: jax.Array) -> Posterior:
  """N(z; M^-1 W' Psi^-1 (x - b), M^-1), M = I + W' Psi^-1 W, and log p(x), all of the observed entries alone."""
  w, dim = params["loadings"], params["loadings"].shape[1]
  log_variance = jnp.broadcast_to(params["log_variance"], w.shape[:1])
  seen = (mask > 0).astype(w.dtype)
  residual = jnp.where(mask > 0, x - params["loc"], 0)
  precision = seen * jnp.exp(-log_variance)
  root = jnp.linalg.cholesky(jnp.eye(dim, dtype=w.dtype) + jnp.einsum("bd,dl,dk->blk", precision, w, w))
  covariance = jax.vmap(lambda r: jax.scipy.linalg.cho_solve((r, True), jnp.eye(dim, dtype=w.dtype)))(root)
  projected = (precision * residual) @ w
  mean = jnp.einsum("blk,bk->bl", covariance, projected)
  log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), 1) + seen @ log_variance
  square = jnp.sum(precision * jnp.square(residual), 1) - jnp.sum(projected * mean, 1)
  return Posterior(mean, covariance, -0.5 * (jnp.sum(seen, 1) * math.log(2 * math.pi) + log_det + square))


def conditional(params: Params, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(x with E[x | x_observed] where it is missing [B, D], Cov[x | x_observed] [B, D, D], 0 in observed entries)."""
  w, q = params["loadings"], posterior(params, x, mask)
  mean = q.mean @ w.T + params["loc"]
  hidden = (mask <= 0).astype(w.dtype)
  noise = jnp.diag(jnp.exp(jnp.broadcast_to(params["log_variance"], w.shape[:1])))
  covariance = jnp.einsum("dl,blk,ek->bde", w, q.covariance, w) + noise
  return jnp.where(mask > 0, x, mean), hidden[:, :, None] * hidden[:, None, :] * covariance


class Statistics(NamedTuple):
  """Sums over examples, so that those of parts of the data add up; v = (z, 1), r = x - b, m the mask.

  Attributes:
    count: sum m, [D].
    vv: sum m E[v v'], [D, L + 1, L + 1].
    rv: sum m r E[v], [D, L + 1].
    rr: sum m r^2, [D].
    log_px: sum log p(x_observed), scalar.
  """

  count: jax.Array
  vv: jax.Array
  rv: jax.Array
  rr: jax.Array
  log_px: jax.Array


def e_step(params: Params, x: jax.Array, mask: jax.Array) -> Statistics:
  """The expected sufficient statistics under p(z | x_observed), and the log-likelihood at these parameters."""
  q = posterior(params, x, mask)
  seen = (mask > 0).astype(q.mean.dtype)
  residual = jnp.where(mask > 0, x - params["loc"], 0)
  v = jnp.concatenate([q.mean, jnp.ones_like(q.mean[:, :1])], 1)
  second = v[:, :, None] * v[:, None, :] + jnp.pad(q.covariance, ((0, 0), (0, 1), (0, 1)))
  return Statistics(
    jnp.sum(seen, 0),
    jnp.einsum("bd,bij->dij", seen, second),
    residual.T @ v,
    jnp.sum(jnp.square(residual), 0),
    jnp.sum(q.log_px),
  )


def m_step(params: Params, s: Statistics) -> Params:
  """The parameters that maximise the expected log-likelihood of (x_observed, z): a regression of each entry on z.

  An entry that is nowhere observed keeps its own.
  """
  seen = s.count > 0
  vv = jnp.where(seen[:, None, None], s.vv, jnp.eye(s.vv.shape[1], dtype=s.vv.dtype))
  slopes = jnp.linalg.solve(vv, s.rv[..., None])[..., 0]  # (W_d, what b_d moves by)
  left = s.rr - jnp.sum(slopes * s.rv, 1)
  if params["log_variance"].ndim == 0:
    variance = jnp.sum(left) / jnp.sum(s.count)
  else:
    variance = jnp.where(seen, left / jnp.maximum(s.count, 1), jnp.exp(params["log_variance"]))
  return {
    "loadings": jnp.where(seen[:, None], slopes[:, :-1], params["loadings"]),
    "loc": params["loc"] + jnp.where(seen, slopes[:, -1], 0),
    "log_variance": jnp.log(jnp.maximum(variance, _MIN_VARIANCE)),
  }


def start(key: jax.Array, x: jax.Array, mask: jax.Array, latent_dim: int, isotropic: bool = False) -> Params:
  """Parameters to start EM from: the observed entries' means and variances, random loadings of their size."""
  count = jnp.maximum(jnp.sum(mask > 0, 0), 1)
  loc = jnp.sum(jnp.where(mask > 0, x, 0), 0) / count
  variance = jnp.maximum(jnp.sum(jnp.where(mask > 0, jnp.square(x - loc), 0), 0) / count, _MIN_VARIANCE)
  loadings = jnp.sqrt(variance / latent_dim)[:, None] * jax.random.normal(key, (x.shape[1], latent_dim), x.dtype)
  return {"loadings": loadings, "loc": loc, "log_variance": jnp.log(jnp.mean(variance) if isotropic else variance)}


def fit(
  params: Params, x: jax.Array, mask: jax.Array, tolerance: float = 1e-6, max_steps: int = 1000, block: int = 1024
) -> tuple[Params, jax.Array, jax.Array]:
  """EM until a step raises the log-likelihood by less than `tolerance` nats an example, or for max_steps.

  Args:
    params: where it starts; a scalar log_variance makes it probabilistic PCA.
    x, mask: [N, D].
    tolerance, max_steps: when it ends.
    block: examples at once in the E-step.

  Returns:
    (params, the mean of log p(x_observed) before the last step, the number of steps).
  """
  n, num_blocks = x.shape[0], -(-x.shape[0] // block)
  blocks = lambda a: jnp.pad(a, ((0, num_blocks * block - n), (0, 0))).reshape(num_blocks, block, -1)
  parts = blocks(x), blocks((mask > 0).astype(x.dtype))  # rows of nothing observed add nothing to the sums

  def step(state):
    params, log_px, _, i = state
    sums = jax.lax.map(lambda part: e_step(params, *part), parts)
    total = jax.tree.map(lambda a: jnp.sum(a, 0), sums)
    return m_step(params, total), total.log_px / n, log_px, i + 1

  def goes_on(state):
    _, log_px, before, i = state
    return (i < max_steps) & ((i < 2) | (log_px - before >= tolerance))

  low = jnp.asarray(-jnp.inf, x.dtype)
  params, log_px, _, steps = jax.lax.while_loop(goes_on, step, (params, low, low, jnp.int32(0)))
  return params, log_px, steps


class Model(nn.Module):
  """The model as one of the principle `latent`, with q(z|x) = p(z | x_observed): every bound is log p(x_observed).

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat, where b starts; None: 0.
    latent_dim: L.
    isotropic: whether all entries have one variance: probabilistic PCA.
  """

  takes_mask: ClassVar[bool] = True
  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 2
  isotropic: bool = False

  def setup(self):
    dim = math.prod(self.data_shape)
    loc = lambda key, shape: jnp.zeros(shape) if self.data_mean is None else jnp.asarray(self.data_mean)
    self.loadings = self.param("loadings", nn.initializers.normal(0.1), (dim, self.latent_dim))
    self.loc = self.param("loc", loc, (dim,))
    self.log_variance = self.param("log_variance", nn.initializers.zeros, () if self.isotropic else (dim,))

  @property
  def _params(self) -> Params:
    return {"loadings": self.loadings, "loc": self.loc, "log_variance": self.log_variance}

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    x = batch["x"].reshape(batch["x"].shape[0], -1)
    return x, batch["mask"].reshape(x.shape) if "mask" in batch else jnp.ones_like(x)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x_observed), [B], nats."""
    return posterior(self._params, *self._flat(batch)).log_px

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """p(z | x_observed), batch [B], event [L]."""
    q = posterior(self._params, *self._flat(batch))
    return distrax.MultivariateNormalTri(q.mean, jnp.linalg.cholesky(q.covariance))

  def decode(self, z: jax.Array) -> Factorised:
    """p(x|z), batch [B], event [D]; z [B, L]."""
    loc = z @ self.loadings.T + self.loc
    return Factorised(distrax.Normal(loc, jnp.broadcast_to(jnp.exp(0.5 * self.log_variance), loc.shape)))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z) [B] of the observed entries, log p(z) [B]); z [B, L]."""
    return self.decode(z).log_prob(*self._flat(batch)), standard_normal(self.latent_dim).log_prob(z)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({"x": [n, *data_shape]}, z [n, L]), a draw from p(x, z)."""
    key_z, key_x = jax.random.split(key)
    z = jax.random.normal(key_z, (n, self.latent_dim))
    return {"x": self.decode(z).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z)."""
    batch, z = self.simulate(key, n)
    return self.reconstruct(z) if mean else batch["x"]

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).mean())
