"""Conditional VAE (Sohn, Lee & Yan, 2015; Kingma et al., 2014)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions import posteriors
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.networks.mlp import Networks

PRIORS = ("standard_normal", "conditional")


class Model(Networks):
  """p(x, z | c) = p(z|c) p(x | z, c),   q(z | x, c): all that is inferred and bounded is given c.

  c = batch["context"] [B, C], a class as a one-hot vector (the transform `condition`).  All networks are multilayer
  perceptrons with tanh units that see c beside their other input.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z,c] starts near it.  None: at the middle of the support, or 0.
    num_classes: C.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
    posterior: q, a name of posteriors.POSTERIORS, and its options.
    prior: p(z|c): "standard_normal", or "conditional", a diagonal normal that a linear layer of c gives.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_classes: int = 10
  latent_dim: int = 50
  hidden: Sequence[int] = (200, 200)
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  posterior: str = "diagonal"
  posterior_args: Mapping[str, Any] = FrozenDict()
  prior: str = "standard_normal"

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z,c) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    errors.require(
      min(self.num_classes, self.latent_dim, *self.hidden) >= 1, "num_classes, latent_dim and hidden must be 1 or more"
    )
    errors.require(self.prior in PRIORS, f"prior = {self.prior!r}; it must be one of {', '.join(PRIORS)}")
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_z = Likelihood(prod(self.data_shape), family)
    self.qz_x = posteriors.make(self.posterior, self.latent_dim, **self.posterior_args)
    self.encoder = self.mlp((*self.hidden, self.qz_x.num_outputs))
    output_bias = self.px_z.output_bias(self.data_mean)
    self.decoder = self.mlp((*self.hidden[::-1], self.px_z.num_outputs), output_bias=output_bias)
    self.prior_net = nn.Dense(2 * self.latent_dim) if self.prior == "conditional" else None

  def _context(self, batch: dict[str, jax.Array]) -> jax.Array:
    context = batch.get("context")
    errors.require(
      context is not None,
      "a conditional VAE takes batch['context'], which the transform 'condition' makes of the labels",
    )
    errors.require(
      context.shape[-1] == self.num_classes,
      f"num_classes = {self.num_classes}, but the context of the data has {context.shape[-1]} entries",
    )
    return context

  def _prior(self, context: jax.Array) -> distrax.Distribution:
    """p(z|c), event [L]; c [..., C]."""
    return standard_normal(self.latent_dim) if self.prior_net is None else diagonal_normal(self.prior_net(context))

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x, c), batch [B], event [L]."""
    x = self.px_z.features(batch["x"].reshape(batch["x"].shape[0], -1))
    return self.qz_x(self.encoder(jnp.concatenate([x, self._context(batch)], -1)))

  def decode(self, z: jax.Array, context: jax.Array) -> distrax.Distribution:
    """p(x|z, c), batch [B], event [D], flat; z [B, L], c [B, C]."""
    return self.px_z(self.decoder(jnp.concatenate([z, context], -1)))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z,c) [B], log p(z|c) [B]), nats; z [B, L]."""
    context = self._context(batch)
    x = batch["x"].reshape(batch["x"].shape[0], -1)
    return self.decode(z, context).log_prob(x), self._prior(context).log_prob(z)

  def simulate(
    self, key: jax.Array, n: int, context: jax.Array | None = None
  ) -> tuple[dict[str, jax.Array], jax.Array]:
    """({x [n, *data_shape], context [n, C]}, z [n, L]): a joint draw; classes are uniform unless `context` is given."""
    key_draw, key_x = jax.random.split(key)
    context, z = self._draw(key_draw, n, context)
    x = self.decode(z, context).sample(seed=key_x).reshape(n, *self.data_shape)
    return {"x": x, "context": context}, z

  def _draw(self, key: jax.Array, n: int, context: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """(c [n, C], z [n, L])."""
    key_c, key_z = jax.random.split(key)
    if context is None:
      context = jax.nn.one_hot(jax.random.randint(key_c, (n,), 0, self.num_classes), self.num_classes)
    shape = (n,) if self.prior_net is None else ()
    return context, self._prior(context).sample(seed=key_z, sample_shape=shape)

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x|c), [n, *data_shape]; with `mean`, E[x|z,c].  Classes are uniform unless `context` [n, C] is given."""
    if not mean:
      return self.simulate(key, n, context)[0]["x"]
    context, z = self._draw(jax.random.split(key)[0], n, context)
    return self.decode(z, context).mean().reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """E[x|z,c], [B, *data_shape]; without c [B, C] E[x|z], the mean over p(c|z) of C equally likely classes."""
    if context is not None:
      return self.decode(z, context).mean().reshape(-1, *self.data_shape)
    classes, size = jnp.eye(self.num_classes), z.shape[0]
    log_pz_c = jnp.stack([self._prior(jnp.tile(c, (size, 1))).log_prob(z) for c in classes])  # [C, B]
    means = jnp.stack([self.decode(z, jnp.tile(c, (size, 1))).mean() for c in classes])  # [C, B, D]
    mean = jnp.einsum("cb,cbd->bd", jax.nn.softmax(log_pz_c, 0), means)
    return mean.reshape(-1, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|z,c] at z ~ q(z|x,c), [B, *data_shape]."""
    z, _ = self.infer(batch).sample_and_log_prob(seed=key)
    return self.reconstruct(z, self._context(batch))

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))
