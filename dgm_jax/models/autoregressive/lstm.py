"""An autoregressive recurrent network, LSTM or GRU, of tokens or pixels (Graves, 2013; Zaremba et al., 2014)."""

from collections.abc import Sequence as Widths

import jax

from dgm_jax.core import errors
from dgm_jax.models.autoregressive.sequence import Sequence
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import attention, recurrent
from dgm_jax.networks.recurrent import Recurrent, State


class Model(Sequence):
  """Layers of LSTM or GRU cells read the sequence; see `Sequence` for the density.

    h_t = cell(x_{t-1}, h_{t-1}) in each layer,  features_t = h_t of the last layer

  Attributes, in addition to those of Sequence:
    hidden: widths of the layers.
    cell: "lstm" or "gru".
    embedding_dim: width of the inputs' vectors; with `tied` it must be that of the last layer.
    dropout: of the inputs of each layer and of the last outputs, not between steps (Zaremba et al., 2014).
  """

  hidden: Widths[int] = (512,)
  cell: str = "lstm"
  embedding_dim: int = 128

  def setup(self):
    require_at_least(1, hidden=self.hidden, embedding_dim=self.embedding_dim)
    errors.require(len(self.hidden) >= 1, "hidden = (); a recurrent model needs a layer")
    require_one_of(recurrent.CELLS, cell=self.cell)
    errors.require(
      not self.tied or self.hidden[-1] == self.embedding_dim,
      f"tied = True needs embedding_dim = {self.embedding_dim} as the width of the last layer, not {self.hidden[-1]}",
    )
    errors.require(not self.remat, "remat = True: this model does not recompute its activations, leave it at False")
    self.make_embedding(self.embedding_dim)
    self.network = Recurrent(self.hidden, self.cell, self.dropout, self.compute["dtype"])

  def features(self, inputs: jax.Array, key: jax.Array | None) -> jax.Array:
    """[B, D, H] of inputs [B, D, W]."""
    keys = (None, None) if key is None else jax.random.split(key)
    return attention.dropout(self.network(inputs, key=keys[0])[0], self.dropout, keys[1])

  def start_features(self, n: int) -> tuple[State, ...]:
    """The states before the first step."""
    return self.network.start(n)

  def next_features(
    self, cache: tuple[State, ...], t: jax.Array, inputs: jax.Array
  ) -> tuple[tuple[State, ...], jax.Array]:
    """(the next states, [n, H])."""
    del t
    return self.network.step(cache, inputs)
