"""The linear VAE and probabilistic PCA in closed form (Lucas et al., 2019; Tipping & Bishop, 1999), in float64.

p(x|z) = N(W z + b, s^2 I),   q(z|x) = N(V x + c, diag d^2),   z ~ N(0, I)
"""

import math
from typing import NamedTuple

import numpy as np


class Linear(NamedTuple):
  """Parameters: w [D, L], b [D], v [L, D], c [L], the variance s^2, and d [L]."""

  w: np.ndarray
  b: np.ndarray
  v: np.ndarray
  c: np.ndarray
  variance: float
  d: np.ndarray


def of_params(params: dict, variance: float = 0.0) -> Linear:
  """From the parameters of a model of configs/linear_vae_mnist.py; `variance` is given if it is not learned."""
  array = lambda a: np.asarray(a, np.float64)
  encoder, decoder = (params[name]["Dense_0"] for name in ("encoder", "decoder"))
  variance = variance or math.exp(2 * float(params["px_z"]["log_scale"]))
  d = np.exp(array(params["qz_x"]["log_scale"]))
  kernels = array(decoder["kernel"]).T, array(decoder["bias"]), array(encoder["kernel"]).T, array(encoder["bias"])
  return Linear(*kernels, variance, d)


def elbo(model: Linear, x: np.ndarray) -> np.ndarray:
  """E_q[log p(x|z)] - KL(q(z|x) || p(z)), [N], nats; x [N, D]."""
  dim = x.shape[1]
  mean = x @ model.v.T + model.c
  squares = ((x - mean @ model.w.T - model.b) ** 2).sum(1) + (model.d**2 * (model.w**2).sum(0)).sum()
  kl = 0.5 * (mean**2 + model.d**2 - 1 - 2 * np.log(model.d)).sum(1)
  return -0.5 * dim * math.log(2 * math.pi * model.variance) - 0.5 * squares / model.variance - kl


def log_px(model: Linear, x: np.ndarray) -> np.ndarray:
  """log N(x; b, W W' + s^2 I), [N], nats, through the L x L matrix W'W + s^2 I."""
  (dim, latent), s2, r = model.w.shape, model.variance, x - model.b
  inner = model.w.T @ model.w + s2 * np.eye(latent)
  explained = np.einsum("nl,nl->n", r @ model.w, np.linalg.solve(inner, (r @ model.w).T).T)
  log_det = (dim - latent) * math.log(s2) + np.linalg.slogdet(inner)[1]
  return -0.5 * (dim * math.log(2 * math.pi) + log_det + ((r**2).sum(1) - explained) / s2)


def eigenvalues(x: np.ndarray) -> np.ndarray:
  """Eigenvalues of the covariance (denominator N) of x [N, D], [D], decreasing; zero beyond the rank."""
  from sklearn.decomposition import PCA

  n, dim = x.shape
  found = PCA(svd_solver="full").fit(np.asarray(x, np.float64)).explained_variance_ * (n - 1) / n
  return np.pad(found, (0, dim - len(found)))


def best_log_px(spectrum: np.ndarray, latent: int, variance: float = 0.0) -> float:
  """The maximum mean log-likelihood of probabilistic PCA with L = `latent`; s^2 is learned if `variance` is 0.

    -1/2 [D log 2 pi + sum_{i in A} (log l_i + 1) + sum_{i not in A} (log s^2 + l_i / s^2)]

  A is the set of eigenvalues l_i > s^2 among the first L; a learned s^2 is the mean of the eigenvalues beyond L.
  """
  s2 = variance or float(spectrum[latent:].mean())
  kept = spectrum[: active(spectrum, latent, s2)]
  rest = spectrum[len(kept) :]
  inside = (np.log(kept) + 1).sum() + len(rest) * math.log(s2) + rest.sum() / s2
  return -0.5 * (len(spectrum) * math.log(2 * math.pi) + float(inside))


def active(spectrum: np.ndarray, latent: int, variance: float) -> int:
  """Number of columns of W that are not 0 at the optimum for a given s^2: min(L, number of eigenvalues above s^2)."""
  return min(latent, int((spectrum > variance).sum()))


def inactive(kl: np.ndarray, epsilon: float, delta: float = 0.01) -> float:
  """The share of units with KL(q(z_l|x) || p(z_l)) < epsilon for at least a share 1 - delta of the x; kl [N, L]."""
  return float(((kl < epsilon).mean(0) >= 1 - delta).mean())
