"""A model whose log p(x), posterior and KL are known: z ~ N(0, I), x | z ~ N(W z + b, s^2 I)."""

import types
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from flax import linen as nn

from dgm_jax.core.system import TrainState
from dgm_jax.distributions.normals import standard_normal
from helpers import tables

KEY = jax.random.key(0)


class Exact(NamedTuple):
  """Exact values in float64: log p(x) [B], and the posterior's means [B, L] and covariance [L, L]."""

  log_px: np.ndarray
  mean: np.ndarray
  covariance: np.ndarray


class Model(nn.Module):
  """q(z|x) is a diagonal normal with the posterior's mean + `shift` and its marginal scales times `stretch`."""

  w: tuple[tuple[float, ...], ...]  # D rows of L
  b: tuple[float, ...]
  s: float = 0.5
  shift: float = 0.0
  stretch: float = 1.0

  @property
  def data_shape(self):
    return (len(self.w),)

  @property
  def latent_dim(self):
    return len(self.w[0])

  def infer(self, batch):
    w = jnp.asarray(self.w)
    covariance = jnp.linalg.inv(jnp.eye(self.latent_dim) + w.T @ w / self.s**2)
    mean = (batch["x"] - jnp.asarray(self.b)) @ w @ covariance / self.s**2
    scale = self.stretch * jnp.sqrt(jnp.diag(covariance))
    return distrax.Independent(distrax.Normal(mean + self.shift, jnp.broadcast_to(scale, mean.shape)), 1)

  def decode(self, z):
    return distrax.Independent(distrax.Normal(z @ jnp.asarray(self.w).T + jnp.asarray(self.b), self.s), 1)

  def log_joint(self, batch, z):
    return self.decode(z).log_prob(batch["x"]), standard_normal(self.latent_dim).log_prob(z)

  def exact(self, x) -> Exact:
    w, x = np.asarray(self.w), np.asarray(x, np.float64)
    covariance = np.linalg.inv(np.eye(self.latent_dim) + w.T @ w / self.s**2)
    log_px = scipy.stats.multivariate_normal(self.b, w @ w.T + self.s**2 * np.eye(len(w))).logpdf(x)
    return Exact(log_px, (x - self.b) @ w @ covariance / self.s**2, covariance)

  def kl(self) -> float:
    """KL(q(z|x) || p(z|x)), the same for every x."""
    covariance = self.exact(np.zeros(len(self.w))).covariance
    variances = self.stretch**2 * np.diag(covariance)
    precision = np.linalg.inv(covariance)
    shift = np.full(self.latent_dim, self.shift)
    log_det = np.linalg.slogdet(covariance)[1] - np.log(variances).sum()
    return 0.5 * (np.diag(precision) @ variances + shift @ precision @ shift - self.latent_dim + log_det)


def model(latent_dim: int = 2, orthogonal: bool = False, **options: Any) -> Model:
  """A model with D = 3; with `orthogonal` columns of W the posterior is a diagonal normal."""
  w = np.array([[1.0, 0.6, 0.2], [0.5, 0.8, -0.3], [-0.6, 0.3, 0.7]])[:, :latent_dim]
  if orthogonal:
    w = np.linalg.qr(w)[0] * [1.0, 0.7, 0.4][:latent_dim]
  return Model(tuple(map(tuple, w.tolist())), (0.3, -0.2, 0.1), **options)


def draws(model: Model, n: int, seed: int = 0) -> np.ndarray:
  """x ~ p(x), float64, [n, D]."""
  rng = np.random.default_rng(seed)
  z = rng.normal(size=(n, model.latent_dim))
  return z @ np.asarray(model.w).T + model.b + model.s * rng.normal(size=(n, len(model.w)))


def experiment(model: nn.Module) -> types.SimpleNamespace:
  """The parts of an experiment that an evaluation uses."""
  return types.SimpleNamespace(model=model, transforms=types.SimpleNamespace(evaluate=tables.identity))


def state(params: Any = None) -> TrainState:
  """A state for evaluation; a linear-Gaussian model has no parameters."""
  return TrainState(jnp.zeros((), jnp.int32), params or {}, (), {}, {})


def in_errors(values, expected):
  """(mean - expected) in standard errors."""
  values = np.asarray(values, np.float64)
  return (values.mean(0) - expected) / (values.std(0) / np.sqrt(len(values)))
