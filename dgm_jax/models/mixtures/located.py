"""Mixtures whose components have a mean and a covariance or scale matrix."""

import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.mixtures.base import Mixture, Params, scale_about
from dgm_jax.models.mixtures.covariances import KINDS, Kind


def log_normal(kind: Kind, x: jax.Array, means: jax.Array, roots: jax.Array) -> jax.Array:
  """log N(x; mean_c, covariance_c), [B, C]; x [B, D]."""
  constant = 0.5 * means.shape[1] * math.log(2 * math.pi) + kind.log_det(roots, means.shape[1])
  return -0.5 * kind.squares(x, means, roots).T - constant


def draw_normal(key: jax.Array, kind: Kind, means: jax.Array, roots: jax.Array, component: jax.Array) -> jax.Array:
  """x ~ N(mean_c, covariance_c), [n, D]; component [n]."""
  noise = jax.random.normal(key, (component.shape[0], means.shape[1]), means.dtype)
  return means[component] + kind.spread(noise, roots, component)


class Located(Mixture):
  """A mixture whose components have a mean and a covariance or scale matrix; see covariances.py.

  With a floor e > 0 EM maximises the mean of log sum_c pi_c p(x|c) exp(-e/2 tr(covariance_c^-1)), below log p(x): the
  M-step gives covariance_c = S_c + e I, no component shrinks to a point, and a maximum exists.

  Attributes, in addition to those of base.Clusters:
    covariance: "full", "tied" (one for all), "diagonal" or "spherical".
    floor: e, in units of x^2; 0 for the likelihood itself.
  """

  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # range of x
  names: ClassVar[Sequence[str]] = ("means", "roots")

  covariance: str = "full"
  floor: float = 1e-6

  def setup(self):
    super().setup()
    require_one_of(KINDS, covariance=self.covariance)
    require_at_least(0, floor=self.floor)
    c, scale = self.num_components, jnp.ones(self._dim)
    self.means = self.param("means", self._some_means(0.1), (c, self._dim))
    self.roots = self.param("roots", lambda key: jnp.asarray(self._kind.start(scale, c)))

  @property
  def per_component(self) -> Sequence[str]:
    """All but a tied root, which has no component axis."""
    return [name for name in self.names if name != "roots" or self.covariance != "tied"]

  @property
  def _kind(self) -> Kind:
    return KINDS[self.covariance]

  def _penalty(self, params: Params) -> jax.Array:
    return 0.5 * self.floor * self._kind.trace_inverse(params["roots"], self._dim)

  def component_means(self, params: Params) -> jax.Array:
    """[C, D]."""
    return params["means"]

  def near(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ N(mean_c, covariance_c), [n, D]."""
    return draw_normal(key, self._kind, params["means"], params["roots"], component)

  def moved(self, params: Params, x: jax.Array) -> Params:
    """`params` with means x."""
    return params | {"means": x}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Equal weights, means at seeds, and in all components the variances about the nearest seed."""
    x = self.flat(batch)
    means = self.seeds(key, x)
    scale = scale_about(x, means, self.floor)
    weights = jnp.full_like(params["log_weights"], -math.log(self.num_components))
    return params | {"log_weights": weights, "means": means, "roots": self._kind.start(scale, self.num_components)}
