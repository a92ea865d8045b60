"""log p by a differential equation, with its errors; samples by evaluations of the network; bad options."""

import types

import jax
import numpy as np
import pytest

from dgm_jax.core import errors, system
from dgm_jax.data import pipeline
from dgm_jax.evaluate import function_evaluations, probability_flow
from helpers import known_scores as known


def experiment(model, transforms=(), x=None):
  train = {"x": known.draws(500, 1) if x is None else x}
  made = pipeline.make(transforms, train)
  state = system.TrainState(0, {}, (), {}, {})
  return types.SimpleNamespace(model=model, transforms=made), state


def arrays(x):
  return {"x": x, "index": np.arange(len(x), dtype=np.int32)}


def test_errors_of_solver_and_trace_are_what_they_say():
  x = known.draws(40)
  made, state = experiment(known.OfMixture((2,), solver="heun", solver_steps=10, trace="hutchinson", num_probes=8))
  run = lambda **options: probability_flow.evaluate(made, state, jax.random.key(0), arrays(x), **options)
  found = run(num_examples=0, batch_size=16)
  assert found["likelihood_kind"] == "estimate" and found["solver"] == "heun, 10 steps"
  assert found["solver_evaluations"] == 20 and found["likelihood_examples"] == 40
  assert found["log_px"] == pytest.approx(-found["nll"]) and found["values"]["log_px"].shape == (40,)
  again = run(num_examples=0, batch_size=16, num_steps=20)
  assert again["log_px"] == pytest.approx(found["log_px_halved"], abs=1e-5)  # the same noise and probes
  gaps = np.abs(again["values"]["log_px"] - found["values"]["log_px"])
  assert (
    found["solver_error"] == pytest.approx(gaps.mean(), rel=1e-3) and found["solver_error_max"] >= gaps.max() - 1e-5
  )
  assert again["solver_error"] < found["solver_error"] / 2
  assert found["log_px_error"] > 0
  few = run(num_examples=16, batch_size=16)
  assert few["likelihood_examples"] == 16 and "values" not in few
  assert few["log_px"] == pytest.approx(float(found["values"]["log_px"][:16].mean()), abs=1e-5)


@pytest.mark.slow
def test_tolerances_and_jacobians_of_transforms():
  x = known.draws(30)
  model = known.OfMixture((2,), solver_steps=40)
  made, state = experiment(model)
  exact = known.log_p(x).mean()
  adaptive = probability_flow.evaluate(made, state, jax.random.key(0), arrays(x), solver="dopri5", tolerance=1e-5)
  assert adaptive["log_px"] == pytest.approx(exact, abs=5e-3) and adaptive["log_px_error"] == 0
  assert adaptive["solver"] == "dopri5, tolerance 1e-05"
  made, state = experiment(model, ("standardize",), 3 * known.draws(500, 1) + 1)
  scaled = probability_flow.evaluate(made, state, jax.random.key(0), arrays(3 * known.draws(500, 1)[:30] + 1))
  mean, std = (3 * known.draws(500, 1) + 1).mean(0), (3 * known.draws(500, 1) + 1).std(0)
  y = (3 * known.draws(500, 1)[:30] + 1 - mean) / std
  assert scaled["log_px"] == pytest.approx(known.log_p(y).mean() - np.log(std).sum(), abs=0.02)


@pytest.mark.parametrize("check,options,named", [
  (probability_flow.check, {"tolerance": 0.0}, "tolerance = 0.0; it must be positive"),
  (probability_flow.check, {"solver": "rk5"}, "Unknown solver 'rk5'. Did you mean 'rk4'"),
  (probability_flow.check, {"batch_size": 0}, "batch_size = 0; it must be 1 or more"),
  (function_evaluations.check, {"counts": (0,)}, r"counts = \(0,\); it takes numbers of evaluations, 1 or more"),
  (function_evaluations.check, {"metrics": "fid"}, "Unknown metric evaluate.function_evaluations.metrics 'fid'"),
])  # fmt: skip
def test_invalid_options_are_named(check, options, named):
  with pytest.raises(errors.UserError, match=named):
    check(**options)


def test_counts_of_evaluations_become_steps_of_the_solver():
  model = known.OfMixture((2,), draw_solver="heun", draw_steps=7)
  assert function_evaluations.with_evaluations(model, 21).draw_steps == 10
  assert function_evaluations.with_evaluations(model.clone(draw_solver="rk4"), 21).draw_evaluations == 20
  with pytest.raises(errors.UserError, match="1 evaluations do not make a step"):
    function_evaluations.with_evaluations(model, 1)
