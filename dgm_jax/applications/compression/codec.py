"""Range coding through the conditionals of a discrete autoregressive model, entry by entry.

Encoder and decoder are one loop around one compiled program, `step` of the model with its cache: they see the same
inputs in the same batches, so that the probabilities are the same bits.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors

_METHODS = ("start", "step", "order", "entries", "num_levels", "num_orders")


class Coded(NamedTuple):
  """What an encoder made: the words of the range coder, and -log2 p of what it encoded, under the model."""

  words: np.ndarray
  bits: float


def _values(model: Any) -> jax.Array:
  """The values of an entry of x, ascending, [V]; the integers of a file are their numbers."""
  return model.values if hasattr(model, "values") else jnp.arange(model.num_levels, dtype=jnp.float32)


def _check(model: Any, name: str) -> None:
  """Raises UserError unless the model is one whose x can be encoded."""
  errors.require(
    all(hasattr(model, method) for method in _METHODS),
    f"Model {name!r} is not autoregressive: compress codes an entry of x after another, given those before it.",
  )
  errors.require(
    model.num_levels is not None,
    f"Model {name!r} with likelihood {model.likelihood!r} is of real numbers; only discrete x can be encoded.",
  )
  errors.require(
    model.num_orders == 1,
    f"Model {name!r} averages over {model.num_orders} orders, whose entries come one after another in none: compress "
    "needs a model of one order.",
  )
  errors.require(not model.num_classes, f"Model {name!r} is conditional: compress needs a model of x without classes.")


def run_fingerprint(model: Any, state: Any, about: Mapping[str, Any]) -> bytes:
  """6 bytes that identify the model, its parameters and the vocabulary."""
  found = hashlib.sha256(json.dumps([repr(model), list(about.get("vocabulary", ()))]).encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.variables)):
    array = np.asarray(jax.device_get(leaf))
    found.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}".encode() + array.tobytes())
  return found.digest()[:6]


def _processor() -> str:
  """The processor's model and instruction sets, which decide how XLA rounds."""
  path = pathlib.Path("/proc/cpuinfo")
  lines = path.read_text().splitlines() if path.exists() else [platform.processor()]
  wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
  return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def place() -> str:
  """In words, what decides how probabilities are rounded: versions, device, number of cores."""
  device, names = jax.local_devices()[0], ("jax", "jaxlib", "constriction")
  versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
  count = getattr(os, "process_cpu_count", os.cpu_count)()
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
  return f"{versions}, {device.platform} ({device.device_kind}), {cores} cores, {platform.machine()}"


