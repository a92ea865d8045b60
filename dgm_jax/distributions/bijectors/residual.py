"""Residual flows y = x + g(x) with a contraction g (Behrmann et al., 2019; Chen et al., 2019)."""

import math
from collections.abc import Callable, Sequence

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import solvers
from dgm_jax.distributions.bijectors.layers import Layer
from dgm_jax.networks import norms

_MOST_STEPS = 1000  # of the fixed-point iteration


def exact_log_det(g: Callable, x: jax.Array) -> jax.Array:
  """log det(I + dg/dx) from the whole Jacobian, [...]; x [..., D], at a cost of D derivatives."""
  one = lambda x: jnp.linalg.slogdet(jnp.eye(x.shape[-1], dtype=x.dtype) + jax.jacfwd(g)(x))[1]
  return jnp.vectorize(one, signature="(d)->()")(x)


def log_det_estimate(
  g: Callable, x: jax.Array, key: jax.Array, num_exact: int = 4, stop: float = 0.5, shared: bool = True
) -> jax.Array:
  """An unbiased estimate of log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k, J = dg/dx, [...]; x [..., D].

  Traces are v'J^k v with a normal v for each x; the series ends after N terms, N - num_exact geometric, and term k is
  divided by P(N >= k).  Its gradient is that of sum_k (-1)^k v'J^k (dJ) v / P(N >= k), an unbiased estimate, too, for
  which nothing of the series is kept (Chen et al., 2019).

  Args:
    g: a contraction, a pure function.
    x, key: where, and the randomness.
    num_exact: terms that are always there.
    stop: the probability that the series ends after each further term.
    shared: whether all x share N: cheaper, but their estimates then are not independent.
  """
  key_n, key_v = jax.random.split(key)
  noise = jax.random.uniform(key_n, () if shared else x.shape[:-1], x.dtype, jnp.finfo(x.dtype).tiny)
  n = num_exact + jnp.floor(jnp.log(noise) / math.log1p(-stop)).astype(jnp.int32)
  v = jax.random.normal(key_v, x.shape, x.dtype)
  _, transposed = jax.vjp(g, jax.lax.stop_gradient(x))

  def term(carry):
    k, power, value, row = carry
    power = transposed(power)[0]
    weight = jnp.where(k % 2 == 1, 1.0, -1.0) * (1 - stop) ** -jnp.maximum(k - num_exact, 0).astype(x.dtype)
    weight = jnp.broadcast_to(jnp.where(k <= n, weight, 0.0).astype(x.dtype), x.shape[:-1])
    value = value + weight / k * jnp.sum(power * v, -1)
    return k + 1, power, value, row - weight[..., None] * power

  start = (jnp.int32(1), v, jnp.zeros(x.shape[:-1], x.dtype), v)
  _, _, value, row = jax.lax.while_loop(lambda carry: carry[0] <= jnp.max(n), term, jax.lax.stop_gradient(start))
  _, moved = jax.jvp(g, (x,), (v,))
  surrogate = jnp.sum(jax.lax.stop_gradient(row) * moved, -1)
  return jax.lax.stop_gradient(value) + surrogate - jax.lax.stop_gradient(surrogate)


class Residual(distrax.Bijector):
  """y = x + g(x), event [D]; the inverse iterates x <- y - g(x).

  Args:
    g: a contraction, x [..., D] -> [..., D], a pure function.
    key: for estimated log-determinants, see log_det_estimate; None for exact ones.
    num_exact, shared: of the estimate.
    tol: of the inverse, see solvers.tolerance.
  """

  def __init__(
    self,
    g: Callable,
    key: jax.Array | None = None,
    num_exact: int = 4,
    shared: bool = True,
    tol: float | None = None,
  ):
    super().__init__(event_ndims_in=1)
    solvers.check(tol=tol)
    self.g, self.key, self.num_exact, self.shared, self.tol = g, key, num_exact, shared, tol

  def _log_det(self, x):
    if self.key is None:
      return exact_log_det(self.g, x)
    return log_det_estimate(self.g, x, self.key, self.num_exact, shared=self.shared)

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return x + self.g(x), self._log_det(x)

  def inverse_and_passes(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(x, the number of passes)."""
    return solvers.fixed_point(lambda x: y - self.g(x), y, _MOST_STEPS, self.tol)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, _ = self.inverse_and_passes(y)
    return x, -self._log_det(x)


def lip_swish(x: jax.Array) -> jax.Array:
  """x sigmoid(x) / 1.1, smooth, with slopes of at most 1 (Chen et al., 2019)."""
  return x * jax.nn.sigmoid(x) / 1.1


class ResidualLayer(Layer):
  """A residual bijector whose g is a multilayer perceptron with spectral norms of at most `coefficient`.

  Attributes, in addition to those of Layer:
    hidden: widths of the hidden layers.
    coefficient: the bound of the spectral norm of each matrix, less than 1.
    power_steps: passes of the power iteration at each call, from singular vectors that training keeps.
    num_exact: terms of the estimate of the log-determinant that are always there.
  """

  hidden: Sequence[int] = (64, 64)
  coefficient: float = 0.9
  power_steps: int = 5
  num_exact: int = 4

  def setup(self):
    errors.require(0 < self.coefficient < 1, f"coefficient = {self.coefficient}; it must be between 0 and 1")
    for name in ("power_steps", "num_exact"):
      errors.require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)}; it must be 1 or more")
    widths, glorot, zeros = (self.dim, *self.hidden, self.dim), nn.initializers.glorot_uniform(), nn.initializers.zeros
    count = len(widths) - 1
    self.kernels = [self.param(f"kernel_{i}", glorot, widths[i : i + 2]) for i in range(count)]
    self.biases = [self.param(f"bias_{i}", zeros, widths[i + 1 : i + 2]) for i in range(count)]
    if self.context:
      self.context_kernel = self.param("context", glorot, (self.context, widths[1]))
    direction = lambda i: jax.random.normal(jax.random.key(i), widths[i + 1 : i + 2])
    self.directions = [self.variable("spectral", f"u_{i}", direction, i) for i in range(count)]

  def _normalised(self):
    """[(kernel with a bounded norm, the singular vector)]."""
    found = []
    for kernel, u in zip(self.kernels, self.directions, strict=True):
      sigma, vector = norms.of_matrix(kernel, u.value.astype(kernel.dtype), self.power_steps)
      found.append((norms.at_most(kernel, sigma, self.coefficient), vector))
    return found

  def __call__(
    self, context: jax.Array | None = None, key: jax.Array | None = None, shared: bool = True
  ) -> distrax.Bijector:
    """The bijector, with a key one whose log-determinant is an estimate, see log_det_estimate."""
    kernels = [kernel for kernel, _ in self._normalised()]
    added = context @ self.context_kernel if self.context else 0.0

    def g(x):
      for i, (kernel, bias) in enumerate(zip(kernels, self.biases, strict=True)):
        x = (lip_swish(x) if i else x) @ kernel + bias + (0.0 if i else added)
      return x

    return Residual(g, key, self.num_exact, shared)

  def observe(self, x: jax.Array, train: bool = False) -> distrax.Bijector:
    """The bijector; in training its singular vectors are kept as the next start."""
    del x
    if train or self.is_initializing():
      for variable, (_, vector) in zip(self.directions, self._normalised(), strict=True):
        variable.value = vector
    return self()
