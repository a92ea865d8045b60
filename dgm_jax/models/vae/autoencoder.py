"""Autoencoder: a deterministic code of few dimensions, and a decoder that says what x it stands for."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.networks.mlp import Networks


class Model(Networks):
  """max sum_n log p(x_n | z(x_n)),   z(x) = g(x) of L dimensions, p(x|z) = prod_d p(x_d; f_d(z)).

  f and g are multilayer perceptrons with ReLU units (Hinton & Salakhutdinov, 2006, with one hidden layer).  There is
  neither p(z) nor q(z|x), hence no log p(x) and no bound on it: what is trained and reported is the distortion.

  Where a batch has a `mask`, the distortion is that of the observed entries, and the encoder sees 0 for the others.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z] starts near it.  None: at the middle of the support, or 0.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
  """

  takes_mask: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 2
  hidden: Sequence[int] = (200,)
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    errors.require(
      min(self.latent_dim, *self.hidden, 1) >= 1,
      f"latent_dim = {self.latent_dim}, hidden = {tuple(self.hidden)}; they must be 1 or more",
    )
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_z = Likelihood(prod(self.data_shape), family)
    self.encoder = self.mlp((*self.hidden, self.latent_dim), nn.relu)
    output_bias = self.px_z.output_bias(self.data_mean)
    self.decoder = self.mlp((*self.hidden[::-1], self.px_z.num_outputs), nn.relu, output_bias)

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x [B, D], mask [B, D] or None)."""
    x, mask = batch["x"], batch.get("mask")
    return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)

  def encode(self, batch: dict[str, jax.Array]) -> jax.Array:
    """z(x), [B, L]."""
    return self.encoder(self.px_z.features(*self._flat(batch)))

  def decode(self, z: jax.Array) -> Factorised:
    """p(x|z), batch [B], event [D], flat; z [B, L]."""
    return self.px_z(self.decoder(z))

  def log_px_z(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x | z(x)) of the observed entries, nats, [B]."""
    return self.decode(self.encode(batch)).log_prob(*self._flat(batch))

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x | z(x)) [B], {"distortion": minus it}); nothing is drawn."""
    del key
    log_px_z = self.log_px_z(batch)
    return log_px_z, {"distortion": -log_px_z}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`distortion`, -log p(x | z(x)), nats, [B]; no bound on log p(x)."""
    del key
    return {"distortion": -self.log_px_z(batch)}

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """The decoder at z ~ N(0, I), [n, *data_shape]: no density of codes was learned, so the draws may look like none.

    With `mean`, E[x|z].
    """
    key_z, key_x = jax.random.split(key)
    p = self.decode(standard_normal(self.latent_dim).sample(seed=key_z, sample_shape=(n,)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x | z(x)], [B, *data_shape]."""
    del key
    return self.reconstruct(self.encode(batch))

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Touches every parameter, for `init`."""
    return self.log_px_z(batch)
