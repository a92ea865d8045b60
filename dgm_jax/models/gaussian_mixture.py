"""Mixture of Gaussians, with covariances of four kinds."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dgm_jax import mixtures
from dgm_jax.covariances import KINDS, Kind, Moments
from dgm_jax.mixtures import Params


class Model(mixtures.Mixture):
  """p(x) = sum_c pi_c N(x; mean_c, covariance_c), fitted by EM (Dempster, Laird & Rubin, 1977).

  With a floor e > 0 EM raises the mean of log sum_c pi_c N(x; mean_c, covariance_c) exp(-e/2 tr(covariance_c^-1)),
  below log p(x): the M-step gives covariance_c = S_c + e I, no component shrinks to a point, and there is a maximum.

  Attributes:
    covariance: "full", "tied" (one for all), "diagonal" or "spherical".
    floor: in units of x^2; 0 for the likelihood itself.
  """

  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # of x
  names: ClassVar[tuple[str, ...]] = ("means", "roots")

  covariance: str = "full"
  floor: float = 1e-6

  def setup(self):
    self._check()
    if self.covariance not in KINDS:
      raise ValueError(f"covariance = {self.covariance!r}; it must be one of {', '.join(KINDS)}")
    if self.floor < 0:
      raise ValueError(f"floor = {self.floor}; it must be 0 or positive")
    c, scale = self.num_components, jnp.ones(self._dim)
    self.log_weights = self.param("log_weights", lambda key: jnp.full(c, -jnp.log(c)))
    self.means = self.param("means", self._some_means(0.1), (c, self._dim))
    self.roots = self.param("roots", lambda key: jnp.asarray(self._kind.start(scale, c)))

  @property
  def per_component(self) -> tuple[str, ...]:
    """The means, and the roots unless there is one for all."""
    return self.names[:1] if self.covariance == "tied" else self.names

  @property
  def _kind(self) -> Kind:
    return KINDS[self.covariance]

  def log_components(self, params: Params, x: jax.Array) -> jax.Array:
    """log N(x; mean_c, covariance_c), [B, C]."""
    square = self._kind.squares(x, params["means"], params["roots"])
    constant = 0.5 * self._dim * math.log(2 * math.pi) + self._kind.log_det(params["roots"], self._dim)
    return -0.5 * square.T - constant

  def component_means(self, params: Params) -> jax.Array:
    """[C, D]."""
    return params["means"]

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ N(mean_c, covariance_c), [n, D]."""
    noise = jax.random.normal(key, (component.shape[0], self._dim), params["means"].dtype)
    return params["means"][component] + self._kind.spread(noise, params["roots"], component)

  def moved(self, params: Params, x: jax.Array) -> Params:
    """The means become x."""
    return params | {"means": x}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Equal weights, means at seeds, and the variances about the nearest seed for all components."""
    x = self.flat(batch)
    means = self.seeds(key, x)
    nearest = jnp.argmin(mixtures.distances(x, means), 1)
    scale = jnp.sqrt(jnp.mean(jnp.square(x - means[nearest]), 0) + self.floor)
    # an entry that seldom varies may not vary about the seeds at all
    scale = jnp.maximum(scale, 1e-3 * jnp.max(scale))
    return params | {
      "log_weights": jnp.full_like(params["log_weights"], -math.log(self.num_components)),
      "means": means,
      "roots": self._kind.start(scale, self.num_components),
    }

  def e_step(self, params: Params, batch: dict[str, jax.Array], weight: jax.Array) -> tuple[Moments, dict[str, Any]]:
    """(the responsibilities' moments, {"log_px", "penalty"}), sums over examples that count `weight` [B] each."""
    x = self.flat(batch)
    penalty = 0.5 * self.floor * self._kind.trace_inverse(params["roots"], self._dim)
    w, reported = self.e_step_with(params, x, weight, penalty)
    return self._kind.moments(x, params["means"], params["roots"], w), reported

  def m_step(self, key: jax.Array, params: Params, s: Moments) -> Params:
    """The parameters that maximise the expected log p(x, c), less the penalty."""
    means, roots = self._kind.update(params["means"], params["roots"], s, s.weight, self.floor)
    return self.revived(key, params | {"means": means, "roots": roots}, s.weight)

  def move(self, params: Params, s: Moments, new: Params) -> Moments:
    """The moments of `params`' coordinates in those of `new`."""
    return self._kind.move(s, *(p[name] for p in (params, new) for name in ("means", "roots")))

  @property
  def num_free_parameters(self) -> int:
    """Of weights, means and covariances, for AIC and BIC."""
    c, dim = self.num_components, self._dim
    return c - 1 + c * dim + self._kind.size(c, dim)
