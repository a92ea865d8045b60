"""Warnings about likelihoods that are degenerate: a variance that has run to 0, or to its floor, at some features."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import rng
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.mixed import Mixed
from dgm_jax.inference import imputation

_ROWS = 200  # examples that decide
_SMALL = 1e-3  # of a feature's standard deviation
_SHOWN = 5  # features that a warning names


def _floors(model: Any, dim: int) -> jax.Array | None:
  """The least scale of the likelihood at each of D entries, NaN for entries without a scale; None if all are."""
  name = getattr(model, "likelihood", None)
  if name is None or name == "autoregressive":  # entries that depend on each other have no scales of their own
    return None
  family = families.make(name, **getattr(model, "likelihood_args", {}))
  groups = family.groups if isinstance(family, Mixed) else [(family, range(dim))]
  found = jnp.full(dim, jnp.nan)
  for member, columns in groups:
    if member.min_scale is not None:
      found = found.at[jnp.array(columns)].set(member.min_scale)
  return None if jnp.isnan(found).all() else found


def _examples(experiment: Any) -> dict[str, jax.Array]:
  """The first held-out examples after the transforms."""
  arrays = {name: jnp.asarray(a[:_ROWS]) for name, a in experiment.splits.test.items()}
  keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(arrays["index"])
  return jax.jit(jax.vmap(experiment.transforms.evaluate))(keys, arrays)


def _spread(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """The standard deviation of each entry of x [B, ...] over its observed values, [D]."""
  x = jnp.asarray(x).reshape(len(x), -1)
  seen = jnp.ones_like(x) if mask is None else jnp.asarray(mask).reshape(x.shape) > 0
  count = jnp.maximum(seen.sum(0), 1)
  mean = jnp.where(seen, x, 0).sum(0) / count
  return jnp.sqrt(jnp.where(seen, (x - mean) ** 2, 0).sum(0) / count)


def _decodes(model: Any) -> bool:
  """Whether p(x|z) depends on z alone."""
  if not all(hasattr(model, name) for name in ("infer", "log_joint", "decode")):
    return False
  return hasattr(model, "given") or len(inspect.signature(model.decode).parameters) == 1


def _of_decoder(experiment: Any, state: Any) -> tuple[jax.Array, str]:
  """(which entries of x, or of y, have a degenerate p(x|z) for half of the examples, what that distribution is)."""
  model, supervised = experiment.model, hasattr(experiment.model, "predict")
  if not supervised and not _decodes(model):
    return jnp.zeros(0, bool), ""
  floors = _floors(model, model.num_targets if supervised else math.prod(model.data_shape))
  if floors is None:
    return jnp.zeros(0, bool), ""
  batch = _examples(experiment)

  def variances(state, key, batch):
    bound = model.bind({"params": state.params, **state.variables})
    if supervised:
      return bound.predict(key, batch).variance()
    return imputation.given(bound, bound.infer(batch).sample_and_log_prob(seed=key)[0]).variance()

  scale = jnp.sqrt(jnp.median(jax.jit(variances)(state, rng.stream(jax.random.key(0), "degenerate"), batch), 0))
  spread = _spread(batch["y"], None) if supervised else _spread(batch["x"], batch.get("mask"))
  return (scale <= jnp.fmax(1.05 * floors, _SMALL * spread)) & ~jnp.isnan(floors), "p(y|x)" if supervised else "p(x|z)"


def _of_components(experiment: Any, state: Any) -> tuple[jax.Array, str]:
  """The same for mixtures and hidden Markov models with normal components, and for factor analysis."""
  params, model = state.params, experiment.model
  spread = _spread(_examples(experiment)["x"], None)
  if "log_variance" in params:
    dim, variance = len(spread), jnp.exp(jnp.asarray(params["log_variance"]))
    floor = model.min_variance
    variance = variance.reshape(-1, dim if variance.size % dim == 0 else 1)
  else:
    dim, roots = jnp.shape(params["means"])[-1], jnp.square(jnp.asarray(params["roots"]))
    spread = spread.reshape(-1, dim).max(0)  # of a sequence: over its steps
    floor = getattr(model, "floor", 0.0)
    if model.covariance in ("full", "tied"):
      roots = roots.sum(-1)
    variance = roots.reshape(-1, 1 if model.covariance == "spherical" else dim)
  limit = jnp.maximum(1.05 * floor, jnp.square(_SMALL * spread))
  return (jnp.broadcast_to(variance, (len(variance), dim)) <= limit).any(0), "a component"


def _names(experiment: Any, chosen: jax.Array, of_y: bool) -> Sequence[str]:
  """What to call the chosen features: names of columns, or positions from 1."""
  about = experiment.splits.about or {}
  names = [about["target"]] if of_y and "target" in about else about.get("columns", about.get("genes", ()))
  given = () if of_y else getattr(getattr(experiment, "transforms", None), "given_columns", ())
  names = [name for j, name in enumerate(names) if j not in given]
  if of_y and "target" not in about:
    names = ()
  what = "y" if of_y else "feature"
  return [repr(names[i]) if len(names) == len(chosen) else f"{what} {i + 1}" for i in jnp.flatnonzero(chosen)]


def warnings(experiment: Any, state: Any) -> list[str]:
  """A sentence for the run's log and results if the likelihood is degenerate at some features, else none.

  A scale counts as degenerate at its floor, or below a thousandth of the feature's standard deviation: the likelihood
  then has no maximum but that floor, and its value says how small it is allowed to be.
  """
  params = getattr(state, "params", {})
  has = set(params) if isinstance(params, Mapping) else set()
  normals = {"means", "roots"} <= has and hasattr(experiment.model, "covariance")
  components = normals or ({"loadings", "log_variance"} <= has and hasattr(experiment.model, "min_variance"))
  chosen, what = (_of_components if components else _of_decoder)(experiment, state)
  if not chosen.any():
    return []
  names = _names(experiment, chosen, what == "p(y|x)")
  listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
  return [
    f"The likelihood is degenerate at {listed}: the variance of {what} there is at its floor or near 0, so that log p "
    "may be arbitrarily large or small.  Leave out features that hardly vary, or choose a larger floor or a likelihood "
    "whose variance is fixed."
  ]
