"""Modes of a plane's data that the samples of a trained generator reach, with and without its moving average."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import rng
from dgm_jax.core.evaluation import make_prepare
from dgm_jax.evaluate.sample_metrics import modes
from dgm_jax.training.restore import restore

NAMES = ("covered", "share", "reverse_kl")


def _mapped(experiment: Any) -> tuple[np.ndarray, np.ndarray]:
  """(modes [C, 2], standard deviations [2]) after the transforms, which are linear."""
  about = experiment.splits.about
  centres, noise = np.asarray(about["modes"]), about["noise"]

  def to_model(x):
    batch = {"x": jnp.asarray(x, jnp.float32), "index": jnp.arange(len(x))}
    return np.asarray(experiment.transforms.evaluate(jax.random.key(0), batch)["x"], np.float64)

  unit = to_model(np.concatenate([np.zeros((1, 2)), np.eye(2)]))
  return to_model(centres), noise * np.diag(unit[1:] - unit[0])


def measure(run: Any, num_samples: int = 2500) -> dict[str, np.ndarray]:
  """{"averaged", "raw": [covered modes, share of samples at a mode, KL of the modes' shares from uniform]}.

  Args:
    run: a loaded run.
    num_samples: 2,500 in Lin et al. (2018).
  """
  experiment, state = restore(run.config, run.source, averaged=False)
  centres, scales = _mapped(experiment)
  draw = jax.jit(experiment.system.sample, static_argnums=2)
  found = {}
  for name, of in {"averaged": state, "raw": state.replace(averages=None)}.items():
    x = jax.device_get(draw(make_prepare(experiment.system)(of), rng.stream(jax.random.key(0), "sample"), num_samples))
    reached = modes.of_points(x, centres, scales)
    found[name] = np.array([reached.covered, reached.share, reached.reverse_kl])
  return found
