"""Mixture of Gaussians, with covariances of four kinds (Dempster, Laird & Rubin, 1977)."""

import jax

from dgm_jax.models.mixtures.base import Params
from dgm_jax.models.mixtures.covariances import Moments
from dgm_jax.models.mixtures.located import Located, log_normal


class Model(Located):
  """p(x) = sum_c pi_c N(x; mean_c, covariance_c), covariance_c = root_c root_c'; attributes are Located's."""

  def log_components(self, params: Params, x: jax.Array) -> jax.Array:
    """log N(x; mean_c, covariance_c), [B, C]."""
    return log_normal(self._kind, x, params["means"], params["roots"])

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ N(mean_c, covariance_c), [n, D]."""
    return self.near(key, params, component)

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Moments, dict[str, jax.Array]]:
    """(the responsibilities' moments, {"log_px", "penalty"}), sums over examples with weights `weight` [B]."""
    x = self.flat(batch)
    w, reported = self.e_step_with(params, x, weight, self._penalty(params))
    return self._kind.moments(x, params["means"], params["roots"], w), reported

  def m_step(self, key: jax.Array, params: Params, s: Moments) -> Params:
    """The parameters that maximise the expected log p(x, c), less the penalty."""
    means, roots = self._kind.update(params["means"], params["roots"], s, s.weight, self.floor)
    return self.reseed_empty(key, params | {"means": means, "roots": roots}, s.weight)

  def move(self, params: Params, s: Moments, new: Params) -> Moments:
    """The moments `s`, in the coordinates of `params`, converted to those of `new`."""
    return self._kind.move(s, params["means"], params["roots"], new["means"], new["roots"])

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in weights, means and covariances, for AIC and BIC."""
    c, dim = self.num_components, self._dim
    return c - 1 + c * dim + self._kind.size(c, dim)
