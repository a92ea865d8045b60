"""Latent Dirichlet allocation by variational Bayes (Blei, Ng & Jordan, 2003; Hoffman, Blei & Bach, 2010)."""

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.models.topics import base
from dgm_jax.models.topics.base import Params, Statistics


class Model(base.TopicModel):
  """beta_k ~ Dirichlet(eta),  theta ~ Dirichlet(alpha),  z_i ~ theta,  w_i ~ beta_{z_i}; x counts the words w.

  q(beta_k) = Dirichlet(lambda_k), q(theta) = Dirichlet(gamma), q(z_i = k) = phi_{w_i k}, for each document by
  coordinate ascent from the same start, gamma = 1:

    phi_vk ~ exp(E[log theta_k] + E[log beta_kv]);  gamma = alpha + sum_v x_v phi_v;  lambda = eta + sum x_v phi_v

  The probabilities are those of the sequence of words, without the multinomial coefficient.  `elbo` of a document is
  E_q[log p(w, z, theta | beta) - log q(z, theta)]; the loss adds KL(q(beta) || p(beta)) / N to -elbo.  An update never
  increases the loss if the ascent has converged (tolerance) to the same optimum as before.

  With topics fixed at E[beta], theta = softmax(z) and z_k = log g_k, g_k ~ Gamma(alpha, 1), evaluate/ais.py and
  evaluate/importance_sampling.py estimate log p(w | E[beta]).  The proposal of `infer` is half Dirichlet(gamma) and
  half the prior, so that weights are bounded (with Dirichlet(gamma) alone their variance is infinite if gamma > 2
  alpha).

  Attributes, in addition to those of base.TopicModel:
    alpha, eta: concentrations of the priors; 0: 1 / K.
    tolerance, max_iterations, max_words: options of the coordinate ascent, see base.Search.
  """

  alpha: float = 0.0
  eta: float = 0.0
  tolerance: float = 1e-3
  max_iterations: int = 100
  max_words: int = 0

  def setup(self):
    self._check()
    errors.require(
      min(self.alpha, self.eta) >= 0,
      f"alpha = {self.alpha}, eta = {self.eta}; both must be positive, or 0 for 1 / num_topics",
    )
    start = lambda key: jax.random.gamma(key, 100.0, (self.num_topics, self.num_words)) / 100
    self.topic_words = self.param("topic_words", start)  # lambda

  @property
  def _alpha(self) -> float:
    return self.alpha or 1 / self.num_topics

  @property
  def _eta(self) -> float:
    return self.eta or 1 / self.num_topics

  def posterior(self, params: Params, x: jax.Array) -> jax.Array:
    """gamma, [B, K]; x [B, V]."""
    return self._posterior(x, base.normalised(base.expected_log(params["topic_words"]))[0])

  def _posterior(self, x: jax.Array, beta: jax.Array) -> jax.Array:
    search = base.Search(self.tolerance, self.max_iterations, self.max_words)
    start = jnp.ones((x.shape[0], self.num_topics), x.dtype)
    return search(x, self._weigh, beta, self._alpha, start)

  @staticmethod
  def _weigh(gamma: jax.Array) -> jax.Array:
    """exp E[log theta] divided by its maximum, [B, K]."""
    log_weights = base.digamma(gamma)
    return jnp.exp(log_weights - jnp.max(log_weights, 1, keepdims=True))

  def _documents(self, params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(elbo [B], exp E[log theta] [B, K] and exp E[log beta] [K, V] up to a factor for each document and word)."""
    beta, greatest = base.normalised(base.expected_log(params["topic_words"]))
    gamma = self._posterior(x, beta)
    log_theta = base.expected_log(gamma)
    most = jnp.max(log_theta, 1, keepdims=True)
    weights = jnp.exp(log_theta - most)
    of_words = jnp.sum(x * (jnp.log(base.mix(weights, beta)) + greatest + most), 1)
    return of_words + base.expected_log_ratio(gamma, self._alpha), weights, beta

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """lambda ~ Gamma(100, 1 / 100), as in published code."""
    del batch
    lam = params["topic_words"]
    return {"topic_words": jax.random.gamma(key, 100.0, lam.shape, lam.dtype) / 100}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"elbo"}), sums over documents with weights `weight` [B]."""
    x = self.flat(batch)
    elbo, weights, beta = self._documents(params, x)
    words = beta * ((weights * weight[:, None]).T @ (x / base.mix(weights, beta)))
    return Statistics(words), {"elbo": weight @ elbo}

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """lambda = eta + the sums over words."""
    del key, params
    return {"topic_words": self._eta + s.words}

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """Minus the bound on log p(all documents), nats per document."""
    return -means["elbo"] - jnp.sum(base.expected_log_ratio(params["topic_words"], self._eta)) / num_examples

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`elbo`, nats, [B]."""
    del key
    return {"elbo": self._documents({"topic_words": self.topic_words}, self.flat(batch))[0]}

  def topics(self) -> jax.Array:
    """E[beta], [K, V]."""
    return self.topic_words / jnp.sum(self.topic_words, 1, keepdims=True)

  def proportions(self, batch: dict[str, jax.Array]) -> jax.Array:
    """E[theta | document], [B, K]."""
    gamma = self.posterior({"topic_words": self.topic_words}, self.flat(batch))
    return gamma / jnp.sum(gamma, 1, keepdims=True)

  def infer(self, batch: dict[str, jax.Array]) -> base.EvenMixture:
    """A proposal for z: softmax(z) ~ Dirichlet(gamma) or Dirichlet(alpha), with probability 1/2 each."""
    gamma = self.posterior({"topic_words": self.topic_words}, self.flat(batch))
    return base.EvenMixture(*map(base.LogGammas, (gamma, jnp.full_like(gamma, self._alpha))))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(w | theta), log p(z)), both [B], theta = softmax(z), z [B, K], topics E[beta]."""
    log_pw = jnp.log(base.mix(jax.nn.softmax(z), self.topics()))
    return jnp.sum(self.flat(batch) * log_pw, 1), base.LogGammas(jnp.full_like(z, self._alpha)).log_prob(z)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x | E[beta]) of `length` words, [n, *data_shape]; with `mean`, E[x | theta]."""
    key_theta, key_words = jax.random.split(key)
    theta = jax.random.dirichlet(key_theta, jnp.full(self.num_topics, self._alpha), (n,))
    p = theta @ self.topics()
    x = self.length * p if mean else base.draw_words(key_words, p, self.length)
    return x.reshape(n, *self.data_shape)
