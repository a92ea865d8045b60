"""Autoencoder with a discrete code: VQ-VAE (van den Oord, Vinyals & Kavukcuoglu, 2017)."""

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.networks.mlp import Networks


class Model(Networks):
  """p(x, c) = K^-M p(x | e_c1, ..., e_cM),   q(c_m = k | x) = 1 for the code e_k nearest to the encoder's z_m(x).

  c are M positions with one of K codes each, e [K, D] the codebook.  What is raised is

    log p(x | z_q) - sum_m ||sg(z_m) - e_cm||^2 - beta sum_m ||z_m - sg(e_cm)||^2,   z_q = z + sg(e_c - z),

  sg stopping the gradient: the decoder's gradient at e_c is passed on to z as it is (straight-through).  With the even
  prior and the deterministic q, log p(x | e_c) - M log K is the exact ELBO, without any noise.

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|c] starts near it.  None: at the middle of the support, or 0.
    num_positions: M.
    num_codes: K.
    code_dim: D.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    beta: weight of the commitment loss.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_positions: int = 32
  num_codes: int = 64
  code_dim: int = 8
  hidden: Sequence[int] = (400,)
  beta: float = 0.25
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|c) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    sizes = {"num_positions": self.num_positions, "num_codes": self.num_codes, "code_dim": self.code_dim}
    for name, value in sizes.items():
      errors.require(value >= 1, f"{name} = {value} must be 1 or more")
    errors.require(
      min(*self.hidden, 1) >= 1 and self.beta >= 0,
      f"hidden = {tuple(self.hidden)} must be 1 or more and beta = {self.beta} not negative",
    )
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_c = Likelihood(prod(self.data_shape), family)
    self.encoder = self.mlp((*self.hidden, self.num_positions * self.code_dim))
    output_bias = self.px_c.output_bias(self.data_mean)
    self.decoder = self.mlp((*self.hidden[::-1], self.px_c.num_outputs), output_bias=output_bias)
    self.codebook = self.param("codebook", nn.initializers.normal(1.0), (self.num_codes, self.code_dim))

  def encode(self, batch: dict[str, jax.Array]) -> jax.Array:
    """z before quantisation, [B, M, D]."""
    x = batch["x"].reshape(batch["x"].shape[0], -1)
    return self.encoder(self.px_c.features(x)).reshape(-1, self.num_positions, self.code_dim)

  def nearest(self, z: jax.Array) -> jax.Array:
    """argmin_k ||z - e_k||, int32 [B, M]; z [B, M, D]."""
    square = jnp.sum(self.codebook**2, -1) - 2 * z @ self.codebook.T  # ||z||^2 is common to all k
    return jnp.argmin(square, -1)

  def decode(self, z_q: jax.Array) -> distrax.Distribution:
    """p(x | z_q), batch [B], event [prod(data_shape)], flat; z_q [B, M, D]."""
    return self.px_c(self.decoder(z_q.reshape(z_q.shape[0], -1)))

  def _log_px_c(self, batch: dict[str, jax.Array], z_q: jax.Array) -> jax.Array:
    return self.decode(z_q).log_prob(batch["x"].reshape(z_q.shape[0], -1))

  def _values(self, log_px_c: jax.Array, codes: jax.Array) -> dict[str, jax.Array]:
    """`perplexity` [B] is that of all codes of the batch, exp(entropy of their frequencies), the same for each."""
    rate = self.num_positions * math.log(self.num_codes)
    frequency = jnp.mean(jax.nn.one_hot(codes, self.num_codes), (0, 1))
    perplexity = jnp.exp(jnp.sum(jax.scipy.special.entr(frequency)))
    return {
      "elbo": log_px_c - rate,
      "distortion": -log_px_c,
      "perplexity": jnp.full_like(log_px_c, 1.0) * perplexity,
    }

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {elbo, distortion (nats), commitment, perplexity: [B]}); nothing is drawn."""
    del key
    z = self.encode(batch)
    codes = self.nearest(z)
    e, stop = self.codebook[codes], jax.lax.stop_gradient
    log_px_c = self._log_px_c(batch, z + stop(e - z))
    distance = lambda a, b: jnp.sum((a - b) ** 2, (1, 2))
    commitment = distance(z, stop(e))
    objective = log_px_c - distance(stop(z), e) - self.beta * commitment
    return objective, self._values(log_px_c, codes) | {"commitment": commitment}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{elbo, distortion: exact, nats; perplexity of the batch: [B]}."""
    del key
    codes = self.nearest(self.encode(batch))
    return self._values(self._log_px_c(batch, self.codebook[codes]), codes)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), codes from the even prior, [n, *data_shape]; with `mean`, E[x|c]."""
    key_c, key_x = jax.random.split(key)
    codes = jax.random.randint(key_c, (n, self.num_positions), 0, self.num_codes)
    p = self.decode(self.codebook[codes])
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|c] at the codes of x, [B, *data_shape]."""
    del key
    e = self.codebook[self.nearest(self.encode(batch))]
    return self.decode(e).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.bound(None, batch)
