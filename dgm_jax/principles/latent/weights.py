"""The weight of KL(q || p) during training, as a share of beta.

  linear     min(1, s + (1 - s) t / T)
  sigmoid    1 / (1 + exp(-(t - T) / w))                        (Bowman et al., 2016, figure 2)
  cyclical   the linear one with T = P / 2 at t mod P           (Fu et al., 2019, with R = 1/2)

t is the step, s = beta_start, w = beta_width; T, and the period P, is beta_steps.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

SCHEDULES = ("linear", "sigmoid", "cyclical")
_MEANINGS = {"sigmoid": "centre", "cyclical": "period"}  # of beta_steps


def share(o: Any, values: dict[str, Any], step: jax.Array) -> jax.Array:
  """The weight's share of beta at a step.

  Args:
    o: Options, with their schedule and its steps.
    values: their numbers, in which lanes may differ.
    step: t.
  """
  if o.beta_schedule == "sigmoid":
    return jax.nn.sigmoid((step - o.beta_steps) / values["beta_width"])
  t, ramp = step, float(o.beta_steps)
  if o.beta_schedule == "cyclical":
    t, ramp = step % o.beta_steps, o.beta_steps / 2
  start = values["beta_start"]
  return jnp.minimum(1.0, start + (1 - start) * t / ramp)


def check(o: Any) -> None:
  """Raises UserError for an invalid schedule."""
  errors.choose("objective.beta_schedule", o.beta_schedule, SCHEDULES)
  need = lambda condition, sentence: errors.require(condition, f"objective.{sentence}")
  need(0 <= o.beta_start <= 1, f"beta_start = {o.beta_start}; it must be in [0, 1].")
  need(o.beta_start == 0 or o.beta_steps > 0, f"beta_start = {o.beta_start} has no meaning without beta_steps.")
  need(
    o.beta_schedule == "linear" or o.beta_steps > 0,
    f"beta_schedule = {o.beta_schedule!r} needs beta_steps, its {_MEANINGS.get(o.beta_schedule)}.",
  )
  need(
    o.beta_schedule != "sigmoid" or o.beta_width > 0,
    f"beta_schedule = 'sigmoid' needs a positive beta_width in steps; it is {o.beta_width}.",
  )
  need(
    o.beta_schedule == "sigmoid" or o.beta_width == 0, f"beta_width = {o.beta_width} is for beta_schedule = 'sigmoid'."
  )
  need(
    o.beta_schedule != "sigmoid" or o.beta_start == 0,
    f"beta_start = {o.beta_start} is for the schedules linear and cyclical.",
  )
