"""Training principle: maximise an objective that the model itself estimates (VQ-VAE, diffusion, M2, ...).

For bounds on log p(x) that are not functions of log-weights as in principles.latent.  A model is a Flax module with

  bound(key, batch)             -> (objective [B], {metric: [B]}): what training maximises, and what it reports
  evaluate(key, batch)          -> {name: [B]} in nats, with `elbo` <= log p(x) in expectation if there is a p(x)
  generate(key, n, mean=False)  -> [n, ...], draws of x, or of its mean given the latent variables

and, if needed:

  __call__(batch)               -> uses every parameter (init), unless bound does
  reconstruct_batch(key, batch) -> [B, ...], shown below the examples in pictures
  update(variables, key, batch) -> variables after a training step, as in principles.latent; training batches then have
                                   `key` [B]
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, figures, requirements, rng
from dgm_jax.core.system import System, gradient_system
from dgm_jax.principles import initial

REQUIRES = ("bound(key, batch)", "evaluate(key, batch)", "generate(key, n, mean=False)")


def make(model: nn.Module, tx: optax.GradientTransformation, **options: Any) -> System:
  """A system that maximises the batch mean of the model's own objective.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    **options: none are accepted; weights of the objective's terms are arguments of the model.

  Raises:
    UserError: an option is given, or the model has no bound or no evaluate.
  """
  requirements.check("own_bound", REQUIRES, model)
  for name in options:
    errors.choose("key of config.objective", name, ())

  def init_params(key, batch):
    return initial.variables(model, key, batch, lambda model, batch: model.bound(jax.random.key(0), batch))

  def bind(state):
    return model.bind({"params": state.params, **state.variables})

  def loss_fn(params, variables, key, batch, hparams):
    del hparams
    everything = {"params": params, **variables}
    if hasattr(model, "update"):
      batch = batch | {"key": jax.random.split(rng.stream(key, "noise"), batch["x"].shape[0])}
    objective, metrics = model.bind(everything).bound(key, batch)
    if hasattr(model, "update"):
      updated = dict(jax.lax.stop_gradient(model.update(everything, rng.stream(key, "update"), batch)))
      variables = {name: updated[name] for name in variables}
    return -jnp.mean(objective), (jax.tree.map(jnp.mean, metrics), variables)

  def eval_step(state, key, batch):
    return bind(state).evaluate(key, batch)

  def sample(state, key, n):
    return bind(state).generate(key, n)

  def pictures(state, key, batch):
    bound_model, (key_x, key_z) = bind(state), jax.random.split(key)
    drawn = bound_model.generate(key_x, batch["x"].shape[0], mean=True)
    shown = {"samples": figures.shades(drawn, getattr(model, "support", (0.0, 1.0)))}
    if hasattr(model, "reconstruct_batch"):
      shown["reconstructions"] = jnp.stack([batch["x"], bound_model.reconstruct_batch(key_z, batch)], 1)
    return shown

  return gradient_system(init_params, loss_fn, eval_step, sample, tx, pictures)
