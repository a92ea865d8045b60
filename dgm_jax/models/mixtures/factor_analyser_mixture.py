"""Mixture of factor analysers (Ghahramani & Hinton, 1996) or of probabilistic PCAs (Tipping & Bishop, 1999)."""

import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.models.linear import exact_inference as fa
from dgm_jax.models.linear.exact_inference import Statistics
from dgm_jax.models.mixtures import base
from dgm_jax.models.mixtures.base import Params

_NAMES = ("loadings", "loc", "log_variance")


class Model(base.Mixture):
  """p(x) = sum_c pi_c N(x; b_c, W_c W_c' + diag(psi_c)).

  Variances are at least exact_inference.MIN_VARIANCE, so that the likelihood has a maximum.

  Attributes, in addition to those of base.Clusters:
    latent_dim: L, the number of factors of a component.
    isotropic: whether psi_c = s_c^2 for all entries: a mixture of probabilistic PCAs.
  """

  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # range of x
  min_variance: ClassVar[float] = fa.MIN_VARIANCE  # of the noise
  names: ClassVar[Sequence[str]] = _NAMES

  latent_dim: int = 2
  isotropic: bool = False

  def setup(self):
    super().setup()
    c, dim = self.num_components, self._dim
    self.loadings = self.param("loadings", nn.initializers.normal(0.1), (c, dim, self.latent_dim))
    self.loc = self.param("loc", self._some_means(0.1), (c, dim))
    self.log_variance = self.param("log_variance", nn.initializers.zeros, (c,) if self.isotropic else (c, dim))

  def _posteriors(self, params: Params, x: jax.Array) -> fa.Posterior:
    """Posteriors with a leading component axis, [C, ...]."""
    return jax.vmap(fa.posterior, (0, None))({name: params[name] for name in _NAMES}, x)

  def log_components(self, params: Params, x: jax.Array) -> jax.Array:
    """log N(x; b_c, W_c W_c' + diag(psi_c)), [B, C]."""
    return self._posteriors(params, x).log_px.T

  def component_means(self, params: Params) -> jax.Array:
    """[C, D]."""
    return params["loc"]

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ N(b_c, W_c W_c' + diag(psi_c)), [n, D]."""
    key_z, key_x = jax.random.split(key)
    w, loc = params["loadings"][component], params["loc"][component]
    z = jax.random.normal(key_z, (component.shape[0], self.latent_dim), w.dtype)
    scale = jnp.exp(0.5 * params["log_variance"][component]).reshape(component.shape[0], -1)
    return loc + jnp.einsum("ndl,nl->nd", w, z) + scale * jax.random.normal(key_x, loc.shape, w.dtype)

  def moved(self, params: Params, x: jax.Array) -> Params:
    """`params` with locations x."""
    return params | {"loc": x}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Equal weights, locations at seeds, the variances about the nearest seed, half of them from random loadings."""
    key_seeds, key_w = jax.random.split(key)
    x, (c, dim, latent_dim) = self.flat(batch), params["loadings"].shape
    loc = self.seeds(key_seeds, x)
    scale = base.scale_about(x, loc, fa.MIN_VARIANCE)
    noise = jnp.sqrt(0.5 / latent_dim) * jax.random.normal(key_w, (c, dim, latent_dim), x.dtype)
    half = jnp.log(0.5 * (jnp.mean(jnp.square(scale)) if self.isotropic else jnp.square(scale)))
    return {
      "log_weights": jnp.full_like(params["log_weights"], -math.log(c)),
      "loadings": scale[:, None] * noise,
      "loc": loc,
      "log_variance": jnp.broadcast_to(half, params["log_variance"].shape),
    }

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[tuple[jax.Array, Statistics], dict[str, jax.Array]]:
    """((sum of responsibilities [C], statistics [C, ...]), {"log_px", "penalty"}), summed with weights `weight` [B]."""
    x = self.flat(batch)
    w, reported = self.e_step_with(params, x, weight)
    collect = jax.vmap(lambda p, q, w: fa.collect(p, q, x, weight=w))
    return (jnp.sum(w, 1), collect({k: params[k] for k in _NAMES}, self._posteriors(params, x), w)), reported

  def m_step(self, key: jax.Array, params: Params, s: tuple[jax.Array, Statistics]) -> Params:
    """The parameters that maximise the expected log p(x, z, c): regressions of each entry on z."""
    count, statistics = s
    new = jax.vmap(fa.m_step)({name: params[name] for name in _NAMES}, statistics)
    return self.reseed_empty(key, params | new, count)

  def move(self, params: Params, s: tuple[jax.Array, Statistics], new: Params) -> tuple[jax.Array, Statistics]:
    """The statistics about the locations of `new`."""
    count, statistics = s
    return count, jax.vmap(fa.move)({k: params[k] for k in _NAMES}, statistics, {k: new[k] for k in _NAMES})

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in weights, W_c (up to a rotation), b_c and psi_c, for AIC and BIC."""
    c, dim, l = self.num_components, self._dim, self.latent_dim
    return c - 1 + c * (dim * l - l * (l - 1) // 2 + dim + (1 if self.isotropic else dim))
