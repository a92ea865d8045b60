"""Sequences from a decoder given z: draws, the greedy sequence, and beam search; all may begin with known tokens."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.truncated import Truncation


def _pure(model: Any, method: str) -> Callable:
  """A method as a pure function: Flax does not allow modules inside transformations such as scans."""
  bare, variables = model.unbind()
  return functools.partial(bare.apply, variables, method=method)


def _known(model: Any, n: int, x: jax.Array | None, known: jax.Array | None) -> tuple[jax.Array, jax.Array]:
  """(x, whether it is known), [T, n] each."""
  if x is None:
    return jnp.zeros((model.length, n), jnp.int32), jnp.zeros((model.length, n), bool)
  return x.reshape(n, -1).astype(jnp.int32).T, known.reshape(n, -1).T > 0


def _length(model: Any, x: jax.Array) -> jax.Array:
  """Tokens of x [..., T] with <end>; T of a sequence without <end>; the rules of a derivation."""
  if model.grammar:
    return jnp.sum(x != model.pad, -1).astype(jnp.int32)
  if model.last < 0:
    return jnp.full(x.shape[:-1], x.shape[-1], jnp.int32)
  ended = x == model.last
  return jnp.where(ended.any(-1), 1 + jnp.argmax(ended, -1), x.shape[-1]).astype(jnp.int32)


def draw(
  model: Any,
  key: jax.Array,
  z: jax.Array,
  how: Truncation,
  x: jax.Array | None = None,
  known: jax.Array | None = None,
) -> dict[str, jax.Array]:
  """Draws x given z token by token, in one scan.

  Args:
    model: a sequence VAE with its parameters.
    key: of the draws.
    z: [n, L].
    how: the truncation of the probabilities of each token; temperature 0 is greedy.
    x, known: [n, T]; tokens whose `known` is 1 are those of x; they come first.

  Returns:
    x int32 [n, T]; length [n], with <end>, T for a sequence without one, which is unfinished; log_prob [n], log p(x|z)
    in nats, without truncation.
  """
  n, step = z.shape[0], _pure(model, "step")
  given = _known(model, n, x, known)
  steps = (jnp.arange(model.length), jax.random.split(key, model.length), *given)

  def one(carry, now):
    cache, before, ended = carry
    t, key, token, is_known = now
    cache, log_p = step(cache, t, before)
    new = how.draw(key, log_p).astype(jnp.int32)
    new = jnp.where(is_known, token, new)
    new = jnp.where(ended, max(model.pad, 0), new)
    found = jnp.where(ended, 0.0, jnp.take_along_axis(log_p, new[:, None], 1)[:, 0])
    return (cache, new, ended | (new == model.last)), (new, found)

  first = (model.start(z), jnp.zeros(n, jnp.int32), jnp.zeros(n, bool))
  _, (drawn, log_p) = jax.lax.scan(one, first, steps)
  return {"x": drawn.T, "length": _length(model, drawn.T), "log_prob": log_p.sum(0)}


def beam(
  model: Any, z: jax.Array, width: int, x: jax.Array | None = None, known: jax.Array | None = None
) -> dict[str, jax.Array]:
  """The most probable x given z that a search with the `width` best beginnings finds; with 1 it is greedy.

  Args:
    model, z, x, known: see draw.
    width: W; a beginning that has ended keeps its place.

  Returns:
    As draw, of the most probable of the W sequences.

  Raises:
    UserError: width < 1.
  """
  errors.require(width >= 1, f"beam = {width}; it must be 1 or more")
  n, step, select = z.shape[0], _pure(model, "step"), _pure(model, "select")
  pad, length = max(model.pad, 0), model.length
  of_rows = lambda a: jnp.repeat(a, width, 1)  # [T, n] -> [T, n W]
  tokens, given = (of_rows(a) for a in _known(model, n, x, known))

  def one(carry, now):
    cache, before, ended, score, so_far = carry
    t, token, is_known = now
    cache, log_p = step(cache, t, before)  # [n W, V]
    ids = jnp.arange(log_p.shape[1])
    forced = jnp.where(ids == token[:, None], log_p, -jnp.inf)
    log_p = jnp.where(is_known[:, None], forced, log_p)
    log_p = jnp.where(ended[:, None], jnp.where(ids == pad, 0.0, -jnp.inf), log_p)
    total = (score[:, None] + log_p).reshape(n, -1)  # [n, W V]
    best, index = jax.lax.top_k(total, width)
    parent = (jnp.arange(n)[:, None] * width + index // log_p.shape[1]).reshape(-1)
    new = (index % log_p.shape[1]).reshape(-1).astype(jnp.int32)
    new_ended = ended[parent] | (new == model.last)
    so_far = so_far[parent].at[:, t].set(new)
    return (select(cache, parent), new, new_ended, best.reshape(-1), so_far), None

  rows = n * width
  score = jnp.where(jnp.arange(rows) % width == 0, 0.0, -jnp.inf)  # at first there is one beginning
  first = (model.start(jnp.repeat(z, width, 0)), jnp.zeros(rows, jnp.int32), jnp.zeros(rows, bool), score)
  first = (*first, jnp.full((rows, length), pad, jnp.int32))
  (_, _, _, score, found), _ = jax.lax.scan(one, first, (jnp.arange(length), tokens, given))
  best = jnp.argmax(score.reshape(n, width), 1)
  x = found.reshape(n, width, length)[jnp.arange(n), best]
  return {"x": x, "length": _length(model, x), "log_prob": score.reshape(n, width).max(1)}
