"""Inference gaps: what the ELBO loses to the family of q and to the encoder (Cremer, Li & Duvenaud, 2018)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate import ais, importance_sampling, quadrature
from dgm_jax.inference import estimators, samples

LOG_PX = {"importance_sampling": importance_sampling, "ais": ais, "quadrature": quadrature}  # estimators of log p(x)

NEEDS = ("infer", "log_joint")  # methods of the model


def _sample_local(key: jax.Array, local: tuple, stop: bool = False) -> tuple[Any, jax.Array]:
  """(z, log q(z) [B]) of the diagonal normal with means and log-scales `local`, two trees like z.

  With `stop`, the parameters in log q are held fixed.
  """
  leaves, tree = jax.tree.flatten(local[0])
  keys = jax.tree.unflatten(tree, list(jax.random.split(key, len(leaves))))
  draw = lambda key, loc, log_scale: loc + jnp.exp(log_scale) * jax.random.normal(key, loc.shape, loc.dtype)
  z = jax.tree.map(draw, keys, *local)
  density = jax.lax.stop_gradient(local) if stop else local
  log_prob = lambda z, loc, log_scale: jax.scipy.stats.norm.logpdf(z, loc, jnp.exp(log_scale))
  each = jax.tree.map(lambda *a: jnp.sum(log_prob(*a).reshape(leaves[0].shape[0], -1), -1), z, *density)
  return z, sum(jax.tree.leaves(each))


def fit_local(
  key: jax.Array, q: Any, log_joint: Callable, num_steps: int = 1000, num_samples: int = 16, lr: float = 2e-2
) -> tuple[Any, Any]:
  """q* = argmax_q E_q[log p(x, z) - log q(z)] over diagonal normals, one for each example.

  Adam with a cosine schedule, initialised at the mean and spread of 64 draws of q(z|x).  The gradient is
  sticking-the-landing (Roeder et al., 2017): unbiased for the ELBO, and without noise where q* is the posterior itself.

  Args:
    key: PRNG key.
    q: the amortised q(z|x).
    log_joint: z -> log p(x, z), [B].
    num_steps, num_samples, lr: steps of Adam, draws of z per step, initial learning rate.

  Returns:
    (means, log-scales), trees like z, leaves [B, ...].
  """
  key_start, key_fit = jax.random.split(key)
  z = samples.map_samples(lambda k: q.sample_and_log_prob(seed=k)[0], key_start, 64)
  local = jax.tree.map(lambda a: jnp.mean(a, 0), z), jax.tree.map(lambda a: jnp.log(jnp.std(a, 0) + 1e-4), z)
  draw = lambda local, key: _sample_local(key, local, stop=True)
  return _ascend(key_fit, local, draw, log_joint, num_steps, num_samples, lr)


def _ascend(
  key: jax.Array, local: Any, draw: Callable, log_joint: Callable, num_steps: int, num_samples: int, lr: float
) -> Any:
  """The parameters `local`, leaves [B, ...], that maximise the ELBO of draw: (local, key) -> (z, log q [B])."""
  tx = optax.adam(optax.cosine_decay_schedule(lr, num_steps))

  def negative_elbo(local, key):
    log_w, _ = estimators.log_weights(key, lambda key: draw(local, key), log_joint, num_samples)
    return -jnp.sum(estimators.elbo(log_w))  # a sum: each example has its own parameters

  def update(carry, key):
    local, opt_state = carry
    updates, opt_state = tx.update(jax.grad(negative_elbo)(local, key), opt_state)
    return (optax.apply_updates(local, updates), opt_state), None

  return jax.lax.scan(update, (local, tx.init(local)), jax.random.split(key, num_steps))[0][0]


def _sample_own(model: Any, variables: dict, local: dict, key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(z [B, L], log q(z) [B]), a draw from the member `local` of the model's family for each example."""

  def one(local, key):
    params = {**variables["params"], "qz_x": local["flow"]}
    q = model.apply({**variables, "params": params}, local["outputs"][None], method="proposal")
    z, log_q = q.sample_and_log_prob(seed=key)
    return z[0], log_q[0]

  return jax.vmap(one)(local, jax.random.split(key, local["outputs"].shape[0]))


def fit_own(
  key: jax.Array,
  model: Any,
  variables: dict,
  batch: dict,
  log_joint: Callable,
  num_steps: int = 1000,
  num_samples: int = 16,
  lr: float = 2e-2,
) -> dict[str, Any]:
  """q* = argmax_q E_q[log p(x, z) - log q(z)] over the family of the model's q, one for each example.

  Optimises the encoder's outputs and, if q is a flow, the flow's parameters, initialised at their trained values.
  The gradient is reparameterised.

  Args:
    key: PRNG key.
    model, variables: a model with encoder_outputs and proposal, see models/vae/vae.py, and its variables.
    batch: B examples.
    log_joint, num_steps, num_samples, lr: see fit_local.

  Returns:
    {"outputs": [B, O], "flow": a tree with leaves [B, ...]}.
  """
  outputs = model.apply(variables, batch, method="encoder_outputs")
  flow = jax.tree.map(
    lambda a: jnp.broadcast_to(a, (len(outputs), *a.shape)), dict(variables["params"].get("qz_x", {}))
  )
  draw = lambda local, key: _sample_own(model, variables, local, key)
  return _ascend(key, {"outputs": outputs, "flow": flow}, draw, log_joint, num_steps, num_samples, lr)


