"""Sylvester flows (van den Berg et al., 2018)."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors.linear import Householder
from dgm_jax.distributions.bijectors.planar import planar_step


class Sylvester(distrax.Bijector):
  """y = x + Q R tanh(S Q' x + b), Q with M orthonormal columns from reflections, R and S upper triangular [M, M].

  The diagonals of R and S are tanh of their parameters, so that all 1 + tanh'(.) r_m s_m, whose product is the
  determinant, are positive, and y is invertible, though not in closed form.

  Args:
    vectors: of the reflections, [..., K, D].
    r, s: [..., M, M], of which the upper triangles count.
    b: [..., M].
  """

  def __init__(self, vectors: jax.Array, r: jax.Array, s: jax.Array, b: jax.Array):
    super().__init__(event_ndims_in=1)
    m, dim = b.shape[-1], vectors.shape[-1]
    errors.require(m <= dim, f"a Sylvester flow takes at most as many columns as entries, {dim}; it is given {m}")
    basis = jnp.broadcast_to(jnp.eye(m, dim, dtype=vectors.dtype), (*vectors.shape[:-2], m, dim))
    of_columns = Householder(vectors[..., None, :, :])  # the same reflections for each of the M columns
    self._q = of_columns._forward(basis)  # [..., M, D], rows
    triangle = lambda a: jnp.triu(a, 1) + jnp.eye(m, dtype=a.dtype) * jnp.tanh(a)
    self._r, self._s, self._b = triangle(r), triangle(s), b

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    inner = jnp.einsum("...md,...d->...m", self._q, x)
    t = jnp.tanh(jnp.einsum("...mn,...n->...m", self._s, inner) + self._b)
    y = x + jnp.einsum("...md,...mn,...n->...d", self._q, self._r, t)
    diagonal = jnp.diagonal(self._r, axis1=-2, axis2=-1) * jnp.diagonal(self._s, axis1=-2, axis2=-1)
    return y, jnp.sum(jnp.log1p((1 - jnp.square(t)) * diagonal), -1)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Raises NotAvailableError."""
    raise no_inverse("Sylvester")


class Planar(distrax.Bijector):
  """y = x + v tanh(w'x + b), see planar_step.

  Args: w, u [..., D], b [...]; event [D].
  """

  def __init__(self, w: jax.Array, u: jax.Array, b: jax.Array):
    super().__init__(event_ndims_in=1)
    self._w, self._u, self._b = w, u, b

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return planar_step(x, self._w, self._u, self._b)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Raises NotAvailableError."""
    raise no_inverse("planar")


def no_inverse(name: str) -> errors.NotAvailableError:
  """The error for log q of a z that the flow did not draw."""
  return errors.NotAvailableError(
    f"a {name} flow has no closed-form inverse: log q is available for its own draws only, from sample_and_log_prob"
  )
