"""Flows fitted to an unnormalised density by the reverse KL (Rezende & Mohamed, 2015)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions import bases, energies
from dgm_jax.distributions.bijectors import flows
from dgm_jax.models.base import require_one_of

# log of the integral of exp(-U) with the wall, by the trapezoid rule on 1201 x 1201 points of |z_d| <= 8
LOG_Z = {"U1": 1.8775017, "U2": 2.2001669, "U3": 2.7597827, "U4": 2.8240855}


class Model(nn.Module):
  """q(z), z = f(e), e ~ p(e), that minimises KL(q || p) to p(z) = exp(-U(z)) / Z, of which only U is used.

    KL(q || p) = E_q[log q(z) + U(z)] + log Z

  A draw and its log q take the forward direction of every layer alone, so that all layers are possible, also planar and
  Sylvester ones without an inverse.  The data give the number of draws of a step; their values are not used.

  Attributes:
    data_shape: [2], the shape of one z.
    energy: U1, U2, U3 or U4, see dgm_jax/distributions/energies.py.
    layer, num_layers, layer_args, permutation: of f, see Flow in dgm_jax/distributions/bijectors/flows.py.
    base: p(e): normal, learned, ...; see dgm_jax/distributions/bases.py.
    base_args: its options.
    dtype: not used: flows compute in float32.
  """

  data_shape: Sequence[int]
  energy: str = "U1"
  layer: str = "planar"
  num_layers: int = 8
  layer_args: Mapping[str, Any] = FrozenDict()
  permutation: str = "none"
  base: str = "learned"
  base_args: Mapping[str, Any] = FrozenDict()
  dtype: str = "float32"

  takes_real_numbers = True

  def setup(self):
    require_one_of(energies.ENERGIES, energy=self.energy)
    dim = math.prod(self.data_shape)
    errors.require(dim == 2, f"The energies are of the plane; x has {dim} entries: choose a data set plane/...")
    options = {"layer_args": self.layer_args, "permutation": self.permutation}
    self.flow = flows.Flow(dim, self.layer, self.num_layers, **options)
    self.p_e = bases.make(self.base, dim, **self.base_args)

  def sample_and_log_prob(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """(z ~ q(z) [n, 2], log q(z) [n])."""
    z, log_q = self.p_e().sample_and_log_prob(seed=key, sample_shape=(n,))
    for _, bijector in self.flow.bijectors():
      z, log_det = bijector.forward_and_log_det(z)
      log_q = log_q - log_det
    return z, log_q

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(-log q(z) - U(z) of B draws, whose mean is at most log Z, {"log_z": the same, "kl": log Z minus it}), [B]."""
    z, log_q = self.sample_and_log_prob(key, batch["x"].shape[0])
    log_z = -log_q - energies.energy(self.energy, z)
    return log_z, {"log_z": log_z, "kl": LOG_Z[self.energy] - log_z}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{log_z, kl}, see `bound`: of draws, not of x."""
    return self.bound(key, batch)[1]

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """z ~ q(z), [n, *data_shape]; also with `mean`."""
    del mean
    return self.sample_and_log_prob(key, n)[0].reshape(n, *self.data_shape)
