"""Cells drawn from the likelihood of scVI with known parameters, so that effects of batches and genes are known.

Other than in scVI, z is a mixture of normals, one for each type, and a cell without counts gets one: log p of scVI,
whose z is N(0, I), is that of another model.

k ~ uniform over types, z = c_k + noise in two dimensions, so that integrals over z are exact by quadrature
rho = softmax(a + W z + s_b), log l ~ N(m_b, v_b), x_g ~ ZINB(mean l rho_g, dispersion theta_g, logit h_g)
"""

from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core.batches import Arrays

GENES, TYPES, BATCHES, LATENT = 60, 4, 2, 2
LIBRARY_MEAN, LIBRARY_VARIANCE = (5.0, 5.6), (0.12, 0.2)


class Parameters(NamedTuple):
  """The parameters: a [G], W [G, 2], s [batches, G], log theta [G], h [G], centres [types, 2]."""

  a: np.ndarray
  w: np.ndarray
  shift: np.ndarray
  log_theta: np.ndarray
  logit: np.ndarray
  centres: np.ndarray


def parameters(seed: int = 0) -> Parameters:
  """The parameters of a seed.  A third of the genes do not depend on z, and half not on the batch."""
  rng = np.random.RandomState(seed)
  a, w = rng.normal(0, 1, GENES), rng.normal(0, 1.0, (GENES, LATENT))
  w[::3] = 0
  shift = rng.normal(0, 0.7, (BATCHES, GENES)) * (np.arange(GENES) % 2)
  shift[0] = 0
  angle = 2 * np.pi * np.arange(TYPES) / TYPES
  centres = 1.3 * np.stack([np.cos(angle), np.sin(angle)], 1)
  return Parameters(a, w, shift, rng.normal(1.0, 0.5, GENES), rng.normal(-2.5, 0.5, GENES), centres)


def log_rho(p: Parameters, z: np.ndarray, batch: np.ndarray) -> np.ndarray:
  """log of the expected frequencies, [N, G]; z [N, 2], batch int [N]."""
  scores = p.a + z @ p.w.T + p.shift[batch]
  return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def draw(n: int = 2_000, seed: int = 0) -> tuple[Arrays, dict[str, Any]]:
  """({x int32 [n, G], batch, y, z, log_library: what each cell was drawn from}, about)."""
  p, rng = parameters(seed), np.random.RandomState(seed + 1)
  y, batch = rng.randint(TYPES, size=n), rng.randint(BATCHES, size=n)
  z = p.centres[y] + rng.normal(0, 0.4, (n, LATENT))
  mean, variance = np.array(LIBRARY_MEAN)[batch], np.array(LIBRARY_VARIANCE)[batch]
  log_library = mean + np.sqrt(variance) * rng.normal(size=n)
  expected = np.exp(log_library[:, None] + log_rho(p, z, batch))
  theta = np.exp(p.log_theta)
  x = rng.poisson(rng.gamma(theta, expected / theta))
  x[rng.random_sample(x.shape) < 1 / (1 + np.exp(-p.logit))] = 0
  x[x.sum(1) == 0, 0] = 1
  arrays = {"x": x.astype(np.int32), "y": y.astype(np.int32), "batch": batch.astype(np.int32)}
  arrays |= {"z": z.astype(np.float32), "log_library": log_library.astype(np.float32)}
  about = {"genes": tuple(f"g{j}" for j in range(GENES)), "classes": tuple(f"type {k}" for k in range(TYPES))}
  return arrays, about | {"batches": tuple(f"batch {b}" for b in range(BATCHES))}
