"""Truncation of z: how distances and precision change as the noise of a GAN is drawn closer to its centre."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, figure_style, figures, options, rng
from dgm_jax.evaluate import image_games
from dgm_jax.evaluate.sample_features import choose
from dgm_jax.evaluate.sample_features.measure import Measure
from dgm_jax.evaluate.sample_features.measure import Options as MeasureOptions

METRICS = ("frechet", "kernel", "manifold", "class_score")
NEEDS = ("latent", "generate", "discriminate")  # methods of the model
RUNS = ("features", "classifier")


def check(
  *,
  thresholds: Sequence[float] = (2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.1, 0.04),
  metrics: Sequence[str] = ("frechet", "manifold"),
  num_samples: int = 5000,
  seed: int = 0,
  features: str = "pixels",
  classifier: str = "",
  against: str = "test",
  batch_size: int = 100,
) -> None:
  """Raises UserError for an invalid option."""
  errors.require(len(thresholds) >= 1, "evaluate.truncation.thresholds is empty; it takes numbers above 0.")
  for value in thresholds:
    errors.require(
      isinstance(value, int | float) and value > 0,
      f"evaluate.truncation.thresholds has {value!r}; a truncation must be positive.",
    )
  for name in options.words(metrics):
    errors.choose("metric evaluate.truncation.metrics", name, METRICS)
  errors.require(num_samples >= 2, f"evaluate.truncation.num_samples = {num_samples}; it must be 2 or more.")
  errors.require(batch_size >= 1, f"evaluate.truncation.batch_size = {batch_size}; it must be 1 or more.")
  errors.require(0 <= seed < 2**32, f"evaluate.truncation.seed = {seed}; it must be in 0 .. 2^32 - 1.")
  errors.choose("value of evaluate.truncation.against", against, ("test", "valid", "train"))
  choose.check("features", features)
  if classifier:
    choose.check("classifier", classifier)


def prepare(experiment: Any, **options: Any) -> Callable[..., dict[str, Any]]:
  """(state, key, arrays) -> the numbers of `evaluate`; raises UserError if the game or the options do not fit."""
  image_games.check("truncation", experiment, truncation=True)
  _measure(experiment, **options)  # whether the features fit the data
  return lambda state, key, arrays: evaluate(experiment, state, key, arrays, **options)


def _measure(
  experiment: Any, thresholds: Sequence[float] = (), metrics: Sequence[str] = ("frechet", "manifold"), **options: Any
) -> Measure:
  """That of (state, t) in place of a state."""
  del thresholds
  system = experiment.system
  with_bound = system._replace(
    sample=lambda both, key, n, **more: system.sample(both[0], key, n, truncation=both[1], **more)
  )
  o = MeasureOptions(metrics=metrics, floor=False, **{"num_samples": 5000, "batch_size": 100} | options)
  return Measure(_with_system(experiment, with_bound), **o._asdict())


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  thresholds: Sequence[float] = (2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.1, 0.04),
  metrics: Sequence[str] = ("frechet", "manifold"),
  num_samples: int = 5000,
  seed: int = 0,
  features: str = "pixels",
  classifier: str = "",
  against: str = "test",
  batch_size: int = 100,
) -> dict[str, Any]:
  """Metrics of samples whose z has entries drawn given |z| < t, for each threshold t, and without truncation.

  Batch normalisation is prepared anew for each threshold, as objective.norm_statistics says.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test set.
    thresholds: t.
    metrics: of METRICS.
    num_samples, seed, features, classifier, against, batch_size: as of evaluate.samples.

  Returns:
    {truncation_T_NAME: number}, T a threshold or "none", names as of evaluate.samples, with standard errors where they
    are known; truncation_features, _num, _against say what was compared.  "figures" has the curve.

  Raises:
    UserError: the model's z cannot be truncated, or see evaluate.samples.
  """
  image_games.check("truncation", experiment, truncation=True)
  measure = _measure(
    experiment, metrics=metrics, num_samples=num_samples, seed=seed, features=features, classifier=classifier,
    against=against, batch_size=batch_size,
  )  # fmt: skip
  prepared = _preparation(experiment.system)
  found, rows = {}, {}
  for bound in (math.inf, *sorted(map(float, thresholds), reverse=True)):
    t = jnp.float32(bound)
    numbers = measure((prepared(state, t), t), key, arrays)
    name = "none" if math.isinf(bound) else f"{bound:g}"
    rows[name] = {k.removeprefix("samples_"): v for k, v in numbers.items() if k != "figures"}
    found |= {f"truncation_{name}_{k}": v for k, v in rows[name].items() if _is_result(k)}
  about = {f"truncation_{k}": rows["none"][k] for k in ("features", "num", "against") if k in rows["none"]}
  return found | about | {"figures": {"truncation": partial(_draw, rows=rows)}}


def _with_system(experiment: Any, system: Any) -> Any:
  """The experiment with another system; of a notebook's experiments, too, which are simple namespaces."""
  if hasattr(experiment, "_replace"):
    return experiment._replace(system=system)
  return type(experiment)(**vars(experiment) | {"system": system})


def _preparation(system: Any) -> Callable:
  """(state, t) -> the state whose batch normalisation fits this truncation."""
  if system.prepare is None:
    return lambda state, t: state
  key = rng.stream(jax.random.key(0), "prepare")
  return jax.jit(lambda state, t: system.prepare(state, key, truncation=t))


def _is_result(name: str) -> bool:
  return not name.startswith(("features", "num", "seed", "against", "floor")) and not name.endswith(("_bias", "_why"))


def _draw(path: Any, rows: dict[str, dict[str, Any]]) -> None:
  """Each number against the threshold, with its standard error; the dashed line is without truncation."""
  names = [k for k in rows["none"] if _is_result(k) and not k.endswith(("_stderr", "_expected", "_infinity"))]
  names = [k for k in names if isinstance(rows["none"][k], float)]
  figure = figures.new(figure_style.PAGE, 2.0 * -(-len(names) // 3))
  values = [name for name in rows if name != "none"]
  for i, name in enumerate(names):
    axis = figure.add_subplot(-(-len(names) // 3), 3, i + 1, title=name, xlabel="truncation", xscale="log")
    known = [v for v in values if rows[v].get(name) is not None]
    errors_of = [rows[v].get(f"{name}_stderr") or 0.0 for v in known]
    axis.errorbar([float(v) for v in known], [rows[v][name] for v in known], yerr=errors_of, marker="o", markersize=3)
    axis.axhline(rows["none"][name], color=figure_style.GREY, linestyle="--", linewidth=0.8)
  figures.save(path, figure)
