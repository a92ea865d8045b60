"""Priors p(z) over z [L]; `prior` of a model names one of PRIORS.

A prior is a module with `latent_dim` = L; called with the encoder, which only the VampPrior uses, it returns p with
log_prob(z) -> [B] in nats and sample(seed=, sample_shape=), event [L].  A prior of the user's own is such a class in a
file or module: prior = "mine.py:MyPrior", or "mine.py" for its class Prior.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options, references
from dgm_jax.distributions.bijectors import flows
from dgm_jax.distributions.normals import NormalMixture, standard_normal
from dgm_jax.networks.mlp import MLP


class StandardNormal(nn.Module):
  """N(0, I).

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  def __call__(self, encode: Callable) -> distrax.Distribution:
    """p(z); `encode` is not used."""
    del encode
    return standard_normal(self.latent_dim)


class Mixture(nn.Module):
  """sum_k pi_k N(loc_k, diag(scale_k)^2), all of them learned; initially pi is uniform, loc ~ N(0, I), scale 1.

  Attributes:
    latent_dim: L.
    num_components: K.
  """

  latent_dim: int
  num_components: int = 10

  def setup(self):
    _require_positive("mixture", "num_components", self.num_components)
    shape = (self.num_components, self.latent_dim)
    self.logits = self.param("logits", nn.initializers.zeros, shape[:1])
    self.loc = self.param("loc", nn.initializers.normal(1.0), shape)
    self.log_scale = self.param("log_scale", nn.initializers.zeros, shape)

  def __call__(self, encode: Callable) -> distrax.Distribution:
    """p(z); `encode` is not used."""
    del encode
    return NormalMixture(self.logits, self.loc, self.log_scale)


class Vamp(nn.Module):
  """1/K sum_k q(z | u_k), the mean posterior of K learned pseudo-inputs u_k [D] (VampPrior, Tomczak & Welling, 2018).

  On a bounded support u = low + (high - low) sigmoid(v), else u = v; initially v ~ N(v of the data's mean, I).

  Attributes:
    latent_dim: L.
    mean: mean of the data, [D].
    support: the smallest and the largest x.
    num_components: K.
  """

  latent_dim: int
  mean: tuple[float, ...]
  support: tuple[float, float]
  num_components: int = 50

  def setup(self):
    _require_positive("vamp", "num_components", self.num_components)
    self.bounded = all(map(math.isfinite, self.support))

    def init(key, shape):
      start = jnp.asarray(self.mean)
      if self.bounded:
        low, high = self.support
        start = jax.scipy.special.logit(jnp.clip((start - low) / (high - low), 0.01, 0.99))
      return start + jax.random.normal(key, shape)

    self.v = self.param("pseudo_inputs", init, (self.num_components, len(self.mean)))

  def pseudo_inputs(self) -> jax.Array:
    """The pseudo-inputs u, [K, D]."""
    low, high = self.support
    return low + (high - low) * jax.nn.sigmoid(self.v) if self.bounded else self.v

  def __call__(self, encode: Callable) -> distrax.Distribution:
    """p(z); encode: x [K, D] -> q(z|x), batch [K], event [L]."""
    return VampMixture(encode(self.pseudo_inputs()), self.num_components)


