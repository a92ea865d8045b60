"""Ordinary differential equations dy/dt = f(t, y), with fixed or adaptive steps, and the divergence of a field.

Chen et al. (2018), https://arxiv.org/abs/1806.07366; Grathwohl et al. (2019), https://arxiv.org/abs/1810.01367.
y is any pytree of arrays.  Fixed steps are a scan, whose gradient is that of the steps themselves; `adjoint` has the
gradient of the equation, in constant memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

FIXED = {"euler": 1, "heun": 2, "rk4": 4}  # evaluations of f in a step; the order of convergence is the same number
ADAPTIVE = ("dopri5", "tsit5")  # of diffrax
SOLVERS = (*FIXED, *ADAPTIVE)
MOST_EXACT = 64  # entries of x whose trace is computed exactly
_MOST_STEPS = 4096  # of adaptive solvers


class Solution(NamedTuple):
  """y at the last time, and the number of evaluations of f: an int, or of an adaptive solver an array."""

  y: Any
  evaluations: Any


def check(solver: str, num_steps: int = 1, tolerance: float = 1.0) -> None:
  """Raises UserError for an unknown solver, or steps or a tolerance that it cannot have."""
  errors.choose("solver", solver, SOLVERS)
  if solver in FIXED:
    errors.require(num_steps >= 1, f"{num_steps} steps of the solver {solver!r}; it takes 1 or more")
    return
  errors.require(tolerance > 0, f"tolerance = {tolerance} of the solver {solver!r}; it must be positive, such as 1e-5")
  errors.require_package("diffrax")


def _axpy(y: Any, *terms: tuple[Any, Any]) -> Any:
  """y + sum of scale * slope."""
  for scale, slope in terms:
    y = jax.tree.map(lambda a, b, scale=scale: a + scale * b, y, slope)
  return y


def step(field: Callable, t: jax.Array, h: jax.Array, y: Any, solver: str) -> Any:
  """y(t + h) from y(t) by one step of euler, heun (the trapezoid of an Euler step) or rk4."""
  first = field(t, y)
  if solver == "euler":
    return _axpy(y, (h, first))
  if solver == "heun":
    return _axpy(y, (h / 2, first), (h / 2, field(t + h, _axpy(y, (h, first)))))
  second = field(t + h / 2, _axpy(y, (h / 2, first)))
  third = field(t + h / 2, _axpy(y, (h / 2, second)))
  fourth = field(t + h, _axpy(y, (h, third)))
  return _axpy(y, (h / 6, first), (h / 3, second), (h / 3, third), (h / 6, fourth))


def trajectory(field: Callable, y: Any, times: jax.Array, solver: str = "rk4") -> Any:
  """y at every one of `times` [S + 1], the first of which is the initial y; one step between neighbours."""

  def advance(y, pair):
    y = step(field, pair[0], pair[1] - pair[0], y, solver)
    return y, y

  _, found = jax.lax.scan(advance, y, jnp.stack([times[:-1], times[1:]], 1))
  return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), y, found)


def fixed(field: Callable, y: Any, times: jax.Array, solver: str = "rk4") -> Solution:
  """y at the last of `times` [S + 1], by a step between neighbours."""

  def advance(y, pair):
    return step(field, pair[0], pair[1] - pair[0], y, solver), None

  last, _ = jax.lax.scan(advance, y, jnp.stack([times[:-1], times[1:]], 1))
  return Solution(last, FIXED[solver] * (times.shape[0] - 1))


def adjoint(field: Callable, y: Any, times: jax.Array, solver: str = "rk4") -> Any:
  """What `fixed` returns as y, with the gradient of the equation: a(t) = dL/dy(t) solves da/dt = -a df/dy backwards.

  y and the gradients of what f closes over are integrated with it, by the same steps in reverse: memory does not grow
  with their number, and the gradient has the error of the solver.
  """
  converted, closed = jax.closure_convert(field, times[0], y)

  @jax.custom_vjp
  def last_of(y, closed):
    return fixed(lambda t, y: converted(t, y, *closed), y, times, solver).y

  def forward(y, closed):
    last = last_of(y, closed)
    return last, (last, closed)

  def backward(kept, cotangent):
    last, closed = kept

    def slopes(t, state):
      y, a, _ = state
      value, pull = jax.vjp(lambda y, closed: converted(t, y, *closed), y, closed)
      return value, *jax.tree.map(jnp.negative, pull(a))

    zeros = jax.tree.map(jnp.zeros_like, closed)
    _, of_y, of_closed = fixed(slopes, (last, cotangent, zeros), times[::-1], solver).y
    return of_y, of_closed

  last_of.defvjp(forward, backward)
  return last_of(y, closed)


def adaptive(field: Callable, y: Any, start: float, end: float, solver: str, tolerance: float) -> Solution:
  """y(end) by steps whose error is at most `tolerance`, relative and absolute, each.  Not mapped over examples.

  Raises:
    UserError: diffrax is not installed.
  """
  diffrax = errors.import_package("diffrax", f"The solver {solver!r}")
  kind = {"dopri5": diffrax.Dopri5, "tsit5": diffrax.Tsit5}[solver]()
  found = diffrax.diffeqsolve(
    diffrax.ODETerm(lambda t, y, args: field(t, y)), kind, start, end, None, y,
    stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance), max_steps=_MOST_STEPS,
    throw=False,  # steps that do not suffice give NaN, see below
  )  # fmt: skip
  done = found.result == diffrax.RESULTS.successful
  last = jax.tree.map(lambda a: jnp.where(done, a[-1], jnp.nan), found.ys)
  # the last stage of a step is the first of the next one; a rejected step evaluates the six others
  return Solution(last, 6 * found.stats["num_steps"] + 1)


def solve(
  field: Callable, y: Any, given: Any, start: float, end: float, solver: str, num_steps: int, tolerance: float
) -> Solution:  # fmt: skip
  """y(end), [B, ...] leaves, of B equations, by `num_steps` fixed steps or by steps adapted to each example.

  Args:
    field: (t, y, given) -> dy/dt, for leaves [B, ...] of any B; a scalar t.
    y: y(start).
    given: what the equations depend on, [B, ...] leaves.
    start, end: times, in either order.
    solver: one of SOLVERS.
    num_steps: of euler, heun and rk4.
    tolerance: of dopri5 and tsit5.
  """
  if solver in FIXED:
    return fixed(lambda t, y: field(t, y, given), y, jnp.linspace(start, end, num_steps + 1), solver)
  add, drop = (lambda tree: jax.tree.map(lambda a: a[None], tree)), (lambda tree: jax.tree.map(lambda a: a[0], tree))

  def one(y, given):
    return adaptive(lambda t, y: drop(field(t, add(y), add(given))), y, start, end, solver, tolerance)

  return jax.vmap(one)(y, given)


def divergence(
  field: Callable, x: jax.Array, probes: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """(f(x) [B, D], its divergence, the square of the Frobenius norm of its Jacobian).

  Without probes both are exact, [B], by D products with the Jacobian.  With probes e [B, K, D] of mean 0 and covariance
  I they are the unbiased estimates e' J e and |J e|^2 of Hutchinson (1990), [B, K]; Rademacher's e have the least
  variance of the first.

  Args:
    field: x [B, D] -> [B, D], each row a function of the same row.
    x: [B, D].
    probes: see `rademacher`; None for the exact trace.
  """
  value, product = jax.linearize(field, x)
  if probes is None:
    columns = jax.vmap(lambda e: product(jnp.broadcast_to(e, x.shape)))(jnp.eye(x.shape[-1], dtype=x.dtype))
    return value, jnp.einsum("dbd->b", columns), jnp.sum(jnp.square(columns), (0, 2))
  products = jax.vmap(product, 1, 1)(probes)
  return value, jnp.sum(probes * products, -1), jnp.sum(jnp.square(products), -1)


def rademacher(keys: jax.Array, count: int, dim: int) -> jax.Array:
  """Entries +1 and -1, [B, count, dim], from a key for each example."""
  return jax.vmap(lambda key: jax.random.rademacher(key, (count, dim), jnp.float32))(keys)
