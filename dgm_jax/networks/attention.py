"""Causal self-attention with a cache of keys and values, and the block of a transformer around it.

A block is pre-norm (Radford et al., 2019): x + attention(norm(x)), then x + network(norm(x)).  Randomness comes in as a
key, so that a block is a pure function: no key, no dropout.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.mlp import Dense

Cache = dict[str, jax.Array]  # keys and values so far: {"k", "v"}, [D, n, H, E]
_BASE = 10_000.0  # of the wavelengths of rotary positions


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
  """x with each entry 0 with probability `rate`, and otherwise divided by 1 - rate; x itself without a key."""
  if key is None or rate == 0:
    return x
  kept = jax.random.bernoulli(key, 1 - rate, x.shape)
  return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)


def rotated(x: jax.Array, positions: jax.Array) -> jax.Array:
  """Rotary positions (Su et al., 2021): scores of queries and keys depend on the distances of their positions alone.

  The pair (x_i, x_{i + E/2}) is turned by the angle position * 10000^(-2 i / E), i = 0 .. E/2 - 1.

  Args:
    x: [..., T, H, E], E even.
    positions: [T].
  """
  half = x.shape[-1] // 2
  angle = positions[:, None].astype(jnp.float32) * _BASE ** (-jnp.arange(half) / half)
  cos, sin = (f(angle)[:, None].astype(x.dtype) for f in (jnp.cos, jnp.sin))  # [T, 1, E/2]
  a, b = x[..., :half], x[..., half:]
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def scores(q: jax.Array, k: jax.Array) -> jax.Array:
  """q'k / sqrt(E) of all positions, float32 [B, H, T, S]; q [B, T, H, E], k [B, S, H, E]."""
  found = jnp.einsum("bthe,bshe->bhts", q, k, preferred_element_type=jnp.float32)
  return found / math.sqrt(q.shape[-1])


