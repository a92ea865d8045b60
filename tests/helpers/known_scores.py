"""A mixture of normals whose noised versions are known: exact predictions in place of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models.diffusion import flow_matching, variational_diffusion

MEANS = np.array([[-0.6, 0.3], [0.5, 0.7], [0.4, -0.6]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SCALE = 0.25  # of every normal, in each direction


def log_p(x, alpha=1.0, sigma=0.0):
  """log density of alpha x + sigma e at points [N, 2], float64."""
  scale = np.sqrt((alpha * SCALE) ** 2 + sigma**2)
  terms = [scipy.stats.multivariate_normal(alpha * m, scale**2 * np.eye(2)).logpdf(x) for m in MEANS]
  return np.logaddexp.reduce(np.stack(terms, -1) + np.log(WEIGHTS), -1)


def draws(n, seed=0):
  g = np.random.default_rng(seed)
  return (MEANS[g.choice(3, n, p=WEIGHTS)] + SCALE * g.normal(size=(n, 2))).astype("f")


def expectations(x_t, alpha, sigma):
  """(E[x | x_t], E[e | x_t]) [B, 2]; alpha and sigma [B, 1]."""
  variance = (alpha * SCALE) ** 2 + sigma**2
  gaps = x_t[:, None] - alpha[..., None] * jnp.asarray(MEANS, x_t.dtype)  # [B, C, 2]
  log_r = jnp.log(jnp.asarray(WEIGHTS, x_t.dtype)) - 0.5 * jnp.sum(gaps**2, -1) / variance
  r = jax.nn.softmax(log_r, -1)[..., None]
  x = jnp.asarray(MEANS, x_t.dtype) + (alpha * SCALE**2 / variance)[..., None] * gaps
  return jnp.sum(r * x, 1), jnp.sum(r * (sigma / variance)[..., None] * gaps, 1)


class OfMixture(flow_matching.Model):
  """Flow matching with the exact velocity of the mixture."""

  def predict(self, x_t, t, context=None):
    at = self.at(paths.away_from_ends(self.prediction, t)[:, None])
    return paths.target(self.prediction, at, *expectations(x_t, at.alpha, at.sigma))


class VariationalOfMixture(variational_diffusion.Model):
  """Variational diffusion with the exact noise of the mixture."""

  def predict(self, z, gamma, context=None):
    at = paths.from_log_snr(gamma[:, None])
    x, noise = expectations(z, at.alpha, at.sigma)
    if self.prediction == "v":
      return at.alpha * noise - at.sigma * x
    return noise if self.prediction == "noise" else x
