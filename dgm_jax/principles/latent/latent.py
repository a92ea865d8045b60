"""Training principle: maximise a bound on log p(x) that is a function of log-weights (VAE, IWAE, DLGM, ...).

A model is a Flax module with these methods, written for ONE sample per example; the K samples come from vmap:

  infer(batch)                  -> q, with sample_and_log_prob(seed=), log_prob(z) and mean(): z [B, ...], log q [B]
                                   (a Chain has conditional_means(seed=) instead of mean())
  log_joint(batch, z)           -> (log p(x|z) [B], log p(z) [B])
  generate(key, n, mean=False)  -> [n, ...], draws of x, or of E[x|z]

and, if an option or an evaluation needs it:

  reconstruct(z)                -> E[x|z], [B, ...], for pictures
  __call__(batch)               -> uses every parameter (init), unless infer and log_joint together do
  kl(batch)                     -> KL(q(z_l|x) || p(z_l)) in closed form, [B, L]
  prior_conditionals(z)         -> (p(z_1|z_2), ..., p(z_L)), diagonal normals, for gradient = "gdreg"
  simulate(key, n)              -> ({"x": [n, ...]}, z), a joint draw from the model
  reconstruct_batch(key, batch) -> as reconstruct, if that needs more than z, [B, ...]
  given(z)                      -> p(x|z), for imputation, if decode takes neither z nor its first layer
  warmed                        -> a truth value for each of the L units of `kl`: whether the weight beta applies to it
  discrete                      -> True if draws of z have no derivative; q then has relaxed(temperature)
  inference_parameters          the names of the top-level parameters of q, for aggressive updates; the rest are p's
  update(variables, key, batch) -> variables after a training step (e.g. running moments); training batches then have
                                   `key` [B], one per example, for random draws other than z (e.g. dropout)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, requirements, rng
from dgm_jax.core.system import System, gradient_system
from dgm_jax.inference import estimators, objectives
from dgm_jax.inference.log_terms import LogTerms, log_terms
from dgm_jax.principles import initial
from dgm_jax.principles.latent import aggressive, weights
from dgm_jax.principles.latent.options import Options, check, with_steps
from dgm_jax.principles.latent.paired import paired_objective

REQUIRES = ("infer(batch)", "log_joint(batch, z)", "generate(key, n, mean=False)")


def _analytic(
  model: nn.Module, variables: Any, batch: dict, terms: LogTerms, values: dict[str, Any], floors: bool = False
) -> jax.Array:
  """E_q[log p(x|z)] - beta sum_l max(free_bits, KL_l), averaged over the batch; `terms` hold log p(x|z) at draws.

  With kl_floor, - beta times the mean of max(kl_floor L, sum_l KL_l) over the batch instead.
  """
  kl = model.bind(variables).kl(batch)  # [B, L]
  if floors:
    floor = values["kl_floor"] * kl.shape[1]
    return jnp.mean(terms.px_z) - values["beta"] * jnp.mean(jnp.maximum(floor, jnp.sum(kl, 1)))
  kl = jnp.mean(kl, 0)
  # the floor is on the batch mean: a per-example floor would penalise units that are active for only part of the data
  warmed = jnp.asarray(getattr(model, "warmed", (True,) * kl.shape[0]))
  weights = jnp.where(warmed, values["beta"], 1.0)
  return jnp.mean(terms.px_z) - jnp.sum(weights * jnp.maximum(values["free_bits"], kl))


def _touch(model: nn.Module, batch: dict[str, jax.Array]) -> Any:
  """Uses every parameter of a model without `__call__`."""
  return model.log_joint(batch, model.infer(batch).sample_and_log_prob(seed=jax.random.key(0))[0])


def _make_eval_step(model: nn.Module, num_samples: int, chunk: int | None) -> Callable:
  """See `make`."""

  def eval_step(state, key, batch):
    terms = log_terms(model, {"params": state.params, **state.variables}, key, batch, num_samples, chunk)
    return {
      "elbo": estimators.elbo(terms.w),
      "log_px": estimators.iwae(terms.w),
      "rate": jnp.mean(terms.qz_x - terms.pz, 0),
      "distortion": -jnp.mean(terms.px_z, 0),
    }

  return eval_step


def _make_pictures(model: nn.Module) -> Callable:
  """Draws, and examples with their reconstructions below them where the model has any."""

  def pictures(state, key, batch):
    bound_model = model.bind({"params": state.params, **state.variables})
    key_z, key_x = jax.random.split(key)
    samples = {"samples": bound_model.generate(key_x, batch["x"].shape[0], mean=True)}
    if hasattr(model, "reconstruct_batch"):
      shown = bound_model.reconstruct_batch(key_z, batch)
    elif hasattr(model, "reconstruct"):
      shown = bound_model.reconstruct(bound_model.infer(batch).sample_and_log_prob(seed=key_z)[0])
    else:
      return samples
    return {"reconstructions": jnp.stack([batch["x"], shown], 1)} | samples

  return pictures


def _metrics(terms: LogTerms) -> dict[str, jax.Array]:
  """What is logged of a training batch."""
  found = {
    "elbo": jnp.mean(terms.w),
    "rate": jnp.mean(terms.qz_x - terms.pz),
    "distortion": -jnp.mean(terms.px_z),
  }
  several = terms.w.shape[0] > 1
  return found | ({"ess": jnp.mean(estimators.effective_sample_size(terms.w))} if several else {})


def make(
  model: nn.Module,
  tx: optax.GradientTransformation,
  *,
  eval_samples: int = 50,
  eval_chunk: int | None = None,
  num_examples: int = 0,
  num_steps: int = 0,
  held_out: Callable | None = None,
  **options: Any,
) -> System:
  """A system that maximises an objective made of log-weights.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    eval_samples: K in eval_step.
    eval_chunk: maximal number of these samples in memory at once; None for all.
    num_examples: size of the training set, for aggressive updates.
    num_steps: of the run, for beta_steps = -1.
    held_out: () -> the validation set as one batch, for aggressive updates; None without one.
    **options: see Options.

  eval_step returns, per example and in nats: `elbo`; `log_px`, the importance-weighted bound with eval_samples;
  `rate`, log q(z|x) - log p(z); and `distortion`, -log p(x|z).

  Raises:
    UserError: an unknown or invalid option, or a gradient that the objective or the model does not support.
  """
  requirements.check("latent", REQUIRES, model)
  for name in options:
    errors.choose("key of config.objective", name, (*Options._fields, "eval_samples", "eval_chunk"))
  o = with_steps(Options(**options), num_steps)
  check(o, model)
  errors.require(eval_samples >= 1, f"objective.eval_samples = {eval_samples}; it must be 1 or more.")
  errors.require(
    eval_chunk is None or eval_chunk >= 1, f"objective.eval_chunk = {eval_chunk}; it must be 1 or more, or None."
  )
  targets, num_draws = objectives.OBJECTIVES[o.bound], o.num_samples * o.num_bounds
  paired = o.gradient in ("stl", "dreg", "gdreg", "vimco") or targets.theta is not targets.phi

  def init_params(key, batch):
    return initial.variables(model, key, batch, _touch)

  def loss_fn(params, variables, key, batch, hparams):
    values = {name: hparams.get(f"objective.{name}", value) for name, value in o._asdict().items()}
    if o.beta_steps:
      values["beta"] *= weights.share(o, values, hparams["step"])
    everything = {"params": params, **variables}
    if hasattr(model, "update"):
      batch = batch | {"key": jax.random.split(rng.stream(key, "noise"), batch["x"].shape[0])}
    if paired:
      objective, terms = paired_objective(model, everything, key, batch, o, values)
    else:
      temperature = values["temperature"] if o.gradient == "gumbel_softmax" else None
      terms = log_terms(model, everything, key, batch, num_draws, o.chunk or None, temperature, remat=True)
      if o.kl == "analytic":
        objective = _analytic(model, everything, batch, terms, values, o.kl_floor > 0)
      elif o.temper_steps:
        objective = jnp.mean(terms.tempered(jnp.minimum(1.0, 0.01 + hparams["step"] / o.temper_steps)))
      else:
        objective = jnp.mean(targets.theta(terms.weighed(values["beta"]), values))
    if hasattr(model, "update"):
      updated = dict(jax.lax.stop_gradient(model.update(everything, rng.stream(key, "update"), batch)))
      variables = {name: updated[name] for name in variables}
    weight = {"beta": jnp.float32(values["beta"])} if o.beta_steps else {}
    return -objective, (_metrics(terms) | weight, variables)

  def sample(state, key, n):
    return model.bind({"params": state.params, **state.variables}).generate(key, n)

  eval_step, pictures = _make_eval_step(model, eval_samples, eval_chunk), _make_pictures(model)
  if o.aggressive:
    return aggressive.system(model, init_params, loss_fn, (eval_step, sample, pictures), tx, o, num_examples, held_out)
  return gradient_system(init_params, loss_fn, eval_step, sample, tx, pictures)
