"""Imputation by importance sampling from q(z | x_observed) (Mattei & Frellsen, 2019; Ipsen et al., 2021).

With w_k = p(x_observed, z_k) / q(z_k | x_observed), times p(m | x) if the model has a missing process,

  E[f | x_observed] ~ sum_k w_k E[f(x) | z_k] / sum_k w_k.

`model` is a bound Flax module with infer, log_joint and decode, and `given` if decode does not take its latents (see
principles/latent/latent.py).  Each row has its own key (rng.row_keys), so that its result does not depend on its place
in the batch; sample k has the same noise for every `chunk`, and memory grows with the chunk, not with K.  Entries of x
where mask is 0, even NaN, have no influence.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import rng
from dgm_jax.inference import samples, streaming_weights


class Single(NamedTuple):
  """One value for each missing entry.

  Attributes:
    x: [B, ...]; where mask is 0, E[x | x_observed] or, for a class, the number of the most probable one.
    variance: Var[x | x_observed] = E[Var[x|z]] + Var[E[x|z]] of missing entries, 0 of observed ones, [B, ...].
    log_px: log 1/K sum_k w_k, [B], nats: log p(x_observed), or log p(x_observed, m) with a missing process.
    ess: effective number of the K samples, [B].
    features: E[expected_features of p(x|z) | x_observed] for all entries, observed ones too, [B, F]; for a class, its
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
    log_px, ess: as in Single.
  """

  x: jax.Array
  log_px: jax.Array
  ess: jax.Array


def given(model: Any, z: Any) -> Any:
  """p(x | latents); in a hierarchy (z_1, ..., z_L) x depends on z_1."""
  if hasattr(model, "given"):
    return model.given(z)
  return model.decode(z[0] if isinstance(z, tuple) else z)


def _fold(
  model: Any, key: jax.Array, row: dict, num_samples: int, chunk: int, start: Callable, add: Callable
) -> tuple[streaming_weights.Weights, Any]:
  """(weights, state) after the K samples of one row [1, ...], taken in chunks of C.

  state = start(z of one sample), then state = add(state, p, share, z [C, 1, ...], key of the chunk) for each chunk;
  p, share: see streaming_weights.add_weights.
  """
  q, chunk = model.infer(row), min(chunk, num_samples)
  draw = lambda k: q.sample_and_log_prob(seed=jax.random.fold_in(rng.stream(key, "proposals"), k))

  def step(carry, first):
    sums, state = carry
    k = first + jnp.arange(chunk)
    z, log_q = jax.vmap(draw)(k)
    log_w = (sum(samples.over_samples(model.log_joint, row, z)) - log_q)[:, 0]
    sums, p, share = streaming_weights.add_weights(sums, jnp.where(k < num_samples, log_w, -jnp.inf))
    return (sums, add(state, p, share, z, jax.random.fold_in(rng.stream(key, "chunks"), first))), None

  carry = streaming_weights.no_weights(), start(jax.vmap(draw)(jnp.arange(1))[0])
  return jax.lax.scan(step, carry, jnp.arange(0, num_samples, chunk))[0]


def _by_row(f: Callable, keys: jax.Array, batch: dict) -> Any:
  """f(key, row [1, ...]) for each row."""
  return jax.vmap(lambda key, row: f(key, jax.tree.map(lambda a: a[None], row)))(keys, batch)


def _flat(f: Callable, z: Any) -> Any:
  """f of latents [C, 1, ...], taken as a batch of C."""
  return f(jax.tree.map(lambda a: a[:, 0], z))


def both(
  model: Any, keys: jax.Array, batch: dict, num_draws: int, num_samples: int = 1000, chunk: int = 500
) -> tuple[Single, Multiple]:
  """`single` and `multiple` from the same K samples.

  Args:
    model: see the module's docstring.
    keys: [B], one for each row.
    batch: x [B, ...], mask [B, ...] and any other inputs of the model.
    num_draws: R.
    num_samples: K.
    chunk: maximal number of samples in memory at once.
  """

  def values(z):
    p = given(model, z)
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
    kind = given(model, model.infer(row).sample_and_log_prob(seed=key)[0])  # numbers or classes
    x, variance = kind.most_likely(averages["features"]), averages["variance"] + moments.variance
    draws = jnp.zeros((0, x.size))  # networks are not called with 0 rows
    if num_draws:
      draws = _flat(partial(given, model), kept).sample(seed=rng.stream(key, "entries"))
    log_px = sums.log_sum - jnp.log(num_samples)
    return Single(x, variance, log_px, sums.effective, averages["features"]), draws

  found, draws = _by_row(one, keys, batch)
  shape, seen = batch["x"].shape, batch["mask"] > 0
  x, variance = jnp.where(seen, batch["x"], found.x.reshape(shape)), jnp.where(seen, 0, found.variance.reshape(shape))
  draws = jnp.where(seen, batch["x"], jnp.swapaxes(draws, 0, 1).reshape(num_draws, *shape))
  return found._replace(x=x, variance=variance), Multiple(draws, found.log_px, found.ess)


def single(model: Any, keys: jax.Array, batch: dict, num_samples: int = 1000, chunk: int = 500) -> Single:
  """Self-normalised importance sampling; bias of order 1/K.  Arguments as in `both`."""
  return both(model, keys, batch, 0, num_samples, chunk)[0]


def multiple(
  model: Any, keys: jax.Array, batch: dict, num_draws: int, num_samples: int = 1000, chunk: int = 500
) -> Multiple:
  """Sampling importance resampling: z is z_k with probability w_k / sum w, then x_missing ~ p(x|z), R times.

  z is drawn with replacement.  As K grows the R draws become independent draws from p(x_missing | x_observed).
  Arguments as in `both`.
  """
  return both(model, keys, batch, num_draws, num_samples, chunk)[1]


def log_prob(model: Any, keys: jax.Array, batch: dict, num_samples: int = 1000, chunk: int = 500) -> jax.Array:
  """log 1/K sum_k w_k of the observed entries, [B], nats: a stochastic lower bound; arguments as in `both`."""

  def one(key, row):
    sums, _ = _fold(model, key, row, num_samples, chunk, lambda z: (), lambda *state: ())
    return sums.log_sum - jnp.log(num_samples)

  return _by_row(one, keys, batch)


def conditional_log_prob(
  model: Any, keys: jax.Array, batch: dict, held_out: jax.Array, num_samples: int = 1000, chunk: int = 500
) -> jax.Array:
  """log p(x_held_out | x_observed) = log p(x_observed, x_held_out) - log p(x_observed), [B], nats.

  Each term is a lower bound with its own proposals, so the difference is not a bound; its bias is of order 1/K.  A
  missing process has the same m in both terms.

  Args:
    model, keys, batch, num_samples, chunk: as in `both`; x holds the held-out values, too.
    held_out: [B, ...], 1 for held-out entries, where mask is 0.
  """
  known = jnp.maximum(batch["mask"], held_out)
  both = batch | {"mask": known, "indicator": batch.get("indicator", batch["mask"])}
  log_p = lambda key, batch: log_prob(model, key, batch, num_samples, chunk)
  apart = jax.vmap(lambda key: rng.stream(key, "held_out"))(keys)
  return log_p(apart, both) - log_p(keys, batch)
