"""The programs of a run as text, with seed, hyper-parameters, state and data abstract; runs share a program if equal.

JAX traces a function to a jaxpr.  Values that the function closes over appear there as constants of the closed jaxpr or
as literals of its equations.  They are part of the text, so different values of a baked-in number give different texts.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from ml_collections import ConfigDict

from dgm_jax.core.evaluation import make_evaluate_step
from dgm_jax.core.memory import sub_jaxprs
from dgm_jax.training import folds
from dgm_jax.training.experiment import Experiment, make_init
from dgm_jax.training.programs import make_pictures, make_train_chunk


class Programs(NamedTuple):
  """Traces of everything that the loop compiles for a run.

  Attributes:
    jaxprs: {name: closed jaxpr} of init, train_chunk, eval_step and, if there are any, sample and pictures.
    texts: {name: hash of the whole text, with shapes and constants}.
    shapes: {name: hash of the shapes alone}.
    operations: {name: hash of the operations alone}.
    metrics: names of the metrics of training and evaluation.
  """

  jaxprs: dict[str, core.ClosedJaxpr]
  texts: dict[str, str]
  shapes: dict[str, str]
  operations: dict[str, str]
  metrics: tuple[str, ...]


def _constant(value: Any) -> str:
  """Text of an array, scalar or key: dtype, shape and hash of its bytes."""
  if hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
    value = jax.random.key_data(value)
  value = jax.device_get(value)
  data = value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()
  return (
    f"{getattr(value, 'dtype', type(value).__name__)}{getattr(value, 'shape', ())}{hashlib.sha256(data).hexdigest()}"
  )


def _parameter(value: Any) -> str:
  """Text of an equation's parameter without addresses; functions by name, as their jaxprs are added separately."""
  if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
    return "jaxpr"
  if isinstance(value, tuple | list):
    return f"({','.join(map(_parameter, value))})"
  if isinstance(value, dict):
    return f"{{{','.join(f'{k}:{_parameter(v)}' for k, v in sorted(value.items(), key=str))}}}"
  if hasattr(value, "tobytes"):
    return _constant(value)
  text = repr(value)
  return f"{type(value).__name__} {getattr(value, '__name__', '')}" if callable(value) or " at 0x" in text else text


class _Text:
  """Computes three hashes of a jaxpr: of its whole text, of its shapes and of its operations."""

  def __init__(self):
    self.hashes = {name: hashlib.sha256() for name in ("texts", "shapes", "operations")}

  def _add(self, text: str, *names: str) -> None:
    for name in ("texts", *names):
      self.hashes[name].update(f"{text}\n".encode())

  def closed(self, closed: core.ClosedJaxpr) -> None:
    """Adds the constants, then the jaxpr."""
    for value in closed.consts:
      self._add(f"const {_constant(value)}")
    self.jaxpr(closed.jaxpr)

  def jaxpr(self, jaxpr: core.Jaxpr) -> None:
    """Adds the equations in order; variables are numbered by their first occurrence."""
    numbers: dict[Any, int] = {}

    def show(v):
      if isinstance(v, core.Literal):
        return f"{_constant(v.val)}:{v.aval}"
      return f"{numbers.setdefault(v, len(numbers))}"

    for v in [*jaxpr.constvars, *jaxpr.invars]:
      self._add(f"{show(v)}:{v.aval}")
      self._add(str(v.aval), "shapes")
    for equation in jaxpr.eqns:
      self._add(equation.primitive.name, "operations")
      self._add(" ".join(map(show, equation.invars)))
      for v in equation.outvars:
        self._add(f"{show(v)}:{v.aval.str_short()}")
        self._add(v.aval.str_short(), "shapes")
      for name, value in sorted(equation.params.items()):
        self._add(f"{name} {_parameter(value)}")
        for inner in sub_jaxprs(value):
          self.closed(inner) if isinstance(inner, core.ClosedJaxpr) else self.jaxpr(inner)
    self._add("out " + " ".join(map(show, jaxpr.outvars)))


def hashes(closed: core.ClosedJaxpr) -> dict[str, str]:
  """{"texts", "shapes", "operations": hash} of a program."""
  text = _Text()
  text.closed(closed)
  return {name: h.hexdigest() for name, h in text.hashes.items()}


def abstract(tree: Any) -> Any:
  """Shapes and dtypes of a tree of arrays."""
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def functions(config: ConfigDict, experiment: Experiment) -> dict[str, tuple[Callable, tuple]]:
  """{name: (function, abstract arguments)} of everything that the loop compiles."""
  system, transforms, parts = experiment.system, experiment.transforms, experiment.splits
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(make_init(experiment, 0))
  hparams = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in experiment.hparams}
  rows = lambda arrays, n: {k: jax.ShapeDtypeStruct((n, *a.shape[1:]), a.dtype) for k, a in arrays.items()}
  held_out = parts.valid or parts.test

  def init(key, batch, hparams):
    key_transform, key_init = jax.random.split(key)
    return system.init(key_init, transforms.train(key_transform, batch), hparams)

  size = min(config.eval_batch_size, len(held_out["x"]))
  chunk = make_train_chunk(system, transforms.train, experiment.batch_size, experiment.log_every)
  of_fold = folds.Statistics(config.data.transforms, experiment) if folds.inputs(config) else None
  given = () if of_fold is None else (abstract(of_fold.of(experiment)),)
  if of_fold is not None:  # its statistics are inputs
    chunk = folds.chunk_of(of_fold, experiment, experiment.log_every)
  evaluate = (
    make_evaluate_step(system.eval_step, transforms.evaluate)
    if of_fold is None
    else folds.evaluation_of(of_fold, experiment)
  )
  found = {
    "init": (init, (key, rows(parts.train, 2), hparams)),
    "train_chunk": (chunk, (state, key, abstract(parts.train), *given)),
    "eval_step": (evaluate, (state, key, rows(held_out, size), jax.ShapeDtypeStruct((), jnp.int32), *given)),
  }
  if system.sample:
    found["sample"] = (lambda state, key: system.sample(state, key, 4), (state, key))
  if system.pictures:
    pictures = make_pictures(system, transforms.evaluate) if of_fold is None else folds.pictures_of(of_fold, experiment)
    found["pictures"] = (pictures, (state, key, rows(held_out, min(40, len(held_out["x"]))), *given))
  return found


def trace(config: ConfigDict, experiment: Experiment) -> Programs:
  """Traces everything that the loop compiles for a run; nothing is computed or compiled."""
  jaxprs, outputs = {}, {}
  for name, (function, arguments) in functions(config, experiment).items():
    jaxprs[name], outputs[name] = jax.make_jaxpr(function, return_shape=True)(*arguments)
  alone = {"init"} if folds.inputs(config) else set()  # each fold has its own program for its start
  found = {name: hashes(jaxpr) for name, jaxpr in jaxprs.items() if name not in alone}
  by = {kind: {name: h[kind] for name, h in found.items()} for kind in ("texts", "shapes", "operations")}
  split = "valid" if experiment.splits.valid else "test"
  names = [f"{split}/{k}" for k in outputs["eval_step"]] + [f"train/{k}" for k in outputs["train_chunk"][1]]
  return Programs(jaxprs, **by, metrics=tuple(names))
