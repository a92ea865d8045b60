"""Scores of predictive distributions p(y|x), for each example or for a set.

A prediction is a dict: for classes {"log_py" [B], "probs" [B, C]}, for numeric y {"log_py" [B], "mean" [B, T],
"variance" [B, T]}; log_py is log p(y|x) at the observed y, nats.
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

Prediction = dict[str, jax.Array]


def mixture(parts: Prediction) -> Prediction:
  """The mixture 1/S sum_s p_s(y|x) over the leading axis S of `parts`: draws of the weights or ensemble members."""
  found = {"log_py": jax.nn.logsumexp(parts["log_py"], 0) - math.log(len(parts["log_py"]))}
  if "probs" in parts:
    return found | {"probs": jnp.mean(parts["probs"], 0)}
  mean = jnp.mean(parts["mean"], 0)
  return found | {"mean": mean, "variance": jnp.mean(parts["variance"] + jnp.square(parts["mean"] - mean), 0)}


def entropy(probs: jax.Array) -> jax.Array:
  """- sum_c p_c log p_c, nats, [B]; probs [B, C]."""
  return -jnp.sum(jax.scipy.special.xlogy(probs, probs), -1)


def of_examples(prediction: Prediction, y: jax.Array) -> dict[str, jax.Array]:
  """{name: [B]}: log_py, nats; for classes also accuracy, confidence, brier, entropy; for numeric y square_error.

  brier = sum_c (p_c - [y = c])^2, in [0, 2]: for two classes, twice the score of one class's probability.

  Args:
    prediction: see the module's docstring.
    y: classes [B], or numbers [B, T].
  """
  scores = {"log_py": prediction["log_py"]}
  if "mean" in prediction:
    return scores | {"square_error": jnp.sum(jnp.square(prediction["mean"] - y), -1)}
  probs = prediction["probs"]
  right = (jnp.argmax(probs, -1) == y).astype(probs.dtype)
  brier = jnp.sum(jnp.square(probs - jax.nn.one_hot(y, probs.shape[-1])), -1)
  return scores | {"accuracy": right, "confidence": jnp.max(probs, -1), "brier": brier, "entropy": entropy(probs)}


def calibration_error(confidence: jax.Array, right: jax.Array, num_bins: int = 15) -> jax.Array:
  """ECE = sum_m |B_m| / N |mean of right - mean of confidence in B_m|, bins (m/M, (m+1)/M] (Guo et al., 2017)."""
  bins = jnp.clip(jnp.ceil(confidence * num_bins).astype(jnp.int32) - 1, 0, num_bins - 1)
  gap = jnp.zeros(num_bins).at[bins].add(right - confidence)
  return jnp.sum(jnp.abs(gap)) / len(confidence)


def auroc(inside: jax.Array, outside: jax.Array) -> jax.Array:
  """P(a < b) + P(a = b) / 2 for a drawn from `inside` [N] and b from `outside` [M]: the area under the ROC curve."""
  ordered = jnp.sort(inside)
  below = jnp.searchsorted(ordered, outside, side="left") + jnp.searchsorted(ordered, outside, side="right")
  return jnp.mean(below / 2) / len(inside)


def delong(inside: jax.Array, outside: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(auroc, its standard error) by the placements of both samples (DeLong, DeLong & Clarke-Pearson, 1988).

    v_n = P(a_n < b) + P(a_n = b) / 2 over b,  w_m = P(a < b_m) + P(a = b_m) / 2 over a
    auroc = mean v = mean w,  variance = var(v) / N + var(w) / M

  Args:
    inside: [N], 2 or more.
    outside: [M], 2 or more.
  """

  def below(values, others):  # the share of `others` below each value, and half of those equal to it
    ordered = jnp.sort(others)
    both = [jnp.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return (both[0] + both[1]) / (2 * len(others))

  v, w = 1 - below(inside, outside), below(outside, inside)
  return jnp.mean(w), jnp.sqrt(jnp.var(v, ddof=1) / len(inside) + jnp.var(w, ddof=1) / len(outside))


def predictive(model: nn.Module, variables: Any, key: jax.Array, batch: dict, num_samples: int) -> Prediction:
  """The prediction 1/S sum_s p(y | x, w_s), S = num_samples, in the units of y before the transforms."""
  draw = lambda key: model.apply(variables, key, batch, method="summary")
  found = mixture(cast(Prediction, jax.vmap(draw)(jax.random.split(key, num_samples))))
  if "mean" not in found:
    return found
  loc, scale = units(batch)
  log_py = found["log_py"] - jnp.sum(jnp.broadcast_to(jnp.log(scale), found["mean"].shape), -1)
  return {"log_py": log_py, "mean": loc + scale * found["mean"], "variance": jnp.square(scale) * found["variance"]}


def targets(model: nn.Module, batch: dict) -> jax.Array:
  """y as of_examples takes it: classes int32 [B], or numbers [B, T] in their units before the transforms."""
  y = batch["y"].reshape(batch["y"].shape[0], -1)
  if model.num_classes is not None:
    return y[:, 0].astype(jnp.int32)
  loc, scale = units(batch)
  return loc + scale * y


def units(batch: dict) -> tuple[jax.Array, jax.Array]:
  """(loc, scale) [B, T] with y = loc + scale y', y' being batch["y"] after the transforms."""
  rows = lambda name, default: jnp.reshape(batch[name], (len(batch[name]), -1)) if name in batch else jnp.array(default)
  return rows("y_loc", 0.0), rows("y_scale", 1.0)