class Codec:
  """Codes integers [N, D], the numbers of the values of the entries of x, in batches.

  Args:
    model: an autoregressive model of discrete x, see models/autoregressive/base.py.
    state: its trained state.
    batch_size: examples at once; the memory is that of the model's cache for so many.
    name: of the model, for messages.

  Raises:
    UserError: another model, a package that is not installed, or a batch size that is none.
  """

  def __init__(self, model: Any, state: Any, batch_size: int = 512, name: str = "model"):
    _check(model, name)
    self._stream = errors.import_package("constriction", "compress").stream
    self.dim, self.num_values, self.batch_size = model.dim, model.num_levels, batch_size
    self._variables = {"params": state.params, **state.variables}
    bound = model.bind(self._variables)
    self.order = np.asarray(jax.device_get(bound.order(0)))
    values = _values(model)
    self._host_values = np.asarray(jax.device_get(values), np.float32)

    def step(variables, cache, t, before):
      of = model.bind(variables)
      cache, h = of.step(cache, t, before)
      px = of.entries(h[:, None]).distribution
      each = lambda v: px.log_prob(jnp.full((batch_size, 1), v))[:, 0]
      return cache, jax.nn.softmax(jax.vmap(each, out_axes=1)(values), -1)

    start = lambda variables: model.bind(variables).start(batch_size, None, 0)
    self._start = jax.jit(start)
    shapes = jax.eval_shape(start, self._variables)
    before = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    lowered = jax.jit(step, donate_argnums=1).lower(self._variables, shapes, np.int32(0), before)
    self._program, self._step = lowered.as_text(), lowered.compile()

  def place_fingerprint(self) -> bytes:
    """6 bytes that identify what decides how probabilities are rounded: see `place`, and the compiled program."""
    text = "\n".join([place(), _processor(), os.environ.get("XLA_FLAGS", ""), self._program])
    return hashlib.sha256(text.encode()).digest()[:6]

  def encode(
    self, x: np.ndarray, lengths: np.ndarray, end: int | None, progress: Callable = lambda rows: None
  ) -> Coded:
    """Encodes integers [N, D].

    Args:
      x: in 0 .. V - 1.
      lengths: [N], the entries of each row that are encoded.
      end: the value after which the rest of a row is not encoded; None if there is no such value.
      progress: is told the number of rows encoded.
    """
    encoder, family = self._stream.queue.RangeEncoder(), self._family()
    bits = [0.0]

    def code(rows, entry, probabilities):
      symbols = np.ascontiguousarray(x[rows, entry], np.int32)
      encoder.encode(symbols, family, probabilities)
      taken = probabilities[np.arange(len(symbols)), symbols].astype(np.float64)
      bits.append(-float(np.log2(np.maximum(taken, 2.0**-149)).sum()))
      return symbols

    self._loop(len(x), lengths, end, code, progress)
    return Coded(encoder.get_compressed(), math.fsum(bits))

  def decode(
    self, words: np.ndarray, lengths: np.ndarray, end: int | None, progress: Callable = lambda rows: None
  ) -> np.ndarray:
    """The integers [N, D] that `encode` encoded; entries that were not encoded are 0.

    Raises:
      UserError: the words are not an encoder's with these probabilities.
    """
    decoder, family = self._stream.queue.RangeDecoder(words), self._family()

    def code(rows, entry, probabilities):
      del rows, entry
      try:
        return decoder.decode(family, probabilities)
      except AssertionError as e:
        raise errors.UserError("The compressed data do not belong to this model.") from e

    return self._loop(len(lengths), lengths, end, code, progress)

  def _family(self) -> Any:
    return self._stream.model.Categorical(perfect=False)

  def _loop(self, num: int, lengths: np.ndarray, end: int | None, code: Callable, progress: Callable) -> np.ndarray:
    """Passes the probabilities of each entry of each batch to `code`, which returns the entries: [N, D]."""
    found = np.zeros((num, self.dim), np.int32)
    for first in range(0, num, self.batch_size):
      rows = np.arange(first, min(first + self.batch_size, num))
      left, before = lengths[rows].copy(), np.zeros(self.batch_size, np.float32)
      cache = self._start(self._variables)
      for t, entry in enumerate(self.order):
        cache, probabilities = self._step(self._variables, cache, np.int32(t), before)
        active = np.flatnonzero(left > t)
        if not len(active):
          break
        probabilities = np.asarray(probabilities)[active]
        errors.require(bool(np.isfinite(probabilities).all()), "The model's probabilities are not finite.")
        symbols = code(rows[active], entry, probabilities)
        found[rows[active], entry] = symbols
        if end is not None:
          left[active[symbols == end]] = 0
        before[: len(rows)] = self._host_values[found[rows, entry]]
      progress(len(rows))
    return found


def check_symbols(x: np.ndarray, shape: Sequence[int], num_values: int, what: str) -> np.ndarray:
  """Integers [N, *shape] or [N, D] as [N, D].  Raises UserError for other numbers; `what` names them."""
  dim = math.prod(shape)
  errors.require(
    x.ndim >= 1 and x.dtype.kind in "buif",
    f"{what} has {x.dtype} of shape {list(x.shape)}; integers [N, {', '.join(map(str, shape))}] are expected.",
  )
  errors.require(
    x.shape[1:] in (tuple(shape), (dim,)),
    f"{what} has shape {list(x.shape)}; [N, {', '.join(map(str, shape))}] is expected.",
  )
  flat = x.reshape(len(x), dim)
  whole = flat.dtype.kind in "bui" or bool((np.isfinite(flat) & (flat == np.floor(flat))).all())
  low, high = (flat.min(), flat.max()) if flat.size else (0, 0)
  errors.require(
    whole and low >= 0 and high < num_values,
    f"{what} has {'integers' if whole else 'numbers that are no integers,'} in [{low:.4g}, {high:.4g}]; the model is "
    f"of integers 0 .. {num_values - 1}.",
  )
  return flat.astype(np.int32)
