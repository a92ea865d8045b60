"""What the models share: validation of options, and log-shares of counts."""

import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.mixtures.base import log_shares


@pytest.mark.parametrize("low,values,sentence", [
  (1, {"latent_dim": 0}, "latent_dim = 0; it must be 1 or more"),
  (2, {"latent_dim": 2, "hidden": (2, 1)}, r"hidden = \(2, 1\); every entry must be 2 or more"),
  (1, {"hidden": ((4,), (), (0, 3))}, "every entry must be 1 or more"),
  (0, {"floor": -0.5}, "floor = -0.5; it must be 0 or more"),
])  # fmt: skip
def test_values_below_their_least_raise(low, values, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    require_at_least(low, **values)


def test_valid_values_pass():
  require_at_least(1, latent_dim=1, hidden=(), groups=((), (3,)))
  require_one_of({"full": 0, "tied": 1}, covariance="tied")
  with pytest.raises(errors.UserError, match="covariance = 'round'; it must be one of full, tied"):
    require_one_of({"full": 0, "tied": 1}, covariance="round")


def test_log_shares_of_zero_counts_follow_floor_and_smoothing():
  count = jnp.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
  tiny = np.log(np.finfo("f").tiny)
  np.testing.assert_allclose(log_shares(count), [[np.log(0.75), np.log(0.25), tiny], [np.log(1 / 3)] * 3], rtol=1e-6)
  np.testing.assert_allclose(log_shares(count[0], floor=0.0), [np.log(0.75), np.log(0.25), -np.inf], rtol=1e-6)
  np.testing.assert_allclose(np.exp(log_shares(count, smoothing=1.0)), [[4 / 7, 2 / 7, 1 / 7], [1 / 3] * 3], rtol=1e-6)