class CausalAttention(nn.Module):
  """Attention of each position to itself and to those before it (Vaswani et al., 2017), with H heads of width W / H.

    softmax_s<=t(q_t' k_s / sqrt(E)) v_s,  (q, k, v) linear in x

  Attributes:
    width: W, of input and output.
    num_heads: H.
    rotary: whether queries and keys are turned by their positions, see `rotated`.
    dropout: of the weights and of the output.
    biases: whether the linear maps have biases.
    out_scale: standard deviation of the initial output map; that of the others is 0.02.
    dtype: of the products; None for float32.  The softmax is in float32.
  """

  width: int
  num_heads: int
  rotary: bool = False
  dropout: float = 0.0
  biases: bool = False
  out_scale: float = 0.02
  dtype: Any = None

  def setup(self):
    errors.require(
      self.width % self.num_heads == 0, f"width = {self.width} is not a multiple of num_heads = {self.num_heads}"
    )
    size = self.width // self.num_heads
    errors.require(
      not self.rotary or size % 2 == 0,
      f"rotary positions need heads of an even width; width / num_heads = {self.width} / {self.num_heads} = {size}",
    )
    self.inner, self.out = (
      linear(features, self.dtype, self.biases, scale)
      for features, scale in ((3 * self.width, 0.02), (self.width, self.out_scale))
    )

  def _heads(self, x: jax.Array, positions: jax.Array) -> list[jax.Array]:
    """[q, k, v], each [..., T, H, E], of x [..., T, W]."""
    found = self.inner(x).reshape(*x.shape[:-1], 3, self.num_heads, -1)
    q, k, v = (found[..., i, :, :] for i in range(3))
    return [rotated(q, positions), rotated(k, positions), v] if self.rotary else [q, k, v]

  def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """[B, T, W] of x [B, T, W]."""
    length = x.shape[1]
    position = jnp.arange(length)
    q, k, v = self._heads(x, position)
    keys = (None, None) if key is None else jax.random.split(key)
    allowed = position[None, :] <= position[:, None]
    weights = jax.nn.softmax(jnp.where(allowed, scores(q, k), -jnp.inf), -1)
    weights = dropout(weights, self.dropout, keys[0]).astype(v.dtype)
    mixed = jnp.einsum("bhts,bshe->bthe", weights, v).reshape(x.shape)
    return dropout(self.out(mixed), self.dropout, keys[1])

  def start(self, n: int, length: int) -> Cache:
    """The empty cache of n sequences of at most `length` positions.

    The position comes first: an update in place then writes one piece of memory.
    """
    shape = (length, n, self.num_heads, self.width // self.num_heads)
    return {name: jnp.zeros(shape, self.dtype or jnp.float32) for name in ("k", "v")}

  def step(self, cache: Cache, t: jax.Array, x: jax.Array) -> tuple[Cache, jax.Array]:
    """(the cache with position t, the output [n, W] there) of x [n, W]."""
    q, k, v = self._heads(x[:, None], t[None])  # [n, 1, H, E]
    put = lambda old, new: jax.lax.dynamic_update_slice(old, new.swapaxes(0, 1).astype(old.dtype), (t, 0, 0, 0))
    cache = {"k": put(cache["k"], k), "v": put(cache["v"], v)}
    # products with one query are sums: as matrix products they would copy the cache into another layout
    found = jnp.sum((q[:, 0] * cache["k"]).astype(jnp.float32), -1) / math.sqrt(q.shape[-1])  # [D, n, H]
    seen = jnp.arange(found.shape[0])[:, None, None] <= t
    weights = jax.nn.softmax(jnp.where(seen, found, -jnp.inf), 0).astype(v.dtype)
    mixed = jnp.sum((weights[..., None] * cache["v"]).astype(jnp.float32), 0).astype(v.dtype)
    return cache, self.out(mixed.reshape(x.shape))


def linear(features: int, dtype: Any, biases: bool, scale: float = 0.02) -> Dense:
  """A linear map whose weights start from N(0, scale^2); its output is in `dtype`."""
  dtype = jnp.float32 if dtype is None else dtype
  return Dense(features, dtype, dtype, nn.initializers.normal(scale), use_bias=biases)


def norm(biases: bool) -> nn.LayerNorm:
  """Layer normalisation (Ba, Kiros & Hinton, 2016), in float32."""
  return nn.LayerNorm(epsilon=1e-5, use_bias=biases, dtype=jnp.float32)


class Block(nn.Module):
  """x + attention(norm(x)), then x + network(norm(x)), whose network has one hidden layer.

  Attributes:
    width, num_heads, rotary, dropout, biases, out_scale, dtype: see CausalAttention.
    expansion: width of the hidden layer, in units of `width`.
    activation: of the hidden layer.
  """

  width: int
  num_heads: int
  rotary: bool = False
  dropout: float = 0.0
  biases: bool = False
  out_scale: float = 0.02
  dtype: Any = None
  expansion: int = 4
  activation: Callable = nn.gelu

  def setup(self):
    self.norms = [norm(self.biases) for _ in range(2)]
    self.attention = CausalAttention(
      self.width, self.num_heads, self.rotary, self.dropout, self.biases, self.out_scale, self.dtype
    )
    self.hidden = linear(self.expansion * self.width, self.dtype, self.biases)
    self.out = linear(self.width, self.dtype, self.biases, self.out_scale)

  def _network(self, x: jax.Array) -> jax.Array:
    return self.out(self.activation(self.hidden(self.norms[1](x))))

  def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """float32 [B, T, W] of x [B, T, W]."""
    keys = (None, None) if key is None else jax.random.split(key)
    x = x + self.attention(self.norms[0](x), keys[0]).astype(jnp.float32)
    return x + dropout(self._network(x), self.dropout, keys[1]).astype(jnp.float32)

  def start(self, n: int, length: int) -> Cache:
    """The empty cache, see CausalAttention."""
    return self.attention.start(n, length)

  def step(self, cache: Cache, t: jax.Array, x: jax.Array) -> tuple[Cache, jax.Array]:
    """(the cache with position t, the output [n, W] there) of x [n, W]."""
    cache, mixed = self.attention.step(cache, t, self.norms[0](x))
    x = x + mixed.astype(jnp.float32)
    return cache, x + self._network(x).astype(jnp.float32)
