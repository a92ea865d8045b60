"""What models of several families share: checks of options, examples as vectors, bounds of exact likelihoods."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import jax
from flax import linen as nn

from dgm_jax.core import errors, references
from dgm_jax.distributions.likelihoods import families


def require_at_least(low: float, **values: Any) -> None:
  """Raises UserError unless each value, a number or nested sequences of numbers, is `low` or more."""
  for name, value in values.items():
    what = "every entry" if isinstance(value, Sequence) else "it"
    errors.require(min(jax.tree.leaves(value), default=low) >= low, f"{name} = {value}; {what} must be {low} or more")


def require_one_of(choices: Collection[str], **values: str) -> None:
  """Raises UserError unless each value is one of `choices`."""
  for name, value in values.items():
    errors.require(value in choices, f"{name} = {value!r}; it must be one of {', '.join(choices)}")


def flat(batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
  """(x [B, D], mask [B, D] or None) of a batch: each example as a vector."""
  x, mask = batch["x"], batch.get("mask")
  return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)


def support(model: Any) -> tuple[float, float]:
  """The smallest and the largest x of a model: its own `support`, or that of its `likelihood`, or any number."""
  if hasattr(model, "support"):
    return model.support
  name = getattr(model, "likelihood", None)
  if name in families.FAMILIES or name == "mixed" or references.is_own(name):
    return families.make(name, **getattr(model, "likelihood_args", {})).support
  return -math.inf, math.inf


class ExactLikelihood(nn.Module):
  """A model whose log-likelihood has a closed form, for the principle `own_bound`; a subclass adds

  log_prob(batch)                  -> log p(x) of the observed entries, nats, [B]
  """

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) [B], {"log_px": the same}); deterministic."""
    del key
    log_px = self.log_prob(batch)
    return log_px, {"log_px": log_px}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`log_px`, exact, nats, [B]."""
    return self.bound(key, batch)[1]

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self.log_prob(batch)
