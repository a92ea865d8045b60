"""Training principle: the likelihood of targets y given x, of one net or of nets with random weights.

  raises  mean_b 1/K sum_k log p(y_b | x_b, w_k) - beta / N KL(q(w) || p(w)),   w_k ~ q(w)

Of weights that are a point it is the log-likelihood, with config.optim's weight_decay or l2 the log-posterior (MAP);
of a normal q(w) the bound log p(y_1..N | x_1..N) / N >= ELBO / N (Bayes by backprop; Blundell et al., 2015); with
dropout it is that of Monte Carlo dropout (Gal & Ghahramani, 2016).  What is evaluated is the predictive distribution
1/S sum_s p(y | x, w_s).  A model is a Flax module with

  log_prob(key, batch)  -> log p(y | x, w) [B], nats, w drawn by the key
  summary(key, batch)   -> a prediction at one draw of w, see scores
  kl(key)               -> KL(q(w) || p(w)), nats [], or an unbiased estimate at the same w; None where w is a point
  num_classes           C where y is a class, else None
  __call__(batch)       -> touches every parameter (init)

Where batch has `y_loc` and `y_scale` (the transform standardize_targets), the numbers are of y in its own units.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax import scores
from dgm_jax.core import errors
from dgm_jax.core.system import System, gradient_system


class Options(NamedTuple):
  """What config.objective may say.

  Attributes:
    num_samples: K, draws of w in a training step.
    eval_samples: S, draws of w in a prediction during training.
    kl_weight: beta; 1 for the ELBO.
  """

  num_samples: int = 1
  eval_samples: int = 1
  kl_weight: float = 1.0


def predictive(model: nn.Module, variables: Any, key: jax.Array, batch: dict, num_samples: int) -> scores.Prediction:
  """1/S sum_s p(y | x, w_s), in the units of y before the transforms."""
  draw = lambda key: model.apply(variables, key, batch, method="summary")
  found = scores.mixture(jax.vmap(draw)(jax.random.split(key, num_samples)))
  if "mean" not in found:
    return found
  loc, scale = _units(batch)
  log_py = found["log_py"] - jnp.sum(jnp.broadcast_to(jnp.log(scale), found["mean"].shape), -1)
  return {"log_py": log_py, "mean": loc + scale * found["mean"], "variance": jnp.square(scale) * found["variance"]}


def targets(model: nn.Module, batch: dict) -> jax.Array:
  """y as scores take it: classes int32 [B], or numbers [B, T] in the units of before the transforms."""
  y = batch["y"].reshape(batch["y"].shape[0], -1)
  if model.num_classes is not None:
    return y[:, 0].astype(jnp.int32)
  loc, scale = _units(batch)
  return loc + scale * y


def _units(batch: dict) -> tuple[jax.Array, jax.Array]:
  """(loc, scale) [B, T] of y = loc + scale y'."""
  rows = lambda name, default: jnp.reshape(batch[name], (len(batch[name]), -1)) if name in batch else jnp.array(default)
  return rows("y_loc", 0.0), rows("y_scale", 1.0)


def make(model: nn.Module, tx: optax.GradientTransformation, num_examples: int, **options: Any) -> System:
  """A system that raises the likelihood of y given x, or a bound on the evidence of the training set.

  Args:
    model: see the module's docstring.
    tx: the optimiser.
    num_examples: N, of the training set, over which the KL is spread.
    **options: see Options.

  Raises:
    UserError: an option that does not exist or a value that cannot be; a model that is of no targets.
  """
  errors.require(
    all(hasattr(model, method) for method in ("log_prob", "summary", "kl")),
    f"principle 'likelihood' trains a model of y given x; {type(model).__module__} is none.",
  )
  for name in options:
    errors.choose("key of config.objective", name, Options._fields)
  o = Options(**options)
  for name in ("num_samples", "eval_samples"):
    errors.require(getattr(o, name) >= 1, f"objective.{name} = {getattr(o, name)}; it must be 1 or more.")
  errors.require(o.kl_weight >= 0, f"objective.kl_weight = {o.kl_weight}; it must be 0 or positive.")

  def init_params(key, batch):
    variables = dict(model.init(key, batch))
    return variables.pop("params"), variables

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
    return scores.of_examples(predictive(model, variables, key, batch, o.eval_samples), targets(model, batch))

  return gradient_system(init_params, loss_fn, eval_step, None, tx)
