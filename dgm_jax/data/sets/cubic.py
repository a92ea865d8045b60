"""cubic: y = x^3 + noise, the toy that shows what a regression is unsure of (Hernandez-Lobato & Adams, 2015)."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits


def load(
  train_size: int = 20, test_size: int = 500, low: float = -4.0, high: float = 4.0, noise: float = 3.0,
  split_seed: int = 0,
) -> Splits:  # fmt: skip
  """x float32 [N, 1] ~ U[low, high), y = x^3 + N(0, noise^2) float32 [N]; train and test alike.

  Args:
    train_size, test_size: 20 of the paper for training.
    low, high: of x.
    noise: standard deviation, 3 in the paper.
    split_seed: of the draws.
  """
  errors.require(min(train_size, test_size) >= 1, f"data: train_size {train_size} and test_size {test_size} >= 1.")
  errors.require(low < high and noise >= 0, f"data: low = {low} < high = {high}, noise = {noise} >= 0.")
  rng = np.random.RandomState(split_seed)

  def draw(n: int) -> dict[str, np.ndarray]:
    x = rng.uniform(low, high, (n, 1))
    return {"x": x.astype(np.float32), "y": (x[:, 0] ** 3 + noise * rng.standard_normal(n)).astype(np.float32)}

  train = draw(train_size)
  return Splits(train, None, draw(test_size), {"columns": ("x",), "target": "x^3"})
