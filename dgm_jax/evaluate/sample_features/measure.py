"""Samples of a model and real examples, embedded and compared: what evaluate.samples computes, state after state."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors, figures, options
from dgm_jax.core.batches import take
from dgm_jax.evaluate.sample_features import choose, embedding, of_experiment
from dgm_jax.evaluate.sample_features.features import Features
from dgm_jax.evaluate.sample_metrics import named
from dgm_jax.evaluate.sample_metrics.embedded import Embedded, Sets

DEFAULT = ("frechet", "kernel", "manifold", "memorisation")


class Options(NamedTuple):
  """See evaluate.samples.evaluate."""

  metrics: Sequence[str] = DEFAULT
  num_samples: int = 10_000
  seed: int = 0
  features: Any = "pixels"
  classifier: Any = ""
  against: str = "test"
  batch_size: int = 500
  neighbours: int = 5
  splits: int = 10
  cells: int = 1
  floor: bool = True


class Measure:
  """The evaluation with its options; programs and the embedded data are kept for further states, see `__call__`.

  Args:
    experiment: the built experiment.
    **given: see evaluate.samples.evaluate; they are valid, see its `check`.

  Raises:
    UserError: an option, the data or the model is not what a metric needs.
  """

  def __init__(self, experiment: Any, **given: Any):
    o = Options(**given)
    self._o, self._experiment = o, experiment
    self.metrics = options.words(o.metrics)
    self._needs = {need for name in self.metrics for need in named.METRICS[name].needs}
    self._check_model()
    self._features = choose.make(o.features, self._shape())
    self._check_range()
    self._embed = embedding.embedder(self._features, self._classifier(), self._digits, "x" in self._keeps)
    draw = of_experiment.conditional(experiment) if "labels" in self._needs else experiment.system.sample
    self._sampler = embedding.Sampler(draw, self._embed, self._features, min(o.batch_size, o.num_samples))
    self._known: dict[str, Embedded] = {}
    self._of_real: dict[str, Any] = {}  # what metrics keep of the run's own real examples
    self._numbers_of_floor: dict[str, Any] | None = None

  def _check_model(self) -> None:
    splits, o = self._experiment.splits, self._o
    errors.require(
      hasattr(self._experiment.transforms, "statistics"),
      "evaluate.samples compares with the run's own data, after its transforms: give transform=True.",
    )
    errors.require(
      self._experiment.system.sample is not None,
      "evaluate.samples needs a model that samples x; this one is a conditional model p(y given x).",
    )
    errors.require(
      "tokens" not in splits.about and "mask" not in splits.train,
      "evaluate.samples measures numbers without missing entries; these data are text, or have missing entries.",
    )
    held_out = {
      "training": "memorisation compares with held-out data",
      "valid": "parzen chooses sigma on validation data",
    }
    errors.require(
      "valid" not in self._needs or splits.valid is not None,
      f"evaluate.samples: {held_out['valid']}, and these have none: set data.valid_size or data.valid_fraction, where "
      "the data set has them.",
    )
    errors.require(
      "training" not in self._needs or o.against != "train",
      f"evaluate.samples: {held_out['training']}: set against to test or valid, not train.",
    )
    errors.require(
      o.against != "valid" or splits.valid is not None,
      "evaluate.samples.against = 'valid', and these data have no validation part.",
    )
    errors.require(
      "training" not in self._needs or o.cells <= len(splits.train["x"]),
      f"evaluate.samples.cells = {o.cells}; there are only {len(splits.train['x'])} training examples.",
    )
    self._digits = splits.about.get("channels") == "digits"
    self._has_modes = "modes" in splits.about
    self._keeps = self._needs | ({"x"} if "mode" in self._needs and self._has_modes else set())

  def _shape(self) -> tuple[int, ...]:
    """Of an x after the transforms."""
    return tuple(self._experiment.transforms.statistics.shape)

  def _check_range(self) -> None:
    """Of the real examples, before anything is computed."""
    if self._features.range is None:
      return
    (least, greatest), (low, high) = self._features.range, self._experiment.transforms.statistics.range
    errors.require(
      least - 1e-3 <= low and high <= greatest + 1e-3,
      f"features = {self._features.name!r} takes images in [{least:g}, {greatest:g}]; x is in [{low:.4g}, {high:.4g}] "
      "after data.transforms: take 'pixels', or train on data in that range.",
    )

  def _classifier(self) -> Features | None:
    """That of `probs` and `mode`."""
    o, about, train = self._o, self._experiment.splits.about, self._experiment.splits.train
    own_modes = self._has_modes or self._digits
    asked = "probs" in self._needs or ("mode" in self._needs and not own_modes)
    if "mode" in self._needs and not own_modes:
      errors.require(
        "y" in train and train["y"].ndim == 1 and train["y"].dtype.kind in "iu",
        "The metric 'modes' needs data with known modes (plane/ring, plane/grid, stacked_mnist) or with class labels.",
      )
      errors.require(
        len(self._shape()) == 3 or bool(o.classifier) or self._features.num_classes is not None,
        "The metric 'modes' needs data with known modes (plane/ring, plane/grid, stacked_mnist), or a classifier of "
        "the data's classes: set evaluate.samples.classifier.",
      )
    if not asked:
      return None
    found = choose.make(o.classifier, self._shape()) if o.classifier else self._features
    errors.require(
      found.num_classes is not None,
      f"The metrics 'class_score' and 'modes' of labelled data need a classifier; features = {found.name!r} is none: "
      "set evaluate.samples.classifier.",
    )
    if "mode" in self._needs and not own_modes:
      count = int(np.max(train["y"])) + 1
      names = about.get("classes")
      same = names is None or found.classes is None or tuple(names) == tuple(found.classes)
      errors.require(
        same and found.num_classes == count,
        f"The classifier {found.name!r} tells {found.num_classes} classes, others than the {count} of these data.",
      )
    return found

  def _of(self, part: str, arrays: dict | None, key: jax.Array) -> Embedded:
    """A part of the data, embedded once; `arrays` are further examples, embedded anew."""
    if arrays is None and part in self._known:
      return self._known[part]
    given = getattr(self._experiment.splits, part) if arrays is None else arrays
    transform = self._experiment.transforms.evaluate
    found = embedding.of_data(self._embed, self._features, transform, given, key, self._o.batch_size)
    if arrays is None:
      self._known[part] = found
    return found

  def _sets(self, key: jax.Array, given: dict | None) -> tuple[Sets, named.Options]:
    """The real examples, and what metrics need to know; `given` in place of the set compared with."""
    o = self._o
    real = self._of(o.against, given, key)
    training = self._of("train", None, key) if "training" in self._needs else None
    valid = self._of("valid", None, key) if "valid" in self._needs else None
    modes, scales = of_experiment.known_modes(self._experiment, key) or (None, None)
    uniform = len(self._experiment.splits.about["classes"]) if self._digits else 0  # as Lin et al. (2018) measure
    of_metrics = named.Options(o.neighbours, o.splits, o.cells, o.seed, self._features.fid, modes, scales, uniform)
    return Sets(real, real, training, valid, self._of_real if given is None else {}), of_metrics

  def __call__(self, state: Any, key: jax.Array, arrays: dict | None = None) -> dict[str, Any]:
    """The numbers of a state, see evaluate.samples.evaluate; `arrays` in place of the test set."""
    o, data_key = self._o, key
    key = jax.random.fold_in(key, o.seed)
    own = (
      arrays is self._experiment.splits.test
    )  # embedded once, by a run without a validation part at every evaluation
    given = arrays if o.against == "test" and not own else None
    sets, of_metrics = self._sets(data_key, given)
    floor = self._numbers_of_floor if given is None else None
    if floor is None:
      floor = self._floor(sets, of_metrics, data_key) if o.floor else {}  # before the samples: only one is in memory
    self._numbers_of_floor = floor if given is None else None
    sets = sets._replace(samples=self._sampler.embedded(state, key, o.num_samples))
    found = named.of_samples(self.metrics, sets, of_metrics) | floor
    pairs = found.pop("pairs", None)
    found |= {"features": self._features.name, "num": o.num_samples, "seed": o.seed, "against": o.against}
    found["against_size"] = len(sets.real)
    return {f"samples_{name}": value for name, value in found.items()} | self._figures(state, key, pairs)

  def _floor(self, sets: Sets, of_metrics: named.Options, key: jax.Array) -> dict[str, Any]:
    """The numbers of real examples in place of samples."""
    part = "test" if self._o.against == "train" else "train"
    examples = self._examples(part, key)
    numbers = named.of_floor(self.metrics, sets._replace(samples=examples), of_metrics)
    return numbers | {"floor": part, "floor_size": len(examples)}

  def _examples(self, part: str, key: jax.Array) -> Embedded:
    """At most num_samples examples of a part of the data."""
    given = embedding.some(getattr(self._experiment.splits, part), self._o.num_samples)
    transform = self._experiment.transforms.evaluate
    return embedding.of_data(self._embed, self._features, transform, given, key, self._o.batch_size)

  def of_examples(self, part: str, key: jax.Array) -> dict[str, Any]:
    """The numbers of num_samples examples of a part of the data, in place of samples: samples_NAME."""
    sets, of_metrics = self._sets(key, None)
    found = named.of_samples(self.metrics, sets._replace(samples=self._examples(part, key)), of_metrics)
    return {f"samples_{name}": value for name, value in found.items() if name != "pairs"}

  def _figures(self, state: Any, key: jax.Array, pairs: np.ndarray | None) -> dict[str, Any]:
    """The closest pairs of a sample and a training example, as a picture, of images."""
    train = self._experiment.splits.train
    shape = train["x"].shape[1:]
    if pairs is None or len(shape) != 3 or shape[-1] not in (1, 3):
      return {}
    samples = self._sampler.again(state, key, pairs[:, 0])
    near = jax.tree.map(jnp.asarray, take(train, pairs[:, 1]))
    near = np.asarray(self._experiment.transforms.evaluate(key, near)["x"], np.float32)
    both = jnp.asarray(np.stack([np.asarray(samples, np.float32).reshape(near.shape), near], 1))
    grid = figures.image_grid(both, columns=len(pairs))
    return {"figures": {"samples_nearest": partial(_save, grid=grid)}}


def _save(path: Any, grid: jax.Array) -> None:
  figures.save_image(path, grid)
