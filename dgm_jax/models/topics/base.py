"""What models of word counts share: documents x [B, V] as mixtures of K topics, distributions over V words."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.models.base import require_at_least

Params = dict[str, jax.Array]
_TINY = 1e-30


class Statistics(NamedTuple):
  """Sums over documents of x_v times the share of topic k in word v, [K, V]."""

  words: jax.Array


def digamma(x: jax.Array) -> jax.Array:
  """digamma(x), x > 0, by its recurrence and the asymptotic series: accurate to 2e-9, faster than jax's."""
  y = 1 / (x + 5)
  square = y * y
  series = 0.5 * y + square * (1 / 12 - square * (1 / 120 - square / 252))
  return jnp.log(x + 5) - sum(1 / (x + i) for i in range(5)) - series


def expected_log(concentration: jax.Array) -> jax.Array:
  """E[log theta], theta ~ Dirichlet(a), a [..., K]."""
  return jax.scipy.special.digamma(concentration) - jax.scipy.special.digamma(jnp.sum(concentration, -1, keepdims=True))


def expected_log_ratio(a: jax.Array, prior: jax.Array | float) -> jax.Array:
  """E[log Dirichlet(theta; prior 1) - log Dirichlet(theta; a)], theta ~ Dirichlet(a): minus their KL; a [..., K]."""
  gammaln, k = jax.scipy.special.gammaln, a.shape[-1]
  of_a = jnp.sum(gammaln(a), -1) - gammaln(jnp.sum(a, -1))
  return of_a - k * gammaln(prior) + gammaln(k * prior) + jnp.sum((prior - a) * expected_log(a), -1)


