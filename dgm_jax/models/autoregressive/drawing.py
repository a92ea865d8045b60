"""Draws of an autoregressive model: one entry after another, from a cache of what the entries before it say."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.models.base import flat

AS_THEY_ARE = Truncation()


def truncation(model: Any, temperature: float, top_k: int, top_p: float) -> Truncation:
  """How the entries of a model are drawn.

  Raises:
    UserError: an invalid value, or one that changes anything for a likelihood of infinitely many values.
  """
  found = Truncation(temperature, top_k, top_p).check()
  errors.require(
    found.is_default() or model.family.num_values is not None,
    "temperature, top_k and top_p are for entries with finitely many values, such as those of likelihood bernoulli, "
    f"categorical or discretised_logistic; this model has likelihood {model.likelihood!r}",
  )
  return found


def known_entries(batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
  """(x, 0 where it is not known, [B, D], mask [B, D]) of a batch to complete.  Raises UserError without a mask."""
  errors.require("mask" in batch, "complete draws the entries whose mask is 0: the batch has no mask")
  x, mask = flat(batch)
  return jnp.where(mask > 0, x, 0).astype(jnp.float32), mask


def check_prefix(known: jax.Array) -> None:
  """Raises UserError unless the known entries of each example, [n, D] in their order, come first; none if traced."""
  if isinstance(known, jax.core.Tracer):
    return
  wrong = (known[:, 1:] & ~known[:, :-1]).any(1)
  errors.require(
    not wrong.any(),
    f"the known entries of example {jnp.argmax(wrong)} (mask 1) are not the first in the order of this model, which "
    "draws each entry given those before it; the model 'orderless' completes any mask",
  )


def one_entry(model: Any, h: jax.Array, key: jax.Array, how: Truncation) -> jax.Array:
  """A draw of one entry, [n], from h [n, P]."""
  px, family = model.entries(h[:, None]), model.family
  if how.is_default():
    return px.sample(seed=key)[:, 0].astype(jnp.float32)
  return family.values()[how.draw(key, family.log_probs(px.distribution)[:, 0])]


def draw(
  model: Any,
  key: jax.Array,
  n: int,
  context: jax.Array | None,
  which: jax.Array | int,
  how: Truncation = AS_THEY_ARE,
  known: tuple[jax.Array, jax.Array] | None = None,
  wanted: Sequence[str] = (),
) -> dict[str, jax.Array]:
  """Draws x entry by entry, in one scan: {"x": [n, D]}, and what is `wanted`.

  Args:
    model: an Autoregressive model with its parameters.
    key, n, context: of the draws.
    which: the number of the order.
    how: the truncation of the probabilities of each entry.
    known: (x, mask), [n, D] each: entries with mask 1 are not drawn; they come first in the order.
    wanted: of "mean", E[x_d | the entries before d], [n, D], and "log_prob", log p(x) in this order, [n].
  """
  order, next_one = model.order(which), model.pure("step")
  steps = {"t": jnp.arange(model.dim), "key": jax.random.split(key, model.dim)}
  if known is not None:
    steps["x"], steps["mask"] = (a[:, order].T for a in known)

  def one(carry, step):
    cache, before = carry
    cache, h = next_one(cache, step["t"], before)
    x, px = one_entry(model, h, step["key"], how), model.entries(h[:, None])
    if known is not None:
      x = jnp.where(step["mask"] > 0, step["x"], x)
    found = {"x": x}
    if "mean" in wanted:
      found["mean"] = px.most_likely(px.expected_features())[:, 0]
    if "log_prob" in wanted:
      found["log_prob"] = px.log_prob(x[:, None])
    return (cache, x), found

  _, found = jax.lax.scan(one, (model.start(n, context, which), jnp.zeros(n)), steps)
  place = jnp.argsort(order)  # what a scan collects has the position first
  return {name: a.sum(0) if name == "log_prob" else a[place].T for name, a in found.items()}
