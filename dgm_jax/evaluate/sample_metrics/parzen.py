"""The log-likelihood of data under normals around samples: the protocol of Goodfellow et al. (2014)."""

from collections.abc import Sequence

import numpy as np

from dgm_jax.evaluate.sample_metrics import distances

SIGMAS = tuple(10.0 ** (-1 + i / 9) for i in range(10))  # 0.1, 0.129, ..., 1
NUM_CHOSEN = 1000  # held-out examples by which sigma is chosen


def parzen(centres: np.ndarray, x: np.ndarray, sigmas: Sequence[float] = SIGMAS) -> np.ndarray:
  """log 1/M sum_m N(x; c_m, sigma^2 I), nats, for each sigma: [S, N]; the distances are computed once.

  Args:
    centres: [M, D], the samples.
    x: [N, D].
    sigmas: S standard deviations.
  """
  x, centres = distances.centred(x, centres)
  m, dim = len(centres), centres.dim
  found = np.empty((len(sigmas), len(x)))
  for rows, squares in distances.blocks(x, centres):
    least = squares.min(1)
    squares -= least[:, None]
    for s, sigma in enumerate(sigmas):
      total = np.exp(squares * (-0.5 / sigma**2)).sum(1)
      constant = np.log(m) + 0.5 * dim * np.log(2 * np.pi * sigma**2)
      found[s, rows] = np.log(total) - 0.5 * least / sigma**2 - constant
  return found


def chosen(centres: np.ndarray, valid: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float]:
  """(log-density of each test example [N], the sigma of SIGMAS with the highest mean on the validation examples)."""
  best = SIGMAS[int(parzen(centres, valid[:NUM_CHOSEN]).mean(1).argmax())]
  return parzen(centres, test, [best])[0], best
