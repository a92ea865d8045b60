"""log_px of a loaded model with an exact likelihood."""

import types

import jax
import numpy as np
import pytest

from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import errors
from dgm_jax.core.system import TrainState
from dgm_jax.models.mixtures import gaussian_mixture


def test_log_px_of_a_mixture_is_its_exact_log_density():
  model = gaussian_mixture.Model((2,), num_components=3)
  x = np.random.default_rng(0).normal(size=(7, 2)).astype("f")
  params = model.init(jax.random.key(0), {"x": x})["params"]
  scaled = types.SimpleNamespace(evaluate=lambda key, batch: batch | {"log_det": np.float32(1.5)})
  experiment = types.SimpleNamespace(model=model, system=None, splits=None, transforms=scaled)
  loaded = LatentModel(experiment, TrainState(np.int32(0), params, (), {}, {}))
  right = model.bind({"params": params}).log_prob({"x": x})
  np.testing.assert_allclose(loaded.log_px(x, batch_size=3), right, rtol=1e-6)
  np.testing.assert_allclose(loaded.log_px(x, transform=True), right + 1.5, rtol=1e-6)
  with pytest.raises(errors.UserError, match="infer"):
    loaded.elbo(x)
