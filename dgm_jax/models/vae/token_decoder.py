"""p(x_t | x_<t, z) of a VAE of sequences: vectors of the tokens, a network, and the map to the logits."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import tokens


class Words(nn.Module):
  """p(x_t | x_<t, z): vectors of the inputs, a decoder, and the map to the logits.  Attributes: see sequence_vae."""

  num_tokens: int
  embedding_dim: int
  log_frequencies: jax.Array | None
  never: int
  tied: bool
  inputless: bool
  network: nn.Module
  dtype: Any = None

  def setup(self):
    normal = nn.initializers.normal(0.1)
    if not self.inputless:
      self.embedding = self.param("embedding", normal, (self.num_tokens, self.embedding_dim))
      self.first_input = self.param("first_input", normal, (self.embedding_dim,))
    if not self.tied:
      glorot = nn.initializers.glorot_uniform()
      self.kernel = self.param("out_kernel", glorot, (self.network.width, self.num_tokens))
    start = self.log_frequencies
    self.bias = self.param(
      "out_bias", lambda key, shape: jnp.zeros(shape) if start is None else start, (self.num_tokens,)
    )

  def inputs(self, x: jax.Array) -> jax.Array | None:
    """Vectors of the inputs of all steps, [B, T, E]: a learned one, then x_1 .. x_{T-1}; -1 has the vector 0."""
    if self.inputless:
      return None
    first = jnp.broadcast_to(self.first_input, (x.shape[0], 1, self.embedding_dim))
    return jnp.concatenate([first, self.vectors(x[:, :-1])], 1)

  def vectors(self, x: jax.Array) -> jax.Array:
    """[..., E]; -1 has the vector 0."""
    return jnp.where((x >= 0)[..., None], tokens.rows(self.embedding, x), 0.0)

  def output(self) -> tuple[jax.Array, jax.Array]:
    """(W [H, V], b [V]) of the logits; that of <pad> is `NEVER`."""
    kernel = self.embedding.T if self.tied else self.kernel
    return kernel, jnp.where(jnp.arange(self.num_tokens) == self.never, tokens.NEVER, self.bias)

  def all_steps(self, inputs: jax.Array | None, z: jax.Array, length: int) -> jax.Array:
    """h [B, T, W]."""
    return self.network(inputs, z, length)

  def start(self, z: jax.Array, length: int) -> Any:
    return self.network.start(z, length)

  def step(self, cache: Any, t: jax.Array, before: jax.Array) -> tuple[Any, jax.Array]:
    """(cache, logits [B, V] of x_t), x_{t-1} being `before` [B]."""
    read = None if self.inputless else jnp.where(t > 0, self.vectors(before), self.first_input)
    cache, h = self.network.step(cache, t, read)
    return cache, tokens.logits_of(h, *self.output(), self.dtype)

  def select(self, cache: Any, index: jax.Array) -> Any:
    return self.network.select(cache, index)
