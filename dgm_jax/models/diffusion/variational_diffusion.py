"""Variational diffusion models (Kingma, Salimans, Poole & Ho, 2021): continuous time, a learned noise schedule."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.normal_bins import log_bin
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models import contexts
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.diffusion import denoiser

SCHEDULES, PREDICTIONS, SAMPLERS = ("linear", "learned"), ("noise", "v", "x"), ("ancestral", "ddim", "ode")


class Model(denoiser.Denoiser):
  """z_t = alpha_t x + sigma_t e, alpha_t^2 = sigmoid(-g(t)), sigma_t^2 = sigmoid(g(t)); -g(t) is the log-SNR.

    log p(x) >= E log p(x | z_0) - KL(q(z_1 | x) || N(0, I)) - 1/2 E_{t ~ U(0, 1)} g'(t) |e - e(z_t, g(t))|^2

  The network sees g, not t, so that the bound depends on g(0) and g(1) alone; between them g changes the variance of
  its estimate.  A learned g is piecewise linear: t of N equal pieces of [g(0), g(1)], w = softmax(...), found by
  descent of that variance, and the end points by ascent of the bound.  (The paper has a monotone network.)

  With T steps, t is on a grid and g'(t) becomes T (exp(g(t) - g(s)) - 1), s = t - 1/T; for q(z_s | z_t, x) and a
  reverse step of the same variance.  p(x | z_0) is N(z_0 / alpha_0, sigma_0^2 / alpha_0^2), of integers its integral
  over the bin.  The reverse process, whose log p(x) this bounds, and the differential equation of `log_prob` have two
  densities, unless the network is exact: neither bounds the other.

  Attributes, in addition to those of Denoiser:
    num_levels: L: x is integers 0 .. L - 1, mapped to [-1, 1]; 0: x is real, and bounds are as in ContinuousModel.
    gamma_min, gamma_max: g(0) and g(1), or their initial values.
    schedule: linear, or learned, with learned end points.
    pieces: N of a learned schedule.
    prediction: what the network predicts: noise, v = alpha e - sigma x, or x.
    num_steps: T of the bound; 0: continuous time.
    eval_times: times of an evaluation, evenly spaced from one draw; with T steps all of them.
    sampler: of draws: ancestral steps, ddim (deterministic), or ode, by draw_solver; all from draw_steps.
  """

  num_levels: int = 0
  gamma_min: float = -13.3
  gamma_max: float = 5.0
  schedule: str = "linear"
  pieces: int = 32
  prediction: str = "v"
  num_steps: int = 0
  eval_times: int = 16
  sampler: str = "ancestral"
  draw_steps: int = 100

  def setup(self):
    self.check_options()
    require_one_of(SCHEDULES, schedule=self.schedule)
    require_one_of(PREDICTIONS, prediction=self.prediction)
    require_one_of(SAMPLERS, sampler=self.sampler)
    require_at_least(0, num_steps=self.num_steps)
    require_at_least(1, eval_times=self.eval_times, pieces=self.pieces)
    errors.require(
      self.num_levels in (0, *range(2, 65537)), f"num_levels = {self.num_levels}; it must be 0, or 2 to 65536"
    )
    errors.require(
      self.gamma_min < self.gamma_max, f"gamma_min = {self.gamma_min} must be less than gamma_max = {self.gamma_max}"
    )
    errors.require(not (self.num_levels and self.bounds), "bounds are for real x: leave them () with num_levels")
    self.f = self.make_net()
    if self.schedule == "learned":
      self.ends_of_gamma = self.param("ends", lambda key: jnp.array([self.gamma_min, self.gamma_max], jnp.float32))
      self.logits = self.param("pieces", nn.initializers.zeros, (self.pieces,))

  @property
  def takes_real_numbers(self) -> bool:
    """Whether integers need the transform `dequantize`."""
    return not self.num_levels

  @property
  def draw_evaluations(self) -> int:
    """Evaluations of the network for a draw."""
    return super().draw_evaluations if self.sampler == "ode" else self.draw_steps

  def gamma(self, t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(g(t), g'(t), log w of the piece that t is in) of t in [0, 1]; gradients reach the end points and log w alone."""
    if self.schedule == "linear":
      span = self.gamma_max - self.gamma_min
      return self.gamma_min + span * t, jnp.full_like(t, span), jnp.zeros_like(t)
    low, high = self.ends_of_gamma
    log_w = jax.nn.log_softmax(self.logits)
    w = jax.lax.stop_gradient(jnp.exp(log_w))
    edges = jnp.concatenate([jnp.zeros(1), jnp.cumsum(w)])
    piece = jnp.clip(jnp.searchsorted(edges, t, side="right") - 1, 0, self.pieces - 1)
    share = (piece + jnp.clip((t - edges[piece]) / w[piece], 0, 1)) / self.pieces
    slope = 1 / (self.pieces * w[piece])
    return low + (high - low) * share, (high - low) * slope, log_w[piece]

  def at(self, t: jax.Array) -> paths.Point:
    """The path at t, with derivatives with respect to t."""
    gamma, slope, _ = self.gamma(t)
    of_gamma = paths.from_log_snr(gamma)
    return of_gamma._replace(d_alpha=of_gamma.d_alpha * slope, d_sigma=of_gamma.d_sigma * slope)

  def predict(self, z: jax.Array, gamma: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """What the network predicts [B, D] from z [B, D], g [B]."""
    return self.f(z, (gamma - self.gamma_min) / (self.gamma_max - self.gamma_min), context)

  def parts(self, z: jax.Array, gamma: jax.Array, predicted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(x, noise) of a prediction; gamma [B]."""
    at = paths.from_log_snr(gamma[:, None])
    if self.prediction == "v":
      return at.alpha * z - at.sigma * predicted, at.sigma * z + at.alpha * predicted
    return paths.parts(self.prediction, at, z, predicted)

  def denoise(self, x_t: jax.Array, t: jax.Array, context: Any, weight: float) -> tuple[jax.Array, jax.Array]:
    """(E[x | z_t], E[e | z_t]) [B, D] by the network; t [B]."""
    gamma = self.gamma(t)[0]
    predicted = denoiser.guided(lambda c: self.predict(x_t, gamma, c), context, weight)
    return self.parts(x_t, gamma, predicted)

  def velocity(
    self, x: jax.Array, t: jax.Array, context: jax.Array | None = None, weight: float = 1.0
  ) -> jax.Array:  # fmt: skip
    """u(x, t) = g'(t) (alpha_g' E[x] + sigma_g' E[e]), [B, D] at a scalar t; alpha_g' is d alpha / dg."""
    t = jnp.full(x.shape[:1], t, x.dtype)
    data, noise = self.denoise(x, t, context, weight)
    at = self.at(t[:, None])
    return at.d_alpha * data + at.d_sigma * noise

  def scaled(self, x: jax.Array) -> jax.Array:
    """x_0 [B, D] of x [B, ...]."""
    if not self.num_levels:
      return super().scaled(x)
    return 2 * x.reshape(x.shape[0], -1).astype(jnp.float32) / (self.num_levels - 1) - 1

  def unscaled(self, x_0: jax.Array) -> jax.Array:
    """x [B, *data_shape] of x_0 [B, D], the nearest integers with num_levels."""
    if not self.num_levels:
      return super().unscaled(x_0)
    top = self.num_levels - 1
    return jnp.clip(jnp.round((x_0 + 1) * (top / 2)), 0, top).reshape(-1, *self.data_shape)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x."""
    return (0.0, self.num_levels - 1.0) if self.num_levels else super().support

  def _terms(self, t: jax.Array, key: jax.Array, x: jax.Array, context: Any) -> tuple[jax.Array, jax.Array]:
    """(the diffusion loss from one draw at each t [B], nats, log w of the pieces), [B] each."""
    if self.num_steps:
      t = jnp.ceil(jnp.maximum(t, 1e-6) * self.num_steps) / self.num_steps  # of the grid 1 / T, ..., 1
    gamma, slope, log_w = self.gamma(t)
    if self.num_steps:
      slope = self.num_steps * jnp.expm1(gamma - self.gamma(t - 1 / self.num_steps)[0])
    at, noise = paths.from_log_snr(gamma[:, None]), jax.random.normal(key, x.shape)
    z = at.alpha * x + at.sigma * noise
    found = self.parts(z, gamma, self.predict(z, gamma, context))[1]
    return 0.5 * slope * jnp.sum(jnp.square(noise - found), -1), log_w

  def _ends_of_bound(self, key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(-log p(x | z_0) of one draw in the units of x, KL(q(z_1 | x) || N(0, I))), [B] each."""
    (low, high), noise = self.gamma(jnp.array([0.0, 1.0]))[0], jax.random.normal(key, x.shape)
    scale = jnp.exp(0.5 * low)  # sigma_0 / alpha_0
    mean = x + scale * noise
    if self.num_levels:
      half = 1 / (self.num_levels - 1)
      log_p = log_bin(x, (x - half - mean) / scale, (x + half - mean) / scale, half)
    else:
      log_p = -0.5 * jnp.square(noise) - jnp.log(scale) - 0.5 * math.log(2 * math.pi) + self.log_scale
    end = paths.from_log_snr(high)
    variance = jnp.square(end.sigma)
    kl = 0.5 * jnp.sum(variance + jnp.square(end.alpha * x) - 1 - jnp.log(variance), -1)
    return -jnp.sum(log_p, -1), kl

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective, {elbo: unbiased; diffusion, reconstruction, prior: its parts}), [B], from one t and z_t each.

    With a learned schedule the objective has, besides the bound, a term of value 0 whose gradient is that of the
    variance of the diffusion loss over t, relative to its square, in the widths w.
    """
    key_t, key_z, key_0, key_c = jax.random.split(key, 4)
    x, context = self.scaled(batch["x"]), self.context(batch)
    context = denoiser.without_some(key_c, context, self.drop_label)
    t = (jax.random.uniform(key_t) + jnp.arange(len(x)) / len(x)) % 1
    diffusion, log_w = self._terms(t, key_z, x, context)
    reconstruction, prior = self._ends_of_bound(key_0, x)
    elbo = -diffusion - reconstruction - prior
    metrics = {"elbo": elbo, "diffusion": diffusion, "reconstruction": reconstruction, "prior": prior}
    # E_t loss^2 = integral of (e^2 g'^2) dt: at fixed g its density in t is w, so that its gradient is -loss^2 d log w
    weight = jax.lax.stop_gradient(jnp.square(diffusion) / (jnp.mean(jnp.square(diffusion)) + 1e-12))
    return elbo + weight * (log_w - jax.lax.stop_gradient(log_w)), metrics

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{elbo, distortion = -log p(x | z_0), rate = all else}, nats, [B], from `eval_times` draws of (t, z_t)."""
    x, context = self.scaled(batch["x"]), self.context(batch)
    count = self.num_steps or self.eval_times
    shift = jax.vmap(jax.random.uniform)(jax.random.split(jax.random.fold_in(key, 1), len(x)))

    def one(k):
      t = (k + 1) / count if self.num_steps else (k + shift) / count
      return self._terms(jnp.full(len(x), t) if self.num_steps else t, jax.random.fold_in(key, k + 2), x, context)[0]

    terms = jax.lax.map(one, jnp.arange(count))  # [times, B]
    distortion, prior = self._ends_of_bound(jax.random.fold_in(key, 0), x)
    rate = prior + jnp.mean(terms, 0)
    return {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x), [n, *data_shape], by `draw_evaluations` of the network; also with `mean`.

    Without `context` [n, C] classes are uniform.
    """
    del mean
    key_class, key_x, key_steps = jax.random.split(key, 3)
    context = contexts.of_draws(key_class, n, context, self.num_classes, 0)
    z = jax.random.normal(key_x, (n, self.dim))
    if self.sampler == "ode":
      return self.unscaled(self.integrate(z, context))
    times = jnp.linspace(1.0, 0.0, self.draw_steps + 1)
    return self.unscaled(self.descend(key_steps, z, times, float(self.sampler == "ancestral"), context))

  @property
  def ends(self) -> tuple[float, float]:
    """The first and the last time of reverse steps."""
    return 0.0, 1.0

  def log_prob_by(
    self, key: jax.Array, batch: dict[str, jax.Array], **options: Any
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`log_density` of x in its own units, [B] each; of integers at x + u, u ~ U(-1/2, 1/2), a bound in the mean."""
    if not self.num_levels:
      return super().log_prob_by(key, batch, **options)
    key_u, key = jax.random.split(key)
    draw = lambda key: jax.random.uniform(key, (self.dim,), minval=-0.5, maxval=0.5)
    noise = jax.vmap(draw)(jax.random.split(key_u, len(batch["x"])))
    half = 1 / (self.num_levels - 1)
    x_0 = self.scaled(batch["x"]) + 2 * half * noise
    log_px, error, evaluations = self.log_density(key, x_0, self.context(batch), **options)
    return log_px + self.dim * math.log(2 * half), error, evaluations

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    x = self.scaled(batch["x"])
    gamma = self.gamma(jnp.full(len(x), 0.5))[0]
    return self.predict(x, gamma, self.context(batch))
