"""Sampler, encoder and log p(x) of a trained model as serialised StableHLO programs, for use without this package.

Each takes the arrays of model.safetensors as its first argument, {name: array}, so that the file holds the parameters
once.  jax.export guarantees that later versions of JAX run them, for at least six months after they were written.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dgm_jax.api.programs import bound, mean
from dgm_jax.core import errors, rng
from dgm_jax.inference import estimators, log_terms

_PLATFORMS = ("cpu", "cuda", "tpu")
_ROWS = 64  # of a program whose number of examples cannot be left open
_CHUNK = 50  # importance samples at once


def _functions(experiment: Any, k: int) -> dict[str, tuple[Callable, str]]:
  """{name: (function of (state, x or rows[, seed]), signature)} of the programs that the model has."""
  model, found = experiment.model, {}
  shape = ", ".join(map(str, model.data_shape)) if hasattr(model, "data_shape") else "..."
  if experiment.system.sample is not None:

    def sample(state, rows, seed):  # one by one: the number of rows may be a symbol, which distrax does not take
      keys = rng.row_keys(rng.stream(jax.random.key(seed), "sample"), rows)
      return jax.vmap(lambda key: experiment.system.sample(state, key, 1)[0])(keys)

    found["sample"] = sample, f"(parameters, number int32 [B] of each draw, seed uint32 []) -> x [B, {shape}]"
  if not (hasattr(model, "infer") and hasattr(model, "log_joint")):
    return found

  def encode(state, x):
    return mean(bound(experiment, state).infer({"x": x}))

  def log_px(state, x, seed):
    key = rng.stream(rng.stream(jax.random.key(seed), "eval"), "step")
    variables = {"params": state.params, **state.variables}
    log_w = log_terms.log_terms(model, variables, jax.random.fold_in(key, 0), {"x": x}, k, min(k, _CHUNK)).w
    return estimators.iwae(log_w)

  found["encode"] = encode, f"(parameters, x float32 [B, {shape}]) -> E[z|x], [B, L]"
  found["log_px"] = log_px, f"(parameters, x float32 [B, {shape}], seed uint32 []) -> [B], a bound with K = {k}"
  return found


def _program(function: Callable, state: Any, arrays: Mapping[str, Any], x: jax.ShapeDtypeStruct) -> bytes:
  """The serialised program of (parameters, x[, seed]), where the state has its values from the parameters."""
  leaves, structure = jax.tree.flatten(state)

  def run(parameters, x, *seed):
    values = [jnp.asarray(parameters[name], leaf.dtype) for name, leaf in zip(arrays, leaves, strict=True)]
    return function(jax.tree.unflatten(structure, values), x, *seed)

  shapes = {name: jax.ShapeDtypeStruct(np.shape(a), a.dtype) for name, a in arrays.items()}
  seed = [jax.ShapeDtypeStruct((), jnp.uint32)] * (len(inspect.signature(function).parameters) - 2)
  return bytes(export.export(jax.jit(run), platforms=_PLATFORMS)(shapes, x, *seed).serialize())


def export_all(
  experiment: Any, state: Any, arrays: Mapping[str, np.ndarray], k: int
) -> tuple[dict[str, bytes], dict[str, str]]:
  """({name: serialised program}, {name: signature}) of sample, encode and log_px, as far as the model has them.

  The number of examples B is left open where JAX can express the program so; else it is fixed, and the signature says
  so.  Parameters that are stored in a narrow dtype are widened inside the programs.

  Args:
    experiment, state: the model, and its state as it is stored, {name: array} flattened.
    arrays: the stored arrays.
    k: importance samples of log_px.
  """
  [symbol] = export.symbolic_shape("b")
  found, signatures = {}, {}
  for name, (function, signature) in _functions(experiment, k).items():
    shape, dtype = ((), jnp.int32) if name == "sample" else (tuple(experiment.model.data_shape), jnp.float32)
    make = lambda rows: _program(function, state, arrays, jax.ShapeDtypeStruct((rows, *shape), dtype))
    try:
      found[name] = make(symbol)
    except errors.UserError:  # the mean of q has no closed form
      continue
    except Exception:  # JAX raises many kinds where a number must be known
      found[name], signature = make(_ROWS), f"{signature}, B = {_ROWS}"
    signatures[name] = signature
  return found, signatures
