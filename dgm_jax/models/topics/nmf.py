"""Non-negative matrix factorisation of counts by Kullback-Leibler divergence (Lee & Seung, 2001)."""

import jax
import jax.numpy as jnp

from dgm_jax.models.topics import base
from dgm_jax.models.topics.base import Params, Statistics


class Model(base.TopicModel):
  """x_v ~ Poisson(sum_k h_k W_kv), h >= 0 for each document, W >= 0 with rows that sum to 1, by maximum likelihood:

    h_k <- h_k sum_v x_v W_kv / (h W)_v;    W_kv ~ W_kv sum h_k x_v / (h W)_v

  These multiplicative updates of h run to convergence; the divergence is convex in h.  With h divided by its sum the
  model is pLSI (Hofmann, 1999; Ding, Li & Peng, 2008), the posterior mode of latent Dirichlet allocation under flat
  priors (Girolami & Kaban, 2003).  `distortion`, the loss, is D(x || h W) = sum_v x_v log(x_v / (h W)_v) - x_v +
  (h W)_v.

  Attributes, in addition to those of base.TopicModel:
    tolerance, max_iterations, max_words: options of the updates of h, see base.Search.
  """

  tolerance: float = 1e-3
  max_iterations: int = 100
  max_words: int = 0

  def setup(self):
    self._check()
    k, v = self.num_topics, self.num_words
    self.topic_words = self.param("topic_words", lambda key: jax.random.dirichlet(key, jnp.full(v, 100.0), (k,)))
    self.means = self.param("means", lambda key: jnp.full(k, self.length / k))  # mean of h

  def weights(self, params: Params, x: jax.Array) -> jax.Array:
    """h, [B, K]; x [B, V]."""
    search = base.Search(self.tolerance, self.max_iterations, self.max_words)
    start = jnp.broadcast_to(jnp.sum(x, 1, keepdims=True) / self.num_topics, (x.shape[0], self.num_topics))
    return search(x, lambda h: h, params["topic_words"], 0.0, start)

  @staticmethod
  def divergence(x: jax.Array, mean: jax.Array) -> jax.Array:
    """D(x || mean), [B]."""
    return jnp.sum(jax.scipy.special.xlogy(x, x / mean) - x + mean, 1)

  def start(self, key: jax.Array, params: Params, batch: dict[str, jax.Array]) -> Params:
    """Rows W_k ~ Dirichlet(100 ... 100)."""
    del batch
    w = params["topic_words"]
    return params | {"topic_words": jax.random.dirichlet(key, jnp.full(w.shape[1], 100.0, w.dtype), (w.shape[0],))}

  def e_step(
    self, params: Params, batch: dict[str, jax.Array], weight: jax.Array
  ) -> tuple[Statistics, dict[str, jax.Array]]:
    """(statistics, {"distortion"}), sums over documents with weights `weight` [B]."""
    x, w = self.flat(batch), params["topic_words"]
    h = self.weights(params, x)
    mean = base.mix(h, w)
    words = w * ((h * weight[:, None]).T @ (x / mean))
    return Statistics(words), {"distortion": weight @ self.divergence(x, mean)}

  def m_step(self, key: jax.Array, params: Params, s: Statistics) -> Params:
    """W, with rows that have no words unchanged, and the mean of h."""
    del key
    count = jnp.sum(s.words, 1, keepdims=True)
    rows = jnp.where(count > 0, s.words / jnp.where(count > 0, count, 1), params["topic_words"])
    return {"topic_words": rows, "means": self.length * count[:, 0] / jnp.sum(count)}

  def loss(self, params: Params, means: dict[str, jax.Array], num_examples: int) -> jax.Array:
    """The mean divergence per document."""
    del params, num_examples
    return means["distortion"]

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`distortion`, [B]."""
    del key
    x, params = self.flat(batch), {"topic_words": self.topic_words}
    return {"distortion": self.divergence(x, base.mix(self.weights(params, x), self.topic_words))}

  def topics(self) -> jax.Array:
    """W, [K, V]."""
    return self.topic_words

  def proportions(self, batch: dict[str, jax.Array]) -> jax.Array:
    """h divided by its sum, [B, K]."""
    h = self.weights({"topic_words": self.topic_words}, self.flat(batch))
    return h / jnp.maximum(jnp.sum(h, 1, keepdims=True), jnp.finfo(h.dtype).tiny)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ Poisson(h W), [n, *data_shape]; with `mean`, h W.  There is no p(h): h_k is exponential with h's mean."""
    key_h, key_x = jax.random.split(key)
    x = (jax.random.exponential(key_h, (n, self.num_topics)) * self.means) @ self.topic_words
    x = x if mean else jax.random.poisson(key_x, x).astype(x.dtype)
    return x.reshape(n, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Uses every parameter, for `init`."""
    return self.word_distribution(batch), self.means
