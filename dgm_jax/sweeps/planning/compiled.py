"""What the programs of a group take once they are compiled: memory, as XLA allocates it, and time."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.data import sources
from dgm_jax.sweeps.planning import trace
from dgm_jax.sweeps.planning.grouping import Group
from dgm_jax.training import folds
from dgm_jax.training.experiment import make_init
from dgm_jax.training.programs import make_train_batches

_LONG = 5.0  # seconds after which the first chunk is taken for a typical one


class Compiled(NamedTuple):
  """The compiled programs of a group.

  Attributes:
    lanes: the number of lanes that they were compiled for.
    num_bytes: of a chunk of training steps or of an evaluation, whichever is larger, with all lanes and the data.
    compile: seconds for the compilation of both.
    step: seconds for a training step of all lanes together; 0 if it was not timed.
  """

  lanes: int
  num_bytes: int
  compile: float
  step: float = 0.0


def streamed(group: Group) -> bool:
  """Whether the runs' training data come to the device batch by batch."""
  return sources.choose(group.config.data.source, group.experiment.splits.train) == "streaming"


def _chunk(group: Group) -> tuple[Callable, Any]:
  """(the function that trains for log_every steps, its data)."""
  experiment = group.experiment
  train = experiment.splits.train
  if not streamed(group):
    return trace.functions(group.config, experiment)["train_chunk"][0], train
  length = sources.piece_length(train, experiment.examples_per_step, experiment.log_every)
  indices = jnp.arange(length * experiment.examples_per_step).reshape(length, -1) % len(train["x"])
  program = make_train_batches(experiment.system, experiment.transforms.train, len(train["x"]))
  return program, {name: a[jax.device_get(indices)] for name, a in train.items()}


def _size(program: Any) -> int:
  """Bytes that a compiled program needs on the device, its arguments and results included."""
  found = program.memory_analysis()
  sizes = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
  return int(sizes - found.alias_size_in_bytes)


def _lanes_of(tree: Any, lanes: int) -> Any:
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct((lanes, *a.shape), a.dtype), tree)


def _given(group: Group, data: Any, lanes: int) -> list[Any]:
  """What the program that trains gets beside states and keys: the data, and of folds that of each, and statistics."""
  if not folds.inputs(group.config):
    return [data]
  statistics = folds.Statistics(group.config.data.transforms, group.experiment).of(group.experiment)
  return jax.tree.map(lambda a: jnp.broadcast_to(a, (lanes, *a.shape)), [data, statistics])


def compile_group(group: Group, lanes: int) -> tuple[Compiled, Any]:
  """Compiles what trains and evaluates this number of lanes, as the loop does; also returns the program that trains."""
  functions = trace.functions(group.config, group.experiment)
  chunk, data = _chunk(group)
  evaluate, (state, key, rows, start, *statistics) = functions["eval_step"]
  states, keys = _lanes_of(state, lanes), _lanes_of(key, lanes)
  of_data = None
  if statistics:  # each fold has its own rows and statistics
    of_data, statistics, rows = 0, _lanes_of(statistics, lanes), _lanes_of(rows, lanes)
  given, axes = _given(group, data, lanes), (of_data,) * (1 + len(statistics))
  begun = time.monotonic()
  training = jax.jit(jax.vmap(chunk, (0, 0, *axes)), donate_argnums=0).lower(states, keys, *trace.abstract(given))
  training = training.compile()
  evaluation = jax.jit(jax.vmap(evaluate, (0, 0, of_data, None, *axes[1:])))
  evaluation = evaluation.lower(states, keys, rows, start, *statistics).compile()
  seconds = time.monotonic() - begun
  resident = 0 if streamed(group) else sources.num_bytes(data) * (lanes if of_data == 0 else 1)
  return Compiled(lanes, max(_size(training), _size(evaluation) + resident), seconds), training


def time_step(group: Group, program: Any, lanes: int) -> float:
  """Seconds of a training step in the second chunk, or in the first if that takes long."""
  state = jax.jit(make_init(group.experiment, group.config.seed))()
  state = jax.tree.map(lambda a: jnp.broadcast_to(a, (lanes, *a.shape)), state)
  keys = jnp.stack([jax.random.key(group.config.seed + i) for i in range(lanes)])
  data = jax.device_put(_given(group, _chunk(group)[1], lanes))
  for _ in range(2):
    begun = time.monotonic()
    state, values = jax.block_until_ready(program(state, keys, *data))
    taken = time.monotonic() - begun
    if taken > _LONG:
      break
  return taken / jax.tree.leaves(values)[0].shape[-1]
