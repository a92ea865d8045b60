"""Drawing from a VAE of sequences, token by token."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.distributions import grammars
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.models.vae import decoding
from dgm_jax.networks.mlp import Networks

_AS_IT_IS, _GREEDY = Truncation(), Truncation(temperature=0.0)


class SequenceDraws(Networks):
  """The part of sequence_vae.Model that draws: steps of p(x_t | x_<t, z), and what is made of them.

  The model has data_shape, end, grammar, length (T), words (see token_decoder.py), compiled (its grammar as arrays, or
  None), _prior() and _normed(z, train).
  """

  def start(self, z: jax.Array) -> Any:
    """The cache of a draw of x given z [B, L], before its first token."""
    cache = self.words.start(self._normed(z, False), self.length)
    if self.compiled is None:
      return cache
    return {"net": cache, "stack": grammars.start(self.compiled, z.shape[0], self.length)}

  def step(self, cache: Any, t: jax.Array, before: jax.Array) -> tuple[Any, jax.Array]:
    """(the next cache, log p(x_t | x_<t, z) of all tokens [B, V]), the token before being `before` [B]."""
    if self.compiled is None:
      cache, logits = self.words.step(cache, jnp.asarray(t), before)
      return cache, jax.nn.log_softmax(logits)
    net, logits = self.words.step(cache["net"], jnp.asarray(t), before)
    stack = grammars.push(self.compiled, cache["stack"], jnp.where(t > 0, before, grammars.PAD))
    return {"net": net, "stack": stack}, jax.nn.log_softmax(grammars.masked(self.compiled, stack, logits))

  def num_left(self, x: jax.Array) -> jax.Array:
    """The non-terminals that derivations x [..., T] leave; 0 for all of a model without a grammar."""
    return jnp.zeros(x.shape[:-1], jnp.int32) if self.compiled is None else grammars.num_left(self.compiled, x)

  def select(self, cache: Any, index: jax.Array) -> Any:
    """The rows `index` of a cache."""
    if self.compiled is None:
      return self.words.select(cache, index)
    stack = jax.tree.map(lambda a: a[index], cache["stack"])
    return {"net": self.words.select(cache["net"], index), "stack": stack}

  def draw(self, key: jax.Array, z: jax.Array, how: Truncation = _AS_IT_IS, **known: jax.Array) -> dict[str, jax.Array]:
    """Draws of x given z [B, L], see decoding.draw."""
    return decoding.draw(self, key, z, how, **known)

  def beam(self, z: jax.Array, width: int, **known: jax.Array) -> dict[str, jax.Array]:
    """The most probable x that a search finds given z [B, L], see decoding.beam."""
    return decoding.beam(self, z, width, **known)

  def generate(
    self,
    key: jax.Array,
    n: int,
    mean: bool = False,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
  ) -> jax.Array:
    """x ~ p(x), int32 [n, *data_shape]; with `mean`, the most probable token of each step at z ~ p(z).

    Raises:
      UserError: an invalid truncation, see distributions.truncated.
    """
    how = _GREEDY if mean else Truncation(temperature, top_k, top_p).check()
    key_z, key_x = jax.random.split(key)
    z = self._prior().sample(seed=key_z, sample_shape=(n,))
    return self.draw(key_x, z, how)["x"].reshape(n, *self.data_shape)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({"x": [n, *data_shape]} and, of text, "length" [n]; z [n, L]), a draw from p(x, z)."""
    key_z, key_x = jax.random.split(key)
    z = self._prior().sample(seed=key_z, sample_shape=(n,))
    found = self.draw(key_x, z)
    batch = {"x": found["x"].reshape(n, *self.data_shape)}
    return batch | ({"length": found["length"]} if self.end >= 0 or self.grammar else {}), z

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """The most probable token of each step given z, [B, *data_shape]."""
    return self.draw(jax.random.key(0), z, _GREEDY)["x"].reshape(-1, *self.data_shape)
