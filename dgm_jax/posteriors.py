"""Approximate posteriors q(z|x) over z [L]; `posterior` of a model names one of POSTERIORS.

A posterior is a module with `latent_dim` = L and `num_outputs`, the width of the encoder's last layer; called with such
outputs [B, ...] it gives q with sample(seed=), sample_and_log_prob(seed=), log_prob(z) and mean(), batch [B], event
[L], nats.  Draws are differentiable in all parameters.  What a flow lacks raises NotImplementedError.
"""

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions import StudentT, diagonal_normal
from dgm_jax.posterior_flows import InverseAutoregressive, Planar

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Diagonal(nn.Module):
  """N(loc, diag(scale)^2); outputs loc and log scale."""

  latent_dim: int

  @property
  def num_outputs(self):
    return 2 * self.latent_dim

  def __call__(self, h):
    return diagonal_normal(h)


class SharedDiagonal(nn.Module):
  """N(loc, diag(scale)^2) with one learned scale for all x; outputs loc.

  With a linear encoder and decoder it is the linear VAE, whose best bound is the log-likelihood of probabilistic PCA
  (Lucas et al., 2019).
  """

  latent_dim: int

  @property
  def num_outputs(self):
    return self.latent_dim

  @nn.compact
  def __call__(self, h):
    log_scale = self.param("log_scale", nn.initializers.zeros, (self.latent_dim,))
    return diagonal_normal(jnp.concatenate([h, jnp.broadcast_to(log_scale, h.shape)], -1))


class LowRank(nn.Module):
  """N(loc, diag(scale)^2 + U U'), U [L, rank]; outputs loc, log scale and sqrt(rank) U.

  Attributes:
    latent_dim: L.
    rank: columns of U.
  """

  latent_dim: int
  rank: int = 2

  @property
  def num_outputs(self):
    _require(self.rank >= 1, f"rank = {self.rank} of posterior 'low_rank' must be 1 or more")
    return (2 + self.rank) * self.latent_dim

  def __call__(self, h):
    loc, log_scale, u = jnp.split(h, (self.latent_dim, 2 * self.latent_dim), -1)
    return LowRankNormal(loc, log_scale, u.reshape(*u.shape[:-1], self.latent_dim, self.rank) / math.sqrt(self.rank))


class LowRankNormal(distrax.Distribution):
  """N(loc, diag(exp(log_scale))^2 + U U') at a cost of L r^2: the inverse through an r x r matrix (Woodbury).

  Args: loc and log_scale [..., L], u [..., L, r]; event [L].
  """

  def __init__(self, loc: jax.Array, log_scale: jax.Array, u: jax.Array):
    super().__init__()
    self._loc, self._log_scale, self._u = loc, log_scale, u

  @property
  def event_shape(self) -> tuple:
    return self._loc.shape[-1:]

  @property
  def batch_shape(self) -> tuple:
    return self._loc.shape[:-1]

  def _sample_n(self, key, n):
    key_diagonal, key_u = jax.random.split(key)
    noise = jax.random.normal(key_diagonal, (n, *self._loc.shape), self._loc.dtype)
    common = jax.random.normal(key_u, (n, *self._loc.shape[:-1], self._u.shape[-1]), self._loc.dtype)
    return self._loc + jnp.exp(self._log_scale) * noise + jnp.einsum("...lr,...r->...l", self._u, common)

  def log_prob(self, value: jax.Array) -> jax.Array:
    whiten = jnp.exp(-self._log_scale)
    y, v = (value - self._loc) * whiten, self._u * whiten[..., None]
    capacitance = jnp.eye(v.shape[-1]) + jnp.einsum("...lr,...ls->...rs", v, v)
    root = jnp.broadcast_to(jnp.linalg.cholesky(capacitance), (*y.shape[:-1], *capacitance.shape[-2:]))
    explained = jax.lax.linalg.triangular_solve(
      root, jnp.einsum("...lr,...l->...r", v, y)[..., None], left_side=True, lower=True
    )
    square = jnp.sum(jnp.square(y), -1) - jnp.sum(jnp.square(explained), (-2, -1))
    log_det = jnp.sum(self._log_scale, -1) + jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), -1)
    return -0.5 * square - log_det - _HALF_LOG_2PI * y.shape[-1]

  def mean(self) -> jax.Array:
    return self._loc

  def covariance(self) -> jax.Array:
    """[..., L, L]."""
    diagonal = jnp.eye(self._loc.shape[-1]) * jnp.exp(2 * self._log_scale)[..., None]
    return diagonal + jnp.einsum("...lr,...mr->...lm", self._u, self._u)


class Full(nn.Module):
  """N(loc, T T'), T lower triangular; outputs loc, the log of T's diagonal and sqrt(L) times what is below it."""

  latent_dim: int

  @property
  def num_outputs(self):
    return 2 * self.latent_dim + self.latent_dim * (self.latent_dim - 1) // 2

  def __call__(self, h):
    dim = self.latent_dim
    loc, log_diagonal, below = jnp.split(h, (dim, 2 * dim), -1)
    tri = jnp.zeros((*h.shape[:-1], dim, dim), h.dtype)
    tri = tri.at[..., jnp.arange(dim), jnp.arange(dim)].set(jnp.exp(log_diagonal))
    tri = tri.at[..., *jnp.tril_indices(dim, -1)].set(below / math.sqrt(dim))
    return distrax.MultivariateNormalTri(loc, tri)


