"""Autoencoder with a discrete code: VQ-VAE (van den Oord, Vinyals & Kavukcuoglu, 2017)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.models.base import flat, require_at_least, require_one_of
from dgm_jax.models.vae.autoregressive_likelihood import make_net
from dgm_jax.models.vae.base import DecoderModel

PRIORS = ("uniform", "made", "nade", "lstm", "transformer")


class Model(DecoderModel):
  """p(x, c) = K^-M p(x | e_c1, ..., e_cM),   q(c_m = k | x) = 1 for the code e_k nearest to the encoder's z_m(x).

  c holds one of K codes at each of M positions, and e [K, D] is the codebook.  Training maximises

    log p(x | z_q) - sum_m ||sg(z_m) - e_cm||^2 - beta sum_m ||z_m - sg(e_cm)||^2,   z_q = z + sg(e_c - z),

  where sg stops the gradient: the decoder's gradient at e_c is passed on to z unchanged (straight-through).  With the
  deterministic q, log p(x | e_c) + log p(c) is the exact ELBO; with the uniform prior log p(c) = -M log K.

  A prior that is an autoregressive model of c is trained afterwards, as in the paper: a run with train = "prior" that
  starts from one with the uniform prior (config.init_from) maximises log p(c) at the codes of x.

  Attributes, in addition to those of base.DecoderModel:
    num_positions: M.
    num_codes: K.
    code_dim: D.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    beta: weight of the commitment loss.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
    prior: p(c), a name of PRIORS: uniform, or an autoregressive model of the M codes, in order.
    prior_args: options of that model.
    train: what is trained: "all" but a prior, with the uniform prior; or the "prior" alone.
  """

  num_positions: int = 32
  num_codes: int = 64
  code_dim: int = 8
  hidden: Sequence[int] = (400,)
  beta: float = 0.25
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  prior: str = "uniform"
  prior_args: Mapping[str, Any] = FrozenDict()
  train: str = "all"

  def setup(self):
    require_at_least(1, num_positions=self.num_positions, num_codes=self.num_codes, code_dim=self.code_dim)
    require_at_least(1, hidden=self.hidden)
    require_at_least(0, beta=self.beta)
    self.px_c = self._make_likelihood()
    self.encoder = self.mlp((*self.hidden, self.num_positions * self.code_dim))
    self.decoder = self._make_decoder(self.px_c, self.hidden)
    self._setup_prior()
    self.codebook = self.param("codebook", nn.initializers.normal(1.0), (self.num_codes, self.code_dim))

  def _setup_prior(self) -> None:
    require_one_of(PRIORS, prior=self.prior)
    require_one_of(("all", "prior"), train=self.train)
    errors.require(
      (self.prior == "uniform") == (self.train == "all"),
      f"prior = {self.prior!r} does not go with train = {self.train!r}: first a run with prior = 'uniform' and train = "
      "'all', then one that starts from it (init_from) with another prior and train = 'prior'",
    )
    if self.prior != "uniform":
      given = {"likelihood": "categorical", "likelihood_args": {"num_classes": self.num_codes}}
      self.pc = make_net(self.prior, "prior", self.prior_args, data_shape=(self.num_positions,), **given)

  def log_prior(self, codes: jax.Array) -> jax.Array:
    """log p(c), nats, [B]; codes [B, M]."""
    if self.prior == "uniform":
      return jnp.full(codes.shape[0], -self.num_positions * math.log(self.num_codes))
    return self.pc.log_prob({"x": codes})

  def encode(self, batch: dict[str, jax.Array]) -> jax.Array:
    """z before quantisation, [B, M, D]."""
    return self.encoder(self.px_c.features(flat(batch)[0])).reshape(-1, self.num_positions, self.code_dim)

  def nearest(self, z: jax.Array) -> jax.Array:
    """argmin_k ||z - e_k||, int32 [B, M]; z [B, M, D]."""
    square = jnp.sum(self.codebook**2, -1) - 2 * z @ self.codebook.T  # ||z||^2 is the same for all k
    return jnp.argmin(square, -1)

  def decode(self, z_q: jax.Array) -> distrax.Distribution:
    """p(x | z_q), batch [B], event [prod(data_shape)], flat; z_q [B, M, D]."""
    return self.px_c(self.decoder(z_q.reshape(z_q.shape[0], -1)))

  def _log_px_c(self, batch: dict[str, jax.Array], z_q: jax.Array) -> jax.Array:
    return self.decode(z_q).log_prob(flat(batch)[0])

  def _values(self, log_px_c: jax.Array, codes: jax.Array) -> dict[str, jax.Array]:
    """Reported values, [B]; all entries of `perplexity` are exp(entropy of the code frequencies in the batch)."""
    log_prior = self.log_prior(codes)
    frequency = jnp.mean(jax.nn.one_hot(codes, self.num_codes), (0, 1))
    perplexity = jnp.exp(jnp.sum(jax.scipy.special.entr(frequency)))
    return {
      "elbo": log_px_c + log_prior,
      "distortion": -log_px_c,
      "perplexity": jnp.full_like(log_px_c, 1.0) * perplexity,
    }

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {elbo, distortion (nats), commitment, perplexity: [B]}); deterministic."""
    del key
    z = self.encode(batch)
    codes = self.nearest(z)
    e, stop = self.codebook[codes], jax.lax.stop_gradient
    if self.train == "prior" and not self.is_initializing():
      log_prior = self.log_prior(codes)
      return log_prior, self._values(self._log_px_c(batch, e), codes) | {"log_prior": log_prior}
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
    """x ~ p(x), codes from the prior, [n, *data_shape]; with `mean`, E[x|c]."""
    key_c, key_x = jax.random.split(key)
    if self.prior == "uniform":
      codes = jax.random.randint(key_c, (n, self.num_positions), 0, self.num_codes)
    else:
      codes = self.pc.generate(key_c, n).astype(jnp.int32)
    p = self.decode(self.codebook[codes])
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|c] at the codes of x, [B, *data_shape]."""
    del key
    e = self.codebook[self.nearest(self.encode(batch))]
    return self.decode(e).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.bound(None, batch)
