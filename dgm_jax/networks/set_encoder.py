"""An encoder of the set of observed entries, for data with missing entries."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.mlp import MLP


class SetEncoder(nn.Module):
  """g(sum over observed d of relu(A (e_d, x_d) + a)), g an MLP with tanh units (Ma et al., 2019; Ipsen et al., 2021).

  e_d is the learned embedding of feature d.  The output does not depend on the order of the pairs (d, x_d), and
  missing entries need no placeholder value.

  Attributes:
    hidden: widths of g's hidden layers.
    num_outputs: width of the output.
    embedding_dim: size of e_d.
    code_dim: size of the sum.
    dtype, remat: as in MLP.
  """

  hidden: Sequence[int]
  num_outputs: int
  embedding_dim: int = 20
  code_dim: int = 50
  dtype: Any = None
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Encodes the features x [B, F] where mask [B, F] is not 0, all without a mask, as [B, num_outputs]."""
    shape = (x.shape[-1], self.embedding_dim)
    embedding = self.param("embedding", nn.initializers.glorot_uniform(), shape)
    pairs = jnp.concatenate([jnp.broadcast_to(embedding, (*x.shape[:-1], *shape)), x[..., None]], -1)
    codes = nn.relu(MLP((self.code_dim,), dtype=self.dtype, name="code")(pairs))
    codes = codes if mask is None else jnp.where(mask[..., None] > 0, codes, 0)
    return MLP((*self.hidden, self.num_outputs), dtype=self.dtype, remat=self.remat, name="head")(jnp.sum(codes, -2))
