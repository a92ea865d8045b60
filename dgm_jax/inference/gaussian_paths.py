"""Normal paths from data to noise, x_t = alpha(t) x + sigma(t) e with e ~ N(0, I): t = 0 is data, t = 1 is noise.

What a network predicts, x, e or a velocity, gives the others by x_t = alpha x + sigma e:

  the velocity of the flow   u(x_t, t) = alpha' E[x | x_t] + sigma' E[e | x_t]      (Lipman et al., 2023)
  the score                  grad log p_t(x_t) = -E[e | x_t] / sigma

Papers of flow matching let time run from noise to data; the order here is that of diffusion models.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

PATHS = ("optimal_transport", "variance_preserving")
PREDICTIONS = ("x", "noise", "velocity")
_EDGE = (
  0.01  # nearest time to 0 and 1 at which an x or a noise is turned into a velocity, which divides by sigma, alpha
)


class Point(NamedTuple):
  """alpha, sigma and their derivatives at a time, arrays that broadcast with [B, D]."""

  alpha: jax.Array
  sigma: jax.Array
  d_alpha: jax.Array
  d_sigma: jax.Array

  @property
  def wronskian(self) -> jax.Array:
    """alpha sigma' - alpha' sigma, positive."""
    return self.alpha * self.d_sigma - self.d_alpha * self.sigma


def point(path: str, t: jax.Array) -> Point:
  """The point of a path at t.

  Args:
    path: optimal_transport, alpha = 1 - t, sigma = t, straight lines from each x to its e; or variance_preserving,
      alpha = cos(pi t / 2), sigma = sin(pi t / 2).
    t: in [0, 1].
  """
  errors.choose("path", path, PATHS)
  if path == "optimal_transport":
    return Point(1 - t, t, -jnp.ones_like(t), jnp.ones_like(t))
  angle, rate = math.pi / 2 * t, math.pi / 2
  return Point(jnp.cos(angle), jnp.sin(angle), -rate * jnp.sin(angle), rate * jnp.cos(angle))


def away_from_ends(prediction: str, t: jax.Array) -> jax.Array:
  """t where a velocity is computed from this prediction: x divides by sigma(0) = 0, noise by alpha(1) = 0."""
  if prediction == "x":
    return jnp.maximum(t, _EDGE)
  return jnp.minimum(t, 1 - _EDGE) if prediction == "noise" else t


def target(prediction: str, at: Point, x: jax.Array, noise: jax.Array) -> jax.Array:
  """What the network should predict: x, the noise, or alpha' x + sigma' e."""
  if prediction == "velocity":
    return at.d_alpha * x + at.d_sigma * noise
  return x if prediction == "x" else noise


def parts(prediction: str, at: Point, x_t: jax.Array, predicted: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(x, noise) of a prediction, so that alpha x + sigma e = x_t."""
  if prediction == "x":
    return predicted, (x_t - at.alpha * predicted) / at.sigma
  if prediction == "noise":
    return (x_t - at.sigma * predicted) / at.alpha, predicted
  x = (at.d_sigma * x_t - at.sigma * predicted) / at.wronskian
  return x, (at.alpha * predicted - at.d_alpha * x_t) / at.wronskian


def velocity(prediction: str, at: Point, x_t: jax.Array, predicted: jax.Array) -> jax.Array:
  """u(x_t, t) of a prediction."""
  if prediction == "velocity":
    return predicted
  x, noise = parts(prediction, at, x_t, predicted)
  return at.d_alpha * x + at.d_sigma * noise


def velocity_weight(prediction: str, at: Point) -> jax.Array:
  """The factor that turns a squared error of the prediction into that of the velocity."""
  if prediction == "velocity":
    return jnp.ones_like(at.alpha)
  return jnp.square(at.wronskian / (at.sigma if prediction == "x" else at.alpha))


def posterior_variance(now: Point, before: Point) -> jax.Array:
  """The variance of q(x_s | x_t, x), s < t: sigma_s^2 (1 - alpha_t^2 sigma_s^2 / (alpha_s^2 sigma_t^2))."""
  ratio = jnp.square(now.alpha * before.sigma / (before.alpha * now.sigma))
  return jnp.square(before.sigma) * (1 - ratio)


def reverse_step(
  now: Point, before: Point, x: jax.Array, noise: jax.Array, fresh: jax.Array, eta: float | jax.Array
) -> jax.Array:
  """x_s for s < t from a prediction (x, noise) at t (Song, Meng & Ermon, 2021): ancestral for eta = 1, DDIM for 0.

    x_s = alpha_s x + sqrt(sigma_s^2 - eta^2 v) e + eta sqrt(v) e',   v = posterior_variance

  Args:
    now, before: the path at t and at s.
    x, noise: see `parts`.
    fresh: e' ~ N(0, I).
    eta: from 0 to 1.
  """
  added = jnp.square(eta) * jnp.maximum(posterior_variance(now, before), 0)
  kept = jnp.sqrt(jnp.maximum(jnp.square(before.sigma) - added, 0))
  return before.alpha * x + kept * noise + jnp.sqrt(added) * fresh


def forward_step(before: Point, now: Point, x_s: jax.Array, fresh: jax.Array) -> jax.Array:
  """x_t ~ q(x_t | x_s) for s < t and fresh ~ N(0, I)."""
  shrink = now.alpha / before.alpha
  return shrink * x_s + jnp.sqrt(jnp.maximum(jnp.square(now.sigma) - jnp.square(shrink * before.sigma), 0)) * fresh


def from_log_snr(gamma: jax.Array) -> Point:
  """alpha and sigma of a variance-preserving path whose log-SNR is -gamma; derivatives with respect to gamma.

  alpha^2 = sigmoid(-gamma), sigma^2 = sigmoid(gamma) (Kingma et al., 2021).
  """
  alpha, sigma = jnp.sqrt(jax.nn.sigmoid(-gamma)), jnp.sqrt(jax.nn.sigmoid(gamma))
  return Point(alpha, sigma, -0.5 * alpha * jnp.square(sigma), 0.5 * sigma * jnp.square(alpha))
