"""Draws samples and embeds them and real examples, a batch at a time, into arrays on the host."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import size, take
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.core.progress import progress_bar
from dgm_jax.evaluate.sample_features import small_nets
from dgm_jax.evaluate.sample_features.features import Features
from dgm_jax.evaluate.sample_metrics.embedded import Embedded


def embedder(features: Features, classifier: Features | None, digits: bool, keep_x: bool) -> Callable:
  """Makes x [B, ...] -> {features, x, probs, mode, low, high}, each [B, ...].

  Args:
    features: of the distances.
    classifier: of `probs` and `mode`; None for none.
    digits: whether `mode` is the number that the channels show, by the classifier of digits.
    keep_x: whether x is kept.
  """
  reader = small_nets.shipped("mnist") if digits else None

  def embed(x):
    found = dict(features.embed(x))
    if classifier is not None and classifier is not features:
      found["probs"] = classifier.embed(x)["probs"]
    if reader is not None:
      channels = jnp.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:-1], 1)
      shown = reader.embed(channels)["probs"].argmax(-1).reshape(x.shape[0], -1)
      found["mode"] = shown @ jnp.array([100, 10, 1])
    elif "probs" in found:
      found["mode"] = found["probs"].argmax(-1)
    if keep_x:
      found["x"] = x.reshape(x.shape[0], -1).astype(jnp.float32)
    flat = x.reshape(x.shape[0], -1)
    return found | {"low": flat.min(1), "high": flat.max(1)}

  return embed


def _collected(found: dict[str, np.ndarray], labels: Any) -> Embedded:
  kept = {name: found[name] for name in ("features", "x", "probs", "mode") if name in found}
  return Embedded(labels=None if labels is None else np.asarray(labels), **kept)


def _check_range(features: Features, found: dict[str, np.ndarray], what: str) -> None:
  if features.range is not None:
    (least, greatest), low, high = features.range, float(found["low"].min()), float(found["high"].max())
    errors.require(
      least - 1e-3 <= low and high <= greatest + 1e-3,
      f"features = {features.name!r} takes images in [{least:g}, {greatest:g}]; {what} are in [{low:.4g}, {high:.4g}] "
      "after data.transforms: take 'pixels', or train on data in that range.",
    )


def of_data(
  embed: Callable, features: Features, transform: Callable, arrays: dict, key: jax.Array, batch: int
) -> Embedded:
  """Real examples after the transforms; their randomness is a function of the key and of an example's number."""
  run = make_evaluate_examples(lambda _, key, given: embed(given["x"]), transform, batch)
  found = jax.tree.map(np.asarray, run({}, key, arrays))
  _check_range(features, found, "the examples")
  y = arrays.get("y")
  is_class = y is not None and y.ndim == 1 and y.dtype.kind in "iu"
  return _collected(found, y if is_class else None)


class Sampler:
  """Samples of a state, in batches whose keys are functions of the key and of the batch's number.

  Args:
    draw: (state, key, n) -> x [n, ...], or (x, classes [n]).
    embed: see `embedder`.
    features: those of the distances.
    batch: samples at once.
  """

  def __init__(self, draw: Callable, embed: Callable, features: Features, batch: int):
    self._features, self._batch = features, batch
    self._draw = jax.jit(lambda state, key: draw(state, key, batch))
    self._embed = jax.jit(embed)

  def _batch_of(self, state: Any, key: jax.Array, number: int) -> tuple[jax.Array, jax.Array | None]:
    found = self._draw(state, jax.random.fold_in(key, number))
    return found if isinstance(found, tuple) else (found, None)

  def embedded(self, state: Any, key: jax.Array, count: int) -> Embedded:
    """The first `count` samples."""
    arrays: dict[str, np.ndarray] = {}
    with progress_bar(count, description="samples", unit="sample") as bar:
      for start in range(0, count, self._batch):
        x, classes = self._batch_of(state, key, start // self._batch)
        found = jax.device_get(self._embed(x) | ({} if classes is None else {"labels": classes}))
        rows = min(self._batch, count - start)
        for name, part in found.items():
          whole = arrays.setdefault(name, np.empty((count, *part.shape[1:]), part.dtype))
          whole[start : start + rows] = part[:rows]
        bar.update(rows)
    finite = np.isfinite(arrays["low"]) & np.isfinite(arrays["high"])
    errors.require(bool(finite.all()), f"{(~finite).sum()} of {count} samples hold NaN or Inf.")
    _check_range(self._features, arrays, "the samples")
    return _collected(arrays, arrays.get("labels"))

  def again(self, state: Any, key: jax.Array, indices: np.ndarray) -> np.ndarray:
    """The samples of these numbers, [n, ...], drawn once more."""
    parts = {i // self._batch: None for i in indices.tolist()}
    drawn = {number: jax.device_get(self._batch_of(state, key, number)[0]) for number in parts}
    return np.stack([drawn[i // self._batch][i % self._batch] for i in indices.tolist()])


def some(arrays: dict, count: int) -> dict:
  """At most `count` examples, each once, drawn by a fixed seed: a set may be sorted by class, or interleaved."""
  n = size(arrays)
  if count >= n:
    return arrays
  return take(arrays, np.sort(np.random.RandomState(0).permutation(n)[:count]))
