"""A trained density on a plane whose density is known: KL(data || model), its values on a grid, bent lines."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.data.sets import plane
from dgm_jax.evaluate import exact_likelihood, plane_figure
from dgm_jax.training.experiment import evaluation_key

BINS = 120  # of the pictures, in each direction
_DEVIATIONS = 3.0  # of the noise, beyond the points of a plane, in the pictures


def window(member: str) -> tuple[np.ndarray, np.ndarray]:
  """(lower [2], upper [2]) corners of a plane's picture."""
  return plane.box(member, deviations=_DEVIATIONS)


def grid(member: str) -> np.ndarray:
  """The centres of BINS x BINS cells of the window, float32 [BINS^2, 2], the first coordinate the slower."""
  low, high = window(member)
  centres = [(np.arange(BINS) + 0.5) / BINS * (b - a) + a for a, b in zip(low, high, strict=True)]
  return np.stack(np.meshgrid(*centres, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)


def _standardised(experiment: Any) -> tuple[np.ndarray, np.ndarray]:
  """(shift [2], scale [2]): the transforms take x to shift + scale x, element by element."""
  x = jnp.asarray([[0.0, 0.0], [1.0, 1.0]])
  at = experiment.transforms.evaluate(jax.random.key(0), {"x": x, "index": jnp.arange(2)})["x"]
  at = np.asarray(at, np.float64)
  return at[0], at[1] - at[0]


def bent(run: Any) -> np.ndarray | None:
  """plane_figure.bent, as points of the plane before the transforms; None of a model without a flow."""
  lines = plane_figure.bent(run.experiment.model, run.state)
  if lines is None:
    return None
  shift, scale = _standardised(run.experiment)
  return ((np.asarray(lines, np.float64) - shift) / scale).astype(np.float32)


def paths(run: Any, count: int = 150) -> np.ndarray | None:
  """Points of draws on their way from the noise to the plane, [T, count, 2]; None of a model without such ways."""
  model = run.experiment.model
  if not hasattr(model, "integrate"):
    return None
  z, times = jax.random.normal(jax.random.key(0), (count, 2)), jnp.linspace(1.0, 0.0, model.draw_steps + 1)
  way = lambda state, z: model.bind({"params": state.params, **state.variables}).integrate(z, None, times)
  shift, scale = _standardised(run.experiment)
  return ((np.asarray(jax.jit(way)(run.state, z), np.float64) - shift) / scale).astype(np.float32)


def measure(run: Any) -> dict[str, np.ndarray]:
  """Of a loaded run:

  log_px, true [N]   log p and log p of the plane, nats, of the test points
  density [G, G]     p on the cells of the window
  draws [n, 2]       of the model
  lines              see `bent`; none of a model without a flow
  paths              see `paths`; of a continuous flow
  normalisation      the integral of p, by the run's evaluation, and invertibility, of a flow
  """
  member, experiment = run.config.data.name.partition("/")[2], run.experiment
  score = exact_likelihood.make_log_px(experiment, 2000)
  key, test = evaluation_key(), experiment.splits.test
  of = lambda x: score(run.state, key, {"x": x, "index": np.arange(len(x), dtype=np.int32)})["log_px"]
  points = np.asarray(test["x"])
  found = {"log_px": np.asarray(of(points)), "true": plane.log_density(member, points)}
  found["density"] = np.exp(np.asarray(of(grid(member)), np.float64)).reshape(BINS, BINS).astype(np.float32)
  shift, scale = _standardised(experiment)
  found["draws"] = ((np.asarray(run.sample(2000), np.float64) - shift) / scale).astype(np.float32)
  lines = bent(run)
  own = {name: run.results.get(f"test/{name}") for name in ("normalisation", "invertibility")}
  found |= {name: np.asarray(value) for name, value in own.items() if value is not None}
  found |= {} if (ways := paths(run)) is None else {"paths": ways}
  return found | ({} if lines is None else {"lines": lines})


def divergence(arrays: dict[str, np.ndarray]) -> tuple[float, float]:
  """(KL(data || model), its standard error): the mean of log p_data(x) - log p(x) over the test points.

  The entropy of the plane cancels part of the noise of -log p(x): this is less noisy than NLL - entropy.
  """
  gap = np.asarray(arrays["true"], np.float64) - np.asarray(arrays["log_px"], np.float64)
  return float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)
