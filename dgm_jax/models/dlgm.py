"""Deep latent Gaussian model: any number of stochastic layers (Rezende et al., 2014; Burda et al., 2016)."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import distrax
import jax
from flax import linen as nn

from dgm_jax.distributions import Chain, bernoulli, diagonal_normal, standard_normal
from dgm_jax.nets import MLP, bias_at_logit


class Model(nn.Module):
  """p(x, z) = N(z_L; 0, I) prod_l N(z_l; mu_l(z_{l+1}), diag sigma_l^2(z_{l+1})) Bernoulli(x; sigmoid(f(z_1))),

  q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), all of them diagonal normals.  The defaults are the network of Burda et al.
  (2016) with two stochastic layers: x -> 200 -> 200 -> z_1 (100) -> 100 -> 100 -> z_2 (50), mirrored downwards.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; the output bias starts at its logit.  None: at zero.
    latent_dims: dimensions of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the hidden layers between it and the one below.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # of x

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dims: Sequence[int] = (100, 50)
  hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100))

  def setup(self):
    if len(self.latent_dims) != len(self.hidden):
      raise ValueError(f"there are {len(self.latent_dims)} latent_dims but {len(self.hidden)} groups of hidden layers")
    if min(*self.latent_dims, *(width for hidden in self.hidden for width in hidden), 1) < 1:
      raise ValueError("latent_dims and hidden must be 1 or more")
    self.encoders = [MLP((*hidden, 2 * dim)) for hidden, dim in zip(self.hidden, self.latent_dims, strict=True)]
    self.decoder = MLP((*self.hidden[0][::-1], prod(self.data_shape)), output_bias=bias_at_logit(self.data_mean))
    self.priors = [  # priors[l] maps z_{l+2} to p(z_{l+1} | z_{l+2})
      MLP((*hidden[::-1], 2 * dim)) for hidden, dim in zip(self.hidden[1:], self.latent_dims[:-1], strict=True)
    ]

  def infer(self, batch: dict[str, jax.Array]) -> Chain:
    """q(z|x), values (z_1 [B, L_1], ..., z_L)."""
    x = batch["x"]
    first = diagonal_normal(self.encoders[0](x.reshape(x.shape[0], -1)))
    return Chain(first, *((lambda z, net=net: diagonal_normal(net(z))) for net in self.encoders[1:]))

  def decode(self, z_1: jax.Array) -> distrax.Distribution:
    """p(x|z_1), batch [B], event [D]; z_1 [B, L_1]."""
    return bernoulli(self.decoder(z_1))

  def log_joint(self, batch: dict[str, jax.Array], z: tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z_1) [B], log p(z) [B])."""
    log_pz = standard_normal(self.latent_dims[-1]).log_prob(z[-1])
    for net, below, above in zip(self.priors, z[:-1], z[1:], strict=True):
      log_pz += diagonal_normal(net(above)).log_prob(below)
    x = batch["x"]
    return self.decode(z[0]).log_prob(x.reshape(x.shape[0], -1)), log_pz

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), which is what papers show."""
    key_x, key_top, *keys = jax.random.split(key, 2 + len(self.priors))
    z = standard_normal(self.latent_dims[-1]).sample(seed=key_top, sample_shape=(n,))
    for key, net in zip(keys, self.priors[::-1], strict=True):
      z = diagonal_normal(net(z)).sample(seed=key)
    p = self.decode(z)
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, z: tuple) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z[0]).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    z = self.infer(batch).sample(seed=jax.random.key(0))
    return self.log_joint(batch, z)
