"""noise: uniformly random images, grey or of several channels, for measuring speed without real data."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits


def load(train_size: int = 60_000, test_size: int = 10_000, side: int = 28, channels: int = 1) -> Splits:
  """x uint8 [N, side, side, channels]; the sizes of MNIST by default, no validation split."""
  errors.require(
    min(train_size, test_size, side, channels) >= 1,
    f"data: train_size = {train_size}, test_size = {test_size}, side = {side} and channels = {channels} must be 1 or "
    "more.",
  )
  draw = lambda n, seed: np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), np.uint8)
  return Splits({"x": draw(train_size, 0)}, None, {"x": draw(test_size, 1)})
