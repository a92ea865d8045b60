"""ProdLDA and NVLDA: topic models with an encoder and a logistic-normal prior (Srivastava & Sutton, 2017)."""

from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.normals import diagonal_normal
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.topics import base

DECODERS = ("product", "mixture")
_EPSILON = 1e-3


def laplace(alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(mean, variance) [K] of the Laplace approximation of Dirichlet(alpha) in the coordinates of the softmax.

    mean_k = log a_k - 1/K sum_i log a_i;   variance_k = (1 - 2/K) / a_k + 1/K^2 sum_i 1 / a_i

  MacKay (1998); Hennig et al. (2012).
  """
  k = alpha.shape[0]
  return jnp.log(alpha) - jnp.mean(jnp.log(alpha)), (1 - 2 / k) / alpha + jnp.sum(1 / alpha) / k**2


class Norm(nn.Module):
  """(h - mean) / sd + shift for each unit, with moments of the batch or their running averages (Ioffe & Szegedy, 2015).

  Attributes:
    width: number of units.
  """

  width: int

  def setup(self):
    self.shift = self.param("shift", nn.initializers.zeros, (self.width,))
    self.mean = self.variable("averages", "mean", jnp.zeros, (self.width,))
    self.variance = self.variable("averages", "variance", jnp.ones, (self.width,))

  def __call__(self, h: jax.Array, by_batch: bool) -> jax.Array:
    """h [B, width]."""
    mean, variance = (jnp.mean(h, 0), jnp.var(h, 0)) if by_batch else (self.mean.value, self.variance.value)
    return (h - mean) / jnp.sqrt(variance + _EPSILON) + self.shift


class Model(base.TopicModel):
  """z ~ N(m, s^2), theta = softmax(z), words v ~ p(v | theta) with counts x; q(z|x) is a diagonal normal.

    product (ProdLDA)    p(v | theta) = softmax(norm(theta beta))_v
    mixture (NVLDA)      p(v | theta) = sum_k theta_k softmax(beta_k)_v

  m and s^2 are those of Laplace's approximation of Dirichlet(alpha).  The encoder has layers of softplus units, dropout
  and one linear layer each for mu and log sigma^2, both normalised.  Dropout also applies to theta, which the mixture
  renormalises to sum to 1.  log p(x|z) is that of the sequence of words, without the multinomial coefficient.

  A batch with `key` [B], one key per example, is a training batch: units are dropped and moments are the batch's.

  Attributes, in addition to those of base.TopicModel:
    decoder: a name of DECODERS.
    hidden: widths of the encoder's hidden layers.
    alpha: concentration of the prior.
    dropout: the probability that a unit is dropped; 0.6 in the published code of ProdLDA, 0.25 in that of NVLDA.
    decay: decay d of the running averages of moments, d = min(decay, (1 + t) / (10 + t)) at update t.
  """

  decoder: str = "product"
  hidden: tuple[int, ...] = (100, 100)
  alpha: float = 1.0
  dropout: float = 0.6
  decay: float = 0.99

  names: ClassVar[tuple[str, ...]] = ("mu", "log_variance", "words")  # the normalised outputs

  def setup(self):
    self._check()
    require_one_of(DECODERS, decoder=self.decoder)
    require_at_least(2, num_topics=self.num_topics)
    for holds, message in (
      (self.alpha > 0, f"alpha = {self.alpha}; it must be positive"),
      (0 <= self.dropout < 1, f"dropout = {self.dropout}; it must be at least 0 and less than 1"),
      (0 <= self.decay < 1, f"decay = {self.decay}; it must be at least 0 and less than 1"),
    ):
      errors.require(holds, message)
    self.layers = [nn.Dense(width, kernel_init=nn.initializers.glorot_uniform()) for width in self.hidden]
    # no bias: the normalisation cancels it, and Adam would move it by the rounding errors of a zero gradient
    self.heads = nn.Dense(2 * self.num_topics, kernel_init=nn.initializers.glorot_uniform(), use_bias=False)
    self.beta = self.param("beta", nn.initializers.glorot_uniform(), (self.num_topics, self.num_words))
    self.norms = {
      name: Norm(self.num_words if name == "words" else self.num_topics)
      for name in (self.names if self.decoder == "product" else self.names[:2])
    }
    self.updates = self.variable("averages", "updates", jnp.zeros, (), jnp.int32)

  def _drop(self, h: jax.Array, batch: dict[str, jax.Array], layer: int) -> jax.Array:
    if "key" not in batch or not self.dropout:
      return h
    draw = lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.dropout, h.shape[1:])
    return jnp.where(jax.vmap(draw)(batch["key"]), h / (1 - self.dropout), 0)

  def _encoded(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{name: mu or log sigma^2 before normalisation, [B, K]}."""
    h = self.flat(batch)
    for layer in self.layers:
      h = nn.softplus(layer(h))
    return dict(zip(self.names, jnp.split(self.heads(self._drop(h, batch, 0)), 2, -1), strict=False))

  def _mixed(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    """theta beta before normalisation, [B, V]."""
    return self._drop(jax.nn.softmax(z), batch, 1) @ self.beta

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x), batch [B], event [K]."""
    mu, log_variance = (self.norms[name](h, "key" in batch) for name, h in self._encoded(batch).items())
    return diagonal_normal(jnp.concatenate([mu, log_variance / 2], -1))

  def _prior(self) -> distrax.Distribution:
    mean, variance = laplace(jnp.full(self.num_topics, self.alpha))
    return diagonal_normal(jnp.concatenate([mean, jnp.log(variance) / 2], -1))

  def log_words(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    """log p(v | softmax(z)), [B, V]; only `key` of the batch is used."""
    if self.decoder == "product":
      return jax.nn.log_softmax(self.norms["words"](self._mixed(batch, z), "key" in batch))
    theta = jax.nn.softmax(z)
    dropped = self._drop(theta, batch, 1)
    total = jnp.sum(dropped, 1, keepdims=True)
    theta = jnp.where(total > 0, dropped / jnp.where(total > 0, total, 1), theta)
    return jnp.log(base.mix(theta, jax.nn.softmax(self.beta)))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z), log p(z)), both [B]; z [B, K]."""
    return jnp.sum(self.flat(batch) * self.log_words(batch, z), 1), self._prior().log_prob(z)

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """KL(q(z_k|x) || p(z_k)), [B, K]."""
    q, p = self.infer(batch), self._prior()
    ratio = q.variance() / p.variance()
    return 0.5 * (ratio + jnp.square(q.mean() - p.mean()) / p.variance() - 1 - jnp.log(ratio))

  def moments(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, tuple[jax.Array, jax.Array]]:
    """{name: (mean, variance)} of the normalised outputs over a training batch, at z ~ q(z|x)."""
    found = self._encoded(batch)
    if "words" in self.norms:
      found["words"] = self._mixed(batch, self.infer(batch).sample(seed=key))
    return {name: (jnp.mean(h, 0), jnp.var(h, 0)) for name, h in found.items()}

  def update(self, variables: Any, key: jax.Array, batch: dict[str, jax.Array]) -> Any:
    """The variables, with running averages updated by the moments of a training batch."""
    t = variables["averages"]["updates"]
    d = jnp.minimum(self.decay, (1 + t) / (10 + t))
    averages = dict(variables["averages"], updates=t + 1)
    for name, (mean, variance) in self.apply(variables, key, batch, method="moments").items():
      old = averages[f"norms_{name}"]
      mix = lambda a, b: d * a + (1 - d) * b
      averages[f"norms_{name}"] = {"mean": mix(old["mean"], mean), "variance": mix(old["variance"], variance)}
    return variables | {"averages": averages}

  def topics(self) -> jax.Array:
    """softmax(beta_k), [K, V]; in the product these are experts, whose word order gives the published topics."""
    return jax.nn.softmax(self.beta)

  def proportions(self, batch: dict[str, jax.Array]) -> jax.Array:
    """softmax(mu(x)), [B, K]."""
    return jax.nn.softmax(self.infer(batch).mean())

  def word_distribution(self, batch: dict[str, jax.Array]) -> jax.Array:
    """p(v | softmax(mu(x))), [B, V]."""
    return jnp.exp(self.log_words(batch, self.infer(batch).mean()))

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z] of documents of `length` words, [B, *data_shape]."""
    return self.length * jnp.exp(self.log_words({}, z)).reshape(-1, *self.data_shape)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x) of `length` words, [n, *data_shape]; with `mean`, E[x|z]."""
    key_z, key_words = jax.random.split(key)
    z = self._prior().sample(seed=key_z, sample_shape=(n,))
    if mean:
      return self.reconstruct(z)
    return base.draw_words(key_words, jnp.exp(self.log_words({}, z)), self.length).reshape(n, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).mean())
