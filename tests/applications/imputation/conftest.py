"""What tests of imputation share."""

import pytest

from dgm_jax.applications.imputation import conditional_nets, orderless


@pytest.fixture(scope="module")
def short_fits():
  """Few steps a call of the networks, and small blocks: a short fit is short, and tests share compiled programs."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(orderless, "STEPS", 10)
    patch.setattr(conditional_nets, "_BLOCK", 32)
    yield
