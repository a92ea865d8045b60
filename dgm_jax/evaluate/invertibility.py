"""How well a flow can be inverted in float32: the error of both directions, of log-determinants, and of log p."""

from collections.abc import Iterator
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.batches import size

NEEDS = ("log_prob", "bijectors")  # of the model: bijectors(context) -> [(name, bijector)], from x to z
_QUANTILES = {"median": 0.5, "99": 0.99, "max": 1.0}


def check(*, num_examples: int = 1, layers: bool = True) -> None:
  """Raises UserError for an invalid option."""
  errors.require(num_examples >= 1, f"evaluate.invertibility.num_examples = {num_examples}; it must be 1 or more.")


def _largest(a: jax.Array) -> jax.Array:
  """The largest entry of each example, [B]."""
  return jnp.max(jnp.abs(a).reshape(a.shape[0], -1), 1)


def _of_bijector(bijector: Any, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
  """(y, {"y": |f(f^-1(y)) - y|, "x": |x - f^-1(f(x))|, "log_det": |forward + inverse|}), each [B].

  The first two are relative to 1 + |y| and 1 + |x|.  Inverses by iteration also have "passes" [].

  The two log-determinants are those at the same point, f^-1(y): a spline whose slope is 1e-6 somewhere loses digits of
  x there, while y is right.
  """
  y, _ = bijector.forward_and_log_det(x)
  back, inverse = bijector.inverse_and_log_det(y)
  again, forward = bijector.forward_and_log_det(back)
  relative = lambda a, b: _largest((a - b) / (1 + jnp.abs(b)))
  found = {"y": relative(again, y), "x": relative(back, x), "log_det": jnp.abs(forward + inverse)}
  if hasattr(bijector, "inverse_and_passes"):
    found["passes"] = bijector.inverse_and_passes(y)[1]
  return y, found


def _names(layers: list[tuple[str, Any]]) -> list[str]:
  """The names of layers, and of a multi-scale one those of its parts."""
  return [each for name, bijector in layers for each in getattr(bijector, "part_names", [name])]


def _parts(layers: list[tuple[str, Any]], x: jax.Array) -> Iterator[tuple[str, Any, jax.Array]]:
  """(name, bijector, its input) of all of `_names`, for x."""
  for name, bijector in layers:
    yield from bijector.parts(x) if hasattr(bijector, "parts") else [(name, bijector, x)]
    x = bijector.forward(x)


def _through(layers: list[tuple[str, Any]], x: jax.Array, each: bool) -> dict[str, dict[str, jax.Array]]:
  """{layer: its errors}, and those of all layers together under ""."""
  found = {name: _of_bijector(bijector, z)[1] for name, bijector, z in _parts(layers, x)} if each else {}
  return found | {"": _of_bijector(distrax.Chain([bijector for _, bijector in layers[::-1]]), x)[1]}


def _first_bad(layers: list[tuple[str, Any]], x: jax.Array) -> jax.Array:
  """The number of the first layer whose output or log-determinant is not finite for some x; that of layers if none."""
  bad = []
  for _, bijector, z in _parts(layers, x):
    y, log_det = bijector.forward_and_log_det(z)
    bad.append(~(jnp.isfinite(y).all() & jnp.isfinite(log_det).all()))
  return jnp.argmax(jnp.stack([*bad, jnp.bool_(True)]))


def _summaries(values: dict[str, jax.Array], prefix: str) -> dict[str, float]:
  return {
    f"{prefix}{what}_{name}": jnp.quantile(value, q).item()
    for what, value in values.items()
    for name, q in _QUANTILES.items()
  }


def _vectors(batch: dict[str, jax.Array], model: Any) -> tuple[jax.Array, jax.Array | None]:
  """(x in the shape that the bijectors take, the context of a model with one)."""
  shape = getattr(model, "event_shape", (-1,))
  takes = getattr(model, "num_classes", 0) or getattr(model, "context_dim", 0)
  context = batch.get("context") if takes else None
  return batch["x"].reshape(batch["x"].shape[0], *shape), context


def _doubled(tree: Any) -> Any:
  double = lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a
  return jax.tree.map(double, tree)


def _log_px_in_both(model: Any, variables: Any, batch: dict[str, jax.Array]) -> jax.Array:
  """|log p(x) in float32 - log p(x) in float64|, relative to 1 + |log p(x)|, [B]."""
  log_px = jax.jit(lambda variables, batch: model.bind(variables).log_prob(batch))
  single = jax.device_get(log_px(variables, batch))
  with jax.enable_x64(True):
    double = jax.device_get(log_px(_doubled(variables), _doubled(batch)))
  return jnp.asarray(abs(single - double) / (1 + abs(double)), jnp.float32)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 1000,
  layers: bool = True,
) -> dict[str, Any]:
  """Numbers that are 0 in exact arithmetic, of test examples and of as many draws, in float32.

  Errors are relative to 1 + the size of what is compared, the largest entry of each example, summarised by their
  median, 99 % quantile and maximum.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: test examples, and draws.
    layers: whether the layers one by one, too.

  Returns:
    invertibility, the worst of the errors |f(f^-1(y)) - y| and of log p(x) in float32 against float64; data/y_max,
    draws/x_median, data/log_det_99, data/log_px_max, ..., under "invertibility/"; with `layers`, the maximum for each
    layer under "invertibility/layers/", and the passes of inverses by iteration.

  Raises:
    DivergenceError: a layer gives NaN or infinity; the message names it.
  """
  model = experiment.model
  variables = {"params": state.params, **state.variables}
  n = min(num_examples, size(arrays))
  examples = jax.tree.map(lambda a: jnp.asarray(a[:n]), arrays)
  keys = jax.random.split(key, n + 1)
  batch = jax.vmap(experiment.transforms.evaluate)(keys[1:], examples)
  x, context = _vectors(batch, model)
  names = _names(model.bind(variables).bijectors(context))

  def run(variables, x, context):
    bound = model.bind(variables).bijectors(context)
    return _through(bound, x, layers), _first_bad(bound, x)

  def draw(variables, key):
    given = {} if context is None else {"context": context}
    return model.bind(variables).generate(key, n, **given)

  compiled, found, worst = jax.jit(run), {}, []
  drawn = {"x": jax.jit(draw)(variables, keys[0])}
  for part, points in (("data", x), ("draws", _vectors(drawn, model)[0])):
    values, first_bad = compiled(variables, points, context)
    _require_finite(names, int(first_bad), part, int(state.step))
    found |= _summaries(values[""], f"{part}/")
    worst.append(found[f"{part}/y_max"])
    for name in names if layers else ():
      for what, value in values[name].items():
        suffix = "" if what == "passes" else "_max"
        found[f"layers/{name}/{part}_{what}{suffix}"] = jnp.max(value).item()
  found |= _summaries({"log_px": _log_px_in_both(model, variables, batch)}, "data/")
  worst.append(found["data/log_px_max"])
  return {"invertibility": max(worst)} | {f"invertibility/{name}": value for name, value in found.items()}


def _require_finite(names: list[str], first_bad: int, part: str, step: int) -> None:
  if first_bad < len(names):
    raise errors.DivergenceError(
      f"The layer {names[first_bad]!r} of the flow gives NaN or infinity for some {part} at step {step}: lower "
      "optim.lr, or clip the gradients (optim.clip_norm).",
      step,
    )
