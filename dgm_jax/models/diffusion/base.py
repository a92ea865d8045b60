"""What models of continuous time share: log p(x) and draws by the ordinary differential equation of the flow."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.inference import ode
from dgm_jax.models import contexts
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import time_net
from dgm_jax.networks.mlp import Networks

TRACES = ("auto", "exact", "hutchinson")


class ContinuousModel(Networks):
  """dx/dt = u(x, t) takes data at t = 0 to N(0, I) at t = 1, and back.

    log p(x_0) = log N(x_1; 0, I) + integral_0^1 div u(x_t, t) dt

  (Chen et al., 2018).  The integral is solved by steps, whose error `solver_steps` or `tolerance` bounds, and of more
  than 64 entries the divergence is an estimate, from `num_probes` random vectors for each example, so that log p is an
  estimate: unbiased given the steps, with the standard error over the probes.

  A subclass has `velocity(x, t, context)` -> [B, D], of x [B, D], a scalar t and c [B, C] or None.

  Attributes:
    data_shape: the shape of one x.
    data_mean: not used.
    bounds: (low, high): x in [low, high] is mapped to [-1, 1], and draws are clipped to it; () for x as it is.
    net, hidden, channels, time_dim: of the network, see TimeNet in dgm_jax/networks/time_net.py.
    num_classes: C of p(x|y), with the transform `condition`; 0 for none.
    solver: of log p: euler, heun, rk4, or with steps adapted to each example dopri5 or tsit5 of diffrax.
    solver_steps: of euler, heun and rk4.
    tolerance: of dopri5 and tsit5, relative and absolute.
    trace: exact, hutchinson, or auto: exact of at most 64 entries.
    num_probes: vectors of hutchinson, 2 or more.
    draw_solver, draw_steps: euler, heun or rk4, of draws, whose evaluations of the network they determine.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  bounds: Sequence[float] = ()
  net: str = "mlp"
  hidden: Sequence[int] = (512, 512)
  channels: Sequence[int] = (32, 64, 128)
  time_dim: int = 64
  num_classes: int = 0
  solver: str = "rk4"
  solver_steps: int = 50
  tolerance: float = 1e-5
  trace: str = "auto"
  num_probes: int = 4
  draw_solver: str = "heun"
  draw_steps: int = 20

  takes_real_numbers = True  # integers need the transform `dequantize`
  likelihood_kind = "estimate"  # for exact_likelihood

  def check_options(self) -> None:
    """Raises UserError for options that contradict each other or the data."""
    ode.check(self.solver, self.solver_steps, self.tolerance)
    errors.choose("draw_solver", self.draw_solver, ode.FIXED)
    require_one_of(TRACES, trace=self.trace)
    require_at_least(1, draw_steps=self.draw_steps, hidden=self.hidden)
    require_at_least(2, time_dim=self.time_dim)
    require_at_least(0, num_classes=self.num_classes)
    errors.require(
      self.trace != "exact" or self.dim <= ode.MOST_EXACT,
      f"trace = 'exact' takes as many products with the Jacobian as x has entries, at most {ode.MOST_EXACT}; x has "
      f"{self.dim}: choose trace = 'hutchinson', an unbiased estimate",
    )
    errors.require(
      self.is_exact or self.num_probes >= 2,
      f"num_probes = {self.num_probes}; it must be 2 or more, for the standard error of the trace",
    )
    errors.require(
      len(self.bounds) in (0, 2) and (not self.bounds or self.bounds[0] < self.bounds[1]),
      f"bounds = {tuple(self.bounds)}; they must be (low, high) with low < high, or () for x as it is",
    )
    time_net.check(self.net, self.data_shape, self.channels, self.dtype, self.remat)

  def make_net(self) -> nn.Module:
    """The network of x, t and c."""
    options = {"hidden": self.hidden, "channels": self.channels, "time_dim": self.time_dim}
    return time_net.TimeNet(tuple(self.data_shape), self.net, **options, **self.compute)

  @property
  def dim(self) -> int:
    """D."""
    return math.prod(self.data_shape)

  @property
  def is_exact(self) -> bool:
    """Whether the divergence is exact."""
    return self.trace == "exact" or (self.trace == "auto" and self.dim <= ode.MOST_EXACT)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x."""
    return tuple(self.bounds) if self.bounds else (-math.inf, math.inf)

  @property
  def log_scale(self) -> float:
    """log |dx_0 / dx| of each entry."""
    return math.log(2 / (self.bounds[1] - self.bounds[0])) if self.bounds else 0.0

  @property
  def draw_evaluations(self) -> int:
    """Evaluations of the network for a draw."""
    return ode.FIXED[self.draw_solver] * self.draw_steps

  def scaled(self, x: jax.Array) -> jax.Array:
    """x_0 [B, D] of x [B, ...]."""
    x = x.reshape(x.shape[0], -1)
    x = jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
    return (x - self.bounds[0]) * (2 / (self.bounds[1] - self.bounds[0])) - 1 if self.bounds else x

  def unscaled(self, x_0: jax.Array) -> jax.Array:
    """x [B, *data_shape] of x_0 [B, D], clipped to the bounds."""
    if self.bounds:
      low, high = self.bounds
      x_0 = jnp.clip(low + (x_0 + 1) * ((high - low) / 2), low, high)
    return x_0.reshape(-1, *self.data_shape)

  def context(self, batch: dict[str, jax.Array]) -> jax.Array | None:
    """c [B, C] of a batch, None without classes."""
    return contexts.of_batch(batch, self.num_classes, 0)

  def log_density(
    self, key: jax.Array, x_0: jax.Array, context: jax.Array | None, **options: Any
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(log p(x_0), its standard error by the probes, evaluations of the network), [B] each.

    Args:
      key: of the probes, which are those of a key for each example.
      x_0: [B, D].
      context: [B, C] or None.
      **options: solver, num_steps, tolerance, in place of the model's.
    """
    given = {"solver": self.solver, "num_steps": self.solver_steps, "tolerance": self.tolerance} | options
    probes = None if self.is_exact else ode.rademacher(jax.random.split(key, len(x_0)), self.num_probes, self.dim)
    log_det = jnp.zeros(x_0.shape[:1] if probes is None else probes.shape[:2], x_0.dtype)

    def field(t, state, given):
      value, trace, _ = ode.divergence(lambda x: self.velocity(x, t, given[0]), state[0], given[1])
      return value, trace

    last = ode.solve(field, (x_0, log_det), (context, probes), 0.0, 1.0, **given)
    x_1, log_det = last.y
    log_px = -0.5 * jnp.sum(jnp.square(x_1), -1) - 0.5 * self.dim * math.log(2 * math.pi)
    evaluations = jnp.broadcast_to(jnp.asarray(last.evaluations), log_px.shape)
    if probes is None:
      return log_px + log_det, jnp.zeros_like(log_px), evaluations
    error = jnp.std(log_det, 1, ddof=1) / self.num_probes**0.5
    return log_px + jnp.mean(log_det, 1), error, evaluations

  def log_prob_by(
    self, key: jax.Array, batch: dict[str, jax.Array], **options: Any
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`log_density` of x in its own units, [B] each; see there."""
    log_px, error, evaluations = self.log_density(key, self.scaled(batch["x"]), self.context(batch), **options)
    return log_px + self.dim * self.log_scale, error, evaluations

  def log_prob_estimate(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(log p(x), the standard error of its trace: 0 where that is exact), nats, [B] each."""
    return self.log_prob_by(key, batch)[:2]

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log_prob_estimate with fixed probes, [B]."""
    return self.log_prob_estimate(jax.random.key(0), batch)[0]

  def velocity_of_draws(self, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
    """u(x, t) of draws; of models with guidance it is another one than that of log p."""
    return self.velocity(x, t, context)

  def integrate(self, x_1: jax.Array, context: jax.Array | None, times: jax.Array | None = None) -> jax.Array:
    """x_0 [n, D] from x_1 by the draws' solver; with `times`, from 1 downwards, the points at each of them."""
    field = lambda t, x: self.velocity_of_draws(x, t, context)
    if times is not None:
      return ode.trajectory(field, x_1, times, self.draw_solver)
    return ode.fixed(field, x_1, jnp.linspace(1.0, 0.0, self.draw_steps + 1), self.draw_solver).y

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x), [n, *data_shape], by `draw_evaluations` of the network; also with `mean`.

    Without `context` [n, C] classes are uniform.
    """
    del mean
    key_class, key_x = jax.random.split(key)
    context = contexts.of_draws(key_class, n, context, self.num_classes, 0)
    return self.unscaled(self.integrate(jax.random.normal(key_x, (n, self.dim)), context))
