"""One tiny trained run for the tests of the notebook interface."""

import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.training import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
  """A finished run in runs/first of the folder, and its results."""
  folder = tmp_path_factory.mktemp("api")
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.evaluate.collapse = {}
  return folder, train.train_and_evaluate(config, folder / "runs" / "first")
