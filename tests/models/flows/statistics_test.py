"""Batch normalisation by the training set: the likelihood and what stands beside it are of the same function."""

import jax
import numpy as np
import pytest

from dgm_jax.core import config_args
from dgm_jax.evaluate import exact_likelihood, invertibility
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.training import build, experiment, results


@pytest.fixture(scope="module")
def flow():
  """(config, the built experiment, a state whose running moments are those of its first examples alone)."""
  config = config_args.load("flow_plane:net=maf,test")
  with config.unlocked():
    config.model.args.update(norm="batch", permutation="none", num_layers=1)
    config.evaluate.exact_likelihood.statistics = "train"
    config.evaluate.normalisation.num_points = 30
    config.evaluate.invertibility.layers = False
  made = build.build(config)
  state = jax.jit(experiment.make_init(made, 0))()
  shift = np.random.default_rng(0)
  params = jax.tree.map(lambda a: a + shift.normal(size=a.shape).astype("f") / 4, state.params)
  return config, made, state.replace(params=params)


def test_all_final_evaluations_are_of_the_function_whose_likelihood_is_reported(flow, tmp_path):
  config, made, state = flow
  found = results.evaluate_finally(config, made, state, tmp_path)
  key, test = results.evaluation_key(), made.splits.test
  fitted = exact_likelihood.with_training_statistics(made, state, key)
  inverted = lambda state: invertibility.evaluate(made, state, key, test, num_examples=20, layers=False)
  expected, by_running_moments = inverted(fitted), inverted(state)
  names = [f"invertibility/{part}/{what}_median" for part in ("data", "draws") for what in ("y", "x", "log_det")]
  assert [found[f"test/{name}"] for name in names] == [expected[name] for name in names]
  assert [expected[name] for name in names] != [by_running_moments[name] for name in names]
  of_train = exact_likelihood.evaluate(made, state, key, test, statistics="train")
  assert found["test/log_px"] == pytest.approx(of_train["log_px"], abs=1e-5)
  assert found["test/log_px"] != pytest.approx(exact_likelihood.evaluate(made, state, key, test)["log_px"], abs=1e-3)


def test_a_table_of_numbers_measures_inverses_and_the_integral_of_the_state_whose_likelihood_it_has(flow):
  config, made, state = flow
  found = exact_tables.of_state(made, state, config.evaluate.to_dict())
  key = results.evaluation_key()
  fitted = exact_likelihood.with_training_statistics(made, state, key)
  expected = invertibility.evaluate(made, fitted, key, made.splits.test, num_examples=20, layers=False)
  assert found["invertibility"] == expected["invertibility"]
  assert found["normalisation"] == pytest.approx(1, abs=0.05)
  without = exact_tables.of_state(made, state, {"exact_likelihood": {"statistics": "train"}})
  assert "invertibility" not in without and "normalisation" not in without
