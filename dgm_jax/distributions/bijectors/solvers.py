"""Fixed points x = f(x): inverses of bijectors without a closed form, with the gradients of the implicit function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

METHODS = ("jacobi", "sequential")
_LARGEST = 1e15  # of an iterate: infinity times a weight that is masked would be NaN


def tolerance(dtype: Any, tol: float | None = None) -> float:
  """tol, or where that is None 1e-13 for float64 and 1e-6 for float32."""
  return tol if tol is not None else 1e-13 if dtype == jnp.float64 else 1e-6


def _bounded(x: jax.Array) -> jax.Array:
  """x with 0 for NaN, and no entry beyond +-_LARGEST: what another pass can start from."""
  return jnp.clip(jnp.nan_to_num(x, posinf=_LARGEST, neginf=-_LARGEST), -_LARGEST, _LARGEST)


def _without_parts(x: jax.Array) -> jax.Array:
  """x [..., D], all entries NaN of an example that has a NaN: the others were computed from 0 in its place."""
  return jnp.where(jnp.isnan(x).any(-1, keepdims=True), jnp.nan, x)


def _iterate(f: Callable, start: jax.Array, steps: int, tol: float) -> tuple[jax.Array, jax.Array]:
  """(x, passes): x <- f(x) until no entry changes by more than tol (1 + |x|), at most `steps` times.

  Passes start from bounded numbers, since entries that later passes mend may overflow; the last one is given as it is.
  """

  def proceeds(carry):
    _, moves, passes = carry
    return moves & (passes < steps)

  def step(carry):
    old = _bounded(carry[0])
    x = f(old)
    new = _bounded(x)
    return x, jnp.any(jnp.abs(new - old) > tol * (1 + jnp.abs(new))), carry[2] + 1

  x, _, passes = jax.lax.while_loop(proceeds, step, (start, jnp.bool_(True), jnp.int32(0)))
  return _without_parts(x), passes


def fixed_point(
  f: Callable, start: jax.Array, steps: int, tol: float | None = None, places: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
  """(x, passes) with x = f(x), differentiable in whatever f closes over.

  Where entry d of f depends on the entries before d alone (an autoregressive bijector), k passes determine the first k
  entries, so that D suffice; usually far fewer do.  The tangent of x, and the cotangent of what f depends on, solve
  linear equations whose matrix is I - df/dx at x, or its transpose, by the same iteration: nothing of the loop is kept.
  All entries of an example, or of its tangent or cotangent, are NaN where f gives NaN for one of them at the end.

  Args:
    f: x [..., D] -> [..., D], each example by itself; a contraction, or of entries that depend on those before them.
    start: the first x.
    steps: the most passes.
    tol: passes end when no entry changes by more than tol (1 + |x|); see `tolerance`.
    places: [D], 1 .. D, the order of the entries: D passes, each of which determines one entry; None for Jacobi's
      iteration of all entries at once.
  """
  tol = tolerance(start.dtype, tol)

  def solve(_, x):
    if places is None:
      x, passes = _iterate(f, x, steps, tol)
      return x, passes.astype(x.dtype)  # JAX wants a tangent of what is returned beside x
    one = lambda x, place: (jnp.where(places == place, f(x), x), None)
    return _without_parts(jax.lax.scan(one, x, 1 + jnp.arange(steps))[0]), jnp.asarray(steps, x.dtype)

  def linear(matvec, b):
    largest = jnp.max(jnp.abs(b), -1, keepdims=True)  # the rule that ends the passes is absolute for small numbers
    scale = jnp.where(largest > 0, largest, 1.0)
    unit = b / scale
    return scale * _iterate(lambda v: v - matvec(v) + unit, unit, steps, tol * 0.1)[0]

  def tangent_solve(g, b):
    return jax.lax.custom_linear_solve(g, b, linear, linear)

  x, passes = jax.lax.custom_root(lambda x: x - f(x), start, solve, tangent_solve, has_aux=True)
  return x, jax.lax.stop_gradient(passes).astype(jnp.int32)


def check(method: str = "jacobi", tol: float | None = None) -> None:
  """Raises UserError unless the method is one of METHODS, and tol None or positive."""
  errors.require(tol is None or tol > 0, f"tol = {tol} of an inverse; it must be positive")
  errors.require(method in METHODS, f"inverse = {method!r}; it must be one of {', '.join(METHODS)}")
