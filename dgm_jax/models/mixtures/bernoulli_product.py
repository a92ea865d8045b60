"""Product of Bernoullis: every pixel on its own, the least that a model of binary images can be."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.distributions.likelihoods.family import bias_at_logit


class Model(nn.Module):
  """p(x) = prod_d Bernoulli(x_d; sigmoid(l_d)).

  The maximum of the likelihood is the training set's mean, sigmoid(l_d) = mean_n x_nd.  A pixel that no training
  example lights has l_d = -inf there, and one test example that lights it has log p(x) = -inf: the start stays 0.001
  away from 0 and 1.

  Where a batch has a `mask`, log p is that of the observed entries.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; None: 1/2.
    start: "mean", the maximum of the likelihood but for the floor, or "half", p = 1/2 everywhere.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # of x
  takes_mask: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  start: str = "mean"

  def setup(self):
    errors.require(self.start in ("mean", "half"), f"start = {self.start!r}; it must be 'mean' or 'half'")
    start = bias_at_logit(self.data_mean if self.start == "mean" else None)
    self.logits = self.param("logits", start, (prod(self.data_shape),))

  def _px(self) -> Factorised:
    return bernoulli(self.logits)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x) of the observed entries, nats, [B]."""
    x, mask = batch["x"], batch.get("mask")
    flat = lambda a: a.reshape(a.shape[0], -1)
    # the event's axis is the only one of p: it broadcasts over the examples
    return self._px().log_prob(flat(x), None if mask is None else flat(mask))

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) [B], {"log_px": the same}); nothing is drawn."""
    del key
    log_px = self.log_prob(batch)
    return log_px, {"log_px": log_px}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`log_px`, exact, and `elbo`, the same; nats, [B]."""
    del key
    log_px = self.log_prob(batch)
    return {"elbo": log_px, "log_px": log_px}

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x], n times the same."""
    px = self._px()
    x = jnp.broadcast_to(px.mean(), (n, prod(self.data_shape))) if mean else px.sample(seed=key, sample_shape=(n,))
    return x.reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x], [B, *data_shape]: the model has nothing to tell one x from another by."""
    return self.generate(key, batch["x"].shape[0], mean=True)

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Touches every parameter, for `init`."""
    return self.log_prob(batch)
