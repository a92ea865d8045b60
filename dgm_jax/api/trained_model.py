"""A trained model with its parameters, for interactive use in a notebook."""

import functools
import math
import pathlib
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax.core import errors, references, rng
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate import chosen, importance_sampling
from dgm_jax.inference import imputation
from dgm_jax.training import checks
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import legacy_configs


def identity(key: jax.Array, batch: dict) -> dict:
  """Returns the batch unchanged: the transform for data that needs none."""
  del key
  return batch


class LatentModel:
  """A model with its parameters.  Programs are compiled once for each shape and set of options.

  x is an array [N, *data_shape] (or flat, [N, D]), or a dict of arrays that includes x.  It holds values as the model
  sees them, for instance binary images for a Bernoulli decoder trained on binarised ones.  With transform=True, x holds
  the data as stored (uint8 grey levels) and the run's transforms are applied with a fixed key; densities then refer to
  the data before the transforms.  Results are NumPy arrays; densities are in nats.

  Attributes:
    experiment: model and transforms, as the evaluations expect them.
    state: step and parameters.
    config: the run's config; None for a model made by from_functions.
  """

  def __init__(self, experiment: Any, state: Any, config: ConfigDict | None = None):
    self.experiment, self.state, self.config = experiment, state, config
    self._program = functools.cache(self._make_program)

  @property
  def step(self) -> int:
    """Number of training steps taken."""
    return int(self.state.step)

  @property
  def params(self) -> Any:
    """Tree of parameters."""
    return self.state.params

  def log_px(self, x: Any, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int) -> Any:
    """The importance-weighted bound with k samples, [N]: E[log p_hat] <= log p(x), P(log p_hat > log p + b) <= e^-b.

    `sizes` are batch_size (examples at once) and chunk (samples at once); see evaluate.importance_sampling.
    """
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["log_px"]

  def elbo(self, x: Any, k: int = 100, *, seed: int = 0, transform: bool = False, **sizes: int) -> Any:
    """Unbiased estimate of E_q[log p(x, z) - log q(z|x)] from k samples, [N]."""
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["elbo"]

  def importance(
    self, x: Any, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int
  ) -> dict[str, Any]:
    """{"log_px", "elbo", "ess", "log_px_error"}, each [N]; see evaluate.importance_sampling.make_log_px."""
    importance_sampling.check(num_samples=k, **sizes)
    return self._run("importance", x, seed, transform, k=k, **sizes)

  def encode(self, x: Any, key: jax.Array | None = None, *, transform: bool = False) -> Any:
    """E_q[z|x], [N, L]; with a key, a draw z ~ q(z|x) (for a hierarchical model a tuple with one entry per layer)."""
    name = "encode" if key is None else "draw"
    return self._run(name, x, 0 if key is None else key, transform, batch_size=500)

  def decode(self, z: Any) -> Any:
    """E[x|z], [N, *data_shape], for z as returned by `encode`."""
    return jax.device_get(self._program("decode")(self.state, jax.tree.map(jnp.asarray, z)))

  def sample(self, n: int, seed: int = 0) -> Any:
    """n draws x ~ p(x), [n, *data_shape]."""
    return jax.device_get(self._program("sample")(self.state, rng.stream(jax.random.key(seed), "sample"), n))

  def impute(self, x: Any, mask: Any, k: int = 1000, *, seed: int = 0, batch_size: int = 10, index: Any = None) -> Any:
    """x with E[x_missing | x_observed] where mask is 0, by importance sampling (Mattei & Frellsen, 2019).

      sum_k w_k E[x|z_k] / sum_k w_k,   w_k = p(x_observed|z_k) p(z_k) / q(z_k|x_observed)

    The bias is of order 1/k; see inference/imputation.py.  Values of x where mask is 0, including NaN, have no
    influence.  A row's noise depends only on its `index` (integers [N]) or, without one, on its observed entries; it
    does not depend on the other rows.

    Raises:
      UserError: the model does not support missing entries, or k is less than 1.
    """
    errors.require(
      getattr(self.experiment.model, "takes_mask", False),
      "This model does not support missing entries: it takes no mask.",
    )
    errors.require(k >= 1, f"k = {k}; the number of importance samples must be 1 or more.")
    shape = (-1, *self.experiment.model.data_shape)
    x, mask = (jnp.asarray(a, jnp.float32).reshape(shape) for a in (x, mask))
    arrays = {"x": jnp.where(mask > 0, x, 0.0), "mask": mask}
    arrays["index"] = rng.content_index(*arrays.values()) if index is None else jnp.asarray(index)
    filled = self._run("impute", arrays, seed, False, k=k, batch_size=batch_size)
    return jax.device_get(jnp.where(mask > 0, x, filled))

  def evaluate(self, name: str, x: Any, *, seed: int = 0, transform: bool = False, **options: Any) -> dict[str, Any]:
    """Runs the evaluation dgm_jax/evaluate/NAME.py on x; returns {name: number} and "values": {name: [N]}.

    `name` may also be a module of one's own, "mine.py" or "my_package.mine".
    """
    evaluation = chosen.find(name, options | ({"from": name} if references.is_own(name) else {}))
    checks.check_evaluation(evaluation, self.experiment.model)
    errors.require(
      name != "means" or hasattr(self.experiment.system, "eval_step"),
      "The evaluation 'means' needs a trained run's eval_step; this model has none.",
    )
    found = evaluation.run(self._seen(transform), self.state, self._key(seed), self._arrays(x, transform), **options)
    return jax.device_get(found)

  def _key(self, seed: int | jax.Array) -> jax.Array:
    return rng.stream(jax.random.key(seed) if isinstance(seed, int) else seed, "eval")

  def _seen(self, transform: bool) -> Any:
    """The experiment, with its transforms or with the identity instead."""
    transforms = self.experiment.transforms if transform else types.SimpleNamespace(evaluate=identity)
    return types.SimpleNamespace(
      model=self.experiment.model, transforms=transforms, system=getattr(self.experiment, "system", None)
    )

  def _arrays(self, x: Any, transform: bool) -> dict[str, Any]:
    """The dict of arrays that batches are sliced from."""
    arrays = dict(x) if isinstance(x, dict) else {"x": x}
    shape, given = tuple(self.experiment.model.data_shape), jnp.shape(arrays["x"])
    flat = len(given) == 2 and given[1] == math.prod(shape)
    errors.require(
      given[1:] == shape or flat, f"x is of shape {list(given)}; [N, {', '.join(map(str, shape))}] is expected."
    )
    arrays["x"] = jnp.asarray(arrays["x"]).reshape(-1, *shape)
    if not transform:
      arrays["x"] = arrays["x"].astype(jnp.float32)
      low, high = checks.support(self.experiment.model)
      observed = (
        arrays["x"][jnp.asarray(arrays["mask"]).reshape(arrays["x"].shape) > 0] if "mask" in arrays else arrays["x"]
      )
      least, greatest = float(observed.min(initial=jnp.inf)), float(observed.max(initial=-jnp.inf))
      errors.require(
        not observed.size or low <= least <= greatest <= high,
        f"x has values in [{least:g}, {greatest:g}], but the model expects [{low:g}, {high:g}]: transform=True applies "
        "the run's transforms.",
      )
    return {"index": jnp.arange(len(arrays["x"]), dtype=jnp.int32)} | arrays

  def _run(self, name: str, x: Any, seed: int | jax.Array, transform: bool, **options: Any) -> Any:
    program = self._program(name, transform=transform, **options)
    return jax.device_get(program(self.state, self._key(seed), self._arrays(x, transform)))

  def _make_program(self, name: str, transform: bool = False, **options: Any) -> Callable:
    seen = self._seen(transform)
    bind = lambda state: seen.model.bind({"params": state.params, **state.variables})
    missing = [m for m in ("infer", "log_joint") if not hasattr(seen.model, m)]
    errors.require(name == "sample" or not missing, f"This model does not provide {' and '.join(missing)}.")
    if name == "sample":
      errors.require(
        self.experiment.system.sample is not None, "This model is conditional, p(y|x): it cannot sample x."
      )
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
    raise errors.UserError("The mean of this q(z|x) has no closed form; pass a key to draw from it instead.") from e


def _impute(bound_model: Any, key: jax.Array, batch: dict, k: int) -> jax.Array:
  """E[x | x_observed], [B, ...], by k importance samples."""
  return imputation.single(bound_model, rng.row_keys(key, batch["index"]), batch, k).x


def load(workdir: str | pathlib.Path) -> LatentModel:
  """Loads the latest checkpoint of a run, finished or not.  The run's data set must be available.

  Raises:
    UserError: there is no run or no checkpoint, or the data differs from the run's.
  """
  path = pathlib.Path(workdir)
  found = legacy_configs.read_config(path)
  errors.require(found is not None, f"{path} holds no run (it has no config.json).")
  config = ConfigDict(found)
  return LatentModel(*restore(config, path), config)
