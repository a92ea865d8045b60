"""Training principle: raise a bound on log p(x) that is made of log-weights.  VAE, IWAE, DLGM, ...

A model is a Flax module with these methods, written for ONE sample per example; the K samples come from vmap:

  infer(batch)                  -> q, with sample_and_log_prob(seed=), log_prob(z) and mean(): z [B, ...], log q [B]
                                   (a Chain has conditional_means(seed=) instead of mean())
  log_joint(batch, z)           -> (log p(x|z) [B], log p(z) [B])
  generate(key, n, mean=False)  -> [n, ...], draws of x, or of E[x|z]
  reconstruct(z)                -> E[x|z], [B, ...]
  __call__(batch)               -> touches every parameter (init)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax import errors, estimators
from dgm_jax.system import System, gradient_system


class LogTerms(NamedTuple):
  """The terms of the log-weights, each [K, B], in nats."""

  px_z: jax.Array
  pz: jax.Array
  qz_x: jax.Array

  @property
  def w(self) -> jax.Array:
    """log w = log p(x|z) + log p(z) - log q(z|x)."""
    return self.px_z + self.pz - self.qz_x


def log_terms(
  model: nn.Module, variables: Any, key: jax.Array, batch: dict, num_samples: int, chunk: int | None = None
) -> LogTerms:
  """Draws K proposals z ~ q(z|x) for each example and returns log p(x|z), log p(z) and log q(z|x)."""
  bound_model = model.bind(variables)
  q = bound_model.infer(batch)  # outside the map over samples: the encoder runs once

  def one(key):
    z, log_qz_x = q.sample_and_log_prob(seed=key)
    return LogTerms(*bound_model.log_joint(batch, z), log_qz_x)

  return estimators.map_samples(one, key, num_samples, chunk)


def make(
  model: nn.Module,
  tx: optax.GradientTransformation,
  *,
  bound: str = "elbo",
  num_samples: int = 1,
  eval_samples: int = 50,
  eval_chunk: int | None = None,
) -> System:
  """A system that raises `bound` by its reparameterised gradient.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    bound: a name of estimators.BOUNDS.
    num_samples: K during training.
    eval_samples: K in eval_step.
    eval_chunk: at most so many of them at once.

  eval_step gives, per example and in nats: `elbo`; `log_px`, the importance-weighted bound with eval_samples;
  `rate`, log q(z|x) - log p(z); and `distortion`, -log p(x|z).

  Raises:
    UserError: if `bound` is unknown or a number of samples is below 1.
  """
  bound_fn = estimators.BOUNDS[errors.choose("bound", bound, estimators.BOUNDS)]
  for name, k in (("num_samples", num_samples), ("eval_samples", eval_samples)):
    errors.require(k >= 1, f"objective.{name} is the number of importance samples, k = {k}; it must be 1 or more.")
  errors.require(
    eval_chunk is None or eval_chunk >= 1, f"objective.eval_chunk = {eval_chunk}; it must be 1 or more, or None."
  )

  def init_params(key, batch):
    variables = dict(model.init(key, batch))
    return variables.pop("params"), variables

  def loss_fn(params, variables, key, batch, hparams):
    del hparams  # neither bound has a coefficient
    terms = log_terms(model, {"params": params, **variables}, key, batch, num_samples)
    log_w = terms.w
    metrics = {
      "elbo": jnp.mean(log_w),
      "rate": jnp.mean(terms.qz_x - terms.pz),
      "distortion": -jnp.mean(terms.px_z),
    }
    if num_samples > 1:
      metrics["ess"] = jnp.mean(estimators.effective_sample_size(log_w))
    return -jnp.mean(bound_fn(log_w)), (metrics, variables)

  def eval_step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    terms = log_terms(model, variables, key, batch, eval_samples, eval_chunk)
    return {
      "elbo": estimators.elbo(terms.w),
      "log_px": estimators.iwae(terms.w),
      "rate": jnp.mean(terms.qz_x - terms.pz, 0),
      "distortion": -jnp.mean(terms.px_z, 0),
    }

  def sample(state, key, n):
    return model.bind({"params": state.params, **state.variables}).generate(key, n)

  def pictures(state, key, batch):
    bound_model = model.bind({"params": state.params, **state.variables})
    key_z, key_x = jax.random.split(key)
    z, _ = bound_model.infer(batch).sample_and_log_prob(seed=key_z)
    pairs = jnp.stack([batch["x"], bound_model.reconstruct(z)], 1)  # an example and below it its reconstruction
    return {
      "reconstructions": pairs,
      "samples": bound_model.generate(key_x, batch["x"].shape[0], mean=True),
    }

  return gradient_system(init_params, loss_fn, eval_step, sample, tx, pictures)
