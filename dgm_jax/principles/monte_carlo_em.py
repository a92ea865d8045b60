"""Training principle: Monte Carlo EM with HMC in the E-step; no encoder (Kingma & Welling, 2014, appendix E).

  E: z_n <- HMC(z_n), which leaves p(z|x_n) invariant: one trajectory for each example of the batch, continuing the
     example's own chain.
  M: theta <- theta + step(grad_theta mean_n log p(x_n, z_n)), several times with the same z.

One step size, shared by all examples, is adapted to a target acceptance.  A model is one for principles.latent with
log_joint, simulate and generate.  Its encoder, if any, is not trained, so that numbers that use q(z|x) are meaningless;
config.evaluate.posterior_samples estimates log p(x) without q(z|x).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, requirements
from dgm_jax.core.system import System, TrainState
from dgm_jax.inference import hmc, hmc_marginal_likelihood
from dgm_jax.principles import initial

REQUIRES = ("log_joint(batch, z)", "simulate(key, n)", "generate(key, n, mean=False)")
_FIRST_STEP_SIZE = 0.1


def _collection(key: jax.Array, model: nn.Module, params: Any, variables: dict, num_examples: int) -> dict:
  """Initial state of the E-step: each example's z [N, L], drawn from the prior, and the log step size []."""
  _, z = model.bind({"params": params, **variables}).simulate(key, num_examples)
  return {"z": z, "log_step": jnp.log(jnp.float32(_FIRST_STEP_SIZE))}


def _touch(model: nn.Module, batch: dict[str, jax.Array]) -> Any:
  """Uses every parameter of a model without `__call__`."""
  _, z = model.simulate(jax.random.key(0), batch["x"].shape[0])
  return model.log_joint(batch, z)


def _e_step(
  key: jax.Array, log_joint: Callable, chains: dict, index: jax.Array, num_leapfrog: int, target: float
) -> tuple[jax.Array, dict, jax.Array]:
  """(z of the batch [B, L], all chains after its transition, the mean acceptance).

  An index without a chain gives NaN, which stops the run, instead of another example's z.
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
  """A system trained by Monte Carlo EM.

  Args:
    model: see the module's docstring.
    tx: the optimiser; state.step counts E-steps, the optimiser's schedule the num_updates updates in each.
    num_examples: N, the size of the training set, whose examples have batch["index"] in 0 .. N - 1.
    num_leapfrog: leapfrog steps per trajectory.
    num_updates: updates of the parameters per M-step.
    target_acceptance: acceptance to which the step size is adapted.
    eval_samples: S and K of hmc_marginal_likelihood.log_px in eval_step.

  eval_step returns `log_px` [B], nats: a stochastic lower bound from a short chain, see `lower` of
  hmc_marginal_likelihood.Estimates.

  Raises:
    UserError: an invalid number, a model without log_joint and simulate, or discrete z.
  """
  requirements.check("monte_carlo_em", REQUIRES, model)
  errors.require(
    not getattr(model, "discrete", False),
    f"Principle 'monte_carlo_em' needs models with continuous z; that of {type(model).__module__!r} is discrete.",
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
    params, variables = initial.variables(model, key_model, batch, _touch)
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
