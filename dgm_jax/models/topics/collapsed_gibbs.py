"""Latent Dirichlet allocation by collapsed Gibbs sampling of the topics z of words; theta and beta integrated out.

  p(z_i = k | z_-i, w) ~ (n_dk + alpha) (n_kv + eta) / (n_k + V eta)

for a word v of document d, with n the counts of all other words (Griffiths & Steyvers, 2004).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors


class Words(NamedTuple):
  """T words in a row: the document of each, [T] int32, and its index in the vocabulary, [T] int32."""

  document: jax.Array
  word: jax.Array


class State(NamedTuple):
  """The state of a chain.

  Attributes:
    z: the topic of each word, [T].
    of_documents: number of words of document d in topic k, [N, K].
    of_words: number of occurrences of word v in topic k, [V, K].
  """

  z: jax.Array
  of_documents: jax.Array
  of_words: jax.Array


def words_of(x: jax.Array) -> Words:
  """The words of all documents, in order of documents; x [N, V], integer counts.

  Raises:
    UserError: all counts are 0.
  """
  total = int(x.sum())
  errors.require(total > 0, "The documents have no words: all counts are 0.")
  flat = jnp.asarray(x).ravel()
  where = jnp.repeat(jnp.arange(flat.size), flat.astype(jnp.int32), total_repeat_length=total)
  return Words(where // x.shape[1], where % x.shape[1])


def start(key: jax.Array, words: Words, num_documents: int, vocabulary_size: int, num_topics: int) -> State:
  """A state with random topics; N, V and K are static."""
  z = jax.random.randint(key, words.word.shape, 0, num_topics)
  count = lambda rows, n: jnp.zeros((n, num_topics)).at[rows, z].add(1)
  return State(z, count(words.document, num_documents), count(words.word, vocabulary_size))


def sweep(key: jax.Array, state: State, words: Words, alpha: float, eta: float) -> State:
  """A new topic for each word in turn."""
  size = state.of_words.shape[0]

  def one(carry, word):
    of_documents, of_words, totals = carry
    z, d, v, u = word
    of_documents, of_words = of_documents.at[d, z].add(-1), of_words.at[v, z].add(-1)
    totals = totals.at[z].add(-1)
    below = jnp.cumsum((of_documents[d] + alpha) * (of_words[v] + eta) / (totals + size * eta))
    z = jnp.minimum(jnp.sum(below <= u * below[-1]), below.shape[0] - 1)
    return (of_documents.at[d, z].add(1), of_words.at[v, z].add(1), totals.at[z].add(1)), z.astype(state.z.dtype)

  u = jax.random.uniform(key, words.word.shape)
  begin = (state.of_documents, state.of_words, jnp.sum(state.of_words, 0))
  (of_documents, of_words, _), z = jax.lax.scan(one, begin, (state.z, *words, u))
  return State(z, of_documents, of_words)


def log_joint(state: State, alpha: float, eta: float) -> jax.Array:
  """log p(w, z | alpha, eta), nats, []."""
  gammaln = jax.scipy.special.gammaln

  def of(counts: jax.Array, prior: float) -> jax.Array:  # [..., C]
    whole = jnp.sum(counts + prior, -1)
    each = jnp.sum(gammaln(counts + prior) - gammaln(prior), -1)
    return jnp.sum(gammaln(counts.shape[-1] * prior) - gammaln(whole) + each)

  return of(state.of_documents, alpha) + of(state.of_words.T, eta)


def topics(state: State, eta: float) -> jax.Array:
  """E[beta | z, w], [K, V]."""
  smoothed = state.of_words.T + eta
  return smoothed / jnp.sum(smoothed, 1, keepdims=True)


def proportions(state: State, alpha: float) -> jax.Array:
  """E[theta | z], [N, K]."""
  smoothed = state.of_documents + alpha
  return smoothed / jnp.sum(smoothed, 1, keepdims=True)


def sample(
  key: jax.Array, words: Words, shape: tuple[int, int, int], alpha: float, eta: float, num_sweeps: int
) -> tuple[State, jax.Array]:
  """(the state after num_sweeps from random topics, log_joint after each sweep [num_sweeps]); shape (N, V, K)."""
  key_start, key_run = jax.random.split(key)

  def step(state, key):
    state = sweep(key, state, words, alpha, eta)
    return state, log_joint(state, alpha, eta)

  return jax.lax.scan(step, start(key_start, words, *shape), jax.random.split(key_run, num_sweeps))
