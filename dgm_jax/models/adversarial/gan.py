"""Generative adversarial network of vectors (Goodfellow et al., 2014), with perceptrons or maxout as players."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax.models.adversarial.base import AdversarialModel
from dgm_jax.networks import players


class Model(AdversarialModel, kw_only=True):
  """x = G(z), z ~ p(z); a discriminator D tells x from the data.

  There is no p(x) that could be evaluated.  With num_classes, the class is an input of both players, one-hot (Mirza &
  Osindero, 2014).

  Attributes, in addition to those of base.AdversarialModel:
    generator_net, generator_args: a name of players.NETS, "mlp" or "maxout", and its options, see players.Perceptron.
    discriminator_net, discriminator_args: the same of the discriminator.
    num_classes: C, for a model of p(x|y); None for p(x).
    data_classes: the number of classes of the data, which C must equal; None if the data have no classes.
  """

  generator_net: str = "mlp"
  generator_args: Mapping[str, Any] = FrozenDict()
  discriminator_net: str = "mlp"
  discriminator_args: Mapping[str, Any] = FrozenDict()
  num_classes: int | None = None
  data_classes: int | None = None

  def setup(self):
    self.check()
    bias = {"output_bias": self.first_output()}
    self.generator = players.make("generator", self.generator_net, self.dim, self.generator_args, **bias)
    self.discriminator = players.make("discriminator", self.discriminator_net, 1, self.discriminator_args)

  def _with_class(self, x: jax.Array, y: jax.Array | None) -> jax.Array:
    """Vectors [B, D] and, of a conditional model, the class, or a context [B, C] as it is."""
    if y is None:
      return x
    return jnp.concatenate([x, y if y.ndim == 2 else jax.nn.one_hot(y, self.num_classes)], -1)

  def generate(self, z: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """x, [B, *data_shape]; z [B, L], y None or int [B]."""
    return self.shaped(self.generator(self._with_class(z, y), train))

  def discriminate(self, x: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """Logits [B] of x [B, ...], or of several side by side."""
    return self.discriminator(self._with_class(x.reshape(x.shape[0], -1), y), train)[:, 0]
