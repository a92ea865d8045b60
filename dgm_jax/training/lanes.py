"""The training state on the devices and the compiled programs that update it: of one run, or of several as lanes.

Runs that differ only in seed, hparams (see TrainState) and init_from are lanes of one compiled program: states and keys
have a leading run axis [R, ...].  A lane is trained exactly as a single run, with its own batches, noise and learning
rate.  Both classes have the same methods, so that the loop need not distinguish them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, make_prepare, means_and_errors
from dgm_jax.data.files import tokens
from dgm_jax.training import given_runs
from dgm_jax.training.experiment import Experiment, hyper_parameters, make_init, make_init_of
from dgm_jax.training.feed import Layout, make_feed
from dgm_jax.training.processes import devices
from dgm_jax.training.programs import make_pictures
from dgm_jax.training.tracking import Tracker

SHOWN = 40  # examples in a figure
_TEXTS = 8  # samples of a model of text


def steps_of(experiment: Experiment) -> tuple[int, int, int]:
  """(batch size, steps per chunk, steps of the run)."""
  return experiment.batch_size, experiment.log_every, experiment.num_steps


def means(values: Any, split: str) -> dict[str, float]:
  """{split/name: mean} of values {name: [N]}."""
  return {f"{split}/{k}": mean for k, (mean, _) in means_and_errors(values).items()}


def make_shown(experiment: Experiment) -> Any:
  """See make_pictures; of a model of text, with samples."""
  of_text = "tokens" in experiment.splits.about and experiment.system.sample is not None
  return make_pictures(experiment.system, experiment.transforms.evaluate, _TEXTS if of_text else 0)


def shown(found: dict[str, jax.Array], about: Mapping[str, Any]) -> dict[str, jax.Array | str]:
  """Pictures on the host, and token ids as text, a line for each."""
  is_text = lambda a: a.ndim == 2 and jnp.issubdtype(a.dtype, jnp.integer)
  found = jax.device_get(found)
  return {k: tokens.listed(tokens.decode(v, about)) if is_text(v) else v for k, v in found.items()}


class Lone:
  """One run.

  Attributes:
    mesh: mesh of its devices, see devices.use_mesh; None for Lanes.
  """

  def __init__(self, experiment: Experiment, configs: Sequence[ConfigDict], split: str):
    [config] = configs
    samples = config.objective.get("num_samples", 1) * config.objective.get("num_bounds", 1)
    replicated, batch = devices.shardings(experiment.batch_size, samples, config.sample_devices)
    self.mesh, self._split, self._held_out = batch.mesh, split, getattr(experiment.splits, split)
    init = make_init(experiment, config.seed)
    placed = devices.state_shardings(jax.eval_shape(init), self.mesh, config.shard_params)
    self._init = jax.jit(init, out_shardings=placed)
    self._key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated)()
    system, transforms, self._about = experiment.system, experiment.transforms, experiment.splits.about
    layout = Layout(replicated, batch, placed, replicated)
    steps = steps_of(experiment)
    data = experiment.splits.train
    self._feed = make_feed(system, transforms.train, data, config.data.source, self._key, steps, layout)
    self._prepare = make_prepare(system)
    self._evaluate = make_evaluate_examples(system.eval_step, transforms.evaluate, config.eval_batch_size)
    self._pictures = jax.jit(make_shown(experiment), out_shardings=replicated)
    self._streams = {name: rng.stream(self._key, name) for name in ("eval", "pictures")}
    self._track = Tracker(experiment, config, split, given_runs.load)

  def fresh(self) -> list[Any]:
    """The state of each run at step 0."""
    return [self._init()]

  def join(self, states: list[Any]) -> Any:
    """The state that the programs take, from the states of the runs."""
    return states[0]

  def split(self, state: Any, i: int) -> Any:
    """The state of the i-th run."""
    del i
    return state

  def start(self, state: Any, step: int) -> None:
    """Compiles the programs that train and draw."""
    self._feed.start(state, step)
    self._shown = jax.tree.map(lambda a: a[:SHOWN], self._held_out)
    self._draw = self._pictures.lower(self._prepare(state), self._streams["pictures"], self._shown).compile()

  def train(self, state: Any, length: int) -> tuple[Any, Any]:
    """(state, metrics) after `length` more steps, which the devices may still be computing; `each` waits for them."""
    return self._feed.train(state, length)

  def each(self, values: Any) -> list[dict[str, jax.Array]]:
    """The metrics {name: [length]} of each run, on the host."""
    return [jax.device_get(values)]

  def evaluate(self, state: Any) -> list[dict[str, float]]:
    """The means over the held-out set, for each run."""
    return [means(self._evaluate(self._prepare(state), self._streams["eval"], self._held_out), self._split)]

  def track(self, state: Any, i: int) -> dict[str, float]:
    """The numbers of config.track for the i-th run; every host computes them."""
    del i
    if not self._track:
      return {}
    state, mesh = devices.local(state.averaged(), self.mesh)
    with devices.use_mesh(mesh):
      return self._track(self._prepare(state))

  def draw(self, state: Any, i: int) -> dict[str, jax.Array | str]:
    """Images and texts to save for the i-th run, {name: [height, width, C] or text}."""
    del i
    return shown(self._draw(self._prepare(state), self._streams["pictures"], self._shown), self._about)


class Lanes:
  """Several runs on one host that differ only in seed, hparams and init_from; see Lone.

  The lanes, not the batches, are split over the devices.
  """

  mesh = None

  def __init__(self, experiment: Experiment, configs: Sequence[ConfigDict], split: str):
    replicated, along = devices.shardings(len(configs), what="lanes")
    errors.require(jax.process_count() == 1, "Lanes run on one host; several hosts train a single run.")
    self._split, self._held_out = split, getattr(experiment.splits, split)
    self._along, self._configs = along, configs
    init = jax.jit(make_init_of(experiment))
    numbers = [{k: jnp.float32(v) for k, v in hyper_parameters(c).items()} for c in configs]
    self._fresh = lambda: [init(jax.random.key(c.seed), h) for c, h in zip(configs, numbers, strict=True)]
    self._keys = jax.device_put(jnp.stack([jax.random.key(c.seed) for c in configs]), along)
    system, transforms, config = experiment.system, experiment.transforms, configs[0]
    self._about = experiment.splits.about
    layout, steps = Layout(replicated, None, along, along), steps_of(experiment)
    data = experiment.splits.train
    self._feed = make_feed(system, transforms.train, data, config.data.source, self._keys, steps, layout, lanes=True)
    self._prepare, self._prepare_lanes = make_prepare(system), make_prepare(system, lanes=True)
    self._evaluate = make_evaluate_examples(system.eval_step, transforms.evaluate, config.eval_batch_size, lanes=True)
    self._pictures = jax.jit(make_shown(experiment))
    self._track = Tracker(experiment, config, split, given_runs.load)
    self._streams = {
      name: jax.vmap(lambda key, n=name: rng.stream(key, n))(self._keys) for name in ("eval", "pictures")
    }

  def fresh(self) -> list[Any]:
    """The state of each run at step 0."""
    return self._fresh()

  def join(self, states: list[Any]) -> Any:
    """The state that the programs take: the states of the runs, stacked along a leading run axis [R, ...]."""
    return jax.device_put(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), self._along)

  def split(self, state: Any, i: int) -> Any:
    """The state of the i-th run, a copy on one device."""
    return jax.device_put(jax.tree.map(lambda a: a[i], state), jax.local_devices()[0])

  def start(self, state: Any, step: int) -> None:
    """Compiles the program that trains."""
    self._feed.start(state, step)
    self._shown = jax.tree.map(lambda a: a[:SHOWN], self._held_out)

  def train(self, state: Any, length: int) -> tuple[Any, Any]:
    """(state, metrics) after `length` more steps, which the devices may still be computing; `each` waits for them."""
    return self._feed.train(state, length)

  def each(self, values: Any) -> list[dict[str, jax.Array]]:
    """The metrics {name: [length]} of each run, on the host."""
    values = jax.device_get(values)
    return [{k: v[i] for k, v in values.items()} for i in range(len(self._configs))]

  def evaluate(self, state: Any) -> list[dict[str, float]]:
    """The means over the held-out set, for each run."""
    values = self._evaluate(self._prepare_lanes(state), self._streams["eval"], self._held_out)
    return [means(v, self._split) for v in self.each(values)]

  def track(self, state: Any, i: int) -> dict[str, float]:
    """The numbers of config.track for the i-th run."""
    return self._track(self._prepare(self.split(state, i))) if self._track else {}

  def draw(self, state: Any, i: int) -> dict[str, jax.Array | str]:
    """Images and texts to save for the i-th run, {name: [height, width, C] or text}."""
    prepared = self._prepare(self.split(state, i))
    return shown(self._pictures(prepared, self._streams["pictures"][i], self._shown), self._about)