def normalised(log_topics: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(exp(log beta_kv - m_v) [K, V], m_v = max_k log beta_kv [V]): words rare in all topics do not underflow."""
  greatest = jnp.max(log_topics, 0)
  return jnp.exp(log_topics - greatest), greatest


def mix(weights: jax.Array, topics: jax.Array) -> jax.Array:
  """sum_k w_k beta_kv, [B, V], always positive; weights [B, K], topics [K, V]."""
  return jnp.maximum(weights @ topics, _TINY)


class Search:
  """h <- prior + w(h) sum_v x_v beta_kv / sum_j w_j(h) beta_jv until it converges for every document.

  Attributes:
    tolerance: the largest mean over k of |change of h_k| that counts as converged.
    max_iterations: maximal number of steps.
    max_words: documents are lists of at most this many distinct words, which is V / max_words times as fast; a batch
      with a longer document is treated as a matrix [B, V].  0: always a matrix.
  """

  def __init__(self, tolerance: float, max_iterations: int, max_words: int):
    require_at_least(0, tolerance=tolerance, max_words=max_words)
    require_at_least(1, max_iterations=max_iterations)
    self.tolerance, self.max_iterations, self.max_words = tolerance, max_iterations, max_words

  def _iterate(self, step: Callable, start: jax.Array) -> jax.Array:
    def body(carry):
      h, _, i = carry
      new = step(h)
      return new, jnp.max(jnp.mean(jnp.abs(new - h), 1)), i + 1

    going = lambda carry: (carry[1] > self.tolerance) & (carry[2] < self.max_iterations)
    return jax.lax.while_loop(going, body, (start, jnp.asarray(jnp.inf, start.dtype), 0))[0]

  def __call__(
    self, x: jax.Array, weigh: Callable, topics: jax.Array, prior: jax.Array | float, start: jax.Array
  ) -> jax.Array:
    """h [B, K].

    Args:
      x: counts, [B, V].
      weigh: h -> w [B, K].
      topics: beta, [K, V], up to a factor for each word.
      prior: [] or [K].
      start: initial h, [B, K].
    """

    def of_matrix():
      def step(h):
        w = weigh(h)
        return prior + w * ((x / mix(w, topics)) @ topics.T)

      return self._iterate(step, start)

    def of_lists():
      counts, words = jax.lax.top_k(x, self.max_words)
      beta = topics.T[words]  # [B, M, K]

      def step(h):
        w = weigh(h)
        ratio = counts / jnp.maximum(jnp.sum(w[:, None] * beta, 2), _TINY)
        return prior + w * jnp.sum(ratio[:, :, None] * beta, 1)

      return self._iterate(step, start)

    if self.max_words in (0, *range(x.shape[1], self.max_words + 1)):
      return of_matrix()
    return jax.lax.cond(jnp.any(jnp.sum(x > 0, 1) > self.max_words), of_matrix, of_lists)


class LogGammas(distrax.Distribution):
  """z_k = log g_k, g_k ~ Gamma(a_k, 1): softmax(z) ~ Dirichlet(a), with a density on R^K; a [..., K], event [K]."""

  def __init__(self, concentration: jax.Array):
    super().__init__()
    self._a = concentration

  @property
  def event_shape(self) -> tuple:
    return self._a.shape[-1:]

  @property
  def batch_shape(self) -> tuple:
    return self._a.shape[:-1]

  def _sample_n(self, key, n):
    return jax.random.loggamma(key, self._a, (n, *self._a.shape), self._a.dtype)

  def log_prob(self, value: jax.Array) -> jax.Array:
    return jnp.sum(self._a * value - jnp.exp(value) - jax.scipy.special.gammaln(self._a), -1)

  def mean(self) -> jax.Array:
    return jax.scipy.special.digamma(self._a)


class EvenMixture(distrax.Distribution):
  """An equal mixture of two distributions with the same shapes."""

  def __init__(self, first: distrax.Distribution, second: distrax.Distribution):
    super().__init__()
    self._first, self._second = first, second

  @property
  def event_shape(self) -> tuple:
    return self._first.event_shape

  @property
  def batch_shape(self) -> tuple:
    return self._first.batch_shape

  def _sample_n(self, key, n):
    key_coin, *keys = jax.random.split(key, 3)
    a, b = (p.sample(seed=k, sample_shape=(n,)) for p, k in zip((self._first, self._second), keys, strict=True))
    return jnp.where(jax.random.bernoulli(key_coin, 0.5, (*a.shape[:-1], 1)), a, b)

  def log_prob(self, value: jax.Array) -> jax.Array:
    return jnp.logaddexp(self._first.log_prob(value), self._second.log_prob(value)) - math.log(2)

  def mean(self) -> jax.Array:
    return (self._first.mean() + self._second.mean()) / 2


def draw_words(key: jax.Array, p: jax.Array, length: int) -> jax.Array:
  """Counts of `length` words of each document, [n, V]; p [n, V]."""
  words = jax.random.categorical(key, jnp.log(p), shape=(length, p.shape[0]))  # [length, n]
  return jnp.zeros_like(p).at[jnp.arange(p.shape[0]), words].add(1.0)


class TopicModel(nn.Module):
  """A model of word counts; a subclass adds

    topics()                         -> beta [K, V], rows sum to 1
    proportions(batch)               -> theta of the documents, [B, K], rows sum to 1

  Attributes:
    data_shape: the shape of one x, counts of V words.
    data_mean: the mean of the training set, flat, whose sum is the length of generated documents; None: V words.
    num_topics: K.
  """

  support: ClassVar[tuple[float, float]] = (0.0, math.inf)  # range of x

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_topics: int = 10

  def _check(self) -> None:
    require_at_least(1, num_topics=self.num_topics)

  @property
  def num_words(self) -> int:
    """V."""
    return math.prod(self.data_shape)

  @property
  def length(self) -> int:
    """The number of words of a generated document: the mean of the training set, rounded."""
    return max(1, round(sum(self.data_mean))) if self.data_mean is not None else self.num_words

  def flat(self, batch: dict[str, jax.Array]) -> jax.Array:
    """x as floats, [B, V]."""
    x = batch["x"]
    return x.reshape(x.shape[0], -1).astype(jnp.promote_types(x.dtype, jnp.float32))

  def word_distribution(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(next word | the document so far) = sum_k theta_k beta_kv, [B, V]."""
    return self.proportions(batch) @ self.topics()

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """The number of words times their distribution given the document, [B, *data_shape]."""
    del key
    x = self.flat(batch)
    return (jnp.sum(x, 1, keepdims=True) * self.word_distribution(batch)).reshape(-1, *self.data_shape)

  def clusters(self) -> jax.Array:
    """Topics, each divided by its largest probability, [K, *data_shape]."""
    beta = self.topics()
    return (beta / jnp.max(beta, 1, keepdims=True)).reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.word_distribution(batch)
