"""Posteriors q(z|x) that are flows of a diagonal normal: cheap to draw from, dear or impossible to evaluate elsewhere.

Their modules are those of dgm_jax.posteriors.
"""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.distributions import diagonal_normal


class Planar(nn.Module):
  """T planar layers z + u tanh(w'z + b) on N(loc, diag(scale)^2) (Rezende & Mohamed, 2015).

  The encoder's outputs are loc and log scale, and w, u [L] and b of every layer.

  Attributes:
    latent_dim: L.
    num_layers: T.
  """

  latent_dim: int
  num_layers: int = 4

  @property
  def num_outputs(self):
    if self.num_layers < 1:
      raise ValueError(f"num_layers = {self.num_layers} of posterior 'planar' must be 1 or more")
    return 2 * self.latent_dim + self.num_layers * (2 * self.latent_dim + 1)

  def __call__(self, h):
    base, h = h[..., : 2 * self.latent_dim], h[..., 2 * self.latent_dim :]
    h = h.reshape(*h.shape[:-1], self.num_layers, -1)
    return PlanarFlow(base, h[..., : self.latent_dim], h[..., self.latent_dim : -1], h[..., -1])


def planar_step(z: jax.Array, w: jax.Array, u: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(f(z), log |det df/dz|) of f(z) = z + v tanh(w'z + b), with v = u + (softplus(w'u) - 1 - w'u) w / |w|^2.

  So w'v > -1 and f is invertible (Rezende & Mohamed, 2015, appendix A.1).  z, w, u [..., L], b [...].
  """
  dot = lambda a, b: jnp.einsum("...l,...l->...", a, b)
  wu = dot(w, u)
  v = u + ((jax.nn.softplus(wu) - 1 - wu) / jnp.maximum(dot(w, w), 1e-30))[..., None] * w
  t = jnp.tanh(dot(w, z) + b)
  # 1 + (1 - t^2) w'v, w'v = softplus(w'u) - 1, without cancellation
  return z + v * t[..., None], jnp.log(t * t + (1 - t * t) * jax.nn.softplus(wu))


class PlanarFlow(distrax.Distribution):
  """The distribution of f_T(... f_1(z_0)), z_0 from the diagonal normal `base` [..., 2L], f_t a planar_step.

  Args: base, w and u [..., T, L], b [..., T]; event [L].
  """

  def __init__(self, base: jax.Array, w: jax.Array, u: jax.Array, b: jax.Array):
    super().__init__()
    self._base, self._w, self._u, self._b = base, w, u, b

  @property
  def event_shape(self) -> tuple:
    return self._w.shape[-1:]

  @property
  def batch_shape(self) -> tuple:
    return self._b.shape[:-1]

  def _sample_n(self, key, n):
    return self._sample_n_and_log_prob(key, n)[0]

  def _sample_n_and_log_prob(self, key, n):
    z, log_prob = diagonal_normal(self._base).sample_and_log_prob(seed=key, sample_shape=n)
    for t in range(self._b.shape[-1]):
      z, log_det = planar_step(z, self._w[..., t, :], self._u[..., t, :], self._b[..., t])
      log_prob -= log_det
    return z, log_prob

  def log_prob(self, value: jax.Array) -> jax.Array:
    raise NotImplementedError(
      "a planar flow has no inverse in closed form: log q is known of its own draws only, by sample_and_log_prob"
    )

  def mean(self) -> jax.Array:
    raise NotImplementedError("the mean of a planar flow is not known: average draws")


class InverseAutoregressive(nn.Module):
  """T inverse autoregressive layers on N(loc, diag(scale)^2) (Kingma et al., 2016).

    z_t = s_t * z_{t-1} + (1 - s_t) * m_t,   s_t = sigmoid(a_t),

  where entry l of (a_t, m_t) depends on entries < l of z_{t-1}, in reversed order in every other layer, and on a
  context that the encoder gives beside loc and log scale: a masked network of one hidden layer (Germain et al., 2015).

  Attributes:
    latent_dim: L.
    num_layers: T.
    hidden: units of a layer's network.
    context: C, outputs of the encoder that all layers see.
  """

  latent_dim: int
  num_layers: int = 2
  hidden: int = 64
  context: int = 16

  def setup(self):
    if min(self.num_layers, self.hidden, self.context) < 1:
      raise ValueError("num_layers, hidden and context of posterior 'iaf' must be 1 or more")
    self.layers = [self._layer(t) for t in range(self.num_layers)]

  def _layer(self, t: int) -> dict[str, jax.Array]:
    glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros
    open_gate = lambda key, shape: jnp.repeat(jnp.array([2.0, 0.0]), self.latent_dim)  # s near 1: almost the identity
    shapes = {
      "z": (glorot, (self.latent_dim, self.hidden)),
      "context": (glorot, (self.context, self.hidden)),
      "hidden_bias": (zeros, (self.hidden,)),
      "out": (glorot, (self.hidden, 2 * self.latent_dim)),
      "out_context": (glorot, (self.context, 2 * self.latent_dim)),
      "out_bias": (open_gate, (2 * self.latent_dim,)),
    }
    return {name: self.param(f"{name}_{t}", init, shape) for name, (init, shape) in shapes.items()}

  @property
  def num_outputs(self):
    return 2 * self.latent_dim + self.context

  def __call__(self, h):
    base, context = jnp.split(h, (2 * self.latent_dim,), -1)
    return InverseAutoregressiveFlow(base, context, self.layers)


def masked_network(layer: dict[str, jax.Array], z: jax.Array, context: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(a, m), both [..., L]; entry l depends on z_<l and the context alone.  z [..., L], context [..., C]."""
  dim, hidden = layer["z"].shape
  degree = 1 + jnp.arange(hidden) % max(1, dim - 1)  # unit j sees z_l for l < degree_j, and serves l >= degree_j
  sees = jnp.arange(dim)[:, None] < degree
  h = z @ (layer["z"] * sees) + context @ layer["context"] + layer["hidden_bias"]
  out = layer["out"] * jnp.tile(~sees.T, (1, 2))
  return jnp.split(jnp.tanh(h) @ out + context @ layer["out_context"] + layer["out_bias"], 2, -1)


class InverseAutoregressiveFlow(distrax.Distribution):
  """The distribution of z_T, see InverseAutoregressive.

  A draw and its log q take one pass; log_prob of any other z takes L passes a layer.

  Args: base [..., 2L], context [..., C], layers: the parameters of masked_network; event [L].
  """

  def __init__(self, base: jax.Array, context: jax.Array, layers: Any):
    super().__init__()
    self._base, self._context, self._layers = base, context, layers

  @property
  def event_shape(self) -> tuple:
    return (self._base.shape[-1] // 2,)

  @property
  def batch_shape(self) -> tuple:
    return self._base.shape[:-1]

  def _sample_n(self, key, n):
    return self._sample_n_and_log_prob(key, n)[0]

  def _sample_n_and_log_prob(self, key, n):
    z, log_prob = diagonal_normal(self._base).sample_and_log_prob(seed=key, sample_shape=n)
    for layer in self._layers:
      a, m = masked_network(layer, z, self._context)
      s = jax.nn.sigmoid(a)
      z = (s * z + (1 - s) * m)[..., ::-1]
      log_prob -= jnp.sum(jax.nn.log_sigmoid(a), -1)
    return z, log_prob

  def log_prob(self, value: jax.Array) -> jax.Array:
    z, log_det = value, 0.0
    for layer in self._layers[::-1]:
      z, step = self._invert(layer, z[..., ::-1])
      log_det += step
    return diagonal_normal(self._base).log_prob(z) - log_det

  def _invert(self, layer: dict, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(z, log |det dy/dz|): the l-th of L passes makes entry l of z right."""

    def improve(_, z):
      a, m = masked_network(layer, z, self._context)
      return (y - jax.nn.sigmoid(-a) * m) / jax.nn.sigmoid(a)

    z = jax.lax.fori_loop(0, y.shape[-1], improve, y)
    return z, jnp.sum(jax.nn.log_sigmoid(masked_network(layer, z, self._context)[0]), -1)

  def mean(self) -> jax.Array:
    raise NotImplementedError("the mean of an inverse autoregressive flow is not known: average draws")
