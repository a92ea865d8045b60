"""Decoders of sequences given z: recurrent, or a transformer; at once for training, step by step for draws.

A decoder is a module with `width`, that of its outputs, and

  __call__(inputs [B, T, E] or None, z [B, L], length)  -> h [B, T, W]; h_t depends on z and the inputs up to t
  start(z, length)                                      -> cache, before the first step
  step(cache, t, inputs [B, E] or None)                 -> (cache, h [B, W])
  select(cache, index)                                  -> the cache of the rows `index`

Inputs are None in an inputless decoder, where h_t depends on z and t alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options
from dgm_jax.networks import attention
from dgm_jax.networks.attention import linear
from dgm_jax.networks.recurrent import CELLS, Recurrent


class RecurrentDecoder(nn.Module):
  """Layers of LSTM or GRU cells, with z in their initial states and in every input (Bowman et al., 2016).

  Without inputs, every step reads relu(V z), as in the Grammar VAE (Kusner et al., 2017).

  Attributes:
    hidden: widths of the layers.
    cell: "lstm" or "gru".
    initial_state: whether the first states are linear in z (tanh of it for h); else they are 0.
    inputless: whether there are no inputs.
    dtype: of the products; None for float32.
  """

  hidden: Sequence[int] = (256,)
  cell: str = "lstm"
  initial_state: bool = True
  inputless: bool = False
  dtype: Any = None

  @property
  def width(self) -> int:
    """W."""
    return self.hidden[-1]

  def setup(self):
    errors.require(min(self.hidden, default=0) >= 1, f"hidden = {tuple(self.hidden)}; a decoder needs layers")
    self.network = Recurrent(self.hidden, self.cell, dtype=self.dtype)
    size = CELLS[self.cell].size
    if self.initial_state:
      self.first = linear(size * sum(self.hidden), self.dtype, True, 0.1)
    if self.inputless:
      self.repeated = nn.Dense(self.hidden[0])

  def _states(self, z: jax.Array) -> tuple | None:
    if not self.initial_state:
      return None
    size, found, start = CELLS[self.cell].size, [], 0
    values = self.first(z).astype(jnp.float32)
    for width in self.hidden:
      parts = [values[:, start + i * width : start + (i + 1) * width] for i in range(size)]
      found.append((jnp.tanh(parts[0]), *parts[1:]))
      start += size * width
    return tuple(found)

  def __call__(self, inputs: jax.Array | None, z: jax.Array, length: int) -> jax.Array:
    if self.inputless:
      once = nn.relu(self.repeated(z))
      inputs = jnp.broadcast_to(once[:, None], (z.shape[0], length, once.shape[1]))
    return self.network(inputs, self._states(z), extra=None if self.inputless else z)[0]

  def start(self, z: jax.Array, length: int) -> dict[str, Any]:
    """The first states, and what every step reads."""
    del length
    states = self._states(z)
    states = self.network.start(z.shape[0]) if states is None else states
    return {"states": states, "always": nn.relu(self.repeated(z)) if self.inputless else z}

  def step(self, cache: dict[str, Any], t: jax.Array, inputs: jax.Array | None) -> tuple[dict[str, Any], jax.Array]:
    """(the next states, h [B, W])."""
    del t
    args = (cache["always"],) if self.inputless else (inputs, cache["always"])
    states, h = self.network.step(cache["states"], *args)
    return cache | {"states": states}, h

  def select(self, cache: dict[str, Any], index: jax.Array) -> dict[str, Any]:
    """The rows `index` of the cache."""
    return jax.tree.map(lambda a: a[index], cache)


class TransformerDecoder(nn.Module):
  """Causal self-attention over the inputs, each with a linear map of z and the vector of its position added.

  Attributes:
    num_positions: T.
    num_layers, num_heads: as in models/autoregressive/transformer.py.
    width: W.
    inputless: whether there are no inputs.
    dtype: of the products; None for float32.
  """

  num_positions: int
  num_layers: int = 2
  num_heads: int = 4
  width: int = 256
  inputless: bool = False
  dtype: Any = None

  def setup(self):
    self.place = self.param("positions", nn.initializers.normal(0.02), (self.num_positions, self.width))
    self.of_z = linear(self.width, self.dtype, True, 0.1)
    if not self.inputless:
      self.of_inputs = linear(self.width, self.dtype, False, 0.1)
    scale = 0.02 / math.sqrt(2 * self.num_layers)
    self.blocks = [
      attention.Block(self.width, self.num_heads, out_scale=scale, dtype=self.dtype) for _ in range(self.num_layers)
    ]
    self.norm = attention.norm(False)

  def _read(self, inputs: jax.Array | None, of_z: jax.Array) -> jax.Array:
    return of_z if self.inputless else of_z + self.of_inputs(inputs).astype(jnp.float32)

  def __call__(self, inputs: jax.Array | None, z: jax.Array, length: int) -> jax.Array:
    x = self._read(inputs, self.of_z(z).astype(jnp.float32)[:, None]) + self.place[:length]
    for block in self.blocks:
      x = block(x)
    return self.norm(x)

  def start(self, z: jax.Array, length: int) -> dict[str, Any]:
    """Empty caches of all blocks, and what every step adds."""
    caches = tuple(block.start(z.shape[0], length) for block in self.blocks)
    return {"blocks": caches, "always": self.of_z(z).astype(jnp.float32)}

  def step(self, cache: dict[str, Any], t: jax.Array, inputs: jax.Array | None) -> tuple[dict[str, Any], jax.Array]:
    """(the caches with position t, h [B, W])."""
    x, new = self._read(inputs, cache["always"]) + self.place[t], []
    for block, old in zip(self.blocks, cache["blocks"], strict=True):
      found, x = block.step(old, t, x)
      new.append(found)
    return cache | {"blocks": tuple(new)}, self.norm(x)

  def select(self, cache: dict[str, Any], index: jax.Array) -> dict[str, Any]:
    """The rows `index` of the cache, whose blocks have the position first."""
    return {"blocks": jax.tree.map(lambda a: a[:, index], cache["blocks"]), "always": cache["always"][index]}


DECODERS = {"lstm": (RecurrentDecoder, {"cell": "lstm"}), "gru": (RecurrentDecoder, {"cell": "gru"})}
DECODERS["transformer"] = (TransformerDecoder, {})


def make(name: str, num_positions: int, inputless: bool, dtype: Any, given: Mapping[str, Any]) -> nn.Module:
  """The decoder `name` of DECODERS of `num_positions` tokens.  Raises UserError for an unknown name or option."""
  errors.require(name in DECODERS, f"decoder = {name!r}; it must be one of {', '.join(DECODERS)}")
  module, fixed = DECODERS[name]
  if name == "transformer":
    fixed = fixed | {"num_positions": num_positions}
  both = sorted({*fixed, "inputless"} & set(given))
  errors.require(not both, f"decoder {name!r} takes no {', '.join(both)} in decoder_args")
  return options.call(f"decoder {name!r}", module, **fixed, **given, inputless=inputless, dtype=dtype)
