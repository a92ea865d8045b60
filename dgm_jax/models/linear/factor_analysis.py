"""Factor analysis, probabilistic PCA and Bayesian PCA: fitted by EM, in closed form, or by gradient."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.models.base import ExactLikelihood, flat
from dgm_jax.models.linear import exact_inference as fa
from dgm_jax.models.linear.exact_inference import Params

_PRIOR_RATE = 1e-6  # rate of the gamma prior on a column's precision, in units of x^2: keeps unused ones finite


class Model(ExactLikelihood):
  """z ~ N(0, I), x | z ~ N(W z + b, diag(psi)); see exact_inference.

  For the principle `em`; for `latent`, with q(z|x) = p(z | x_observed), so that every bound is log p(x_observed); and
  for `own_bound`, which follows the gradient of that.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat, where b starts; None: 0.
    latent_dim: L.
    isotropic: whether all entries share one variance: probabilistic PCA.
    closed_form: whether an M-step of `em` maximises the likelihood by the eigenvectors of the covariance of the data,
      in one pass; for probabilistic PCA and complete data only.
    relevance: whether column l of W has a prior N(0, I / a_l), with a_l = D / |w_l|^2 at its maximum: columns that the
      data do not support vanish, Bayesian PCA (Bishop, 1999).  `em` then maximises the joint density.
  """

  takes_mask: ClassVar[bool] = True
  support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
  min_variance: ClassVar[float] = fa.MIN_VARIANCE  # of the noise

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 2
  isotropic: bool = False
  closed_form: bool = False
  relevance: bool = False

  def setup(self):
    errors.require(
      not (self.closed_form or self.relevance) or (self.isotropic and self.closed_form != self.relevance),
      "closed_form and relevance need isotropic = True, and exclude each other",
    )
    dim = math.prod(self.data_shape)
    most = dim - 1 if self.closed_form else dim  # the closed form's variance is that of the other dimensions
    errors.require(self.latent_dim <= most, f"latent_dim = {self.latent_dim}; x has {dim} entries: at most {most}")
    loc = lambda key, shape: jnp.zeros(shape) if self.data_mean is None else jnp.asarray(self.data_mean)
    self.loadings = self.param("loadings", nn.initializers.normal(0.1), (dim, self.latent_dim))
    self.loc = self.param("loc", loc, (dim,))
    self.log_variance = self.param("log_variance", nn.initializers.zeros, () if self.isotropic else (dim,))

  @property
  def _params(self) -> Params:
    return {"loadings": self.loadings, "loc": self.loc, "log_variance": self.log_variance}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """See exact_inference.start."""
    del params
    return fa.start(key, *flat(batch), self.latent_dim, self.isotropic)

  def e_step(self, params: Params, batch: dict[str, jax.Array], weight: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    """(statistics, {"log_px"}), sums over examples with weights `weight` [B]."""
    x, mask = flat(batch)
    if self.closed_form:
      errors.require(mask is None, "closed_form = True does not support missing entries")
      return fa.moments(params, x, weight), {"log_px": weight @ fa.posterior(params, x).log_px}
    statistics, log_px = fa.e_step(params, x, mask, weight)
    return statistics, {"log_px": log_px}

  def _precision(self, params: Params) -> jax.Array:
    """a_l = D / (|w_l|^2 + 2 rate), [L]: the maximum under a_l ~ Gamma(1, rate)."""
    return params["loadings"].shape[0] / (jnp.sum(jnp.square(params["loadings"]), 0) + 2 * _PRIOR_RATE)

  def m_step(self, key: jax.Array, params: Params, s: Any) -> Params:
    """The parameters that maximise the expected log p(x, z), or log p(x, z, W); with closed_form, log p(x)."""
    del key
    if self.closed_form:
      return fa.closed_form(params, s)
    # W | psi, a, then psi | W: neither lowers the joint density
    ridge = self._precision(params) * jnp.exp(params["log_variance"]) if self.relevance else 0.0
    return fa.m_step(params, s, ridge)

  def move(self, params: Params, s: Any, new: Params) -> Any:
    """The statistics about the location of `new`."""
    return (fa.move_moments if self.closed_form else fa.move)(params, s, new)

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """-log p(x), nats per example; with relevance -1/N log p(x, W, a)."""
    if not self.relevance:
      return -means["log_px"]
    a, w = self._precision(params), params["loadings"]
    log_prior = 0.5 * w.shape[0] * jnp.log(a) - 0.5 * a * (jnp.sum(jnp.square(w), 0) + 2 * _PRIOR_RATE)
    return -means["log_px"] - jnp.sum(log_prior) / num_examples

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in W (up to a rotation), b and psi, for AIC and BIC."""
    dim, l = math.prod(self.data_shape), self.latent_dim
    return dim * l - l * (l - 1) // 2 + dim + (1 if self.isotropic else dim)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x_observed), [B], nats."""
    return fa.posterior(self._params, *flat(batch)).log_px

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """p(z | x_observed), batch [B], event [L]."""
    q = fa.posterior(self._params, *flat(batch))
    root = jnp.linalg.cholesky(q.covariance)
    return distrax.MultivariateNormalTri(q.mean, jnp.broadcast_to(root, (q.mean.shape[0], *root.shape[1:])))

  def decode(self, z: jax.Array) -> Factorised:
    """p(x|z), batch [B], event [D]; z [B, L]."""
    loc = z @ self.loadings.T + self.loc
    return Factorised(distrax.Normal(loc, jnp.broadcast_to(jnp.exp(0.5 * self.log_variance), loc.shape)))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z) [B] of the observed entries, log p(z) [B]); z [B, L]."""
    x, mask = flat(batch)
    return self.decode(z).log_prob(x, mask), standard_normal(self.latent_dim).log_prob(z)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({"x": [n, *data_shape]}, z [n, L]), a draw from p(x, z)."""
    key_z, key_x = jax.random.split(key)
    z = jax.random.normal(key_z, (n, self.latent_dim))
    return {"x": self.decode(z).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z)."""
    batch, z = self.simulate(key, n)
    return self.reconstruct(z) if mean else batch["x"]

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x | E[z|x]], [B, *data_shape]."""
    del key
    return self.reconstruct(fa.posterior(self._params, *flat(batch)).mean)
