"""Hidden Markov models with C states: sums and maxima over all C^T paths, in depth log T.

  p(x, z) = pi(z_1) prod_t A(z_t-1, z_t) prod_t b_t(z_t),  b_t(c) = p(x_t | z_t = c)

Each step is a C x C matrix, M_t(i, j) = A(i, j) b_t(j), M_1(i, j) = pi(j) b_1(j), and padding steps are the identity.
A row of M_1 ... M_t is the forward message, M_t+1 ... M_T 1 the backward message; products are associative, so that
a parallel scan computes all of them (Särkkä & García-Fernández, 2021, https://arxiv.org/abs/2102.05743), in depth log T
and with C times the work of a loop over t.  They are stored as logs relative to the largest entry, so that rounding
errors of float32 do not grow with |log p(x)|.

Functions take one sequence; use vmap for many.  log_initial [C] and log_transition [C, C] (from row to column) are log
pi and log A, log_likelihood [T, C] is log b, and mask [T] is true for the steps of the sequence, false for padding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_NEVER = -1e30  # log 0 with finite sums and gradients


class Posterior(NamedTuple):
  """p(z | x).

  Attributes:
    log_px: log p(x), nats, []; -inf for an x that no path can emit, whose states and pairs are arbitrary but finite.
    states: p(z_t | x), [T, C]; 0 for padding.
    pairs: sum_t p(z_t, z_t+1 | x), [C, C].
  """

  log_px: jax.Array
  states: jax.Array
  pairs: jax.Array


def _sum(a: jax.Array, b: jax.Array) -> jax.Array:
  """log of the product of exp(a) and exp(b), [..., C, C]."""
  return jax.nn.logsumexp(a[..., :, :, None] + b[..., None, :, :], axis=-2)


def _max(a: jax.Array, b: jax.Array) -> jax.Array:
  """As _sum, with maxima instead of sums."""
  return jnp.max(a[..., :, :, None] + b[..., None, :, :], axis=-2)


def _steps(log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, mask: jax.Array) -> jax.Array:
  """log M_t, [T, C, C], at least _NEVER: differences of -inf would be NaN."""
  num_states = log_initial.shape[0]
  stay = jnp.where(jnp.eye(num_states, dtype=bool), 0.0, _NEVER)
  steps = jnp.where(mask[:, None, None], log_transition + log_likelihood[:, None], stay)
  return jnp.maximum(steps.at[0].set(log_initial + jnp.where(mask[0], log_likelihood[0], 0.0)), _NEVER)


def _possible(log_p: jax.Array) -> jax.Array:
  """log p, -inf where every path has an impossible step."""
  return jnp.where(log_p > 0.5 * _NEVER, log_p, jnp.where(jnp.isnan(log_p), log_p, -jnp.inf))


def _products(product, steps: jax.Array, reverse: bool = False) -> tuple[jax.Array, jax.Array]:
  """(log M_1 ... M_t less its maximum [T, C, C], that maximum [T]); `reverse`: log M_t ... M_T."""

  def combine(a, b):
    made = product(b[0], a[0]) if reverse else product(a[0], b[0])
    largest = jax.lax.stop_gradient(jnp.max(made, (-2, -1)))
    return made - largest[..., None, None], a[1] + b[1] + largest

  return jax.lax.associative_scan(combine, (steps, jnp.zeros_like(steps[:, 0, 0])), reverse=reverse)


def log_prob(
  log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, mask: jax.Array
) -> jax.Array:
  """log p(x), nats, []; -inf for an x that no path can emit."""
  forward, scale = _products(_sum, _steps(log_initial, log_transition, log_likelihood, mask))
  return _possible(scale[-1] + jax.nn.logsumexp(forward[-1, 0]))


def posterior(
  log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, mask: jax.Array
) -> Posterior:
  """p(z | x) by forward and backward messages (Baum et al., 1970)."""
  steps = _steps(log_initial, log_transition, log_likelihood, mask)
  forward, scale = _products(_sum, steps)
  alpha = forward[:, 0]
  backward = jax.nn.logsumexp(_products(_sum, steps[1:], reverse=True)[0], -1)
  beta = jnp.concatenate([backward, jnp.zeros_like(alpha[-1:])])
  pairs = jax.nn.softmax(alpha[:-1, :, None] + steps[1:] + beta[1:, None], (-2, -1))
  return Posterior(
    _possible(scale[-1] + jax.nn.logsumexp(alpha[-1])),
    jnp.where(mask[:, None], jax.nn.softmax(alpha + beta, -1), 0.0),
    jnp.sum(jnp.where(mask[1:, None, None], pairs, 0.0), 0),
  )


def _followed(before: jax.Array, last: jax.Array) -> jax.Array:
  """The path that ends in `last`, [T]; before[t, j] is the state at step t if j is the state at t + 1, [T - 1, C]."""
  compose = lambda later, earlier: jnp.take_along_axis(earlier, later, -1)
  to_last = jax.lax.associative_scan(compose, before, reverse=True)
  return jnp.append(to_last[:, last], last)


def most_likely_path(
  log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """(z [T] with the largest p(z | x), log p(x, z)) (Viterbi, 1967); z is constant in the padding."""
  steps = _steps(log_initial, log_transition, log_likelihood, mask)
  forward, scale = _products(_max, steps)
  best = forward[:, 0]
  before = jnp.argmax(best[:-1, :, None] + steps[1:], 1)
  return _followed(before, jnp.argmax(best[-1])), _possible(scale[-1] + jnp.max(best[-1]))


def draw_path(
  key: jax.Array, log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, mask: jax.Array
) -> jax.Array:
  """z ~ p(z | x), [T], drawn backwards from the forward messages."""
  steps = _steps(log_initial, log_transition, log_likelihood, mask)
  alpha = _products(_sum, steps)[0][:, 0]
  key_last, key_before = jax.random.split(key)
  before = jax.random.categorical(key_before, alpha[:-1, :, None] + steps[1:], 1)
  return _followed(before, jax.random.categorical(key_last, alpha[-1]))


def draw_chain(key: jax.Array, log_initial: jax.Array, log_transition: jax.Array, length: int) -> jax.Array:
  """z ~ p(z), [length]."""
  key_first, key_next = jax.random.split(key)
  first = jax.random.categorical(key_first, log_initial)
  following = jax.random.categorical(key_next, log_transition, shape=(length - 1, log_initial.shape[0]))
  from_first = jax.lax.associative_scan(lambda a, b: jnp.take_along_axis(b, a, -1), following)
  return jnp.append(first, from_first[:, first])
