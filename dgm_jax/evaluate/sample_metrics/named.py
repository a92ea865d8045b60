"""The metrics by name: what each needs, and the numbers that it gives.

A number that cannot be had is left out, and NAME_why says why.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import classes, frechet, kernel, manifold, memorisation, modes, moments, parzen
from dgm_jax.evaluate.sample_metrics.embedded import Sets

Numbers = dict[str, Any]


class Options(NamedTuple):
  """Options of the metrics, see evaluate.samples."""

  neighbours: int = 5
  splits: int = 10
  cells: int = 1
  seed: int = 0
  fid: bool = False
  modes: np.ndarray | None = None  # [C, 2], in the space of x
  scales: np.ndarray | None = None  # of a mode, [2]
  uniform: int = 0  # classes that are equally probable, whatever their numbers in the data; 0 for those numbers


class Metric(NamedTuple):
  """One metric.

  Attributes:
    compute: (sets, options) -> {name: number}.
    names: of its numbers, without those that only say how they were found.
    needs: of x, probs, mode, labels, training, valid.
    floor: whether it says anything of real training examples in place of samples.
  """

  compute: Callable[[Sets, Options], Numbers]
  names: tuple[str, ...]
  needs: tuple[str, ...] = ()
  floor: bool = True


def _with_why(name: str, value: float | None, why: str) -> Numbers:
  return {f"{name}_why": why} if value is None else {name: value}


def _frechet(sets: Sets, options: Options) -> Numbers:
  name = "fid" if options.fid else "frechet"
  samples = sets.samples.features
  shuffled = lambda: sets.real.features[np.random.RandomState(options.seed).permutation(len(sets.real))]
  real = sets.once("shuffled", shuffled)  # it may be sorted
  parts = frechet.num_parts(len(samples), len(real), samples.shape[1])
  of_samples = moments.divided(samples, parts)
  of_real = sets.once(f"moments of {parts} parts", lambda: moments.divided(real, parts))
  whole = frechet.frechet(samples, real, of_samples, of_real)
  limit = frechet.infinity(samples, real, whole, of_samples, of_real)
  found = {name: whole.value, f"{name}_bias": whole.bias}
  found |= _with_why(f"{name}_stderr", whole.stderr, whole.why)
  found |= _with_why(f"{name}_infinity", limit.value, limit.why)
  return found | ({} if limit.stderr is None else {f"{name}_infinity_stderr": limit.stderr})


def _kernel(sets: Sets, options: Options) -> Numbers:
  name = "kid" if options.fid else "kernel"
  found = kernel.kernel(sets.samples.features, sets.real.features)
  return {name: found.value, f"{name}_stderr": found.stderr}


def _manifold(sets: Sets, options: Options) -> Numbers:
  found = manifold.manifold(sets.samples.features, sets.real.features, options.neighbours)._asdict()
  expected = manifold.expected_coverage(len(sets.real), len(sets.samples), options.neighbours)
  return found | {"coverage_expected": expected}


def _class_score(sets: Sets, options: Options) -> Numbers:
  name = "inception_score" if options.fid else "class_score"
  found = classes.class_score(sets.samples.probs, options.splits)
  return {name: found.value} | ({} if found.stderr is None else {f"{name}_stderr": found.stderr})


def _nearest(sets: Sets, options: Options) -> Numbers:
  del options
  found = classes.nearest(sets.samples.features, sets.samples.labels, sets.real.features, sets.real.labels)
  return {f"nearest_{name}": value for name, value in found._asdict().items()}


def _agreement(sets: Sets, options: Options) -> Numbers:
  """The share of samples that the classifier gives the class that they were drawn for."""
  del options
  labels = sets.samples.labels
  errors.require(
    sets.samples.probs.shape[1] > int(labels.max()),
    f"The metric 'agreement' needs a classifier of the data's classes; it tells {sets.samples.probs.shape[1]} classes.",
  )
  right = float((sets.samples.probs.argmax(1) == labels).mean())
  return {"agreement": right, "agreement_stderr": float((right * (1 - right) / len(labels)) ** 0.5)}


def _by_class(sets: Sets, options: Options) -> Numbers:
  """Frechet distance and 1-NN accuracy of the samples of each class, to and by the real examples of it."""
  del options
  samples, real, found = sets.samples, sets.real, {}
  right = classes.is_of_nearest(samples.features, samples.labels, real.features, real.labels)
  for label in np.unique(real.labels).tolist():
    ours, theirs = samples.labels == label, real.labels == label
    name = f"frechet_class_{label}"
    if min(ours.sum(), theirs.sum()) < 2:
      found |= _with_why(name, None, f"{ours.sum()} samples and {theirs.sum()} real examples; it takes two of each")
      continue
    whole = frechet.frechet(samples.features[ours], real.features[theirs])
    found |= {name: whole.value, f"{name}_bias": whole.bias}
    found |= {} if whole.stderr is None else {f"{name}_stderr": whole.stderr}
    found[f"nearest_class_{label}"] = float(right[ours].mean())
  return found


def _memorisation(sets: Sets, options: Options) -> Numbers:
  found = memorisation.memorisation(
    sets.samples.features, sets.real.features, sets.training.features, options.cells, options.seed
  )
  kept = ("z", "least_z", "mean_z", "cells", "near", "near_stderr", "radius")
  numbers = {f"memorisation_{name}": getattr(found, name) for name in kept}
  return numbers | {"pairs": found.pairs}


def _support(sets: Sets, options: Options) -> Numbers:
  """Samples nearer to each other than the 1 % quantile of held-out examples to the training set coincide."""
  del options
  radius = memorisation.radius(sets.real.features, sets.training.features)
  found = memorisation.support(sets.samples.features, radius)
  numbers = {"support_at_least": found.at_least, "support_pairs": found.pairs}
  numbers |= _with_why("support", found.size, "no two samples coincide")
  return numbers | ({} if found.stderr is None else {"support_stderr": found.stderr})


def _modes(sets: Sets, options: Options) -> Numbers:
  if options.modes is not None:
    found = modes.of_points(sets.samples.x, options.modes, options.scales)
  else:
    total = int(max(sets.samples.mode.max(), sets.real.labels.max())) + 1
    counts = np.ones(options.uniform) if options.uniform else np.bincount(sets.real.labels, minlength=total)
    found = modes.of_classes(sets.samples.mode, counts)
  names = {"covered": "modes", "total": "modes_total", "share": "modes_share", "reverse_kl": "modes_reverse_kl"}
  return {names[name]: value for name, value in found._asdict().items()}


def _parzen(sets: Sets, options: Options) -> Numbers:
  del options
  values, sigma = parzen.chosen(sets.samples.x, sets.valid.x, sets.real.x)
  error = float(values.std(ddof=1) / len(values) ** 0.5)
  return {"parzen": float(values.mean()), "parzen_stderr": error, "parzen_sigma": sigma}


METRICS = {
  "frechet": Metric(_frechet, ("frechet", "frechet_infinity")),
  "kernel": Metric(_kernel, ("kernel",)),
  "manifold": Metric(_manifold, ("precision", "recall", "density", "coverage")),
  "class_score": Metric(_class_score, ("class_score",), ("probs",)),
  "nearest": Metric(_nearest, ("nearest_by_samples", "nearest_of_samples"), ("labels",)),
  "agreement": Metric(_agreement, ("agreement",), ("labels", "probs")),
  "by_class": Metric(_by_class, (), ("labels",)),
  "memorisation": Metric(
    _memorisation,
    ("memorisation_z", "memorisation_least_z", "memorisation_mean_z", "memorisation_near"),
    ("training",),
    False,
  ),
  "support": Metric(_support, ("support", "support_at_least"), ("training",)),
  "modes": Metric(_modes, ("modes", "modes_share", "modes_reverse_kl"), ("mode",)),
  "parzen": Metric(_parzen, ("parzen",), ("x", "valid")),
}
_OF_INCEPTION = {
  "frechet": "fid",
  "frechet_infinity": "fid_infinity",
  "kernel": "kid",
  "class_score": "inception_score",
}
_OF_THE_SETTING = ("_why", "_total", "_expected", "_bias")  # ends of names of what the floor need not repeat


def names(metrics: Sequence[str], fid: bool) -> list[str]:
  """Of the numbers of these metrics."""
  found = [name for metric in metrics for name in METRICS[metric].names]
  return [_OF_INCEPTION.get(name, name) for name in found] if fid else found


def of_samples(metrics: Sequence[str], sets: Sets, options: Options) -> Numbers:
  """The numbers of these metrics."""
  found: Numbers = {}
  for metric in metrics:
    found |= METRICS[metric].compute(sets, options)
  return found


def of_floor(metrics: Sequence[str], sets: Sets, options: Options) -> Numbers:
  """NAME_floor, where real examples stand in place of samples."""
  found = of_samples([metric for metric in metrics if METRICS[metric].floor], sets, options)
  return {f"{name}_floor": value for name, value in found.items() if not name.endswith(_OF_THE_SETTING)}
