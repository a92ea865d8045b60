"""MADE: a masked autoencoder whose outputs are the conditionals of all entries (Germain et al., 2015)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.models.autoregressive.base import Autoregressive
from dgm_jax.models.autoregressive.orders import places
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import masked

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh, "softplus": nn.softplus}


class Model(Autoregressive):
  """p(x_d | x_<d) with parameters h_d from one network whose weights are masked: h_d depends on the entries before d.

    a_1 = f(b_1 + (W_1 * M_1) x),  a_l = f(b_l + (W_l * M_l) a_l-1),  h = b + (V * M) a_L + (A * M_0) x

  With num_masks = N > 1 the masks are drawn N times, with random orders these, too; training maximises log p
  under one of them, drawn anew for each step, and p(x) is the mean of the N probabilities.  Binary x with a Bernoulli,
  real x with any likelihood of real numbers ("gaussian_mixture": RNADE's conditionals, Uria et al., 2013).

  Attributes, in addition to those of Autoregressive:
    hidden: widths of the hidden layers; none for a logistic or linear regression on the entries before.
    direct: whether inputs are connected to outputs directly, by A.
    activation: f: relu, tanh or softplus.
    ordering: "natural", "reversed", "random", or a permutation of 0 .. D - 1.
    num_masks: N.
    mask_seed: of random orders and masks.
    context_dim: columns of a table that x is given, C; set by the data.
  """

  hidden: Sequence[int] = (500,)
  direct: bool = True
  activation: str = "relu"
  ordering: str | Sequence[int] = "natural"
  num_masks: int = 1
  mask_seed: int = 0
  context_dim: int = 0

  def setup(self):
    require_at_least(1, hidden=self.hidden, num_masks=self.num_masks)
    require_one_of(ACTIVATIONS, activation=self.activation)
    errors.require(self.dim >= 2, "MADE models how entries depend on each other; x has one entry only")
    errors.require(self.hidden or self.direct, "without hidden layers, direct must be True")
    family = self.family
    features, outputs = family.num_features(self.dim), (family.num_outputs, self.dim)
    kernel, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros
    widths = (features, *self.hidden)
    self.kernels = [self.param(f"kernel_{i}", kernel, widths[i : i + 2]) for i in range(len(self.hidden))]
    self.biases = [self.param(f"bias_{i}", zeros, (width,)) for i, width in enumerate(self.hidden)]
    self.out_bias = self.param("out_bias", lambda key, shape: self.initial_outputs().reshape(shape), outputs)
    flat_kernel = lambda key, shape: kernel(key, (shape[0], outputs[0] * self.dim)).reshape(shape)
    self.out = self.param("out", flat_kernel, (widths[-1], *outputs)) if self.hidden else None
    self.direct_kernel = self.param("direct", zeros, (features, *outputs)) if self.direct else None
    if given := self.num_classes or self.context_dim:
      self.context_out = self.param("context_out", zeros, (given, *outputs))
      self.context = self.param("context", kernel, (given, self.hidden[0])) if self.hidden else None
    self.places = self.variable("degrees", "input", places, self.ordering, self.dim, self.num_masks, self._key(0))
    self.degrees = [
      self.variable("degrees", f"hidden_{i}", self._hidden_degrees, i, width) for i, width in enumerate(self.hidden)
    ]

  @property
  def num_orders(self) -> int:
    """N."""
    return self.num_masks

  def _key(self, part: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(self.mask_seed), part)

  def _hidden_degrees(self, layer: int, width: int) -> jax.Array:
    """The degrees of a hidden layer for each of the N masks, [N, width]."""
    if self.num_masks == 1:
      return masked.even_degrees(width, self.dim)[None]
    keys = jax.random.split(self._key(1 + layer), self.num_masks)
    return jax.vmap(lambda key: masked.random_degrees(key, width, self.dim))(keys)

  def order(self, which: jax.Array | int) -> jax.Array:
    """The entries in the order number `which`, [D]."""
    return jnp.argsort(self.places.value[which])

  def _of_features(self, which: jax.Array | int) -> tuple[jax.Array, jax.Array, list[jax.Array]]:
    """(the places of the entries [D], those of the features [F], the degrees of the hidden layers)."""
    of_entries = self.places.value[which]
    return of_entries, jnp.repeat(of_entries, self.family.num_features(1)), [d.value[which] for d in self.degrees]

  def _after_first(self, a: jax.Array, degrees: list[jax.Array]) -> jax.Array:
    """The last hidden layer [n, H_L] from the first layer's input a, without its activation, [n, H_1]."""
    activate = ACTIVATIONS[self.activation]
    h = activate(a)
    for i in range(1, len(self.hidden)):
      h = activate(h @ (self.kernels[i] * masked.up_to(degrees[i - 1], degrees[i])) + self.biases[i])
    return h

  def _of_context(self, context: jax.Array | None) -> tuple[Any, Any]:
    """What the classes add to the first hidden layer [n, H_1], and to the outputs [n, P, D]; 0 without classes."""
    if context is None:
      return 0.0, 0.0
    return 0.0 if self.context is None else context @ self.context, jnp.einsum("nc,cpd->npd", context, self.context_out)

  def conditionals(self, x: jax.Array, context: jax.Array | None, which: jax.Array | int = 0) -> jax.Array:
    """h [B, D, P] of all entries, in one pass; x [B, D]."""
    of_entries, of_features, degrees = self._of_features(which)
    features = self.family.features(x)
    hidden, h = self._of_context(context)
    h = h + self.out_bias
    flat = lambda kernel, mask: (kernel * mask[:, None]).reshape(kernel.shape[0], -1)
    if self.hidden:
      a = features @ (self.kernels[0] * masked.up_to(of_features, degrees[0])) + self.biases[0] + hidden
      last = self._after_first(a, degrees)
      h = h + (last @ flat(self.out, masked.before(degrees[-1], of_entries))).reshape(-1, *self.out.shape[1:])
    if self.direct:
      mask = masked.before(of_features, of_entries)
      h = h + (features @ flat(self.direct_kernel, mask)).reshape(-1, *self.direct_kernel.shape[1:])
    return jnp.moveaxis(h, 1, 2)

  def start(self, n: int, context: jax.Array | None, which: jax.Array | int = 0) -> dict[str, Any]:
    """The cache: what the first hidden layer and the direct connections have seen of n draws so far."""
    hidden, out = self._of_context(context)
    cache = {"which": which, "order": self.order(which), "features": jnp.zeros((n, self.family.num_features(self.dim)))}
    if self.hidden:
      cache["a"] = jnp.broadcast_to(self.biases[0] + hidden, (n, self.hidden[0]))
    return cache | {"out": jnp.broadcast_to(out + self.out_bias, (n, *self.out_bias.shape))}

  def step(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the entry before the t-th, h [n, P] of the t-th); before [n] is that entry.

    The first layer is a sum over entries, so that a step adds one of its rows.
    """
    of_entries, _, degrees = self._of_features(cache["which"])
    width, entry, last = self.family.num_features(1), cache["order"][t], cache["order"][t - 1]
    seen = jnp.where(t > 0, self.family.features(before[:, None]), 0.0)
    rows = lambda kernel: jax.lax.dynamic_slice_in_dim(kernel, last * width, width)
    of_entry = lambda kernel: jax.lax.dynamic_index_in_dim(kernel, entry, 2, keepdims=False)
    h = of_entry(cache["out"])
    if self.hidden:
      added = seen @ (rows(self.kernels[0]) * (of_entries[last] <= degrees[0]))
      cache = cache | {"a": cache["a"] + added}
      visible = degrees[-1] < of_entries[entry]
      h = h + self._after_first(cache["a"], degrees) @ (of_entry(self.out) * visible[:, None])
    if self.direct:
      features = jax.lax.dynamic_update_slice(cache["features"], seen, (0, last * width))
      cache = cache | {"features": features}
      h = h + features @ of_entry(self.direct_kernel)
    return cache, h

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) under one of the N masks [B], {}); the mean over masks is a lower bound on log p(x)."""
    if self.num_masks == 1:
      log_px = self.log_prob(batch)
      return log_px, {"log_px": log_px}
    return self._of_order(batch, jax.random.randint(key, (), 0, self.num_masks)).sum(-1), {}
