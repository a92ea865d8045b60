"""bars: documents whose words are pixels and whose topics are rows and columns (Griffiths & Steyvers, 2004)."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.splits import Splits


def topics(side: int) -> np.ndarray:
  """beta [2 S, S S]: topics that are uniform on a row of the image each, then on a column each."""
  rows = np.kron(np.eye(side), np.ones(side)) / side
  return np.concatenate([rows, rows.reshape(side, side, side).swapaxes(1, 2).reshape(side, -1)])


def load(
  train_size: int = 1_000, test_size: int = 500, side: int = 5, length: int = 100, alpha: float = 1.0,
  split_seed: int = 0,
) -> Splits:  # fmt: skip
  """x int32 [N, S, S, 1], word counts of documents: theta ~ Dirichlet(alpha), each w ~ theta beta; see `topics`.

  Args:
    train_size, test_size: number of documents; the paper has 2,000 for training.
    side: S, 5 in the paper.
    length: words per document, 100 in the paper.
    alpha: concentration of theta, 1 in the paper.
    split_seed: seed of the draws.
  """
  for name, value in (("train_size", train_size), ("test_size", test_size), ("side", side), ("length", length)):
    errors.require(value >= 1, f"data.{name} = {value}; it must be 1 or more.")
  errors.require(alpha > 0, f"data.alpha = {alpha}; it must be positive.")
  rng, beta = np.random.RandomState(split_seed), topics(side)

  def draw(n: int) -> dict[str, np.ndarray]:
    p = rng.dirichlet(np.full(len(beta), alpha), n) @ beta
    x = np.stack([rng.multinomial(length, row / row.sum()) for row in p])
    return {"x": x.reshape(n, side, side, 1).astype(np.int32)}

  train = draw(train_size)
  vocabulary = tuple(f"{row},{column}" for row in range(side) for column in range(side))
  return Splits(train, None, draw(test_size), {"vocabulary": vocabulary})
