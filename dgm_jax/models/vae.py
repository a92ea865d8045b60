"""Variational autoencoder with one stochastic layer (Kingma & Welling, 2014)."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import distrax
import jax
from flax import linen as nn

from dgm_jax.distributions import bernoulli, diagonal_normal, standard_normal
from dgm_jax.nets import MLP, bias_at_logit


class Model(nn.Module):
  """p(x, z) = N(z; 0, I) prod_d Bernoulli(x_d; sigmoid(f_d(z))),   q(z|x) = N(z; mu(x), diag sigma(x)^2).

  f and (mu, log sigma) are multilayer perceptrons with tanh units.  The defaults are the network of Burda et al.
  (2016) with one stochastic layer.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; the output bias starts at its logit.  None: at zero.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # of x

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 50
  hidden: Sequence[int] = (200, 200)

  def setup(self):
    if min(self.latent_dim, *self.hidden, 1) < 1:
      raise ValueError("latent_dim and hidden must be 1 or more")
    self.encoder = MLP((*self.hidden, 2 * self.latent_dim))
    self.decoder = MLP((*self.hidden[::-1], prod(self.data_shape)), output_bias=bias_at_logit(self.data_mean))

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x), batch [B], event [L]."""
    x = batch["x"]
    return diagonal_normal(self.encoder(x.reshape(x.shape[0], -1)))

  def decode(self, z: jax.Array) -> distrax.Distribution:
    """p(x|z), batch [B], event [D], flat: sums over one long axis are twice as fast as over an image's; z [B, L]."""
    return bernoulli(self.decoder(z))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z) [B], log p(z) [B]); z [B, L]."""
    x = batch["x"]
    log_px_z = self.decode(z).log_prob(x.reshape(x.shape[0], -1))
    return log_px_z, standard_normal(self.latent_dim).log_prob(z)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), which is what papers show."""
    key_z, key_x = jax.random.split(key)
    p = self.decode(standard_normal(self.latent_dim).sample(seed=key_z, sample_shape=(n,)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).mean())
