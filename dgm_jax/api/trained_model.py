"""A trained model with its parameters, for interactive use in a notebook."""

import functools
import math
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from ml_collections import ConfigDict

from dgm_jax.api.programs import make_program
from dgm_jax.core import errors, references, rng
from dgm_jax.data import conditioning, units
from dgm_jax.data.given import without_missing
from dgm_jax.evaluate import chosen, exact_likelihood, importance_sampling
from dgm_jax.training import checks, given_runs, sampling

Examples = npt.ArrayLike | Mapping[str, npt.ArrayLike]  # x, or arrays that include x


def identity(key: jax.Array, batch: dict) -> dict:
  """Returns the batch unchanged: the transform for data that needs none."""
  del key
  return batch


class LatentModel:
  """A model with its parameters.  Programs are compiled once for each shape and set of options.

  x is an array [N, *data_shape] (or flat, [N, D]), or a dict of arrays that includes x.  It holds values as the model
  sees them, for instance binary images for a Bernoulli decoder trained on binarised ones.  With transform=True, x holds
  the data as stored (uint8 grey levels) and the run's transforms are applied with a fixed key; densities then refer to
  the data before the transforms.  The same pictures in other types (int64, bool, [0, 1] where the transforms take that)
  give the same values; x on another scale, and NaN without a mask, are refused.  Results are NumPy arrays; densities
  are in nats.

  Attributes:
    experiment: model and transforms, as the evaluations expect them.
    state: step and parameters.
    config: the run's config; None for a model made by from_functions.
    results: the run's final numbers, as in results.json; {} for a run that is not finished.
    source: the run's folder, or the file, that it was loaded from; None for a model made by from_functions.
  """

  def __init__(
    self,
    experiment: Any,
    state: Any,
    config: ConfigDict | None = None,
    results: Mapping[str, Any] | None = None,
    source: pathlib.Path | None = None,
  ):
    self.experiment, self.state, self.config = experiment, state, config
    self.results, self.source = dict(results or {}), source
    make = lambda name, transform=False, **options: make_program(self._seen(transform), name, **options)
    self._program = functools.cache(make)

  def __repr__(self) -> str:
    if self.config is None:
      return f"LatentModel({type(self.experiment.model).__name__})"
    numbers = [f"{k} = {self.results[k]:.5g}" for k in ("test/log_px", "test/nll") if k in self.results]
    config = self.config.to_dict()
    what = [
      f"{config['model']['name']} of {config['data']['name']}",
      f"step {self.step}",
      *numbers[:1],
      f"{self.source}",
    ]
    return f"LatentModel({', '.join(what)})"

  @property
  def _name(self) -> str:
    return type(self.experiment.model).__name__ if self.config is None else self.config.to_dict()["model"]["name"]

  @property
  def step(self) -> int:
    """Number of training steps taken."""
    return int(self.state.step)

  @property
  def params(self) -> Mapping[str, Any]:
    """Tree of parameters."""
    return self.state.params

  def log_px(self, x: Examples, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int) -> np.ndarray:
    """The importance-weighted bound with k samples, [N]: E[log p_hat] <= log p(x), P(log p_hat > log p + b) <= e^-b.

    For a model with an exact likelihood, such as a mixture, log p(x) itself; k then has no influence.  `sizes` are
    batch_size (examples at once) and chunk (samples at once); see evaluate.importance_sampling.
    """
    model = self.experiment.model
    if all(hasattr(model, name) for name in exact_likelihood.NEEDS) and not hasattr(model, "infer"):
      importance_sampling.check(num_samples=k, **sizes)
      return self._run("log_prob", x, seed, transform, batch_size=sizes.get("batch_size"))
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["log_px"]

  def elbo(self, x: Examples, k: int = 100, *, seed: int = 0, transform: bool = False, **sizes: int) -> np.ndarray:
    """Unbiased estimate of E_q[log p(x, z) - log q(z|x)] from k samples, [N]."""
    return self.importance(x, k, seed=seed, transform=transform, **sizes)["elbo"]

  def importance(
    self, x: Examples, k: int = 5000, *, seed: int = 0, transform: bool = False, **sizes: int
  ) -> dict[str, np.ndarray]:
    """{"log_px", "elbo", "ess", "log_px_error"}, each [N]; see evaluate.importance_sampling.make_log_px."""
    importance_sampling.check(num_samples=k, **sizes)
    return self._run("importance", x, seed, transform, k=k, **sizes)

  def encode(
    self, x: Examples, key: jax.Array | None = None, *, transform: bool = False
  ) -> np.ndarray | tuple[np.ndarray, ...]:
    """E_q[z|x], [N, L]; with a key, a draw z ~ q(z|x) (for a hierarchical model a tuple with one entry per layer)."""
    return self._run("encode" if key is None else "draw", x, 0 if key is None else key, transform)

  def decode(self, z: npt.ArrayLike | tuple[npt.ArrayLike, ...]) -> np.ndarray:
    """E[x|z], [N, *data_shape], for z as returned by `encode`.  Raises UserError if z is of another shape."""
    given = tuple(map(np.asarray, z)) if isinstance(z, tuple) else np.asarray(z)
    shapes = ", ".join(str(list(a.shape)) for a in jax.tree.leaves(given))
    errors.require(all(a.ndim and len(a) for a in jax.tree.leaves(given)), f"z is of shape {shapes}: it has no rows.")
    try:
      return self._program("decode")(self.state, given)
    except (TypeError, ValueError, flax.errors.FlaxError) as e:  # of the model's network
      said = " ".join(str(e).split())[:200].rstrip(".")
      raise errors.UserError(f"z of shape {shapes} is not as `encode` returns it: {said}.") from e

  def sample(self, n: int, seed: int = 0, **options: float) -> np.ndarray:
    """n draws x ~ p(x), [n, *data_shape].

    `options` of autoregressive models: temperature, top_k, top_p; of GANs: y, a class, and truncation, a bound of |z|.
    """
    sampling.check(self.experiment.model, self._name, options)
    return self._program("sample", **options)(self.state, rng.stream(jax.random.key(seed), "sample"), n)

  def complete(
    self, x: Examples, mask: npt.ArrayLike, *, seed: int = 0, transform: bool = False, **options: float
  ) -> np.ndarray:
    """x with draws of the entries where mask is 0, given those where it is 1, [N, *data_shape].

    For autoregressive models: the known entries must come first in their order, except for `orderless`; and for flows
    that are given columns, which alone are known.  Values of x where mask is 0 have no influence.  The result is x as
    the model sees it.  `options`: as of `sample`.

    Raises:
      UserError: the model has no `complete`, or the mask is not one that it can complete.
    """
    model = self.experiment.model
    errors.require(hasattr(model, "complete"), f"Model {self._name!r} cannot draw some entries of x given others.")
    sampling.check(model, self._name, options)
    arrays = dict(x) if isinstance(x, Mapping) else {"x": x}
    seen = np.asarray(mask, np.float32).reshape(np.shape(arrays["x"]))
    arrays = self._arrays(arrays | {"mask": seen}, transform, takes_mask=True)
    arrays["mask"] = arrays["mask"].reshape(arrays["x"].shape)
    columns = getattr(self.experiment.transforms, "given_columns", ()) if transform else ()
    seen = conditioning.of_x(arrays["mask"], columns)
    model.bind({"params": self.state.params, **self.state.variables}).check_known(seen)
    return self._program("complete", transform, **options)(self.state, self._key(seed), arrays)

  def impute(
    self,
    x: npt.ArrayLike,
    mask: npt.ArrayLike,
    k: int = 1000,
    *,
    seed: int = 0,
    batch_size: int = 10,
    index: npt.ArrayLike | None = None,
  ) -> np.ndarray:
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
    given, mask = (np.asarray(a, np.float32).reshape(shape) for a in (x, mask))
    arrays = {"x": np.where(mask > 0, given, np.float32(0)), "mask": mask}
    rows = rng.content_index(*map(jnp.asarray, arrays.values())) if index is None else index
    arrays["index"] = np.asarray(rows)
    filled = self._run("impute", arrays, seed, False, k=k, batch_size=batch_size)
    return np.where(mask > 0, given, filled)

  def evaluate(
    self, name: str, x: Examples, *, seed: int = 0, transform: bool = False, **options: Any
  ) -> dict[str, Any]:
    """Runs the evaluation dgm_jax/evaluate/NAME.py on x; returns {name: number} and "values": {name: [N]}.

    `name` may also be a module of one's own, "mine.py" or "my_package.mine".
    """
    evaluation = chosen.find(name, options | ({"from": name} if references.is_own(name) else {}))
    checks.check_evaluation(evaluation, self.experiment.model)
    options = evaluation.handed(given_runs.load).options
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
    seen = self.experiment
    as_given = types.SimpleNamespace(evaluate=identity, dequantizes=False, redraws=False, keeps_levels=False)
    transforms = seen.transforms if transform else as_given
    return types.SimpleNamespace(model=seen.model, transforms=transforms, system=seen.system, splits=seen.splits)

  def _arrays(self, x: Examples, transform: bool, takes_mask: bool = False) -> dict[str, np.ndarray]:
    """The dict of arrays that batches are sliced from; `takes_mask`: whether a mask is used, whatever the model."""
    arrays = {k: np.asarray(a) for k, a in (x.items() if isinstance(x, Mapping) else [("x", x)])}
    transforms, given = self.experiment.transforms if transform else None, arrays["x"].shape
    shape = tuple(getattr(transforms, "shape", self.experiment.model.data_shape))
    flat = len(given) == 2 and given[1] == math.prod(shape)
    errors.require(
      given[1:] == shape or flat, f"x is of shape {list(given)}; [N, {', '.join(map(str, shape))}] is expected."
    )
    errors.require(given[0] >= 1, "x has no examples.")
    model = self.experiment.model
    arrays["x"] = arrays["x"].reshape(-1, *shape)
    arrays = without_missing(arrays, takes_mask or getattr(model, "takes_mask", False))
    of_run = getattr(transforms, "given", None)
    if of_run:
      arrays, (least, greatest) = of_run(arrays)
    else:
      errors.require(
        units.lost(arrays["x"]) is None,
        "Different values of x become equal in float32; give x as the model sees it, standardised.",
      )
      arrays["x"] = arrays["x"].astype(np.float32)
      observed = arrays["x"][arrays["mask"] > 0] if "mask" in arrays else arrays["x"]
      least, greatest = float(observed.min(initial=np.inf)), float(observed.max(initial=-np.inf))
    low, high = checks.support(model)
    after, hint = (
      (" after the run's transforms", "") if of_run else ("", ": transform=True applies the run's transforms")
    )
    errors.require(
      (low <= least and greatest <= high) or least > greatest,  # no entry is observed
      f"x has values in [{least:g}, {greatest:g}]{after}, but the model expects [{low:g}, {high:g}]{hint}.",
    )
    return {"index": np.arange(len(arrays["x"]), dtype=np.int32)} | arrays

  def _run(self, name: str, x: Examples, seed: int | jax.Array, transform: bool, **options: Any) -> Any:
    program = self._program(name, transform=transform, **options)
    return jax.device_get(program(self.state, self._key(seed), self._arrays(x, transform)))
