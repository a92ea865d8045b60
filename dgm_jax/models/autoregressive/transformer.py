"""An autoregressive transformer of tokens or pixels (Vaswani et al., 2017; Radford et al., 2019)."""

import math

import jax
from flax import linen as nn

from dgm_jax.models.autoregressive.sequence import Sequence
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import attention
from dgm_jax.networks.remat import remat

POSITIONS = ("learned", "rotary")


class Model(Sequence):
  """Causal self-attention over the sequence; see `Sequence` for the density.

    x_0 = inputs + positions,  x_l = block_l(x_{l-1}),  features = norm(x_L)

  As in GPT-2 and nanoGPT: normalisation before attention and network, GELU (in its tanh form), weights from
  N(0, 0.02^2) and those that end a residual branch from N(0, 0.02^2 / 2L).  One position more than there: the first
  input is a learned vector, so that the first entry has a probability, too.

  Attributes, in addition to those of Sequence:
    num_layers: L.
    width, num_heads: W, H; a head has W / H dimensions.
    expansion: width of the blocks' hidden layer, in units of W.
    positions: "learned" vectors, one for each position, or "rotary".
    biases: whether linear maps and norms have biases.
    dropout: of the inputs, of attention weights, and at the end of each branch.
  """

  num_layers: int = 4
  width: int = 128
  num_heads: int = 4
  expansion: int = 4
  positions: str = "learned"
  biases: bool = False
  tied: bool = False

  def setup(self):
    require_at_least(
      1, num_layers=self.num_layers, width=self.width, num_heads=self.num_heads, expansion=self.expansion
    )
    require_one_of(POSITIONS, positions=self.positions)
    self.make_embedding(self.width)
    if self.positions == "learned":
      self.place = self.param("positions", nn.initializers.normal(0.02), (self.dim, self.width))
    options = {"rotary": self.positions == "rotary", "dropout": self.dropout, "biases": self.biases}
    options |= {"out_scale": 0.02 / math.sqrt(2 * self.num_layers), "dtype": self.compute["dtype"]}
    self.blocks = [
      attention.Block(self.width, self.num_heads, expansion=self.expansion, **options) for _ in range(self.num_layers)
    ]
    self.norm = attention.norm(self.biases)

  def features(self, inputs: jax.Array, key: jax.Array | None) -> jax.Array:
    """[B, D, W] of inputs [B, D, W]."""
    keys = [None] * (1 + self.num_layers) if key is None else jax.random.split(key, 1 + self.num_layers)
    x = inputs + self.place if self.positions == "learned" else inputs
    x = attention.dropout(x, self.dropout, keys[0])
    for block, key_block in zip(self.blocks, keys[1:], strict=True):
      x = remat(self.remat, lambda layers, x, key=key_block: layers[0](x, key), [block], x)
    return self.norm(x)

  def start_features(self, n: int) -> tuple[attention.Cache, ...]:
    """Empty caches of all blocks."""
    return tuple(block.start(n, self.dim) for block in self.blocks)

  def next_features(
    self, cache: tuple[attention.Cache, ...], t: jax.Array, inputs: jax.Array
  ) -> tuple[tuple[attention.Cache, ...], jax.Array]:
    """(the caches with position t, [n, W])."""
    x, new = inputs, []
    if self.positions == "learned":
      x = x + self.place[t]
    for block, old in zip(self.blocks, cache, strict=True):
      found, x = block.step(old, t, x)
      new.append(found)
    return tuple(new), self.norm(x)
