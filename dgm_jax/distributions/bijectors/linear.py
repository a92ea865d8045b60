"""Linear bijectors of the last axis: permutations, LU-decomposed matrices, reflections, one matrix for each pixel.

Each acts on the last axis of an event with `event_ndims` axes: on [D], or on the channels of [H, W, C], where it is the
invertible 1 x 1 convolution (Kingma & Dhariwal, 2018), whose log-determinant counts once for each pixel.
"""

import math

import distrax
import jax
import jax.numpy as jnp


class Linear(distrax.Bijector):
  """What linear bijectors share; a subclass adds `_forward(x)`, `_inverse(y)` and `log_det` [], of one matrix."""

  def __init__(self, event_ndims: int = 1, is_constant: bool = True):
    super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=is_constant)
    self._event_ndims = event_ndims

  log_det: jax.Array | float = 0.0

  def _total(self, x):
    of_event = x.shape[x.ndim - self._event_ndims :]
    log_det = jnp.asarray(self.log_det, x.dtype) * math.prod(of_event[:-1])
    return jnp.broadcast_to(log_det, x.shape[: x.ndim - self._event_ndims])

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self._forward(x), self._total(x)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self._inverse(y), -self._total(y)


class Permutation(Linear):
  """y_i = x_order(i).

  Args:
    order: a permutation of 0 .. D - 1, [D].
    event_ndims: see the module's docstring.
  """

  def __init__(self, order: jax.Array, event_ndims: int = 1):
    super().__init__(event_ndims)
    self.order = order

  def _forward(self, x):
    return jnp.take(x, self.order, -1)

  def _inverse(self, y):
    return jnp.take(y, jnp.argsort(self.order), -1)


class Reverse(Linear):
  """The entries in the opposite order."""

  def _forward(self, x):
    return x[..., ::-1]

  def _inverse(self, y):
    return y[..., ::-1]


class LU(Linear):
  """y = L (U + diag(exp(s))) P x + b, with P a permutation, L unit lower and U strictly upper triangular.

  Args:
    lower, upper: matrices [D, D], of which the entries below and above the diagonal count.
    log_diagonal: s, [D].
    bias: b, [D].
    order: P x = x[order], [D].
    event_ndims: see the module's docstring.
  """

  def __init__(
    self,
    lower: jax.Array,
    upper: jax.Array,
    log_diagonal: jax.Array,
    bias: jax.Array,
    order: jax.Array,
    event_ndims: int = 1,
  ):
    super().__init__(event_ndims)
    self.lower = jnp.tril(lower, -1) + jnp.eye(lower.shape[-1], dtype=lower.dtype)
    self.upper = jnp.triu(upper, 1) + jnp.diag(jnp.exp(log_diagonal))
    self.bias, self.order, self.log_det = bias, order, jnp.sum(log_diagonal)

  def matrix(self) -> jax.Array:
    """The matrix L (U + diag(exp(s))) P, [D, D]."""
    return (self.lower @ self.upper)[:, jnp.argsort(self.order)]

  def _forward(self, x):
    return x @ self.matrix().T + self.bias

  def _inverse(self, y):
    rows = (y - self.bias).reshape(-1, y.shape[-1])
    solve = lambda matrix, b, lower, unit: jax.lax.linalg.triangular_solve(
      matrix, b, left_side=False, lower=lower, transpose_a=True, unit_diagonal=unit
    )
    rows = solve(self.upper, solve(self.lower, rows, True, True), False, False)
    return rows[:, jnp.argsort(self.order)].reshape(y.shape)


class Householder(Linear):
  """y = H_M ... H_1 x, with reflections H_m = I - 2 u_m u_m', u_m = v_m / |v_m|: orthogonal (Tomczak & Welling, 2016).

  All M at once, with the rows u_m of U and the triangular matrix S = triu(U U', 1) + I / 2 (Joffrion & Low, 2006):

    H_M ... H_1 = I - U' S^-T U

  Args:
    vectors: v, [..., M, D].
    event_ndims: see the module's docstring.
  """

  def __init__(self, vectors: jax.Array, event_ndims: int = 1):
    super().__init__(event_ndims)
    square = jnp.sum(jnp.square(vectors), -1, keepdims=True)
    self._unit = vectors * jax.lax.rsqrt(jnp.maximum(square, jnp.finfo(vectors.dtype).tiny))
    eye = jnp.eye(vectors.shape[-2], dtype=vectors.dtype)
    s = jnp.triu(self._unit @ jnp.swapaxes(self._unit, -1, -2), 1) + eye / 2
    self._t = jax.scipy.linalg.solve_triangular(s, jnp.broadcast_to(eye, s.shape))

  def _reflect(self, x, subscripts):
    along = jnp.einsum("...md,...d->...m", self._unit, x)
    return x - jnp.einsum("...md,...m->...d", self._unit, jnp.einsum(subscripts, self._t, along))

  def _forward(self, x):
    return self._reflect(x, "...nm,...n->...m")

  def _inverse(self, y):
    return self._reflect(y, "...mn,...n->...m")