def make_elbos(
  experiment: Any,
  num_steps: int = 1000,
  num_samples: int = 16,
  lr: float = 2e-2,
  elbo_samples: int = 1000,
  batch_size: int = 10,
  chunk: int = 100,
  own_family: bool = False,
) -> Callable:
  """(state, key, data, progress) -> {"elbo", "elbo_local"}, each [N]: ELBOs of the encoder's q and of q*, by new draws.

  With own_family also "elbo_own", the ELBO of the best member of the family of the model's q.
  """
  errors.require(
    not getattr(experiment.model, "discrete", False),
    "evaluate.gaps fits normals to p(z|x), but this model's latent variables are discrete.",
  )
  errors.require(
    not own_family or hasattr(experiment.model, "proposal"),
    "evaluate.gaps.own_family needs a model with encoder_outputs and proposal, which this model does not provide: "
    "leave it at False.",
  )

  def eval_step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    bound_model = experiment.model.bind(variables)
    q = bound_model.infer(batch)
    log_joint = lambda z: sum(bound_model.log_joint(batch, z))
    local = fit_local(rng.stream(key, "fit"), q, log_joint, num_steps, num_samples, lr)
    draws = {"elbo": lambda k: q.sample_and_log_prob(seed=k), "elbo_local": lambda k: _sample_local(k, local)}
    if own_family:
      key_own = rng.stream(key, "fit_own")
      own = fit_own(key_own, experiment.model, variables, batch, log_joint, num_steps, num_samples, lr)
      draws["elbo_own"] = lambda k: _sample_own(experiment.model, variables, own, k)
    weigh = lambda name: samples.map_samples(  # log w alone, without keeping z
      lambda k: _log_w(draws[name], log_joint, k), rng.stream(key, name), elbo_samples, chunk
    )
    log_det = batch.get("log_det", 0.0)  # as in log p(x)
    return {name: estimators.elbo(weigh(name)) + log_det for name in draws}

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def _log_w(draw: Callable, log_joint: Callable, key: jax.Array) -> jax.Array:
  z, log_q = draw(key)
  return log_joint(z) - log_q


def check(
  *,
  log_px: str = "ais",
  log_px_options: dict[str, Any] | None = None,
  num_examples: int = 1,
  num_steps: int = 1,
  num_samples: int = 1,
  lr: float = 1.0,
  elbo_samples: int = 1,
  batch_size: int = 1,
  chunk: int = 1,
  own_family: bool = False,
) -> None:
  """Raises UserError for an invalid option."""
  LOG_PX[errors.choose("value of evaluate.gaps.log_px", log_px, LOG_PX)].check(**(log_px_options or {}))
  numbers = {"num_examples": num_examples, "num_steps": num_steps, "num_samples": num_samples}
  for name, value in (numbers | {"elbo_samples": elbo_samples, "batch_size": batch_size, "chunk": chunk}).items():
    errors.require(value >= 1, f"evaluate.gaps.{name} = {value}; it must be 1 or more.")
  errors.require(own_family in (True, False), f"evaluate.gaps.own_family = {own_family!r}; it must be True or False.")
  errors.require(lr > 0, f"evaluate.gaps.lr = {lr}; it must be positive.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  log_px: str = "ais",
  log_px_options: dict[str, Any] | None = None,
  num_examples: int = 100,
  **options: Any,
) -> dict[str, Any]:
  """Splits log p(x) - L[q] into what the family loses and what the encoder loses (Cremer, Li & Duvenaud, 2018).

    approximation gap = log p(x) - L[q*],    amortisation gap = L[q*] - L[q],

  L[q] = E_q[log p(x, z) - log q(z)] with the encoder's q(z|x), q* the best diagonal normal for each example or, with
  own_family, the best member of the family of the model's q.  Except by quadrature, log p(x) is a stochastic lower
  bound, and so is the approximation gap.  The amortisation gap may be negative if the encoder's family of q is richer.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    log_px: estimator of log p(x): "ais", "quadrature" (one or two latent dimensions) or "importance_sampling".
    log_px_options: options of that evaluation's make_log_px, e.g. {"num_temperatures": 500}.
    num_examples: number of examples to use, the first ones.
    **options: num_steps, num_samples, lr: see fit_local; elbo_samples: draws per ELBO; batch_size, chunk: images and
      samples at once; own_family.

  Returns:
    gaps_log_px, gaps_elbo_local (L[q*] of diagonal normals), gaps_elbo_own (L[q*] of the model's family, if
    own_family), gaps_elbo (L[q]), gaps_approximation, gaps_amortisation, gaps_inference (their sum), the standard
    errors of the gaps over the examples (gaps_approximation_stderr ...); nats.  "values" holds all of them per example.
  """
  arrays = {name: a[:num_examples] for name, a in arrays.items()}
  run_log_px = LOG_PX[log_px].make_log_px(experiment, **(log_px_options or {}))
  with progress_bar(2 * len(arrays["x"]), description="gaps of inference", unit="image") as bar:
    # the same key, so that random transforms give both the same x
    exact = run_log_px(state, key, arrays, bar.update)["log_px"]
    elbos = make_elbos(experiment, **options)(state, key, arrays, bar.update)
  best = elbos.get("elbo_own", elbos["elbo_local"])
  values = {
    "approximation": exact - best,
    "amortisation": best - elbos["elbo"],
    "inference": exact - elbos["elbo"],
  }
  means = {"log_px": exact, **elbos, **values}
  results = (
    {f"gaps_{name}": mean_and_error(v)[0] for name, v in means.items()}
    | {f"gaps_{name}_stderr": mean_and_error(v)[1] for name, v in values.items()}
    | {"gaps_examples": len(arrays["x"]), "gaps_log_px_by": log_px}
  )
  if log_px != "quadrature":
    results["gaps_note"] = f"log p(x), and with it the approximation gap: {importance_sampling.STOCHASTIC_BOUND}"
  return results | {"values": {f"gaps_{name}": v for name, v in means.items()}}
