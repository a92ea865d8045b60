"""Warnings about degenerate likelihoods: they name the features, and sound models get none."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.core.system import TrainState
from dgm_jax.data.splits import Splits
from dgm_jax.evaluate import degenerate
from dgm_jax.models.linear import exact_inference, factor_analysis
from dgm_jax.models.mixtures import covariances
from dgm_jax.training import results

N, D = 40, 3
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(N, D)) * [1, 10, 1]).astype("f")


class Decoder:
  """p(x|z) with the standard deviations `scales`, for z ~ N(0, 1)."""

  data_shape, likelihood_args = (D,), {}

  def __init__(self, likelihood, scales):
    self.likelihood, self.scales = likelihood, np.array(scales, "f")

  def bind(self, variables):
    return self

  def infer(self, batch):
    return types.SimpleNamespace(sample_and_log_prob=lambda seed: (jax.random.normal(seed, (len(batch["x"]), 1)), 0.0))

  def log_joint(self, batch, z):
    raise NotImplementedError

  def decode(self, z):
    return types.SimpleNamespace(variance=lambda: jnp.broadcast_to(self.scales**2, (len(z), D)))


class Regression(Decoder):
  num_targets = 1

  def predict(self, key, batch):
    return types.SimpleNamespace(variance=lambda: jnp.full((len(batch["x"]), 1), self.scales[0] ** 2))


def experiment(model, x=X, **about):
  arrays = {"x": x, "y": x[:, :1], "index": np.arange(N, dtype=np.int32)}
  transforms = types.SimpleNamespace(evaluate=lambda key, batch: batch)
  return types.SimpleNamespace(model=model, splits=Splits(arrays, None, arrays, about=about), transforms=transforms)


def state(**params):
  return TrainState(np.int32(7), params, (), {}, {})


@pytest.mark.parametrize("likelihood,scales,named", [
  ("gaussian", (1, 1, 1), ()),
  ("gaussian", (1, 0.02, 1), ()),
  ("gaussian", (1, 5e-3, 1e-5), ("weight", "age")),
  ("gaussian_bounded", (0.0101, 0.02, 1), ("height",)),
  ("student_t", (1, 1, 0.00101), ("age",)),
  ("bernoulli", (0, 0, 0), ()),
])  # fmt: skip
def test_features_whose_scale_is_at_its_floor_or_a_thousandth_of_their_own_are_named(likelihood, scales, named):
  columns = ["height", "weight", "age"]
  found = degenerate.warnings(experiment(Decoder(likelihood, scales), columns=columns), state())
  assert len(found) == bool(named)
  for name in columns:
    assert (repr(name) in "".join(found)) == (name in named)
  unnamed = degenerate.warnings(experiment(Decoder(likelihood, scales)), state())
  assert ("feature 3" in "".join(unnamed)) == ("age" in named)


@pytest.mark.parametrize("scale,warned", [(0.1, False), (1.01e-3, True)])
def test_the_target_of_a_regression_is_named(scale, warned):
  model = Regression("gaussian_softplus", (scale,))
  assert bool(degenerate.warnings(experiment(model), state())) == warned
  assert ("'price'" in "".join(degenerate.warnings(experiment(model, target="price"), state()))) == warned
  assert ("y 1" in "".join(degenerate.warnings(experiment(model), state()))) == warned


@pytest.mark.parametrize("kind", covariances.KINDS)
def test_features_at_the_floor_of_a_component_s_covariance_are_named(kind):
  model, means = types.SimpleNamespace(covariance=kind, floor=1e-6, data_shape=(D,)), np.zeros((2, D))
  roots = covariances.KINDS[kind].start(jnp.array([1.0, 10.0, 1.0]), 2)
  assert not degenerate.warnings(experiment(model), state(means=means, roots=roots))
  small = (
    covariances.KINDS[kind].start(jnp.array([1.0, 10.0, 1e-3]), 2) if kind != "spherical" else jnp.array([1, 1e-3])
  )
  (found,) = degenerate.warnings(experiment(model), state(means=means, roots=small))
  assert "feature 3" in found
  assert ("feature 1" in found) == (kind == "spherical")


def test_the_noise_of_factor_analysis_at_its_floor_is_named():
  log_variance = np.log([1.0, exact_inference.MIN_VARIANCE, 1.0])
  (found,) = degenerate.warnings(
    experiment(factor_analysis.Model((D,))), state(loadings=np.zeros((D, 1)), log_variance=log_variance)
  )
  assert "feature 2:" in found


def test_the_sentence_is_printed_and_stands_in_the_results(tmp_path, capsys):
  data = {"name": "array", "transforms": ()}
  config = ConfigDict({"evaluate": {}, "seed": 3, "data": data, "figure_formats": "png", "model": {"name": "vae"}})
  found = results.evaluate_finally(config, experiment(Decoder("gaussian", (1, 1, 0))), state(), tmp_path)
  assert "feature 3" in found["warnings"][0]
  assert f"Warning: {found['warnings'][0]}" in capsys.readouterr().out
  sound = results.evaluate_finally(config, experiment(Decoder("gaussian", (1, 1, 1))), state(), tmp_path)
  assert "warnings" not in sound
  assert not capsys.readouterr().out