class VampMixture(distrax.Distribution):
  """The uniform mixture of the K members of a batch of distributions, event [L]."""

  def __init__(self, components: distrax.Distribution, num_components: int):
    super().__init__()
    self._components, self._num_components = components, num_components

  @property
  def event_shape(self) -> tuple:
    return self._components.event_shape

  @property
  def batch_shape(self) -> tuple:
    return ()

  def _sample_n(self, key, n):
    key_k, key_z = jax.random.split(key)
    k = jax.random.randint(key_k, (n,), 0, self._num_components)
    return self._components.sample(seed=key_z, sample_shape=(n,))[jnp.arange(n), k]

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log 1/K sum_k q_k(z), nats, [...]; value z [..., L]."""
    each = lambda z: self._components.log_prob(jnp.broadcast_to(z, (self._num_components, *z.shape)))
    log_qs = jax.vmap(each)(value.reshape(-1, value.shape[-1]))  # [B, K]
    log_p = jax.nn.logsumexp(log_qs, -1) - jnp.log(self._num_components)
    return log_p.reshape(value.shape[:-1])


class Flow(nn.Module):
  """A flow on N(0, I); without `layer`, RealNVP: T affine couplings of even and odd entries (Dinh et al., 2017).

    z' = z for one half of the entries;  z' = z exp(s) + t for the other, with (s, t) a network of the first half.

  s = tanh(...) is bounded.

  Attributes:
    latent_dim: L, 2 or more.
    num_layers: T.
    hidden: units of the hidden layer of each network, without `layer`.
    layer, layer_args, permutation: of the flow that takes z to the noise, see Flow in
      dgm_jax/distributions/bijectors/flows.py; "" for the RealNVP above.
  """

  latent_dim: int
  num_layers: int = 4
  hidden: int = 64
  layer: str = ""
  layer_args: Mapping[str, Any] = FrozenDict()
  permutation: str = "none"

  def setup(self):
    _require_positive("flow", "num_layers", self.num_layers)
    errors.require(self.latent_dim >= 2, f"latent_dim = {self.latent_dim} of prior 'flow' must be 2 or more")
    errors.require(
      self.layer or not (self.layer_args or self.permutation != "none"),
      "layer_args and permutation of prior 'flow' are for a flow of layers: name its layer, such as layer='coupling'",
    )
    if self.layer:
      errors.require(
        self.hidden == Flow.hidden,
        f"hidden = {self.hidden} of prior 'flow' is for the RealNVP without a layer: put hidden into layer_args",
      )
      errors.require(
        self.layer not in flows.WITHOUT_INVERSE, f"layer = {self.layer!r} of prior 'flow' has no inverse: no draws"
      )
      given = {"layer_args": self.layer_args, "permutation": self.permutation}
      self.flow = flows.Flow(self.latent_dim, self.layer, self.num_layers, **given)
      return
    self.nets = [MLP((self.hidden, 2 * self.latent_dim)) for _ in range(self.num_layers)]

  def __call__(self, encode: Callable) -> distrax.Distribution:
    """p(z); `encode` is not used."""
    del encode
    if self.layer:
      return distrax.Transformed(standard_normal(self.latent_dim), distrax.Inverse(self.flow()))
    parity = jnp.arange(self.latent_dim) % 2 == 0
    couplings = [
      distrax.MaskedCoupling(mask=parity if t % 2 else ~parity, conditioner=net, bijector=_affine)
      for t, net in enumerate(self.nets)
    ]
    return distrax.Transformed(standard_normal(self.latent_dim), distrax.Chain(couplings))


def _affine(h: jax.Array) -> distrax.ScalarAffine:
  log_scale, shift = jnp.split(h, 2, -1)
  return distrax.ScalarAffine(shift=shift, log_scale=jnp.tanh(log_scale))


PRIORS = {"standard_normal": StandardNormal, "mixture": Mixture, "vamp": Vamp, "flow": Flow}


def _require_positive(prior: str, name: str, value: int) -> None:
  errors.require(value >= 1, f"{name} = {value} of prior {prior!r} must be 1 or more")


def make(name: str, latent_dim: int, mean: tuple, support: tuple[float, float], **given: Any) -> nn.Module:
  """The prior `name` over z [L], with its attributes as options; only the VampPrior uses mean and support of x.

  Raises:
    UserError: no such prior or option, or an invalid value.
  """
  if references.is_own(name):
    return options.call(f"prior {name!r}", references.load(name, "Prior"), latent_dim, **given)
  errors.require(name in PRIORS, f"prior = {name!r}; it must be one of {', '.join(PRIORS)}")
  data_arguments = (mean, support) if name == "vamp" else ()
  return options.call(f"prior {name!r}", PRIORS[name], latent_dim, *data_arguments, **given)
