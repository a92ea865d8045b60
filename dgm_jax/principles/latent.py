"""Training principle: raise a bound on log p(x) that is made of log-weights.  VAE, IWAE, DLGM, ...

A model is a Flax module with these methods, written for ONE sample per example; the K samples come from vmap:

  infer(batch)                  -> q, with sample_and_log_prob(seed=), log_prob(z) and mean(): z [B, ...], log q [B]
                                   (a Chain has conditional_means(seed=) instead of mean())
  log_joint(batch, z)           -> (log p(x|z) [B], log p(z) [B])
  generate(key, n, mean=False)  -> [n, ...], draws of x, or of E[x|z]
  reconstruct(z)                -> E[x|z], [B, ...]
  __call__(batch)               -> touches every parameter (init)

and, where an option asks for it:

  kl(batch)                     -> KL(q(z_l|x) || p(z_l)) in closed form, [B, L]
  prior_conditionals(z)         -> (p(z_1|z_2), ..., p(z_L)), diagonal normals, for gradient = "gdreg"
  simulate(key, n)              -> ({"x": [n, ...]}, z), a joint draw from the model
  reconstruct_batch(key, batch) -> as reconstruct, where more than z is needed, [B, ...]
  given(z)                      -> p(x|z), where z is not what decode takes, or holds it first; for imputation
  discrete                      -> True if draws of z have no derivative; q then has relaxed(temperature)
  update(variables, key, batch) -> variables after a training step (averages of moments); batches of training then have
                                   `key` [B], an example's own, for what is drawn beside z (dropout)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax import estimators, objectives
from dgm_jax.core import errors, rng
from dgm_jax.core.system import System, gradient_system
from dgm_jax.latent_options import Options, check


class LogTerms(NamedTuple):
  """The terms of the log-weights, each [K, B], in nats."""

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
  """Draws K proposals z ~ q(z|x) for each example and returns log p(x|z), log p(z) and log q(z|x).

  With a temperature, discrete draws are relaxed.  chunk and remat: see estimators.map_keys.
  """
  bound_model = model.bind(variables)
  q = bound_model.infer(batch)  # outside the map over samples: the encoder runs once
  if temperature is not None:
    q = q.relaxed(temperature)

  def some(keys):
    z, log_qz_x = jax.vmap(lambda key: q.sample_and_log_prob(seed=key))(keys)
    return LogTerms(*estimators.over_samples(bound_model.log_joint, batch, z), log_qz_x)

  return estimators.map_keys(some, key, num_samples, chunk, remat)


def _pair_terms(
  model: nn.Module, variables: Any, key: jax.Array, batch: dict, num_samples: int, chunk: int | None
) -> dict[str, jax.Array]:
  """What a pair of targets is made of, each [K, B], for the same draws z ~ q(z|x).

  theta and path are (log p(x|z), log p(z)): in `theta` z is fixed and the parameters move, in `path` z moves and they
  are fixed, those of log q, too.  In `score` z is fixed in log q(z|x).  The equal forward passes are one for XLA.
  """
  live, frozen = model.bind(variables), model.bind(jax.lax.stop_gradient(variables))
  q, q_frozen = live.infer(batch), frozen.infer(batch)

  def some(keys):
    z, _ = jax.vmap(lambda key: q.sample_and_log_prob(seed=key))(keys)
    fixed = jax.lax.stop_gradient(z)
    return {
      "z": fixed,
      "theta": estimators.over_samples(live.log_joint, batch, fixed),
      "path": estimators.over_samples(frozen.log_joint, batch, z),
      "path_q": jax.vmap(q_frozen.log_prob)(z),
      "score": jax.vmap(q.log_prob)(fixed),
    }

  return estimators.map_keys(some, key, num_samples, chunk, remat=True)


def _paired(
  model: nn.Module, variables: Any, key: jax.Array, batch: dict, o: Options, values: dict[str, Any]
) -> tuple[jax.Array, LogTerms]:
  """(what theta raises, averaged over the batch, with the gradients of the pair; its terms).

  sum_k a_k log p + b_k log w + c_k log q under `_pair_terms` has the gradients that objectives.py says.
  """
  beta, targets = values["beta"], objectives.OBJECTIVES[o.bound]
  pair = _pair_terms(model, variables, key, batch, o.num_samples * o.num_bounds, o.chunk or None)
  terms = jax.lax.stop_gradient(LogTerms(*pair["theta"], pair["score"]))
  log_w = terms.weighed(beta)
  a, b, c, curvature = objectives.coefficients(o.bound, o.gradient, log_w, values, beta)
  log_p = lambda px_z, pz: px_z + beta * pz
  if curvature is None:
    surrogate = jnp.sum(a * log_p(*pair["theta"]), 0)
  else:
    moved = _log_prior_moved(model, variables, batch, (pair["z"], a, curvature), beta, o.chunk)
    surrogate = jnp.sum(a * pair["theta"][0] + beta * moved, 0)
  if b is not None:
    surrogate += jnp.sum(b * (log_p(*pair["path"]) - beta * pair["path_q"]), 0)
  if c is not None:
    surrogate += jnp.sum(c * pair["score"], 0)
  if targets.phi == "sleep":
    surrogate += _log_q_of_dreams(model, variables, rng.stream(key, "sleep"), batch, surrogate.shape[0])
  value = targets.theta(log_w, values)
  return jnp.mean(value + surrogate - jax.lax.stop_gradient(surrogate)), terms


def _log_prior_moved(
  model: nn.Module, variables: Any, batch: dict, samples: tuple, beta: float | jax.Array, chunk: int
) -> jax.Array:
  """[K, B] whose gradient in theta estimates that of a log p(z) without p's score; see objectives.py, gdreg.

  samples: (z, a, curvature), leaves [K, B, ...].
  """
  live, frozen = model.bind(variables), model.bind(jax.lax.stop_gradient(variables))
  q = frozen.infer(batch)

  def weighed(z):
    px_z, pz = frozen.log_joint(batch, z)
    return jnp.sum(px_z + beta * (pz - q.log_prob(z)))

  def one(sample):
    z, a, curvature = sample
    slopes, slopes_q = jax.grad(weighed)(z), jax.grad(lambda z: jnp.sum(q.log_prob(z)))(z)
    total = 0.0
    for z_l, p, slope, slope_q in zip(z, live.prior_conditionals(z), slopes, slopes_q, strict=True):
      mean, scale = p.mean(), p.stddev()
      noise = jax.lax.stop_gradient((z_l - mean) / scale)
      slope_p = jax.lax.stop_gradient(-noise / scale)
      direction = curvature[:, None] * slope + a[:, None] * (slope_q - slope_p)
      total += jnp.sum(jax.lax.stop_gradient(direction) * (mean + scale * noise), -1)
    return total

  if chunk in range(1, samples[1].shape[0]):
    return jax.lax.map(jax.checkpoint(one), samples, batch_size=chunk)
  return jax.vmap(one)(samples)


def _log_q_of_dreams(model: nn.Module, variables: Any, key: jax.Array, batch: dict, n: int) -> jax.Array:
  """log q(z|x), [n], of (x, z) that the model draws: what the sleep phase raises in phi."""
  dream, z = jax.lax.stop_gradient(model.bind(variables).simulate(key, n))
  seen = {name: batch[name] for name in ("mask",) if name in batch}  # q meets holes in its dreams as in the data
  return model.bind(variables).infer(seen | dream).log_prob(z)


def _analytic(model: nn.Module, variables: Any, batch: dict, terms: LogTerms, values: dict[str, Any]) -> jax.Array:
  """E_q[log p(x|z)] - beta sum_l max(free_bits, KL_l), averaged over the batch; `terms` are the sampled ones."""
  kl = jnp.mean(model.bind(variables).kl(batch), 0)  # [L]
  # the floor is on the average over the batch: one that holds for every x hinders units that tell only some x apart
  return jnp.mean(terms.px_z) - values["beta"] * jnp.sum(jnp.maximum(values["free_bits"], kl))


def make(
  model: nn.Module,
  tx: optax.GradientTransformation,
  *,
  eval_samples: int = 50,
  eval_chunk: int | None = None,
  **options: Any,
) -> System:
  """A system that raises an objective made of log-weights.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    eval_samples: K in eval_step.
    eval_chunk: at most so many of them at once.
    **options: see Options.

  eval_step gives, per example and in nats: `elbo`; `log_px`, the importance-weighted bound with eval_samples;
  `rate`, log q(z|x) - log p(z); and `distortion`, -log p(x|z).

  Raises:
    UserError: a name or number that cannot be, or a gradient that the objective or the model refuses.
  """
  errors.require(
    hasattr(model, "infer") and hasattr(model, "log_joint"),
    f"principle 'latent' trains a model with infer and log_joint; {type(model).__module__} has none.",
  )
  for name in options:
    errors.choose("key of config.objective", name, (*Options._fields, "eval_samples", "eval_chunk"))
  o = Options(**options)
  check(o, model)
  errors.require(eval_samples >= 1, f"objective.eval_samples, k = {eval_samples}; it must be 1 or more.")
  errors.require(
    eval_chunk is None or eval_chunk >= 1, f"objective.eval_chunk = {eval_chunk}; it must be 1 or more, or None."
  )
  targets, num_draws = objectives.OBJECTIVES[o.bound], o.num_samples * o.num_bounds
  paired = o.gradient in ("stl", "dreg", "gdreg", "vimco") or targets.theta is not targets.phi

  def init_params(key, batch):
    variables = dict(model.init(key, batch))
    return variables.pop("params"), variables

  def loss_fn(params, variables, key, batch, hparams):
    values = {name: hparams.get(f"objective.{name}", value) for name, value in o._asdict().items()}
    if o.beta_steps:
      values["beta"] *= jnp.minimum(1.0, hparams["step"] / o.beta_steps)
    everything = {"params": params, **variables}
    if hasattr(model, "update"):
      batch = batch | {"key": jax.random.split(rng.stream(key, "noise"), batch["x"].shape[0])}
    if paired:
      objective, terms = _paired(model, everything, key, batch, o, values)
    else:
      temperature = values["temperature"] if o.gradient == "gumbel_softmax" else None
      terms = log_terms(model, everything, key, batch, num_draws, o.chunk or None, temperature, remat=True)
      if o.kl == "analytic":
        objective = _analytic(model, everything, batch, terms, values)
      elif o.temper_steps:
        objective = jnp.mean(terms.tempered(jnp.minimum(1.0, 0.01 + hparams["step"] / o.temper_steps)))
      else:
        objective = jnp.mean(targets.theta(terms.weighed(values["beta"]), values))
    metrics = {
      "elbo": jnp.mean(terms.w),
      "rate": jnp.mean(terms.qz_x - terms.pz),
      "distortion": -jnp.mean(terms.px_z),
    }
    if num_draws > 1:
      metrics["ess"] = jnp.mean(estimators.effective_sample_size(terms.w))
    if hasattr(model, "update"):
      updated = dict(jax.lax.stop_gradient(model.update(everything, rng.stream(key, "update"), batch)))
      variables = {name: updated[name] for name in variables}
    return -objective, (metrics, variables)

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
    if hasattr(model, "reconstruct_batch"):
      shown = bound_model.reconstruct_batch(key_z, batch)
    else:
      shown = bound_model.reconstruct(bound_model.infer(batch).sample_and_log_prob(seed=key_z)[0])
    pairs = jnp.stack([batch["x"], shown], 1)  # an example and below it its reconstruction
    return {
      "reconstructions": pairs,
      "samples": bound_model.generate(key_x, batch["x"].shape[0], mean=True),
    }

  return gradient_system(init_params, loss_fn, eval_step, sample, tx, pictures)
