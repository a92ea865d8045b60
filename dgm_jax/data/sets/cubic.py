"""cubic: y = x^3 + noise, a toy problem for the uncertainty of regression (Hernandez-Lobato & Adams, 2015)."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits


def load(
  train_size: int = 20, test_size: int = 500, low: float = -4.0, high: float = 4.0, noise: float = 3.0,
  split_seed: int = 0,
) -> Splits:  # fmt: skip
  """x float32 [N, 1] ~ U[low, high), y = x^3 + N(0, noise^2) float32 [N]; the same for train and test.

  Args:
    train_size, test_size: number of examples; 20 for training in the paper.
    low, high: range of x.
    noise: standard deviation, 3 in the paper.
    split_seed: seed of the draws.
  """
  errors.require(
    min(train_size, test_size) >= 1,
    f"data.train_size = {train_size} and data.test_size = {test_size} must be 1 or more.",
  )
  errors.require(
    low < high and noise >= 0, f"data: low = {low} must be below high = {high}, and noise = {noise} must be 0 or more."
  )
  rng = np.random.RandomState(split_seed)

  def draw(n: int) -> dict[str, np.ndarray]:
    x = rng.uniform(low, high, (n, 1))
    return {"x": x.astype(np.float32), "y": (x[:, 0] ** 3 + noise * rng.standard_normal(n)).astype(np.float32)}

  train = draw(train_size)
  return Splits(train, None, draw(test_size), {"columns": ("x",), "target": "x^3"})
