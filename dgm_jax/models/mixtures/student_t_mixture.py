"""Mixture of multivariate Student's t, robust to outliers (Peel & McLachlan, 2000)."""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.models.mixtures.base import Params, positive
from dgm_jax.models.mixtures.covariances import Moments
from dgm_jax.models.mixtures.located import Located

_LOG_DOF = (math.log(0.1), math.log(1e3))  # range of log v


class Statistics(NamedTuple):
  """Sums over examples, r the responsibilities, u = E[precision | x, c] = (v + D) / (v + |y|^2).

  Attributes:
    moments: with weights r u.
    mass: sum r, [C].
    tail: sum r (log u - u), [C].
  """

  moments: Moments
  mass: jax.Array
  tail: jax.Array


class Model(Located):
  """p(x) = sum_c pi_c t_v_c(x; mean_c, root_c root_c'), normals with precisions times Gamma(v/2, v/2).

  Attributes, in addition to those of Located:
    dof: initial v of all components.
    learn_dof: whether v is learned for each component, in 0.1 .. 1000.
  """

  names: ClassVar[Sequence[str]] = ("means", "roots", "log_dof")

  dof: float = 10.0
  learn_dof: bool = True

  def setup(self):
    super().setup()
    errors.require(
      math.exp(_LOG_DOF[0]) <= self.dof <= math.exp(_LOG_DOF[1]), f"dof = {self.dof}; it must be in 0.1 .. 1000"
    )
    self.log_dof = self.param("log_dof", lambda key: jnp.full(self.num_components, jnp.log(self.dof)))

  def log_components(self, params: Params, x: jax.Array) -> jax.Array:
    """log t_v(x; mean_c, root_c root_c'), [B, C]."""
    square, v, dim = self._squares(params, x), jnp.exp(params["log_dof"]), self._dim
    constant = jax.lax.lgamma((v + dim) / 2) - jax.lax.lgamma(v / 2) - 0.5 * dim * jnp.log(math.pi * v)
    constant -= self._kind.log_det(params["roots"], dim)
    return constant - 0.5 * (v + dim) * jnp.log1p(square.T / v)

  def _squares(self, params: Params, x: jax.Array) -> jax.Array:
    return self._kind.squares(x, params["means"], params["roots"])

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ t_v(mean_c, root_c root_c'), [n, D]."""
    key_x, key_u = jax.random.split(key)
    half = 0.5 * jnp.exp(params["log_dof"][component])
    precision = jax.random.gamma(key_u, half) / half
    mean = params["means"][component]
    return mean + (self.near(key_x, params, component) - mean) / jnp.sqrt(precision)[:, None]

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"log_px", "penalty"}), sums over examples with weights `weight` [B]."""
    x = self.flat(batch)
    w, reported = self.e_step_with(params, x, weight, self._penalty(params))
    v = jnp.exp(params["log_dof"])[:, None]
    u = (v + self._dim) / (v + self._squares(params, x))
    moments = self._kind.moments(x, params["means"], params["roots"], w * u)
    return Statistics(moments, jnp.sum(w, 1), jnp.sum(w * (jnp.log(u) - u), 1)), reported

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """The parameters that maximise the expected log p(x, u, c), less the penalty."""
    means, roots = self._kind.update(params["means"], params["roots"], s.moments, s.mass, self.floor)
    new = params | {"means": means, "roots": roots}
    if self.learn_dof:
      tail = s.tail / positive(s.mass)
      new["log_dof"] = _most_likely_log_dof(params["log_dof"], tail, self._dim)
    return self.reseed_empty(key, new, s.mass)

  def move(self, params: Params, s: Statistics, new: Params) -> Statistics:
    """The moments `s`, in the coordinates of `params`, converted to those of `new`."""
    moments = self._kind.move(s.moments, params["means"], params["roots"], new["means"], new["roots"])
    return s._replace(moments=moments)

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in weights, means, matrices and degrees of freedom, for AIC and BIC."""
    c, dim = self.num_components, self._dim
    return c - 1 + c * dim + self._kind.size(c, dim) + c * self.learn_dof


def _most_likely_log_dof(log_dof: jax.Array, tail: jax.Array, dim: int) -> jax.Array:
  """log of the root v of log(v/2) - psi(v/2) + 1 + tail + psi((v0 + D)/2) - log((v0 + D)/2), by bisection."""
  half = 0.5 * (jnp.exp(log_dof) + dim)
  constant = 1 + tail + jax.lax.digamma(half) - jnp.log(half)

  def narrower(interval, _):
    low, high = interval
    middle = 0.5 * (low + high)
    half = 0.5 * jnp.exp(middle)
    above = jnp.log(half) - jax.lax.digamma(half) + constant > 0
    return (jnp.where(above, middle, low), jnp.where(above, high, middle)), None

  ends = tuple(jnp.full_like(log_dof, end) for end in _LOG_DOF)
  (low, high), _ = jax.lax.scan(narrower, ends, length=50)
  return 0.5 * (low + high)
