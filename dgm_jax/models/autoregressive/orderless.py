"""Orderless NADE: one network for the conditionals of every order (Uria, Murray & Larochelle, 2014)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions.factorised import sum_last
from dgm_jax.models.autoregressive import drawing
from dgm_jax.models.autoregressive.base import Autoregressive
from dgm_jax.models.autoregressive.orders import places
from dgm_jax.models.base import flat, require_at_least, require_one_of
from dgm_jax.networks.mlp import MLP

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh}


class Model(Autoregressive):
  """p(x_d | x_S) for every entry d and every set S of other entries, from a multilayer perceptron of (m x, m), m = 1_S.

  Training draws a uniform order and the number t of entries that are known, uniform on 0 .. D - 1, and maximises

    D / (D - t) sum_{d not in S} log p(x_d | x_S),

  whose mean is that of log p(x) over all D! orders (their equation 8).  p(x) is the mean over `orders` random orders;
  each takes D passes.  Missing entries, with batch["mask"] 0, are never known and not summed: p(x_observed).

  Attributes, in addition to those of Autoregressive:
    hidden: widths of the hidden layers.
    activation: relu or tanh.
    orders: number of random orders in p(x).
    order_seed: of the orders.
  """

  takes_mask: ClassVar[bool] = True

  hidden: Sequence[int] = (500, 500)
  activation: str = "relu"
  orders: int = 1
  order_seed: int = 0

  def setup(self):
    require_at_least(1, hidden=self.hidden, orders=self.orders)
    require_one_of(ACTIVATIONS, activation=self.activation)
    family, dim = self.family, self.dim
    bias = lambda key, shape, dtype=jnp.float32: self.initial_outputs()
    self.net = MLP((*self.hidden, family.width(dim)), ACTIVATIONS[self.activation], output_bias=bias)
    key = jax.random.key(self.order_seed)
    self.places = self.variable("degrees", "input", places, "random", dim, self.orders, key)

  @property
  def num_orders(self) -> int:
    """The number of orders in p(x)."""
    return self.orders

  def order(self, which: jax.Array | int) -> jax.Array:
    """The entries in the order number `which`, [D]."""
    return jnp.argsort(self.places.value[which])

  def given(self, x: jax.Array, known: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """h [B, D, P] of all entries, given those where `known` [B, D] is 1; x [B, D], whose other values do not matter."""
    family = self.family
    features = jnp.where(family.spread(known) > 0, family.features(x), 0.0)
    inputs = [features, known] if context is None else [features, known, context]
    h = self.net(jnp.concatenate(inputs, -1))
    return jnp.moveaxis(h.reshape(x.shape[0], -1, self.dim), 1, 2)

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(an unbiased estimate of the mean of log p(x) over all orders [B], {})."""
    x, seen = self._x_and_mask(batch)
    key_order, key_count = jax.random.split(key)
    score = jnp.where(seen > 0, jax.random.uniform(key_order, x.shape), 2.0)  # missing entries come last
    rank = jnp.argsort(jnp.argsort(score, 1), 1)
    total = jnp.sum(seen, 1, keepdims=True)
    count = jnp.floor(jax.random.uniform(key_count, total.shape) * total)  # known entries, 0 .. total - 1
    known = ((rank < count) & (seen > 0)).astype(jnp.float32)
    h = self.given(x, known, self.check_context(batch.get("context")))
    terms = jnp.where((seen > 0) & (known == 0), self._log_entries(h, x, seen), 0.0)
    return sum_last(terms) * (total / jnp.maximum(total - count, 1.0))[:, 0], {}

  def _x_and_mask(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    x, mask = flat(batch)
    x = x.astype(jnp.float32)
    return x, jnp.ones_like(x) if mask is None else mask.astype(jnp.float32)

  def _log_entries(self, h: jax.Array, x: jax.Array, seen: jax.Array) -> jax.Array:
    """log p(x_d | h_d), [B, D]; at missing entries any finite number."""
    return self.entries(h).distribution.log_prob(jnp.where(seen > 0, x, 0.5))

  def _terms(self, batch: dict[str, jax.Array], which: jax.Array | int, entries: jax.Array) -> jax.Array:
    """log p(x_d | the observed entries before d) of E `entries`, 0 for missing ones, [E, B], in E passes."""
    x, seen = self._x_and_mask(batch)
    context, place = self.check_context(batch.get("context")), self.places.value[which]
    given = self.pure("given")

    def term(entry):
      known = seen * (place < place[entry])
      h = given(x, known, context)
      return self._log_entries(h, x, seen)[:, entry] * seen[:, entry]

    return jax.lax.map(term, entries)

  def _of_order(self, batch: dict[str, jax.Array], which: jax.Array | int) -> jax.Array:
    """log p(x_d | the observed entries before d), [B, D], 0 for missing entries, in D passes."""
    if self.is_initializing():
      x, seen = self._x_and_mask(batch)
      return self._log_entries(self.given(x, jnp.zeros_like(x), self.check_context(batch.get("context"))), x, seen)
    return self._terms(batch, which, jnp.arange(self.dim)).T

  def log_prob_of_first(self, batch: dict[str, jax.Array], num: int) -> jax.Array:
    """log p of the observed of the `num` entries that come first in the only order, nats, [B], in `num` passes."""
    return self._terms(batch, 0, self.first(num)).sum(0)

  def conditionals(self, x: jax.Array, context: jax.Array | None, which: jax.Array | int = 0) -> jax.Array:
    """h [B, D, P] of all entries of x [B, D] in an order, in D passes."""
    place = self.places.value[which]
    given = self.pure("given")

    def of_entry(entry):
      known = jnp.broadcast_to((place < place[entry]).astype(jnp.float32), x.shape)
      return given(x, known, context)[:, entry]

    return jnp.moveaxis(jax.lax.map(of_entry, jnp.arange(self.dim)), 0, 1)

  def start(self, n: int, context: jax.Array | None, which: jax.Array | int = 0) -> dict[str, Any]:
    """The cache: n draws with no entry known."""
    zeros = jnp.zeros((n, self.dim))
    cache = {"x": zeros, "known": zeros, "order": self.order(which)}
    return cache if context is None else cache | {"context": context}

  def step(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the entry before the t-th, h [n, P] of the t-th); before [n] is that entry."""
    last = cache["order"][t - 1]
    known = cache["known"].at[:, last].set(jnp.where(t > 0, 1.0, cache["known"][:, last]))
    cache = cache | {"x": cache["x"].at[:, last].set(before), "known": known}
    h = self.given(cache["x"], known, cache.get("context"))
    return cache, h[:, cache["order"][t]]

  def check_known(self, mask: jax.Array) -> None:
    """Does nothing: any entries can be known."""

  def complete(
    self,
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
  ) -> jax.Array:
    """x with draws of the entries with mask 0 given the others, [B, *data_shape], in one random order of them.

    Raises:
      UserError: the batch has no mask, or see drawing.truncation.
    """
    truncation, (x, seen) = drawing.truncation(self, temperature, top_k, top_p), drawing.known_entries(batch)
    context, (key_order, key_x) = self.check_context(batch.get("context")), jax.random.split(key)
    given = self.pure("given")

    def draw(carry, step):
      x, known = carry
      entry, key = step
      drawn = drawing.one_entry(self, given(x, known, context)[:, entry], key, truncation)
      x = x.at[:, entry].set(jnp.where(seen[:, entry] > 0, x[:, entry], drawn))
      return (x, known.at[:, entry].set(1.0)), None

    steps = jax.random.permutation(key_order, self.dim), jax.random.split(key_x, self.dim)
    (x, _), _ = jax.lax.scan(draw, (x, seen.astype(jnp.float32)), steps)
    return x.reshape(batch["x"].shape)
