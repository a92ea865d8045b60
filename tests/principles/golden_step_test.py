"""Metrics of the third training step of every system, to four digits: equal on every supported JAX version."""

import jax
import numpy as np
import pytest

from helpers import tables
from helpers.golden_steps import GOLDEN

pytestmark = pytest.mark.smoke

WHEN_TO_UPDATE = (
  "The numbers of a fixed run changed.  If you meant to change what is computed (initialisation, order of random "
  "draws, an estimator's definition), say so in the commit and paste the new numbers; otherwise this is a bug."
)


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in tables.SLOW)) for name in tables.SYSTEMS]
)
def test_third_step(name):
  _, metrics = tables.steps(name, 3)(tables.initial(name), jax.random.key(0), tables.TRAIN)
  found = {k: float(v[-1]) for k, v in metrics.items()}
  np.testing.assert_allclose(
    [found[k] for k in GOLDEN[name]], list(GOLDEN[name].values()), rtol=1e-4, err_msg=f"{WHEN_TO_UPDATE}\n{found}"
  )
  assert found.keys() == GOLDEN[name].keys(), found
