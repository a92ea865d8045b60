"""A trained model with its parameters, to work with in a notebook."""

import functools
import math
import pathlib
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax import evaluate
from dgm_jax.core import errors, registry, rng
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import importance_sampling
from dgm_jax.inference import imputation
from dgm_jax.training import checks
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import legacy_configs


def identity(key: jax.Array, batch: dict) -> dict:
  """The batch as it is: a transform for data that needs none."""
  del key
  return batch


class LatentModel:
  """A model with its parameters.  Programs are compiled once for each shape and set of options.

  x is an array [N, *data_shape] (or flat, [N, D]), or a dict of arrays with x among them, of what the model is of:
  binary images for a Bernoulli decoder trained on binarised ones.  With transform=True it is the data as it is stored
  (uint8 grey levels), and the transforms of the run are applied to it with a fixed key; densities are then those of
  the data before the transforms.  Results are NumPy arrays; densities in nats.

  Attributes:
    experiment: model and transforms, what the evaluations take.
    state: step and parameters.
    config: the run's config; None for functions.
  """

  def __init__(self, experiment: Any, state: Any, config: ConfigDict | None = None):
    self.experiment, self.state, self.config = experiment, state, config
    self._program = functools.cache(self._make_program)

  @property
  def step(self) -> int:
    """Updates so far."""
    return int(self.state.step)

  @property
  def params(self) -> Any:
    """The tree of parameters."""
    return self.state.params

  def log_px(self, x: Any, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int) -> Any:
    """The importance-weighted bound with k samples, [N]: E[log p_hat] <= log p(x), P(log p_hat > log p + b) <= e^-b.

    Sizes: batch_size examples and chunk samples at once, see evaluate.importance_sampling.
    """
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["log_px"]

  def elbo(self, x: Any, k: int = 100, *, seed: int = 0, transform: bool = False, **sizes: int) -> Any:
    """E_q[log p(x, z) - log q(z|x)] by k samples, [N], unbiased."""
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["elbo"]

  def importance(
    self, x: Any, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int
  ) -> dict[str, Any]:
    """{"log_px", "elbo", "ess", "log_px_error"}, each [N]; see evaluate.importance_sampling.make_log_px."""
    importance_sampling.check(num_samples=k, **sizes)
    return self._run("importance", x, seed, transform, k=k, **sizes)

  def encode(self, x: Any, key: jax.Array | None = None, *, transform: bool = False) -> Any:
    """E_q[z|x], [N, L]; with a key a draw z ~ q(z|x), a tuple of layers for a hierarchy."""
    name = "encode" if key is None else "draw"
    return self._run(name, x, 0 if key is None else key, transform, batch_size=500)

  def decode(self, z: Any) -> Any:
    """E[x|z], [N, *data_shape]; z as `encode` gives it."""
    return jax.device_get(self._program("decode")(self.state, jax.tree.map(jnp.asarray, z)))

  def sample(self, n: int, seed: int = 0) -> Any:
    """n draws x ~ p(x), [n, *data_shape]."""
    return jax.device_get(self._program("sample")(self.state, rng.stream(jax.random.key(seed), "sample"), n))

  def impute(self, x: Any, mask: Any, k: int = 1000, *, seed: int = 0, batch_size: int = 10, index: Any = None) -> Any:
    """x with E[x_missing | x_observed] where mask is 0, by self-normalised importance (Mattei & Frellsen, 2019).

      sum_k w_k E[x|z_k] / sum_k w_k,   w_k = p(x_observed|z_k) p(z_k) / q(z_k|x_observed)

    Its bias is of order 1/k; see imputation/importance.py.  What x holds where it is missing, be it NaN, has no
    influence.  A row's noise is a function of its `index`, integers [N], or else of what is observed of it: not of the
    rows beside it.

    Raises:
      UserError: the model does not take masks.
    """
    errors.require(
      getattr(self.experiment.model, "takes_mask", False), "This model is of complete data: it takes no mask to impute."
    )
    errors.require(k >= 1, f"k = {k} importance samples; it must be 1 or more.")
    shape = (-1, *self.experiment.model.data_shape)
    x, mask = (jnp.asarray(a, jnp.float32).reshape(shape) for a in (x, mask))
    arrays = {"x": jnp.where(mask > 0, x, 0.0), "mask": mask}
    arrays["index"] = rng.content_index(*arrays.values()) if index is None else jnp.asarray(index)
    filled = self._run("impute", arrays, seed, False, k=k, batch_size=batch_size)
    return jax.device_get(jnp.where(mask > 0, x, filled))

  def evaluate(self, name: str, x: Any, *, seed: int = 0, transform: bool = False, **options: Any) -> dict[str, Any]:
    """The evaluation dgm_jax/evaluate/NAME.py of x with its options: {name: number}, "values": {name: [N]}."""
    evaluation = registry.module(evaluate, "evaluation", name)
    evaluation.check(**options)
    checks.check_evaluation(name, evaluation, self.experiment.model)
    errors.require(
      name != "means" or hasattr(self.experiment.system, "eval_step"),
      "'means' are of a run's eval_step: there is none.",
    )
    found = evaluation.evaluate(
      self._seen(transform), self.state, self._key(seed), self._arrays(x, transform), **options
    )
    return jax.device_get(found)

  def _key(self, seed: int | jax.Array) -> jax.Array:
    return rng.stream(jax.random.key(seed) if isinstance(seed, int) else seed, "eval")

  def _seen(self, transform: bool) -> Any:
    """The experiment with its transforms, or without."""
    transforms = self.experiment.transforms if transform else types.SimpleNamespace(evaluate=identity)
    return types.SimpleNamespace(
      model=self.experiment.model, transforms=transforms, system=getattr(self.experiment, "system", None)
    )

  def _arrays(self, x: Any, transform: bool) -> dict[str, Any]:
    """The dict of arrays that a batch is cut from."""
    arrays = dict(x) if isinstance(x, dict) else {"x": x}
    shape, given = tuple(self.experiment.model.data_shape), jnp.shape(arrays["x"])
    flat = len(given) == 2 and given[1] == math.prod(shape)
    errors.require(
      given[1:] == shape or flat, f"x is of shape {list(given)}; [N, {', '.join(map(str, shape))}] is expected."
    )
    arrays["x"] = jnp.asarray(arrays["x"]).reshape(-1, *shape)
    if not transform:
      arrays["x"] = arrays["x"].astype(jnp.float32)
      low, high = getattr(self.experiment.model, "support", (-jnp.inf, jnp.inf))
      observed = (
        arrays["x"][jnp.asarray(arrays["mask"]).reshape(arrays["x"].shape) > 0] if "mask" in arrays else arrays["x"]
      )
      least, greatest = float(observed.min(initial=jnp.inf)), float(observed.max(initial=-jnp.inf))
      errors.require(
        not observed.size or low <= least <= greatest <= high,
        f"x is in [{least:g}, {greatest:g}], the model's in [{low:g}, {high:g}]: transform=True applies the run's "
        "transforms.",
      )
    return {"index": jnp.arange(len(arrays["x"]), dtype=jnp.int32)} | arrays

  def _run(self, name: str, x: Any, seed: int | jax.Array, transform: bool, **options: Any) -> Any:
    program = self._program(name, transform=transform, **options)
    return jax.device_get(program(self.state, self._key(seed), self._arrays(x, transform)))

  def _make_program(self, name: str, transform: bool = False, **options: Any) -> Callable:
    seen = self._seen(transform)
    bind = lambda state: seen.model.bind({"params": state.params, **state.variables})
    missing = [m for m in ("infer", "log_joint") if not hasattr(seen.model, m)]
    errors.require(name == "sample" or not missing, "This model has no q(z|x) and p(x, z) to weigh samples by.")
    if name == "sample":
      errors.require(self.experiment.system.sample is not None, "This model is of y given x: it generates no x.")
      return jax.jit(self.experiment.system.sample, static_argnums=2)
    if name == "decode":
      return jax.jit(lambda state, z: bind(state).reconstruct(z))
    if name == "importance":
      return importance_sampling.make_log_px(seen, options.pop("k"), **options)
    if name == "impute":
      step = lambda held, _, batch: _impute(bind(held[0]), held[1], batch, options["k"])
      run = make_evaluate_examples(step, seen.transforms.evaluate, options["batch_size"])
      return lambda state, key, arrays: run((state, key), key, arrays)  # one key for all batches
    step = {
      "encode": lambda state, key, batch: _mean(bind(state).infer(batch)),
      "draw": lambda state, key, batch: bind(state).infer(batch).sample(seed=key),
    }[name]
    return make_evaluate_examples(step, seen.transforms.evaluate, options["batch_size"])


def _mean(q: Any) -> jax.Array:
  try:
    return q.mean()
  except (AttributeError, NotImplementedError) as e:
    raise errors.UserError("The mean of this q(z|x) has no closed form; give a key for a draw from it.") from e


def _impute(bound_model: Any, key: jax.Array, batch: dict, k: int) -> jax.Array:
  """E[x | x_observed], [B, ...]."""
  return imputation.single(bound_model, rng.row_keys(key, batch["index"]), batch, k).x


def load(workdir: str | pathlib.Path) -> LatentModel:
  """The newest checkpoint of a run, finished or not; its data must be there.

  Raises:
    UserError: no run, no checkpoint, other data.
  """
  path = pathlib.Path(workdir)
  found = legacy_configs.read_config(path)
  errors.require(found is not None, f"{path} holds no run (it has no config.json).")
  config = ConfigDict(found)
  return LatentModel(*restore(config, path), config)
