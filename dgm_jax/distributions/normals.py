"""Multivariate normals and their mixtures, with reparameterised draws."""

import math

import distrax
import jax
import jax.numpy as jnp


class _DiagonalNormal(distrax.Independent):
  """A diagonal normal, parameterised by its log-scale, with a fused sample_and_log_prob.

  distrax draws [1, ..., L] and then removes the first axis, which keeps XLA from fusing the draw with later operations:
  a training step with K = 50 samples is 5 % slower.
  """

  def __init__(self, loc: jax.Array, log_scale: jax.Array):
    super().__init__(distrax.Normal(loc, jnp.exp(log_scale)), 1)
    self._loc, self._log_scale = loc, log_scale

  def sample_and_log_prob(self, *, seed, sample_shape=()):
    shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
    noise = jax.random.normal(seed, (*shape, *self._loc.shape), self._loc.dtype)
    log_prob = -0.5 * jnp.square(noise) - self._log_scale - 0.5 * math.log(2 * math.pi)
    return self._loc + jnp.exp(self._log_scale) * noise, jnp.sum(log_prob, -1)


def diagonal_normal(params: jax.Array) -> distrax.Distribution:
  """N(loc, diag(exp(log_scale))^2) from [..., 2L] = (loc, log_scale); event [L]."""
  loc, log_scale = jnp.split(params, 2, -1)
  return _DiagonalNormal(loc, log_scale)


def standard_normal(dim: int) -> distrax.Distribution:
  """N(0, I) on `dim` dimensions."""
  return distrax.Independent(distrax.Normal(jnp.zeros(dim), jnp.ones(dim)), 1)


_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class LowRankNormal(distrax.Distribution):
  """N(loc, diag(exp(log_scale))^2 + U U') at a cost of L r^2, by the Woodbury identity with an r x r matrix.

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
    """The covariance matrix, [..., L, L]."""
    diagonal = jnp.eye(self._loc.shape[-1]) * jnp.exp(2 * self._log_scale)[..., None]
    return diagonal + jnp.einsum("...lr,...mr->...lm", self._u, self._u)


class NormalMixture(distrax.Distribution):
  """sum_m pi_m N(loc_m, diag(exp(log_scale_m))^2), whose draws have implicit gradients.

  A component is drawn and then z from it; the choice has no derivative.  The conditional distribution functions
  F_l(z_l | z_<l) map z to uniform variables for any parameters, so that a change of these moves z by -(dF/dz)^-1 dF:
  unbiased gradients for all parameters, including the weights (Figurnov, Mohamed & Mnih, 2018, section 3).

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
  weights = jax.nn.softmax(logits[:, None] + jnp.cumsum(log_n, -1) - log_n, 0)  # p(component | z_<l)
  return jnp.sum(weights * jax.scipy.stats.norm.cdf(noise), 0)


@jax.custom_jvp
def _move_with(z: jax.Array, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
  """z [..., L], a draw from the mixture, with its implicit derivatives in the parameters; see NormalMixture."""
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
