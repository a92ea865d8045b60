"""Folds of cross-validation as lanes of one program: every lane has its own rows, and transforms by its own statistics.

Runs that differ in data.fold have training and validation sets of equal sizes.  Their rows are stacked, [R, N, ...],
and the statistics that the transforms use, such as means of columns, are inputs of the program.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dgm_jax.core import errors, rng
from dgm_jax.core.batches import Arrays, size
from dgm_jax.core.evaluation import make_evaluate_step, make_prepare
from dgm_jax.data import sources, stored
from dgm_jax.data.pipeline import Pipeline
from dgm_jax.training import lanes
from dgm_jax.training.experiment import Experiment, hyper_parameters, make_init_of
from dgm_jax.training.feed import Layout, Resident
from dgm_jax.training.processes import devices
from dgm_jax.training.programs import make_train_chunk

KEY = "data.fold"
# transforms that take statistics as they are, also as inputs of a program
_TRANSFORMS = ("standardize", "standardize_targets", "scale", "dequantize", "logit", "binarize", "condition", "flip")


def inputs(config: ConfigDict) -> frozenset[str]:
  """{"data.fold"} if runs that differ in it can be lanes of one program, else nothing."""
  names = [text.partition(":")[0].strip() for text in config.data.transforms]
  can = config.data.get("folds") and config.data.source != "streaming" and set(names) <= set(_TRANSFORMS)
  can = can and not config.get("track")  # which reads the data of one run
  return frozenset({KEY}) if can else frozenset()


def differ(configs: Sequence[ConfigDict]) -> bool:
  """Whether runs differ in their fold."""
  return len({config.data.get("fold") for config in configs}) > 1


class Statistics:
  """The transforms of a fold, made inside a program from its statistics.

  Args:
    names: config.data.transforms.
    experiment: of any fold; the checks of its data hold for all.
  """

  def __init__(self, names: Sequence[str], experiment: Experiment):
    self._names = tuple(names)
    self._description, _ = stored.describe(self._names, experiment.splits)

  def of(self, experiment: Experiment) -> Arrays:
    """The statistics of another fold, in float32."""
    _, arrays = stored.describe(self._names, experiment.splits)
    return {name: np.asarray(a, np.float32) for name, a in arrays.items()}

  def pipeline(self, arrays: Mapping[str, jax.Array]) -> Pipeline:
    """The transforms by these statistics, arrays of a program."""
    return stored.stand_in(self._names, self._description, dict(arrays))[1]


def chunk_of(statistics: Statistics, experiment: Experiment, length: int) -> Callable:
  """(state, key, training set, statistics) -> (state, metrics): make_train_chunk of a fold."""

  def chunk(state, key, data, arrays):
    transform = statistics.pipeline(arrays).train
    return make_train_chunk(experiment.system, transform, experiment.batch_size, length)(state, key, data)

  return chunk


def evaluation_of(statistics: Statistics, experiment: Experiment) -> Callable:
  """(state, key, batch, start, statistics) -> {name: [B]}: make_evaluate_step of a fold."""

  def evaluate(state, key, batch, start, arrays):
    transform = statistics.pipeline(arrays).evaluate
    return make_evaluate_step(experiment.system.eval_step, transform)(state, key, batch, start)

  return evaluate


def pictures_of(statistics: Statistics, experiment: Experiment) -> Callable:
  """(state, key, examples, statistics) -> {name: image}."""
  return lambda state, key, shown, arrays: lanes.make_shown(
    experiment._replace(transforms=statistics.pipeline(arrays))
  )(state, key, shown)


def _stacked(parts: Sequence[Arrays], what: str) -> Arrays:
  """Arrays of equal shapes, stacked.  Raises UserError if the shapes differ."""
  shapes = [{name: a.shape for name, a in part.items()} for part in parts]
  errors.require(
    all(s == shapes[0] for s in shapes), f"The {what} sets of the folds have different shapes: they cannot be lanes."
  )
  return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


class Folds(lanes.Lanes):
  """Several runs with a fold each; see Lanes.

  Args:
    experiments, configs: of each run.
    split: the held-out set that is evaluated in training.
  """

  def __init__(self, experiments: Sequence[Experiment], configs: Sequence[ConfigDict], split: str):
    first, config = experiments[0], configs[0]
    errors.require(
      sources.choose(config.data.source, first.splits.train) == "resident",
      "Folds are lanes only where the training set fits on the device: data.source = 'resident'.",
    )
    _, self._along = devices.shardings(len(configs), what="lanes")
    errors.require(jax.process_count() == 1, "Lanes run on one host; several hosts train a single run.")
    self._configs, self._split, self._about = configs, split, first.splits.about
    inits = [jax.jit(make_init_of(experiment)) for experiment in experiments]
    numbers = [{k: jnp.float32(v) for k, v in hyper_parameters(c).items()} for c in configs]
    keys = [jax.random.key(c.seed) for c in configs]
    self._fresh = lambda: [init(k, h) for init, k, h in zip(inits, keys, numbers, strict=True)]
    self._keys = jax.device_put(jnp.stack(keys), self._along)
    statistics = Statistics(config.data.transforms, first)
    each = [statistics.of(experiment) for experiment in experiments]
    self._statistics = jax.device_put(_stacked(each, "statistics of the"), self._along)
    self._held_out = [getattr(experiment.splits, split) for experiment in experiments]
    data = _stacked([experiment.splits.train for experiment in experiments], "training")
    make = lambda length: jax.vmap(lambda s, k, given: chunk_of(statistics, first, length)(s, k, *given))
    layout = Layout(self._along, None, self._along, self._along)
    self._feed = Resident(make, (data, self._statistics), self._keys, lanes.steps_of(first), layout)
    self._step = jax.jit(jax.vmap(evaluation_of(statistics, first), (0, 0, 0, None, 0)))
    self._pictures = jax.jit(pictures_of(statistics, first))
    self._prepare, self._prepare_lanes = make_prepare(first.system), make_prepare(first.system, lanes=True)
    self._track = None
    self._rows = config.eval_batch_size
    self._streams = {n: jax.vmap(lambda key, n=n: rng.stream(key, n))(self._keys) for n in ("eval", "pictures")}

  def start(self, state: Any, step: int) -> None:
    """Compiles the program that trains."""
    self._feed.start(state, step)
    self._shown = [jax.tree.map(lambda a: a[: lanes.SHOWN], held_out) for held_out in self._held_out]

  def evaluate(self, state: Any) -> list[dict[str, float]]:
    """The means over the held-out set, for each run; where sets are smaller by a row, one is repeated and dropped."""
    state, sizes, found = self._prepare_lanes(state), [size(held_out) for held_out in self._held_out], []
    for start in range(0, max(sizes), self._rows):
      index = np.arange(start, min(start + self._rows, max(sizes)))
      rows = [jax.tree.map(lambda a, n=n: a[index % n], part) for part, n in zip(self._held_out, sizes, strict=True)]
      batch = jax.device_put(_stacked(rows, "held-out"), self._along)
      found.append(jax.device_get(self._step(state, self._streams["eval"], batch, start, self._statistics)))
    values = jax.tree.map(lambda *parts: np.concatenate(parts, 1), *found)
    return [lanes.means({k: v[i, :n] for k, v in values.items()}, self._split) for i, n in enumerate(sizes)]

  def draw(self, state: Any, i: int) -> dict[str, jax.Array | str]:
    """Images and texts to save for the i-th run, {name: [height, width, C] or text}."""
    of = jax.tree.map(lambda a: a[i], self._statistics)
    prepared = self._prepare(self.split(state, i))
    return lanes.shown(self._pictures(prepared, self._streams["pictures"][i], self._shown[i], of), self._about)
