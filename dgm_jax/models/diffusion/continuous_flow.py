"""Continuous normalising flows trained by maximum likelihood: FFJORD (Grathwohl et al., 2019), with regularisers."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.inference import ode
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.diffusion.base import ContinuousModel

GRADIENTS = ("unrolled", "adjoint")


class Model(ContinuousModel):
  """dx/dt = u(x, t), trained by maximum likelihood of the solved equation:

    log p(x_0) = log N(x_1; 0, I) + integral_0^1 div u(x_t, t) dt
    objective  = log p(x_0) - kinetic_weight integral |u|^2 dt - jacobian_weight integral |du/dx|_F^2 dt

  The regularisers keep paths straight, so that few steps suffice (Finlay et al., 2020).  Training takes fixed steps,
  and one probe for each example where the divergence is estimated.  With too few steps (4 on a plane, where 8 were
  enough), or too large a learning rate, the field gains from the error of its steps, and the loss may fall below the
  entropy of the data: log p by more steps is then lower (`solver_error` of probability_flow).

  Attributes, in addition to those of ContinuousModel:
    train_solver, train_steps: euler, heun or rk4, in training.
    gradient: unrolled, of the steps; adjoint, of the equation, whose memory does not grow with the steps.
    kinetic_weight, jacobian_weight: see above, over D: papers average over entries.
  """

  train_solver: str = "rk4"
  train_steps: int = 8
  gradient: str = "unrolled"
  kinetic_weight: float = 0.0
  jacobian_weight: float = 0.0

  def setup(self):
    self.check_options()
    errors.choose("train_solver", self.train_solver, ode.FIXED)
    require_one_of(GRADIENTS, gradient=self.gradient)
    require_at_least(1, train_steps=self.train_steps)
    require_at_least(0, kinetic_weight=self.kinetic_weight, jacobian_weight=self.jacobian_weight)
    self.f = self.make_net()

  def velocity(self, x: jax.Array, t: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """u(x, t) [B, D] at a scalar t."""
    return self.f(x, jnp.full(x.shape[:1], t, x.dtype), context)

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) less the regularisers, {"log_px", "kinetic", "jacobian": the integrals}), [B]."""
    x, context = self.scaled(batch["x"]), self.context(batch)
    probes = None if self.is_exact else ode.rademacher(jax.random.split(key, len(x)), 1, self.dim)
    mean = lambda a: a if probes is None else a[:, 0]

    def field(t, state):
      value, trace, square = ode.divergence(lambda x: self.velocity(x, t, context), state[0], probes)
      return value, mean(trace), jnp.sum(jnp.square(value), -1), mean(square)

    start, times = (x, *[jnp.zeros(len(x), x.dtype)] * 3), jnp.linspace(0.0, 1.0, self.train_steps + 1)
    if self.gradient == "adjoint":
      x_1, log_det, kinetic, jacobian = ode.adjoint(field, start, times, self.train_solver)
    else:
      x_1, log_det, kinetic, jacobian = ode.fixed(field, start, times, self.train_solver).y
    log_base = -0.5 * jnp.sum(jnp.square(x_1), -1) - 0.5 * self.dim * math.log(2 * math.pi)
    log_px = log_base + log_det + self.dim * self.log_scale
    penalty = (self.kinetic_weight * kinetic + self.jacobian_weight * jacobian) / self.dim
    return log_px - penalty, {"log_px": log_px, "kinetic": kinetic / self.dim, "jacobian": jacobian / self.dim}

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.velocity(self.scaled(batch["x"]), 0.5, self.context(batch))
