"""Autoregressive bijectors: entry d is transformed with parameters that depend on the entries before it."""

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.distributions.bijectors import solvers


class Autoregressive(distrax.Bijector):
  """y_d = T(x_d; h_d(x_<d)), event [D], in one pass; the inverse takes up to D, see solvers.fixed_point.

  Where x is data and y noise this is a masked autoregressive flow (Papamakarios et al., 2017); where x is noise and y
  the draw, an inverse autoregressive flow (Kingma et al., 2016).

  Args:
    conditioner: x [..., D] -> h [..., P, D], a pure function in which h_d depends on the entries before d.
    transform: T, see transforms.py.
    places: [D], the place of each entry in the order, 1 .. D.
    method: of the inverse, "jacobi" or "sequential".
    tol: of Jacobi's iteration, see solvers.tolerance.
  """

  def __init__(
    self, conditioner: Callable, transform: Any, places: jax.Array, method: str = "jacobi", tol: float | None = None
  ):
    super().__init__(event_ndims_in=1)
    solvers.check(method, tol)
    self.conditioner, self.transform, self.places, self.method, self.tol = conditioner, transform, places, method, tol

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, log_slope = self.transform.forward(x, self.conditioner(x))
    return y, jnp.sum(log_slope, -1)

  def inverse_and_passes(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(x, the number of passes)."""
    invert = lambda x: self.transform.inverse(y, self.conditioner(x))[0]
    places = self.places if self.method == "sequential" else None
    return solvers.fixed_point(invert, jnp.zeros_like(y), self.places.shape[0], self.tol, places)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, _ = self.inverse_and_passes(y)
    return x, -self.forward_and_log_det(x)[1]
