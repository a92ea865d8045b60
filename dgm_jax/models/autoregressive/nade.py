"""NADE: conditionals that share their weights, so that all of them cost O(D H) (Larochelle & Murray, 2011)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.models.autoregressive.base import Autoregressive
from dgm_jax.models.autoregressive.orders import places
from dgm_jax.models.base import flat, require_at_least, require_one_of

ACTIVATIONS = {"sigmoid": nn.sigmoid, "relu": nn.relu}


class Model(Autoregressive):
  """p(x_d | x_<d) with parameters h_d = b_d + V_d f(a_d),  a_1 = c,  a_d+1 = a_d + W_d x_d.

  The networks of all entries share W and c.  With f = relu, a_d is divided by d, the number of its terms, with
  which its size would grow (in RNADE the factor is learned: Uria, Murray & Larochelle, 2013).

  Attributes, in addition to those of Autoregressive:
    num_hidden: H.
    activation: f: sigmoid or relu.
    ordering: of the entries: "natural", "reversed", "random", or a permutation of 0 .. D - 1.
    order_seed: of a random order.
  """

  num_hidden: int = 500
  activation: str = "sigmoid"
  ordering: str | Sequence[int] = "natural"
  order_seed: int = 0

  def setup(self):
    require_at_least(1, num_hidden=self.num_hidden)
    require_one_of(ACTIVATIONS, activation=self.activation)
    family, dim = self.family, self.dim
    features, outputs = family.num_features(1), family.num_outputs
    kernel = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=1, out_axis=2, batch_axis=0)
    self.kernel = self.param("kernel", kernel, (dim, features, self.num_hidden))
    self.bias = self.param("bias", nn.initializers.zeros, (self.num_hidden,))
    self.out = self.param("out", kernel, (dim, self.num_hidden, outputs))
    self.out_bias = self.param(
      "out_bias", lambda key, shape: self.initial_outputs().reshape(shape[::-1]).T, (dim, outputs)
    )
    if self.num_classes:
      self.context = self.param("context", nn.initializers.glorot_uniform(), (self.num_classes, self.num_hidden))
    key = jax.random.key(self.order_seed)
    self.places = self.variable("degrees", "input", lambda: places(self.ordering, dim, 1, key)[0])

  def order(self, which: jax.Array | int = 0) -> jax.Array:
    """The entries in their order, [D]."""
    del which
    return jnp.argsort(self.places.value)

  def start(self, n: int, context: jax.Array | None, which: jax.Array | int = 0) -> dict[str, Any]:
    """The cache: a_1 [n, H] and the order."""
    bias = self.bias if context is None else self.bias + context @ self.context
    return {"a": jnp.broadcast_to(bias, (n, self.num_hidden)), "order": self.order(which)}

  def _first(self, x: jax.Array, context: jax.Array | None, num: int) -> jax.Array:
    """h [num, B, P] of the entries of x [B, D] that come first, in their order.

    The weights of a step come in as inputs of the scan: the gradient of weights that are looked up would be added to
    all D rows at every step.
    """
    order = self.order()[:num]
    seen = self.family.features(x).reshape(*x.shape, -1)[:, order[:-1]]  # [B, num - 1, F]
    seen = jnp.moveaxis(jnp.pad(seen, ((0, 0), (1, 0), (0, 0))), 1, 0)
    rows = jnp.pad(self.kernel[order[:-1]], ((1, 0), (0, 0), (0, 0)))
    steps = (1 + jnp.arange(num), seen, rows, self.out[order], self.out_bias[order])
    return jax.lax.scan(lambda a, step: self._one(a, *step), self.start(x.shape[0], context)["a"], steps)[1]

  def conditionals(self, x: jax.Array, context: jax.Array | None, which: jax.Array | int = 0) -> jax.Array:
    """h [B, D, P] of all entries of x [B, D]."""
    h = self._first(x, context, self.dim)
    return jnp.moveaxis(h[jnp.argsort(self.order(which))], 0, 1)

  def log_prob_of_first(self, batch: dict[str, jax.Array], num: int) -> jax.Array:
    """log p of the `num` entries that come first in the order, nats, [B], in O(num H)."""
    x = flat(batch)[0].astype(jnp.float32)
    h = self._first(x, self.check_context(batch.get("context")), num)
    return self.entries(jnp.moveaxis(h, 0, 1)).log_prob(x[:, self.first(num)])

  def _one(
    self, a: jax.Array, terms: jax.Array, seen: jax.Array, kernel: jax.Array, out: jax.Array, bias: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """(a with the features of one more entry, h [n, P])."""
    a = a + seen @ kernel
    hidden = ACTIVATIONS[self.activation](a / terms if self.activation == "relu" else a)
    return a, hidden @ out + bias

  def step(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the entry before the t-th, h [n, P] of the t-th); before [n] is that entry."""
    entry, last = cache["order"][t], cache["order"][t - 1]
    seen = jnp.where(t > 0, self.family.features(before[:, None]), 0.0)
    a, h = self._one(cache["a"], 1 + t, seen, self.kernel[last], self.out[entry], self.out_bias[entry])
    return cache | {"a": a}, h
