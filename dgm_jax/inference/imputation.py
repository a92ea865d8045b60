"""Imputation by importance sampling from q(z | x_observed) (Mattei & Frellsen, 2019; Ipsen et al., 2021).

With w_k = p(x_observed, z_k) / q(z_k | x_observed), and p(m | x) in it where the model has a missing process,

  E[f | x_observed] ~ sum_k w_k E[f(x) | z_k] / sum_k w_k.

A model is what `bind` of a Flax module gives, with infer, log_joint and decode, and `given` where its latents ask for
it (principles/latent.py).  Every row is drawn for by a key of its own (rng.row_keys), so that nothing depends on where
in a batch it lies; sample k of it has the same noise whatever `chunk`, and memory grows with the chunk, not with K.
x where mask is 0, be it NaN, has no influence.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import rng
from dgm_jax.inference import estimators, streaming_weights


class Single(NamedTuple):
  """One value for each missing entry.

  Attributes:
    x: [B, ...], where mask is 0 E[x | x_observed]; of a class, the number of the most probable one.
    variance: Var[x | x_observed] = E[Var[x|z]] + Var[E[x|z]] of missing entries, 0 of observed ones, [B, ...].
    log_px: log 1/K sum_k w_k, [B], nats: of x_observed, and of m where the model has a missing process.
    ess: the effective number of the K samples, [B].
    features: E of all entries, observed ones too, as families' expected_features has them, [B, F]: of classes their
      probabilities.
  """

  x: jax.Array
  variance: jax.Array
  log_px: jax.Array
  ess: jax.Array
  features: jax.Array


class Multiple(NamedTuple):
  """Draws of the missing entries.

  Attributes:
    x: [R, B, ...], x ~ p(x_missing | x_observed) where mask is 0, and x elsewhere.
    log_px, ess: as of Single.
  """

  x: jax.Array
  log_px: jax.Array
  ess: jax.Array


def _given(model: Any, z: Any) -> Any:
  """p(x | latents); those of a hierarchy have z_1, next to x, in front."""
  if hasattr(model, "given"):
    return model.given(z)
  return model.decode(z[0] if isinstance(z, tuple) else z)


def _fold(
  model: Any, key: jax.Array, row: dict, num_samples: int, chunk: int, start: Callable, add: Callable
) -> tuple[streaming_weights.Weights, Any]:
  """(weights, state) of one row [1, ...]: state = add(state, p, share, z [C, 1, ...], key of the chunk), from start(z).

  p, share: see streaming.add_weights.
  """
  q, chunk = model.infer(row), min(chunk, num_samples)
  draw = lambda k: q.sample_and_log_prob(seed=jax.random.fold_in(rng.stream(key, "proposals"), k))

  def step(carry, first):
    sums, state = carry
    k = first + jnp.arange(chunk)
    z, log_q = jax.vmap(draw)(k)
    log_w = (sum(estimators.over_samples(model.log_joint, row, z)) - log_q)[:, 0]
    sums, p, share = streaming_weights.add_weights(sums, jnp.where(k < num_samples, log_w, -jnp.inf))
    return (sums, add(state, p, share, z, jax.random.fold_in(rng.stream(key, "chunks"), first))), None

  carry = streaming_weights.no_weights(), start(jax.vmap(draw)(jnp.arange(1))[0])
  return jax.lax.scan(step, carry, jnp.arange(0, num_samples, chunk))[0]


def _by_row(f: Callable, keys: jax.Array, batch: dict) -> Any:
  """f(key, row [1, ...]) of each row."""
  return jax.vmap(lambda key, row: f(key, jax.tree.map(lambda a: a[None], row)))(keys, batch)


def _flat(f: Callable, z: Any) -> Any:
  """f of latents [C, 1, ...] as of a batch of C."""
  return f(jax.tree.map(lambda a: a[:, 0], z))


def both(
  model: Any, keys: jax.Array, batch: dict, num_draws: int, num_samples: int = 1000, chunk: int = 500
) -> tuple[Single, Multiple]:
  """`single` and `multiple` of the same K samples.

  Args:
    model: see the module's docstring.
    keys: [B], of the rows.
    batch: x [B, ...], mask [B, ...] and what else the model takes.
    num_draws: R.
    num_samples: K.
    chunk: at most so many at once.
  """

  def values(z):
    p = _given(model, z)
    return p.mean(), {"features": p.expected_features(), "variance": p.variance()}

  def start(z):
    shapes = jax.eval_shape(lambda: _flat(values, z))
    mean, averages = jax.tree.map(lambda a: jnp.zeros(a.shape[1:]), shapes)
    kept = jax.tree.map(lambda a: jnp.broadcast_to(a, (num_draws, *a.shape[1:])), z)
    return streaming_weights.Moments(mean, mean), averages, kept

  def add(state, p, share, z, key):
    (moments, averages, kept), (mean, here) = state, _flat(values, z)
    averages = jax.tree.map(lambda a, f: a + share * (jnp.tensordot(p, f, 1) - a), averages, here)
    return (
      streaming_weights.add_moments(moments, p, share, mean),
      averages,
      streaming_weights.resample(key, kept, p, share, z),
    )

  def one(key, row):
    sums, (moments, averages, kept) = _fold(model, key, row, num_samples, chunk, start, add)
    kind = _given(model, model.infer(row).sample_and_log_prob(seed=key)[0])  # numbers or classes
    x, variance = kind.most_likely(averages["features"]), averages["variance"] + moments.variance
    draws = jnp.zeros((0, x.size))  # no net has to do with no rows
    if num_draws:
      draws = _flat(partial(_given, model), kept).sample(seed=rng.stream(key, "entries"))
    log_px = sums.log_sum - jnp.log(num_samples)
    return Single(x, variance, log_px, sums.effective, averages["features"]), draws

  found, draws = _by_row(one, keys, batch)
  shape, seen = batch["x"].shape, batch["mask"] > 0
  x, variance = jnp.where(seen, batch["x"], found.x.reshape(shape)), jnp.where(seen, 0, found.variance.reshape(shape))
  draws = jnp.where(seen, batch["x"], jnp.swapaxes(draws, 0, 1).reshape(num_draws, *shape))
  return found._replace(x=x, variance=variance), Multiple(draws, found.log_px, found.ess)


def single(model: Any, keys: jax.Array, batch: dict, num_samples: int = 1000, chunk: int = 500) -> Single:
  """Self-normalised importance sampling; bias of order 1/K.  Arguments as of `both`."""
  return both(model, keys, batch, 0, num_samples, chunk)[0]


def multiple(
  model: Any, keys: jax.Array, batch: dict, num_draws: int, num_samples: int = 1000, chunk: int = 500
) -> Multiple:
  """Sampling importance resampling: z of K with probabilities w_k / sum w, x_missing ~ p(x|z), R times for itself.

  As K grows the draws become independent ones of p(x_missing | x_observed); z is drawn with replacement.  Arguments as
  of `both`.
  """
  return both(model, keys, batch, num_draws, num_samples, chunk)[1]


def log_prob(model: Any, keys: jax.Array, batch: dict, num_samples: int = 1000, chunk: int = 500) -> jax.Array:
  """log 1/K sum_k w_k of the observed entries, [B], nats: a stochastic lower bound; arguments as of `both`."""

  def one(key, row):
    sums, _ = _fold(model, key, row, num_samples, chunk, lambda z: (), lambda *state: ())
    return sums.log_sum - jnp.log(num_samples)

  return _by_row(one, keys, batch)


def conditional_log_prob(
  model: Any, keys: jax.Array, batch: dict, held_out: jax.Array, num_samples: int = 1000, chunk: int = 500
) -> jax.Array:
  """log p(x_held_out | x_observed) = log p(x_observed, x_held_out) - log p(x_observed), [B], nats.

  Each term is a bound with proposals of its own, so that the difference is neither bound: its bias is of order 1/K.  A
  missing process is of the same m in both.

  Args:
    model, keys, batch, num_samples, chunk: as of `both`; x holds the values that were held out.
    held_out: [B, ...], 1 where an entry is asked for, which mask has not.
  """
  known = jnp.maximum(batch["mask"], held_out)
  both = batch | {"mask": known, "indicator": batch.get("indicator", batch["mask"])}
  log_p = lambda key, batch: log_prob(model, key, batch, num_samples, chunk)
  apart = jax.vmap(lambda key: rng.stream(key, "held_out"))(keys)
  return log_p(apart, both) - log_p(keys, batch)
