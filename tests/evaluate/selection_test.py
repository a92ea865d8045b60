"""AIC, BIC and ICL against scikit-learn."""

import types

import jax
import numpy as np
import pytest
from sklearn import mixture

from dgm_jax.core import errors, system
from dgm_jax.data import splits
from dgm_jax.evaluate import selection
from dgm_jax.models.mixtures import gaussian_mixture

N, D, C = 200, 2, 2
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(N, D)) + 1.5 * (np.arange(N) % 2)[:, None]).astype("f")
HELD_OUT = (RNG.normal(size=(50, D)) + 0.75).astype("f")


def test_criteria_agree_with_scikit_learn():
  theirs = mixture.GaussianMixture(C, random_state=0).fit(X)
  roots = np.linalg.cholesky(theirs.covariances_)
  params = {"log_weights": np.log(theirs.weights_), "means": theirs.means_, "roots": roots}
  state = system.TrainState(0, jax.tree.map(np.float32, params), (), {}, {})
  model = gaussian_mixture.Model((D,), num_components=C)
  parts = splits.Splits({"x": X}, None, {"x": HELD_OUT}, {})
  experiment = types.SimpleNamespace(
    model=model, splits=parts, transforms=types.SimpleNamespace(evaluate=lambda key, batch: batch, dequantizes=False)
  )
  found = selection.evaluate(experiment, state, jax.random.key(0), parts.test, batch_size=64)
  assert found["aic"] == pytest.approx(theirs.aic(X), rel=1e-5)
  assert found["bic"] == pytest.approx(theirs.bic(X), rel=1e-5)
  p = theirs.predict_proba(X)
  assert found["icl"] == pytest.approx(theirs.bic(X) - 2 * np.sum(p * np.log(p)), rel=1e-5)
  assert found["log_px"] == -found["nll"] == pytest.approx(theirs.score(HELD_OUT), rel=1e-5)
  assert found["train_log_px"] == pytest.approx(theirs.score(X), rel=1e-5)
  assert found["log_px_stderr"] == pytest.approx(np.std(theirs.score_samples(HELD_OUT), ddof=1) / 50**0.5, rel=1e-4)
  np.testing.assert_allclose(found["values"]["log_px"], theirs.score_samples(HELD_OUT), rtol=1e-4)


def test_an_invalid_batch_size_raises_a_user_error():
  with pytest.raises(errors.UserError, match=r"selection\.batch_size = 0"):
    selection.check(batch_size=0)
