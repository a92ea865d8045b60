"""What the autoregressive models of sequences share: tokens of a text, or the pixels of an image in raster order."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised, sum_last
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.discrete import categorical
from dgm_jax.models.autoregressive.base import Autoregressive
from dgm_jax.models.base import flat
from dgm_jax.networks.attention import linear
from dgm_jax.networks.mlp import Networks
from dgm_jax.networks.tokens import rows


class Sequence(Autoregressive, Networks):
  """p(x) = prod_t p(x_t | x_<t) of a sequence x_1 .. x_D, in its own order, with weights that are shared by all t.

  The network reads a learned vector first and then x_1 .. x_{D-1}; its t-th output has the parameters of p(x_t | x_<t).
  A context is added, by a linear map, to all that it reads.  Of text with batch["length"], a sequence ends after so
  many tokens: log p has the terms of these alone.

  A subclass adds

    features(inputs [B, D, W], key)        -> [B, D, F]; the t-th depends on the inputs up to t; without key no dropout
    start_features(n)                      -> cache, before the first step
    next_features(cache, t, inputs [n, W]) -> (cache, [n, F])
  and calls make_embedding(W) in its setup.

  Attributes, in addition to those of Autoregressive and Networks:
    num_tokens: the size of the vocabulary, which the data give; None for other data.  It is the number of classes of
      likelihood "categorical" where `likelihood_args` has none.
    dropout: in training, see the network.
    tied: whether the map to the logits is the table of the tokens' vectors (Press & Wolf, 2017).
  """

  likelihood: str = "categorical"
  num_tokens: int | None = None
  dropout: float = 0.0
  tied: bool = False

  @property
  def family(self) -> Any:
    """The distribution of an entry.  Raises UserError if its number of classes is not known."""
    if self.likelihood != "categorical":
      return super().family
    given = {"num_classes": self.num_tokens} | dict(self.likelihood_args)
    errors.require(
      given["num_classes"] is not None,
      "likelihood 'categorical' is for tokens, and the data have no vocabulary: give the number of classes as "
      "likelihood_args.num_classes, or choose a likelihood of such x",
    )
    return families.make("categorical", **given)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x."""
    return self.family.support

  def make_embedding(self, width: int) -> None:
    """Makes the vectors of inputs, and the map to the outputs; called by setup."""
    errors.require(0 <= self.dropout < 1, f"dropout = {self.dropout}; it must be in [0, 1)")
    family, normal = self.family, nn.initializers.normal(0.02)
    errors.require(
      not self.tied or family.num_classes is not None,
      f"tied = True is for likelihood 'categorical', whose classes have vectors; likelihood is {self.likelihood!r}",
    )
    self.embedding = self.param("embedding", normal, (family.num_classes or 1, width))
    self.first_input = self.param("first_input", normal, (width,))
    if self.num_classes:
      self.context_input = self.param("context_input", normal, (self.num_classes, width))
    if not self.tied:
      self.outputs = linear(family.num_outputs, self.compute["dtype"], False)
    start = lambda key, shape: self.initial_outputs().reshape(shape[0], -1).mean(1)
    self.out_bias = self.param("out_bias", start, (family.num_outputs,))

  def order(self, which: jax.Array | int = 0) -> jax.Array:
    """0 .. D - 1."""
    del which
    return jnp.arange(self.dim)

  def entries(self, h: jax.Array) -> Factorised:
    """prod_d p(x_d | h_d), event [D], from h [..., D, P]."""
    return categorical(h) if self.likelihood == "categorical" else super().entries(h)

  def _embedded(self, x: jax.Array) -> jax.Array:
    """The vectors of entries x [...], [..., W]."""
    if self.family.num_classes is None:
      return x[..., None] * self.embedding[0]
    return rows(self.embedding, x.astype(jnp.int32))

  def _of_context(self, context: jax.Array | None) -> jax.Array | float:
    return 0.0 if context is None else context @ self.context_input

  def _parameters(self, features: jax.Array) -> jax.Array:
    """h, float32 [..., P], from what the network gives, [..., F]."""
    if self.tied:
      dtype = self.compute["dtype"] or jnp.float32
      h = jnp.matmul(features.astype(dtype), self.embedding.T.astype(dtype), preferred_element_type=jnp.float32)
    else:
      h = self.outputs(features).astype(jnp.float32)
    return h + self.out_bias

  def _conditionals(self, x: jax.Array, context: jax.Array | None, key: jax.Array | None) -> jax.Array:
    first = jnp.broadcast_to(self.first_input, (x.shape[0], 1, self.first_input.shape[0]))
    inputs = jnp.concatenate([first, self._embedded(x[:, :-1])], 1)
    if context is not None:
      inputs = inputs + self._of_context(context)[:, None]
    return self._parameters(self.features(inputs, key))

  def conditionals(self, x: jax.Array, context: jax.Array | None, which: jax.Array | int = 0) -> jax.Array:
    """h [B, D, P] of all entries of x [B, D]."""
    del which
    return self._conditionals(x, context, None)

  def start(self, n: int, context: jax.Array | None, which: jax.Array | int = 0) -> dict[str, Any]:
    """The cache: that of the network, and what the context adds to its inputs."""
    del which
    cache = {"network": self.start_features(n)}
    return cache if context is None else cache | {"context": self._of_context(context)}

  def step(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the entry before the t-th, h [n, P] of the t-th); before [n] is that entry."""
    t = jnp.asarray(t)
    inputs = jnp.where(t > 0, self._embedded(before), self.first_input) + cache.get("context", 0.0)
    network, features = self.next_features(cache["network"], t, inputs)
    return cache | {"network": network}, self._parameters(features)

  def _terms(self, batch: dict[str, jax.Array], key: jax.Array | None) -> jax.Array:
    x, mask = flat(batch)
    errors.require(mask is None, "This autoregressive model does not support missing entries: its order is fixed.")
    x = x.astype(jnp.float32)
    h = self._conditionals(x, self.check_context(batch.get("context")), key)
    log_p = self.entries(h).distribution.log_prob(x)
    return jnp.where(jnp.arange(self.dim) < batch["length"][:, None], log_p, 0.0) if "length" in batch else log_p

  def _of_order(self, batch: dict[str, jax.Array], which: jax.Array | int) -> jax.Array:
    del which
    return self._terms(batch, None)

  def log_prob_each(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x_t | x_<t) of each entry, nats, [B, D]."""
    return self._terms(batch, None)

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) under a draw of dropout [B], {"log_px": the same})."""
    log_px = sum_last(self._terms(batch, key if self.dropout else None))
    return log_px, {"log_px": log_px}

  def _as_tokens(self, x: jax.Array) -> jax.Array:
    """Tokens are integers."""
    return x if self.num_tokens is None else x.astype(jnp.int32)

  @functools.wraps(Autoregressive.generate)
  def generate(self, *args: Any, **options: Any) -> jax.Array:
    return self._as_tokens(super().generate(*args, **options))

  @functools.wraps(Autoregressive.complete)
  def complete(self, *args: Any, **options: Any) -> jax.Array:
    return self._as_tokens(super().complete(*args, **options))
