"""Layers that normalise their input: actnorm and batch normalisation.

Their parameters or statistics depend on their input, so that besides being called they have

  observe(x, train) -> a bijector

which in `init` starts the layer from x, in training normalises by the batch and updates running statistics, and
otherwise gives what a call gives.
"""

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions.bijectors.layers import Layer
from dgm_jax.distributions.bijectors.scaling import Scaling, moments


class ActNorm(Layer):
  """y = (x - loc) exp(log_scale), which has mean 0 and variance 1 on the examples of `init` (Kingma & Dhariwal, 2018).

  Only `init` starts it from data: parameters that are restored, or copied by init_from, stay.

  Attributes, in addition to those of Layer:
    event_ndims: 1, or 3 for the channels of images.
  """

  event_ndims: int = 1

  def setup(self):
    self.loc = self.param("loc", nn.initializers.zeros, (self.dim,))
    self.log_scale = self.param("log_scale", nn.initializers.zeros, (self.dim,))

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    return Scaling(self.loc, self.log_scale, event_ndims=self.event_ndims)

  def observe(self, x: jax.Array, train: bool = False) -> distrax.Bijector:
    """The bijector; in `init` its parameters become the moments of x, [..., D]."""
    del train
    if not self.is_initializing():
      return self()
    mean, variance = moments(x)
    log_scale = -0.5 * jnp.log(variance + 1e-6)
    self.put_variable("params", "loc", mean)
    self.put_variable("params", "log_scale", log_scale)
    return Scaling(mean, log_scale, event_ndims=self.event_ndims)


class BatchNorm(Layer):
  """y = (x - m) / sqrt(v + eps) exp(gamma) + beta, m and v the mean and the variance (Papamakarios et al., 2017).

  In training they are those of the batch; otherwise running averages, which `set_moments` replaces by those of the
  whole training set.  The likelihood of an example never depends on other test examples.

  Attributes, in addition to those of Layer:
    eps: added to the variance.
    momentum: of the running averages.
    event_ndims: 1, or 3 for the channels of images.
  """

  eps: float = 1e-5
  momentum: float = 0.99
  event_ndims: int = 1

  def setup(self):
    self.gamma = self.param("gamma", nn.initializers.zeros, (self.dim,))
    self.beta = self.param("beta", nn.initializers.zeros, (self.dim,))
    self.mean = self.variable("batch_stats", "mean", jnp.zeros, (self.dim,))
    self.var = self.variable("batch_stats", "var", jnp.ones, (self.dim,))

  def _bijector(self, mean, variance):
    log_scale = self.gamma - 0.5 * jnp.log(variance + self.eps)
    return Scaling(mean, log_scale, self.beta, self.event_ndims)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    return self._bijector(self.mean.value, self.var.value)

  def observe(self, x: jax.Array, train: bool = False) -> distrax.Bijector:
    """The bijector, in training by the moments of x, [B, ..., D]; `init` and training update the running averages."""
    if not (train or self.is_initializing()):
      return self()
    mean, variance = moments(x)
    old = 0.0 if self.is_initializing() else self.momentum
    self.set_moments(
      *(old * a.value + (1 - old) * jax.lax.stop_gradient(b) for a, b in ((self.mean, mean), (self.var, variance)))
    )
    return self._bijector(mean, variance)

  def set_moments(self, mean: jax.Array, variance: jax.Array) -> None:
    """Replaces the running averages."""
    self.mean.value, self.var.value = mean, variance
