"""Estimates the memory of a program from its jaxpr, before anything compiles.

The estimate visits the equations in order and sums the arrays that are alive: from the equation that creates them to
the last one that reads them.  Compilers fuse operations: the output of an elementwise operation, broadcast or reshape
is not counted if its only reader is another such operation or a reduction, or if it is a result of the jaxpr, which is
written in place.  The peak of a loop is the size of its results plus the peak of its body.
"""

import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from dgm_jax.core import errors


class Measured(NamedTuple):
  """How far estimates were from XLA's numbers: the smallest and largest ratio, and the configs of the programs."""

  low: float
  high: float
  configs: tuple[str, ...]


# the memory of a lane that `python -m dgm_jax sweep --config=CONFIG --sweep.seed=0 --root=x --dry_run` prints, over
# that with --plan=compile, on two CPU cores with jax 0.10.2: 0.25 of a convolutional net, 0.46 to 1.21 of the others
MEASURED = Measured(
  0.25,
  1.21,
  (
    "vae_mnist:quick",
    "iwae_mnist:quick",
    "conv_vae_mnist:test",
    "flow_vae_mnist:test",
    "diffusion_mnist:test",
    "vq_vae_mnist:test",
    "ladder_vae_mnist:test",
    "hmm_text:test",
    "mixture_uci:test",
    "lda_text:test",
    "uci_regression:test",
    "classifier_mnist:test",
  ),
)

_ELEMENTWISE = (
  "abs add add_any and bitcast_convert_type broadcast_in_dim ceil clamp convert_element_type copy cos cumsum "
  "div eq erf erf_inv exp exp2 expand_dims expm1 floor ge gt integer_pow iota is_finite le log log1p logistic "
  "lt max min mul ne neg not or pow random_bits random_unwrap random_wrap reduce_precision rem reshape rev "
  "round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin slice sqrt square "
  "squeeze stop_gradient sub tanh threefry2x32 transpose xor"
)
_FUSED = set(_ELEMENTWISE.split())
_REDUCTIONS = {f"reduce_{name}" for name in ("sum", "max", "min", "and", "or", "prod")} | {"argmax", "argmin"}
_FUSING = _FUSED | _REDUCTIONS
_TRANSPARENT = {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call"}


def sub_jaxprs(value: Any) -> Iterator[core.Jaxpr | core.ClosedJaxpr]:
  """The jaxprs in a parameter of an equation."""
  if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
    yield value
  elif isinstance(value, tuple | list):
    for v in value:
      yield from sub_jaxprs(v)
  elif isinstance(value, dict):
    yield from sub_jaxprs(list(value.values()))


def num_bytes(aval: Any) -> int:
  """Bytes of an array of this shape and dtype."""
  if not hasattr(aval, "shape"):
    return 0
  size = 8 if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) else aval.dtype.itemsize
  return math.prod(aval.shape) * size


def tree_bytes(tree: Any) -> int:
  """Bytes of all arrays of a tree, which may be abstract."""
  return sum(num_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _flat(jaxpr: core.Jaxpr, rename: dict[Any, Any]) -> tuple[list[tuple[core.JaxprEqn, list, list]], list]:
  """(equations with their inputs and outputs, results), with calls that compilers inline expanded."""
  look = lambda v: v if isinstance(v, core.Literal) else rename.get(v, v)
  found = []
  for equation in jaxpr.eqns:
    inner = next((j for v in equation.params.values() for j in sub_jaxprs(v)), None)
    inputs = [look(v) for v in equation.invars]
    body: Any = getattr(inner, "jaxpr", inner)
    if equation.primitive.name in _TRANSPARENT and body is not None and len(body.invars) == len(inputs):
      # a jaxpr may be called twice, so each call gets new variables
      fresh = {v: core.Var(v.aval) for e in body.eqns for v in e.outvars}
      inside, results = _flat(body, fresh | dict(zip(body.invars, inputs, strict=True)))
      found += inside
      rename |= dict(zip(equation.outvars, results, strict=True))
    else:
      found.append((equation, inputs, [look(v) for v in equation.outvars]))
  return found, [look(v) for v in jaxpr.outvars]


def peak(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> int:
  """Peak bytes of the arrays that are alive at the same time, without the program's inputs and constants."""
  opened: Any = getattr(jaxpr, "jaxpr", jaxpr)
  equations, results = _flat(opened, {})
  last: dict[Any, int] = {}
  readers: dict[Any, list[str]] = {}
  for i, (equation, inputs, _) in enumerate(equations):
    for v in inputs:
      if not isinstance(v, core.Literal):
        last[v] = i
        readers.setdefault(v, []).append(equation.primitive.name)
  results = {v for v in results if not isinstance(v, core.Literal)}
  last |= dict.fromkeys(results, len(equations))
  alive: dict[Any, int] = {}
  now = highest = 0
  for i, (equation, inputs, outputs) in enumerate(equations):
    within = max((peak(j) for v in equation.params.values() for j in sub_jaxprs(v)), default=0)
    for v in outputs:
      read_by = readers.get(v, [])
      alone = v in results or (len(read_by) == 1 and read_by[0] in _FUSING)
      fused = equation.primitive.name in _FUSED and alone
      alive[v] = 0 if fused or v not in last else num_bytes(v.aval)
      now += alive[v]
    highest = max(highest, now + within)
    for v in {v for v in inputs if not isinstance(v, core.Literal)}:
      if last[v] == i:
        now -= alive.pop(v, 0)
  return highest


def available(device: Any) -> float:
  """Bytes that a process may use on a device: the device's limit, else the available RAM."""
  stats = device.memory_stats() or {}
  if "bytes_limit" in stats:
    return float(stats["bytes_limit"])
  lines = pathlib.Path("/proc/meminfo").read_text().splitlines() if pathlib.Path("/proc/meminfo").exists() else []
  free = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
  return float(free[0]) * 1024 if free else float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _largest(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> int:
  """Bytes of the largest array of a jaxpr and of those in it, whether or not it is ever stored."""
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  own = max((num_bytes(v.aval) for equation in jaxpr.eqns for v in equation.outvars), default=0)
  inner = (sub for equation in jaxpr.eqns for value in equation.params.values() for sub in sub_jaxprs(value))
  return max([own, *map(_largest, inner)])


def check(jaxpr: core.ClosedJaxpr, what: str, help: str) -> None:
  """Validates that a program can fit into the memory of all devices together; only what surely does not is refused.

  Args:
    jaxpr: of the program.
    what: the noun for the message, such as "A training step".
    help: what makes it smaller.

  Raises:
    UserError: its results, or its estimated peak over twice the largest ratio of an estimate to what XLA took, are
      beyond all that is free.
  """
  room = available(jax.local_devices()[0]) * jax.device_count()
  if 4 * _largest(jaxpr) < room:  # as always: the estimate itself takes longer
    return
  results = sum(num_bytes(v.aval) for v in jaxpr.jaxpr.outvars)  # are certain, the peak is an estimate
  needed = max(peak(jaxpr) / (2 * MEASURED.high), results)
  errors.require(
    needed <= room,
    f"{what} needs at least {needed / 1e9:,.0f} GB of memory, and {room / 1e9:,.0f} GB are free: {help}.",
  )
