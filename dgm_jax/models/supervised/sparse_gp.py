"""Gaussian process regression with inducing points, in closed form: the collapsed bound of Titsias (2009).

  y = f(x) + s e,  f ~ GP(0, k),  k(x, x') = v exp(-sum_d (x_d - x'_d)^2 / (2 l_d^2))

With M inducing inputs and Q = K_fu K_uu^-1 K_uf,

  log p(y) >= log N(y; 0, Q + s^2 I) - tr(K_ff - Q) / (2 s^2),

which is equal where the inducing inputs are the inputs.  Time is O(N M^2); rows are taken in blocks.  Use float64
(jax.enable_x64): Cholesky factors of K_uu are near singular.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_ROWS = 4096
_JITTER = 1e-6  # of the variance, on the diagonal of K_uu


class Hyper(NamedTuple):
  """log l [D], log v and log s^2."""

  log_lengths: jax.Array
  log_variance: jax.Array
  log_noise: jax.Array


class Posterior(NamedTuple):
  """What predictions need, of M inducing inputs.

  Attributes:
    hyper, inducing: see the module; inducing [M, D].
    factor: Cholesky factor of K_uu, [M, M].
    gram: sum_n a_n a_n', a_n = L^-1 k_u(x_n) / s, [M, M].
    target: sum_n a_n y_n / s, [M].
  """

  hyper: Hyper
  inducing: jax.Array
  factor: jax.Array
  gram: jax.Array
  target: jax.Array


def start(x: jax.Array, y: jax.Array) -> Hyper:
  """Lengths of sqrt(D) standard deviations, half of the variance of y as signal and half as noise."""
  lengths = jnp.log(jnp.std(x, 0) + 1e-6) + 0.5 * jnp.log(jnp.asarray(x.shape[1], x.dtype))
  half = jnp.log(0.5 * jnp.var(y) + 1e-12)
  return Hyper(lengths, half, half)


def kernel(hyper: Hyper, a: jax.Array, b: jax.Array) -> jax.Array:
  """k, [N, M] of inputs [N, D] and [M, D]."""
  a, b = a * jnp.exp(-hyper.log_lengths), b * jnp.exp(-hyper.log_lengths)
  squared = jnp.sum(a * a, 1)[:, None] + jnp.sum(b * b, 1) - 2 * a @ b.T
  return jnp.exp(hyper.log_variance - 0.5 * jnp.maximum(squared, 0))


def _features(hyper: Hyper, inducing: jax.Array, factor: jax.Array, x: jax.Array) -> jax.Array:
  """a_n s, [M, N]."""
  return jax.scipy.linalg.solve_triangular(factor, kernel(hyper, inducing, x), lower=True)


def condition(hyper: Hyper, inducing: jax.Array, x: jax.Array, y: jax.Array) -> Posterior:
  """The posterior given inputs x [N, D] and y [N]."""
  m = inducing.shape[0]
  jitter = _JITTER * jnp.exp(hyper.log_variance)
  factor = jnp.linalg.cholesky(kernel(hyper, inducing, inducing) + jitter * jnp.eye(m, dtype=x.dtype))
  blocks = -(-x.shape[0] // _ROWS)
  pad = lambda a: jnp.pad(a, ((0, blocks * _ROWS - a.shape[0]), *((0, 0),) * (a.ndim - 1)))
  if blocks == 1:
    pad = lambda a: a
  inside = pad(jnp.ones(x.shape[0], x.dtype))
  cut = lambda a: pad(a).reshape(blocks, -1, *a.shape[1:])

  @jax.checkpoint
  def one(carry, block):
    x, y, some = block
    a = _features(hyper, inducing, factor, x) * some
    return (carry[0] + a @ a.T, carry[1] + a @ y), None

  zeros = (jnp.zeros((m, m), x.dtype), jnp.zeros(m, x.dtype))
  (gram, target), _ = jax.lax.scan(one, zeros, (cut(x), cut(y), inside.reshape(blocks, -1)))
  noise = jnp.exp(hyper.log_noise)
  return Posterior(hyper, inducing, factor, gram / noise, target / noise)


def bound(hyper: Hyper, inducing: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
  """The collapsed bound on log p(y), nats."""
  post, n = condition(hyper, inducing, x, y), x.shape[0]
  inner = jnp.linalg.cholesky(jnp.eye(inducing.shape[0], dtype=x.dtype) + post.gram)
  c = jax.scipy.linalg.solve_triangular(inner, post.target, lower=True)
  noise = jnp.exp(hyper.log_noise)
  fit = jnp.sum(y * y) / noise - jnp.sum(c * c)
  log_det = 2 * jnp.sum(jnp.log(jnp.diag(inner))) + n * hyper.log_noise
  trace = n * jnp.exp(hyper.log_variance) / noise - jnp.trace(post.gram)
  return -0.5 * (n * jnp.log(2 * jnp.pi) + log_det + fit + trace)


def predict(post: Posterior, x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(mean, variance of f), [N] each; that of y is larger by s^2."""
  a = _features(post.hyper, post.inducing, post.factor, x)  # [M, N]
  inner = jnp.linalg.cholesky(jnp.eye(a.shape[0], dtype=x.dtype) + post.gram)
  b = jax.scipy.linalg.solve_triangular(inner, a, lower=True)
  c = jax.scipy.linalg.solve_triangular(inner, post.target, lower=True)
  variance = jnp.exp(post.hyper.log_variance) - jnp.sum(a * a, 0) + jnp.sum(b * b, 0)
  return b.T @ c, jnp.maximum(variance, 1e-12 * jnp.exp(post.hyper.log_variance))


def covariance(post: Posterior, x: jax.Array, other: jax.Array) -> jax.Array:
  """Cov[f(x), f(x')] given the data, [N, M] of inputs [N, D] and [M, D]."""
  a, b = (_features(post.hyper, post.inducing, post.factor, some) for some in (x, other))
  inner = jnp.linalg.cholesky(jnp.eye(a.shape[0], dtype=x.dtype) + post.gram)
  c, d = (jax.scipy.linalg.solve_triangular(inner, some, lower=True) for some in (a, b))
  return kernel(post.hyper, x, other) - a.T @ b + c.T @ d


def variance_given(post: Posterior, x: jax.Array, points: jax.Array, used: jax.Array) -> jax.Array:
  """Var[f(x)], [N], if f is known at those of the points [Q, D] where `used` [Q] is true, too."""
  jitter = _JITTER * jnp.exp(post.hyper.log_variance)
  both = used[:, None] & used
  among = jnp.where(both, covariance(post, points, points), 0.0) + jnp.diag(jnp.where(used, jitter, 1.0))
  across = jnp.where(used[:, None], covariance(post, points, x), 0.0)  # [Q, N]
  w = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(among), across, lower=True)
  return jnp.maximum(predict(post, x)[1] - jnp.sum(w * w, 0), 1e-12 * jnp.exp(post.hyper.log_variance))