class StudentTPosterior(nn.Module):
  """prod_l of Student-t's; outputs loc, scale through softplus + 0.001, and df through 3 + softplus, as MIWAE's."""

  latent_dim: int

  @property
  def num_outputs(self):
    return 3 * self.latent_dim

  def __call__(self, h):
    loc, scale, df = jnp.split(h, 3, -1)
    return distrax.Independent(StudentT(3.0 + jax.nn.softplus(df), loc, jax.nn.softplus(scale) + 1e-3), 1)


class Mixture(nn.Module):
  """sum_m pi_m N(loc_m, diag(scale_m)^2); outputs the logits of pi, and loc_m and log scale_m of all components.

  Attributes:
    latent_dim: L.
    num_components: M.
  """

  latent_dim: int
  num_components: int = 3

  @property
  def num_outputs(self):
    _require(self.num_components >= 1, f"num_components = {self.num_components} of posterior 'mixture' must be >= 1")
    return self.num_components * (1 + 2 * self.latent_dim)

  def __call__(self, h):
    logits, h = h[..., : self.num_components], h[..., self.num_components :]
    loc, log_scale = jnp.split(h.reshape(*h.shape[:-1], self.num_components, 2 * self.latent_dim), 2, -1)
    return NormalMixture(logits, loc, log_scale)


class NormalMixture(distrax.Distribution):
  """sum_m pi_m N(loc_m, diag(exp(log_scale_m))^2), whose draws have implicit gradients.

  A component is drawn and then z from it; through the choice no derivative passes.  F_l(z_l | z_<l), the conditional
  distribution functions, make z uniform for any parameters, so that moving them moves z by -(dF/dz)^-1 dF: unbiased
  gradients for all parameters, the weights too (Figurnov, Mohamed & Mnih, 2018, section 3).

  Args: logits [..., M], loc and log_scale [..., M, L]; event [L].
  """

  def __init__(self, logits: jax.Array, loc: jax.Array, log_scale: jax.Array):
    super().__init__()
    self._logits, self._loc, self._log_scale = logits, loc, log_scale

  @property
  def event_shape(self) -> tuple:
    return self._loc.shape[-1:]

  @property
  def batch_shape(self) -> tuple:
    return self._loc.shape[:-2]

  def _sample_n(self, key, n):
    key_m, key_z = jax.random.split(key)
    m = jax.random.categorical(key_m, self._logits, shape=(n, *self.batch_shape))[..., None, None]
    pick = lambda a: jnp.take_along_axis(jnp.broadcast_to(a, (n, *a.shape)), m, -2)[..., 0, :]
    noise = jax.random.normal(key_z, (n, *self.batch_shape, *self.event_shape), self._loc.dtype)
    z = jax.lax.stop_gradient(pick(self._loc) + jnp.exp(pick(self._log_scale)) * noise)
    return _move_with(z, self._logits, self._loc, self._log_scale)

  def log_prob(self, value: jax.Array) -> jax.Array:
    noise = (value[..., None, :] - self._loc) * jnp.exp(-self._log_scale)
    log_n = jnp.sum(-0.5 * jnp.square(noise) - self._log_scale - _HALF_LOG_2PI, -1)
    return jax.nn.logsumexp(jax.nn.log_softmax(self._logits) + log_n, -1)

  def mean(self) -> jax.Array:
    return jnp.einsum("...m,...ml->...l", jax.nn.softmax(self._logits), self._loc)


def _conditional_cdfs(z: jax.Array, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
  """F_l(z_l | z_<l) of a mixture of diagonal normals, [L]; z [L], logits [M], loc and log_scale [M, L]."""
  noise = (z - loc) * jnp.exp(-log_scale)
  log_n = -0.5 * jnp.square(noise) - log_scale
  weights = jax.nn.softmax(logits[:, None] + jnp.cumsum(log_n, -1) - log_n, 0)  # of the components given z_<l
  return jnp.sum(weights * jax.scipy.stats.norm.cdf(noise), 0)


@jax.custom_jvp
def _move_with(z: jax.Array, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
  """z [..., L], a draw from the mixture, as a function of its parameters."""
  del logits, loc, log_scale
  return z


@_move_with.defjvp
def _move_with_jvp(primals, tangents):
  z, *params = primals

  def one(z, *arguments):
    params, moved = arguments[:3], arguments[3:]
    _, rise = jax.jvp(lambda *params: _conditional_cdfs(z, *params), params, moved)
    slope = jax.jacfwd(_conditional_cdfs)(z, *params)  # lower triangular: F_l does not depend on z_>l
    return -jax.lax.linalg.triangular_solve(slope, rise[:, None], left_side=True, lower=True)[:, 0]

  signature = "(l),(m),(m,l),(m,l),(m),(m,l),(m,l)->(l)"
  return z, jnp.vectorize(one, signature=signature)(z, *params, *tangents[1:])


POSTERIORS = {
  "diagonal": Diagonal,
  "diagonal_shared": SharedDiagonal,
  "low_rank": LowRank,
  "full": Full,
  "student_t": StudentTPosterior,
  "mixture": Mixture,
  "planar": Planar,
  "iaf": InverseAutoregressive,
}
WITHOUT_LOG_PROB = {"planar"}  # their log q is that of own draws only


def _require(condition: bool, message: str) -> None:
  if not condition:
    raise ValueError(message)


def make(name: str, latent_dim: int, **options: Any) -> nn.Module:
  """The posterior `name` over z [L]; options are its attributes.

  Raises:
    ValueError: no such posterior, or a value that cannot be.
    TypeError: no such option.
  """
  _require(name in POSTERIORS, f"posterior = {name!r}; it must be one of {', '.join(POSTERIORS)}")
  return POSTERIORS[name](latent_dim, **options)
