"""Training principle: maximise the mean of an exact log p(x) (autoregressive models, ...).

A model is a Flax module with

  log_prob(batch)               -> log p(x), or log p(x|context) where the batch has a context, nats, [B]
  generate(key, n, mean=False)  -> [n, ...], draws of x, or means of them where the model has any

and, if needed:

  __call__(batch)               -> uses every parameter (init), unless log_prob does
  objective(key, batch)         -> (what training maximises [B], {metric: [B]}), where that is not log p(x): random
                                   orders, dropout, batch statistics, variational dequantisation
  log_prob_estimate(key, batch) -> (log p(x), its standard error), [B] each, where log p(x) is not exact; in place of
                                   log_prob in evaluations
  sample_and_log_prob(key, n)   -> (x, log p(x)), where both together cost less than each alone
  complete(key, batch)          -> x with draws of the entries with mask 0, given the others
  num_examples_for_init         -> how many training examples `init` gets, 2 if not given
  context_dim                   -> the number of columns c = batch["context"] of a model p(x|c), 0 if not given; there
                                   is no x to draw without them
  fit_statistics(variables, total) -> variables with the statistics of the whole training set in place of running ones,
                                   for exact_likelihood; total(variables, function) sums function(model, batch)
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, figures, requirements
from dgm_jax.core.system import System, gradient_system
from dgm_jax.principles import initial

REQUIRES = ("log_prob(batch)", "generate(key, n, mean=False)")


def make(model: nn.Module, tx: optax.GradientTransformation, **options: Any) -> System:
  """A system that maximises the batch mean of log p(x), or of the model's own `objective`.

  Collections of variables that `objective` changes, such as batch statistics, are part of the state.  eval_step returns
  `log_px` [B], nats of x after the transforms, and `log_px_error` [B] where log p(x) is estimated.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    **options: none are accepted; what training maximises is the model's.

  Raises:
    UserError: an option is given, or the model has no log_prob or no generate.
  """
  requirements.check("maximum_likelihood", REQUIRES, model)
  for name in options:
    errors.choose("key of config.objective", name, ())
  conditional = getattr(model, "context_dim", 0) > 0
  has_objective = requirements.defines(model, "objective")

  def init_params(key, batch):
    return initial.variables(model, key, batch, lambda model, batch: model.log_prob(batch))

  def loss_fn(params, variables, key, batch, hparams):
    del hparams
    if not has_objective:
      log_px = model.bind({"params": params, **variables}).log_prob(batch)
      return -jnp.mean(log_px), ({"log_px": jnp.mean(log_px)}, variables)
    (objective, metrics), changed = model.apply(
      {"params": params, **variables}, key, batch, method="objective", mutable=list(variables)
    )
    return -jnp.mean(objective), (jax.tree.map(jnp.mean, metrics), variables | dict(changed))

  def bind(state):
    return model.bind({"params": state.params, **state.variables})

  def eval_step(state, key, batch):
    if not requirements.defines(model, "log_prob_estimate"):
      return {"log_px": bind(state).log_prob(batch)}
    log_px, error = bind(state).log_prob_estimate(key, batch)
    return {"log_px": log_px, "log_px_error": error}

  def sample(state, key, n):
    return bind(state).generate(key, n)

  def pictures(state, key, batch):
    given = {"context": batch["context"]} if conditional else {}
    drawn = bind(state).generate(key, batch["x"].shape[0], **given)
    return {"samples": figures.shades(drawn, getattr(model, "support", (0.0, 1.0)))}

  return gradient_system(init_params, loss_fn, eval_step, None if conditional else sample, tx, pictures)
