"""Training principle: Monte Carlo EM with HMC in the E-step; no encoder (Kingma & Welling, 2014, appendix E).

  E: z_n <- HMC(z_n), which leaves p(z|x_n) invariant: one trajectory for each example of the batch, from where it was
     when the example was last seen.
  M: theta <- theta + step(grad_theta mean_n log p(x_n, z_n)), several times with the same z.

The step size of the trajectories is adapted to an acceptance, for all examples alike.  A model is one of
principles.latent with log_joint, simulate and generate; an encoder that it may have is not trained, and what uses
q(z|x) says nothing of it: config.evaluate.posterior_samples measures log p(x) without.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.core.system import System, TrainState
from dgm_jax.inference import hmc, hmc_marginal_likelihood

_FIRST_STEP_SIZE = 0.1


def _collection(key: jax.Array, model: nn.Module, params: Any, variables: dict, num_examples: int) -> dict:
  """What an E-step needs beside the model: each example's z [N, L], drawn from the prior, and log step size []."""
  _, z = model.bind({"params": params, **variables}).simulate(key, num_examples)
  return {"z": z, "log_step": jnp.log(jnp.float32(_FIRST_STEP_SIZE))}


def _e_step(
  key: jax.Array, log_joint: Callable, chains: dict, index: jax.Array, num_leapfrog: int, target: float
) -> tuple[jax.Array, dict, jax.Array]:
  """(z of the batch [B, L], all chains after its transition, the mean acceptance).

  An index beyond the chains gives NaN, which ends the run, and not another example's z.
  """
  z = chains["z"].at[index].get(mode="fill", fill_value=jnp.nan)
  z, acceptance = hmc.step(key, z, log_joint, jnp.exp(chains["log_step"]), num_leapfrog)
  accepted = jnp.mean(acceptance)
  log_step = hmc_marginal_likelihood.adapted(chains["log_step"], accepted, target)
  return z, {"z": chains["z"].at[index].set(z), "log_step": log_step}, accepted


def make(
  model: nn.Module,
  tx: optax.GradientTransformation,
  *,
  num_examples: int,
  num_leapfrog: int = 10,
  num_updates: int = 5,
  target_acceptance: float = 0.9,
  eval_samples: int = 20,
) -> System:
  """A system of Monte Carlo EM.

  Args:
    model: see the module's docstring.
    tx: the optimiser; state.step counts E-steps, its own schedule the num_updates updates in each.
    num_examples: N, the size of the training set, whose examples have batch["index"] in 0 .. N - 1.
    num_leapfrog: leapfrog steps of a trajectory.
    num_updates: of the parameters, in an M-step.
    target_acceptance: that the step size is adapted to.
    eval_samples: S and K of eval_step.

  eval_step gives, per example and in nats, `log_px`, a stochastic lower bound by a short chain, see `lower` of
  posterior_samples.Estimates.

  Raises:
    UserError: a number that cannot be, or a model without log_joint and simulate.
  """
  errors.require(
    hasattr(model, "log_joint") and hasattr(model, "simulate") and not getattr(model, "discrete", False),
    f"principle 'monte_carlo_em' trains a model of real z with log_joint and simulate; {type(model).__module__} is "
    "none.",
  )
  for name, value in (("num_leapfrog", num_leapfrog), ("num_updates", num_updates)):
    errors.require(value >= 1, f"objective.{name} = {value}; it must be 1 or more.")
  errors.require(eval_samples >= 2, f"objective.eval_samples = {eval_samples}; it must be 2 or more.")
  errors.require(
    0 < target_acceptance < 1, f"objective.target_acceptance = {target_acceptance}; it must be between 0 and 1."
  )
  tx = optax.with_extra_args_support(tx)
  bind = lambda state: model.bind({"params": state.params, **state.variables})

  def init(key, batch, hparams):
    key_model, key_chains = jax.random.split(key)
    variables = dict(model.init(key_model, batch))
    params = variables.pop("params")
    variables |= {"mcem": _collection(key_chains, model, params, variables, num_examples)}
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), variables, hparams)

  def loss_fn(params, variables, batch, z):
    return -jnp.mean(sum(model.bind({"params": params, **variables}).log_joint(batch, z)))

  def train_step(state, key, batch):
    target = state.hparams.get("objective.target_acceptance", target_acceptance)
    log_joint = lambda z: sum(bind(state).log_joint(batch, z))
    z, chains, accepted = _e_step(key, log_joint, state.variables["mcem"], batch["index"], num_leapfrog, target)

    def update(carry, _):
      params, opt_state = carry
      loss, grads = jax.value_and_grad(loss_fn)(params, state.variables, batch, z)
      updates, opt_state = tx.update(grads, opt_state, params, hparams=state.hparams, value=loss)
      return (optax.apply_updates(params, updates), opt_state), loss

    (params, opt_state), losses = jax.lax.scan(update, (state.params, state.opt_state), length=num_updates)
    variables = state.variables | {"mcem": chains}
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, variables=variables)
    return state, {"loss": losses[0], "acceptance": accepted, "step_size": jnp.exp(chains["log_step"])}

  def eval_step(state, key, batch):
    short = {"num_samples": eval_samples, "num_warmup": 2 * eval_samples, "num_importance": eval_samples}
    return {"log_px": hmc_marginal_likelihood.of_model(bind(state), key, batch, **short).lower}

  def sample(state, key, n):
    return bind(state).generate(key, n)

  def pictures(state, key, batch):
    return {"samples": bind(state).generate(key, batch["x"].shape[0], mean=True)}

  return System(init, train_step, eval_step, sample, pictures)
