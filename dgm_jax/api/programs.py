"""The compiled programs of a trained model: log p(x), encode, decode, sample, complete, impute.

All but log p(x) take any number of examples without being compiled anew: the rows are padded to whole batches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_step
from dgm_jax.evaluate import exact_likelihood, importance_sampling
from dgm_jax.inference import imputation
from dgm_jax.training import sampling

_ROWS = 100  # of a batch of `encode` and `decode`
_DRAWS = 64  # samples are drawn in numbers that are powers of two up to this one, then multiples of it


def bound(experiment: Any, state: Any) -> Any:
  """The model with the parameters of a state."""
  return experiment.model.bind({"params": state.params, **state.variables})


def make_program(experiment: Any, name: str, k: int = 0, batch_size: int | None = None, **sizes: Any) -> Callable:
  """The program `name`, whose first argument is the state.

  Args:
    experiment: the model, its system, and the transforms to apply.
    name: importance, log_prob, encode, draw, complete or impute: of (state, key, arrays); decode: of (state, z);
      sample: of (state, key, n).
    k: importance samples.
    batch_size: examples at once; None for the program's default.
    **sizes: further options of evaluate.importance_sampling, or of draws.

  Raises:
    UserError: the model lacks what the program needs.
  """
  if name == "sample":
    return _sampler(experiment, sizes)
  needs = {"log_prob": exact_likelihood.NEEDS, "complete": ("complete",)}.get(name, ("infer", "log_joint"))
  point = hasattr(experiment.model, "encode") and not hasattr(experiment.model, "infer")  # z(x) of an autoencoder
  if point and name in ("encode", "decode"):
    needs = ("encode", "reconstruct")
  missing = [m for m in needs if not hasattr(experiment.model, m)]
  errors.require(not missing, f"This model does not provide {' and '.join(missing)}.")
  if name == "importance":
    batch = {} if batch_size is None else {"batch_size": batch_size}
    return importance_sampling.make_log_px(experiment, k, **batch, **sizes)
  rows = batch_size or _ROWS
  if name == "decode":
    compiled = jax.jit(lambda state, z: bound(experiment, state).reconstruct(z))
    return lambda state, z: in_batches(lambda part, start: compiled(state, part), z, rows)
  if name == "impute":  # one key for all batches: a row's draws depend on its index alone
    step = lambda held, _, batch: _impute(bound(experiment, held[0]), held[1], batch, k)
    held = lambda state, key: (state, key)
  else:
    held = lambda state, key: state
    step = {
      "log_prob": lambda state, key, batch: bound(experiment, state).log_prob(batch) + batch.get("log_det", 0.0),
      "complete": lambda state, key, batch: bound(experiment, state).complete(key, batch, **sizes),
      "encode": lambda state, key, batch: (
        bound(experiment, state).encode(batch) if point else mean(bound(experiment, state).infer(batch))
      ),
      "draw": lambda state, key, batch: bound(experiment, state).infer(batch).sample(seed=key),
    }[name]
  compiled = jax.jit(make_evaluate_step(step, experiment.transforms.evaluate))
  return lambda state, key, arrays: in_batches(
    lambda part, start: compiled(held(state, key), key, part, start), arrays, rows
  )


def in_batches(function: Callable, arrays: Any, batch_size: int) -> Any:
  """function(batch, start) for all rows of a tree of arrays [N, ...], in batches of one size: the last is padded."""
  n = len(jax.tree.leaves(arrays)[0])
  rows = np.minimum(np.arange(-(-max(n, 1) // batch_size) * batch_size), max(n - 1, 0))
  found = []
  for start in range(0, len(rows), batch_size):
    take = rows[start : start + batch_size]
    found.append(jax.device_get(function(jax.tree.map(lambda a: a[take], arrays), start)))
  return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *found)


def _sampler(experiment: Any, options: dict[str, Any]) -> Callable:
  errors.require(experiment.system.sample is not None, "This model is conditional, p(y|x): it cannot sample x.")
  compiled = jax.jit(sampling.make(experiment, options), static_argnums=2)

  def draw(state, key, n):
    is_count = isinstance(n, int | np.integer) and bool(1 <= n < 2**31)
    errors.require(is_count, f"n = {n!r}; the number of samples must be an integer from 1 to 2^31 - 1.")
    n = int(n)
    size = 1 << (n - 1).bit_length() if n <= _DRAWS else -(-n // _DRAWS) * _DRAWS
    return jax.tree.map(lambda a: a[:n], jax.device_get(compiled(state, key, size)))

  return draw


def mean(q: Any) -> jax.Array:
  """E_q[z].

  Raises:
    UserError: it has no closed form.
  """
  try:
    return q.mean()
  except (AttributeError, NotImplementedError) as e:
    raise errors.UserError("The mean of this q(z|x) has no closed form; pass a key to draw from it instead.") from e


def _impute(bound_model: Any, key: jax.Array, batch: dict, k: int) -> jax.Array:
  """E[x | x_observed], [B, ...], by k importance samples."""
  return imputation.single(bound_model, rng.row_keys(key, jnp.asarray(batch["index"])), batch, k).x
