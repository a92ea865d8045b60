"""Batch normalisation outside of training: moments pooled over fresh samples, or those of the samples themselves.

Averaged parameters with the moments that the newest ones had in training do not fit each other; nor do moments of all
of p(z) fit samples of a truncated z.  So moments are pooled anew for the parameters, and the z, that are evaluated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.batch_norms import pooled

_OWN = ("adversarial",)  # collections of the principle


def of_batch(model: nn.Module, state: Any, z: jax.Array, y: jax.Array | None) -> tuple[Any, Any]:
  """(samples, normalised by the moments of their own batch; these moments, {} without any)."""
  variables = {k: v for k, v in state.variables.items() if k not in _OWN}
  given = {"params": state.params, **variables}
  found, changed = model.apply(given, z, y, True, method="generate", mutable=["moments", "batch_stats"])
  return found, changed.get("moments", {}).get("generator", {})


def standing(model: nn.Module, state: Any, keys: jax.Array, draw: Callable) -> Any:
  """The state whose generator is normalised by the means of the moments of several batches.

  Each batch is normalised by its own moments below the layer whose moments are taken, as in training; so only in the
  first layer are they those of one batch of all samples.

  Args:
    model: of the game.
    state: its state.
    keys: one for each batch.
    draw: key -> (z, y).

  Raises:
    UserError: the generator's normalisation does not give its moments.
  """
  moments = jax.lax.map(lambda key: of_batch(model, state, *draw(key))[1], keys)
  errors.require(
    bool(jax.tree.leaves(moments)),
    "objective.norm_statistics = 'standing' needs generators with dgm_jax.networks.batch_norms.BatchNorm, which gives "
    "its moments; for others choose 'moving' or 'batch'.",
  )
  means = jax.tree.map(lambda a: jnp.mean(a, 0), moments)
  stats = state.variables["batch_stats"]
  found = stats | {"generator": pooled(stats["generator"], means)}
  return state.replace(variables=state.variables | {"batch_stats": found})
