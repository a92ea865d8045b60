"""Mixture of products of Bernoullis: clusters of binary images, latent class analysis."""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import softplus
from dgm_jax.models.mixtures import base
from dgm_jax.models.mixtures.base import Params


class Statistics(NamedTuple):
  """Sums over examples: responsibilities, [C], and responsibilities times x, [C, D]."""

  count: jax.Array
  ones: jax.Array


class Model(base.Mixture):
  """p(x) = sum_c pi_c prod_d Bernoulli(x_d; sigmoid(l_cd)).

  Attributes, in addition to those of base.Clusters:
    smoothing: s, pseudo-counts of ones and of zeros in each entry of each component: a prior Beta(1 + s, 1 + s), whose
      density is part of the loss; it keeps probabilities away from 0 and 1.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # range of x
  names: ClassVar[Sequence[str]] = ("logits",)

  smoothing: float = 0.1

  def setup(self):
    super().setup()
    errors.require(self.smoothing > 0, f"smoothing = {self.smoothing}; it must be positive")
    shape = (self.num_components, self._dim)
    self.logits = self.param("logits", lambda key: jax.random.normal(key, shape) + self._logit_of_mean())

  def _logit_of_mean(self) -> jax.Array | float:
    if self.data_mean is None:
      return 0.0
    return jax.scipy.special.logit(jnp.clip(jnp.asarray(self.data_mean), 1e-3, 1 - 1e-3))

  def log_components(self, params: Params, x: jax.Array) -> jax.Array:
    """sum_d log Bernoulli(x_d; sigmoid(l_cd)), [B, C]."""
    return x @ params["logits"].T - jnp.sum(softplus(params["logits"]), 1)

  def component_means(self, params: Params) -> jax.Array:
    """[C, D]."""
    return jax.nn.sigmoid(params["logits"])

  def draw(self, key: jax.Array, params: Params, component: jax.Array) -> jax.Array:
    """x ~ p(x|c) in {0, 1}, [n, D]."""
    p = jax.nn.sigmoid(params["logits"])[component]
    return jax.random.bernoulli(key, p).astype(p.dtype)

  def moved(self, params: Params, x: jax.Array) -> Params:
    """`params` with probabilities half-way to x."""
    return params | {"logits": jax.scipy.special.logit(0.5 * (jax.nn.sigmoid(params["logits"]) + x))}

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Equal weights, probabilities between the data's mean and seeds, and away from 0 and 1."""
    x = self.flat(batch)
    p = 0.05 + 0.45 * (self.seeds(key, x) + jnp.mean(x, 0))
    weights = jnp.full_like(params["log_weights"], -math.log(self.num_components))
    return {"log_weights": weights, "logits": jax.scipy.special.logit(p)}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"log_px", "penalty"}), sums over examples with weights `weight` [B]."""
    x = self.flat(batch)
    w, reported = self.e_step_with(params, x, weight)
    return Statistics(jnp.sum(w, 1), w @ x), reported

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """The parameters that maximise the expected log p(x, c) plus the log-prior."""
    zeros = jnp.maximum(s.count[:, None] - s.ones, 0)
    logits = jnp.log(s.ones + self.smoothing) - jnp.log(zeros + self.smoothing)
    return self.reseed_empty(key, params | {"logits": logits}, s.count)

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """-log p(x) - 1/N smoothing sum_cd log p_cd (1 - p_cd), nats per example."""
    prior = -jnp.sum(softplus(params["logits"]) + softplus(-params["logits"]))
    return -means["log_px"] - self.smoothing * prior / num_examples

  @property
  def num_free_parameters(self) -> int:
    """Free parameters in weights and probabilities, for AIC and BIC."""
    return self.num_components * (1 + self._dim) - 1
