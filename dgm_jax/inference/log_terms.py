"""Log-densities of a latent variable model at draws z ~ q(z|x), from which every bound on log p(x) is computed."""

from typing import Any, NamedTuple

import jax
from flax import linen as nn

from dgm_jax.inference import samples


class LogTerms(NamedTuple):
  """Terms of the log-weights at K draws z ~ q(z|x) for each of B examples, each [K, B], in nats.

  Attributes:
    px_z: log p(x|z).
    pz: log p(z).
    qz_x: log q(z|x).
  """

  px_z: jax.Array
  pz: jax.Array
  qz_x: jax.Array

  @property
  def w(self) -> jax.Array:
    """log w = log p(x|z) + log p(z) - log q(z|x)."""
    return self.px_z + self.pz - self.qz_x

  def weighed(self, beta: float | jax.Array) -> jax.Array:
    """log p(x|z) + beta (log p(z) - log q(z|x)): log w for beta = 1."""
    return self.px_z + beta * (self.pz - self.qz_x)

  def tempered(self, weight: float | jax.Array) -> jax.Array:
    """weight (log p(x|z) + log p(z)) - log q(z|x): log w for weight = 1."""
    return weight * (self.px_z + self.pz) - self.qz_x


def log_terms(
  model: nn.Module,
  variables: Any,
  key: jax.Array,
  batch: dict,
  num_samples: int,
  chunk: int | None = None,
  temperature: float | jax.Array | None = None,
  remat: bool = False,
) -> LogTerms:
  """Draws K proposals z ~ q(z|x) for each example and evaluates the log-densities there.

  Args:
    model: see principles.latent.
    variables: parameters and other collections of the model.
    key: PRNG key.
    batch: B examples.
    num_samples: K.
    chunk, remat: see samples.map_keys.
    temperature: temperature of the relaxed draws of a discrete q; None: exact draws.
  """
  bound_model = model.bind(variables)
  q = bound_model.infer(batch)  # outside the map over samples: the encoder runs once
  if temperature is not None:
    q = q.relaxed(temperature)

  def some(keys):
    z, log_qz_x = jax.vmap(lambda key: q.sample_and_log_prob(seed=key))(keys)
    log_px_z, log_pz = samples.over_samples(bound_model.log_joint, batch, z, merge=samples.has_no_moments(variables))
    return LogTerms(log_px_z, log_pz, log_qz_x)

  return samples.map_keys(some, key, num_samples, chunk, remat)
