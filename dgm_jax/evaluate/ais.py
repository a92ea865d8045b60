"""Log-likelihood by annealed importance sampling (AIS), calibrated by bidirectional Monte Carlo (BDMC).

On real x every estimate here is a stochastic lower bound: E[p_hat] = p(x), so E[log p_hat] <= log p(x) and
P(log p_hat > log p(x) + b) <= exp(-b) (Markov's inequality).  Upper bounds need an exact draw from p(z|x), which exists
only for x that the model itself generated: the gap of BDMC bounds the error of AIS on such x, but certifies nothing
about test data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.evaluate.importance_sampling import STOCHASTIC_BOUND
from dgm_jax.inference import estimators, samples
from dgm_jax.inference.annealing import Path, anneal, schedule, tune

STARTS = ("normal", "q")

NEEDS = ("infer", "log_joint")  # methods of the model


class Settings(NamedTuple):
  """Settings of AIS.

  Attributes:
    num_temperatures: T; the variance of log p_hat falls like 1 / T.
    num_chains: C, chains per example; log p_hat is the log of the mean of C weights.
    num_leapfrog: leapfrog steps in each of the T transitions.
    start: "normal" or "q", see make_path.
    pilot_chains, pilot_updates: see tune.
    chunk: how many of the C chains to hold in memory at once.
  """

  num_temperatures: int = 1000
  num_chains: int = 16
  num_leapfrog: int = 10
  start: str = "normal"
  pilot_chains: int = 4
  pilot_updates: int = 2
  chunk: int = 16


def make_path(bound_model: Any, batch: dict, start: str) -> Path:
  """The annealing path from p_0(z) to p(x, z) of a model with infer and log_joint, bound to its parameters.

  Args:
    bound_model: see principles.latent.
    batch: B examples.
    start: choice of p_0.  "normal": N(0, I), the prior of most models with one stochastic layer (Wu et al., 2017); "q":
      q(z|x), which is closer to the posterior but may miss its tails.  Both are unbiased for any prior.

  Raises:
    UserError: the latent variables are discrete, or start = "q" and log q is not known at every z (planar flows).
  """
  q = bound_model.infer(batch)
  draw = lambda key: q.sample_and_log_prob(seed=key)[0]
  shapes = jax.eval_shape(draw, jax.random.key(0))
  errors.require(
    not getattr(bound_model, "discrete", False)
    and all(jnp.issubdtype(a.dtype, jnp.floating) for a in jax.tree.leaves(shapes)),
    "evaluate.ais needs gradients with respect to z, but this model's latent variables are discrete; "
    "use evaluate.importance_sampling.",
  )
  log_target = lambda z: sum(bound_model.log_joint(batch, z))
  if start == "q":
    try:
      jax.eval_shape(q.log_prob, shapes)
    except NotImplementedError as e:
      raise errors.UserError(f"evaluate.ais.start = 'q' needs log q at any z: {e}. Choose 'normal'.") from e
    return Path(draw, q.log_prob, log_target)

  def sample(key):
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)])

  flat = lambda a: a.reshape(a.shape[0], -1)
  log_normal = lambda a: standard_normal(flat(a).shape[1]).log_prob(flat(a))
  return Path(sample, lambda z: sum(map(log_normal, jax.tree.leaves(z))), log_target)


def _forward(key: jax.Array, path: Path, step_sizes: jax.Array, settings: Settings) -> tuple[jax.Array, jax.Array]:
  """(log w, mean acceptance), both [C, B], of chains from p_0 to p(x, z): E[w] = p(x)."""
  betas = schedule(settings.num_temperatures)

  def chain(key):
    key_start, key_run = jax.random.split(key)
    log_w, _, acceptance = anneal(key_run, path.sample(key_start), path, betas, step_sizes, settings.num_leapfrog)
    return log_w, acceptance

  return samples.map_samples(chain, key, settings.num_chains, settings.chunk)


def _backward(key: jax.Array, z: Any, path: Path, step_sizes: jax.Array, settings: Settings) -> jax.Array:
  """log w [C, B] of chains from z ~ p(z|x), the same for all C, to p_0: E[w] = 1 / p(x)."""
  betas = schedule(settings.num_temperatures)[::-1]
  step_sizes = jnp.concatenate([step_sizes[-2::-1], step_sizes[:1]])  # the last transition, at p_0, changes no weight
  chain = lambda key: anneal(key, z, path, betas, step_sizes, settings.num_leapfrog)[0]
  return samples.map_samples(chain, key, settings.num_chains, settings.chunk)


def _tuned(model: Any, state: Any, key: jax.Array, batch: dict, settings: Settings) -> tuple[Path, jax.Array]:
  """The path of each example and, from a pilot run, its step sizes."""
  path = make_path(model.bind({"params": state.params, **state.variables}), batch, settings.start)
  betas = schedule(settings.num_temperatures)
  pilot = (settings.num_leapfrog, settings.pilot_chains, settings.pilot_updates)
  return path, tune(rng.stream(key, "pilot"), path, betas, *pilot)


def make_log_px(experiment: Any, batch_size: int = 10, **settings: Any) -> Callable:
  """(state, key, data, progress) -> {"log_px", "ess", "acceptance"}, each [N].

  log_px = log 1/C sum_c w_c, with a Monte Carlo error of about sqrt(1/ess - 1/C); ess, Kish's effective number of the C
  chains; acceptance, the mean over chains and temperatures.  For `settings` see Settings.
  """
  settings = Settings(**settings)

  def eval_step(state, key, batch):
    path, step_sizes = _tuned(experiment.model, state, key, batch, settings)
    log_w, acceptance = _forward(rng.stream(key, "forward"), path, step_sizes, settings)
    return {
      "log_px": estimators.iwae(log_w) + batch.get("log_det", 0.0),  # in the units of the data
      "ess": estimators.effective_sample_size(log_w),
      "acceptance": jnp.mean(acceptance, 0),
    }

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def simulate(model: Any, state: Any, key: jax.Array, n: int) -> dict[str, jax.Array]:
  """{"x": [n, ...], "z": [n, L]}: draws x of the model with the z that generated them, exact draws from p(z|x).

  Raises:
    UserError: the model is not of the form z ~ N(0, I), x ~ decode(z).
  """
  bound_model = model.bind({"params": state.params, **state.variables})
  errors.require(
    hasattr(model, "decode") and hasattr(model, "latent_dim"),
    "evaluate.ais.bdmc_examples needs a model with z ~ N(0, I), x ~ decode(z), unlike this model: set it to 0.",
  )
  key_z, key_x = jax.random.split(key)
  prior = standard_normal(model.latent_dim)
  z = prior.sample(seed=key_z, sample_shape=(n,))
  x = bound_model.decode(z).sample(seed=key_x).reshape(n, *model.data_shape)
  _, log_pz = bound_model.log_joint({"x": x}, z)
  errors.require(
    bool(jnp.allclose(log_pz, prior.log_prob(z), rtol=1e-3)),
    "evaluate.ais.bdmc_examples needs a model whose prior is N(0, I), unlike this model's: set it to 0.",
  )
  return {"x": x, "z": z}


def make_bdmc(experiment: Any, batch_size: int = 10, **settings: Any) -> Callable:
  """(state, key, simulated, progress) -> {"lower", "upper"}, each [N], for the output of `simulate`.

  E[lower] <= log p(x) <= E[upper] (Grosse, Ghahramani & Adams, 2015; Wu et al., 2017), lower = log 1/C sum_c w_c by
  chains from p_0, upper = -log 1/C sum_c w_c by chains from the exact posterior draw, both with the same step sizes.
  """
  settings = Settings(**settings)

  def eval_step(state, key, batch):
    path, step_sizes = _tuned(experiment.model, state, key, batch, settings)
    log_w, _ = _forward(rng.stream(key, "forward"), path, step_sizes, settings)
    log_w_back = _backward(rng.stream(key, "backward"), batch["z"], path, step_sizes, settings)
    return {"lower": estimators.iwae(log_w), "upper": -estimators.iwae(log_w_back)}

  return make_evaluate_examples(eval_step, lambda key, batch: batch, batch_size)


def check(*, num_examples: int = 1, bdmc_examples: int = 0, batch_size: int = 1, **settings: Any) -> None:
  """Raises UserError for an invalid option."""
  settings = Settings(**settings)._asdict()
  errors.choose("value of evaluate.ais.start", settings.pop("start"), STARTS)
  for name, value in settings.items() | {"num_examples": num_examples, "batch_size": batch_size}.items():
    errors.require(value >= 1, f"evaluate.ais.{name} = {value}; it must be 1 or more.")
  errors.require(bdmc_examples >= 0, f"evaluate.ais.bdmc_examples = {bdmc_examples}; it must be 0 (none) or more.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 100,
  bdmc_examples: int = 0,
  batch_size: int = 10,
  **settings: Any,
) -> dict[str, Any]:
  """log p(x) ~ log 1/C sum_c w_c by annealed importance sampling (Neal, 2001; Wu et al., 2017), in nats.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: number of examples to use, the first ones; 1000 temperatures take some seconds per image on a CPU.
    bdmc_examples: number of images to simulate from the model for bounds from both sides; 0 for none.
    batch_size: images at once.
    **settings: see Settings.

  Returns:
    ais_log_px, its standard error over examples, ais_nll, ais_ess (of the chains), ais_acceptance; with bdmc_examples,
    bdmc_lower, bdmc_upper and bdmc_gap, which calibrate AIS on simulated images but guarantee nothing for `arrays`.
    "values" holds ais_log_px, ais_ess and ais_acceptance of each example.
  """
  arrays = {name: a[:num_examples] for name, a in arrays.items()}
  run = make_log_px(experiment, batch_size, **settings)
  with progress_bar(len(arrays["x"]), description="log p(x) by annealing", unit="image") as bar:
    examples = run(state, key, arrays, bar.update)
  values = {name: mean_and_error(v) for name, v in examples.items()}
  results = {
    "ais_nll": -values["log_px"][0],
    "ais_log_px": values["log_px"][0],
    "ais_log_px_stderr": values["log_px"][1],
    "ais_ess": values["ess"][0],
    "ais_acceptance": values["acceptance"][0],
    "ais_examples": len(arrays["x"]),
    "ais_note": STOCHASTIC_BOUND,
    "values": {f"ais_{name}": v for name, v in examples.items()},
  }
  if bdmc_examples:
    results |= _calibrate(experiment, state, rng.stream(key, "simulate"), bdmc_examples, batch_size, settings)
  return results


def _calibrate(experiment, state, key, n: int, batch_size: int, settings: dict) -> dict[str, Any]:
  """The BDMC part of `evaluate`'s results."""
  simulated = simulate(experiment.model, state, key, n)
  with progress_bar(n, description="bidirectional annealing", unit="image") as bar:
    values = make_bdmc(experiment, batch_size, **settings)(state, key, simulated, bar.update)
  gap, error = mean_and_error(values["upper"] - values["lower"])
  return {
    "bdmc_lower": mean_and_error(values["lower"])[0],
    "bdmc_upper": mean_and_error(values["upper"])[0],
    "bdmc_gap": gap,
    "bdmc_gap_stderr": error,
    "bdmc_examples": n,
    "bdmc_note": "the error of AIS on images that the model generated; no certificate for test data",
  }
