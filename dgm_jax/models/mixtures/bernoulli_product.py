"""Product of Bernoullis: independent pixels, the simplest model of binary images."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import jax
import jax.numpy as jnp

from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.distributions.likelihoods.family import bias_at_logit
from dgm_jax.models.base import ExactLikelihood, flat, require_one_of


class Model(ExactLikelihood):
  """p(x) = prod_d Bernoulli(x_d; sigmoid(l_d)).

  The likelihood is maximal at the training set's mean, sigmoid(l_d) = mean_n x_nd.  There a pixel that is 0 in all
  training examples has l_d = -inf, and a test example where it is 1 has log p(x) = -inf: the initial probabilities
  stay 0.001 away from 0 and 1.

  Where a batch has a `mask`, log p is that of the observed entries.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; None: 1/2.
    start: initial p: "mean", the maximum of the likelihood up to the floor, or "half", 1/2 everywhere.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # range of x
  takes_mask: ClassVar[bool] = True
  num_levels: ClassVar[int] = 2

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  start: str = "mean"

  def setup(self):
    require_one_of(("mean", "half"), start=self.start)
    start = bias_at_logit(self.data_mean if self.start == "mean" else None)
    self.logits = self.param("logits", start, (prod(self.data_shape),))

  def _px(self) -> Factorised:
    return bernoulli(self.logits)

  def log_prob(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x) of the observed entries, nats, [B]."""
    return self._px().log_prob(*flat(batch))  # p has no batch axis: it broadcasts over the examples

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x], repeated n times."""
    px = self._px()
    x = jnp.broadcast_to(px.mean(), (n, prod(self.data_shape))) if mean else px.sample(seed=key, sample_shape=(n,))
    return x.reshape(n, *self.data_shape)
