"""Training principle: the likelihood of targets y given x, with fixed or random network weights w.

  maximise  mean_b 1/K sum_k log p(y_b | x_b, w_k) - beta / N KL(q(w) || p(w)),   w_k ~ q(w)

For point estimates of w this is the log-likelihood or, with config.optim's weight_decay or l2, the log-posterior (MAP);
for a normal q(w) it is the bound ELBO / N <= log p(y_1..N | x_1..N) / N (Bayes by backprop; Blundell et al., 2015);
with dropout it is the objective of Monte Carlo dropout (Gal & Ghahramani, 2016).  Evaluation uses the predictive
distribution 1/S sum_s p(y | x, w_s).  A model is a Flax module with

  log_prob(key, batch)  -> log p(y | x, w) [B], nats, w drawn by the key
  summary(key, batch)   -> a prediction at one draw of w, see inference/predictions.py
  kl(key)               -> KL(q(w) || p(w)), nats [], or an unbiased estimate at the same w; None for a point estimate
  num_classes           C where y is a class, else None

and, unless log_prob uses every parameter, __call__(batch), which does (init).

If batch has `y_loc` and `y_scale` (the transform standardize_targets), the scores refer to y in its original units.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, requirements
from dgm_jax.core.system import System, gradient_system
from dgm_jax.inference import predictions
from dgm_jax.inference.predictions import predictive, targets
from dgm_jax.principles import initial

REQUIRES = ("log_prob(key, batch)", "summary(key, batch)", "kl(key)", "num_classes")


class Options(NamedTuple):
  """Options of config.objective.

  Attributes:
    num_samples: K, draws of w per training step.
    eval_samples: S, draws of w per prediction in evaluations during training.
    kl_weight: beta; 1 for the ELBO.
  """

  num_samples: int = 1
  eval_samples: int = 1
  kl_weight: float = 1.0


def make(model: nn.Module, tx: optax.GradientTransformation, num_examples: int, **options: Any) -> System:
  """A system that maximises the likelihood of y given x, or a lower bound on the evidence of the training set.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    num_examples: N, the size of the training set, by which the KL is divided.
    **options: see Options.

  Raises:
    UserError: an unknown option, an invalid value, or a model without log_prob, summary and kl.
  """
  requirements.check("supervised", REQUIRES, model)
  for name in options:
    errors.choose("key of config.objective", name, Options._fields)
  o = Options(**options)
  for name in ("num_samples", "eval_samples"):
    errors.require(getattr(o, name) >= 1, f"objective.{name} = {getattr(o, name)}; it must be 1 or more.")
  errors.require(o.kl_weight >= 0, f"objective.kl_weight = {o.kl_weight}; it must be 0 or positive.")

  def init_params(key, batch):
    return initial.variables(model, key, batch, lambda model, batch: model.log_prob(jax.random.key(0), batch))

  def loss_fn(params, variables, key, batch, hparams):
    apply = functools.partial(model.apply, {"params": params, **variables})
    keys = jax.random.split(key, o.num_samples)
    log_py = jnp.mean(jax.vmap(lambda key: apply(key, batch, method="log_prob"))(keys))
    kls = jax.vmap(lambda key: apply(key, method="kl"))(keys)
    if kls is None:
      return -log_py, ({"log_py": log_py}, variables)
    kl = jnp.mean(kls)
    loss = hparams.get("objective.kl_weight", o.kl_weight) * kl / num_examples - log_py
    return loss, ({"log_py": log_py, "kl": kl, "elbo": log_py - kl / num_examples}, variables)

  def eval_step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    return predictions.of_examples(predictive(model, variables, key, batch, o.eval_samples), targets(model, batch))

  return gradient_system(init_params, loss_fn, eval_step, None, tx)
