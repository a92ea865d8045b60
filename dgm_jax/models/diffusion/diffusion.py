"""Denoising diffusion model (Sohl-Dickstein et al., 2015; Ho, Jain & Abbeel, 2020) as a hierarchical VAE."""

import math
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.normal_bins import log_bin
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models import contexts
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.diffusion.denoiser import check_guidance, guided, without_some
from dgm_jax.models.diffusion.descent import Draws
from dgm_jax.networks import time_net

SCHEDULES, OBJECTIVES, DECODERS = ("linear", "cosine"), ("elbo", "simple"), ("discretised", "gaussian")
PREDICTIONS, SAMPLERS, VARIANCES = ("noise", "v", "x"), ("ancestral", "ddim"), ("beta", "posterior")


class Model(Draws):
  """p(x_0..T) = N(x_T; 0, I) prod_t p(x_{t-1} | x_t),   q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I).

  x_0 = 2 x - 1 for data x in [0, 1]; a_t = prod_{s <= t} (1 - beta_s), so x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps.
  p(x_{t-1} | x_t) = N(mu_t(x_t), beta_t I) with mu_t = (x_t - beta_t / sqrt(1 - a_t) eps(x_t, t)) / sqrt(1 - beta_t),
  eps(x_t, t) a multilayer perceptron of x_t and sinusoids of t; at t = 1 it is the decoder of x.

    ELBO = log p(x | x_1) - sum_{t > 1} KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) - KL(q(x_T | x_0) || N(0, I))

  Attributes:
    data_shape: the shape of one x.
    data_mean: not used.
    num_steps: T.
    hidden: widths of the hidden layers.
    time_dim: how many sinusoids of t the network sees.
    schedule: "linear", beta from 1e-4 to 0.02 times 1000 / T (Ho et al., 2020); "cosine", a_t = cos^2 of t / T, shifted
      (Nichol & Dhariwal, 2021).
    objective: "elbo", an unbiased estimate of the ELBO from one t for each example; "simple", -||eps - eps(x_t, t)||^2.
    decoder: p(x | x_1): "discretised", that normal integrated over the bins of num_levels levels in [0, 1], the
      probability of the level nearest to x; "gaussian", the normal itself, a density of x.
    num_levels: number of levels of x for the discretised decoder: 2 for binary x, 256 for bytes / 255.
    net, channels: mlp, or unet with these channels, see dgm_jax/networks/time_net.py.
    prediction: what the network predicts: noise, v = sqrt(a_t) eps - sqrt(1 - a_t) x_0, or x_0; eps(x_t, t) follows.
    num_classes: C of p(x|y), with the transform `condition`; 0 for none.
    guidance, drop_label: of draws of p(x|y), see Denoiser in denoiser.py.
    sampler: of draws: ancestral, by p(x_{t-1} | x_t); or ddim, steps of DDIM (Song, Meng & Ermon, 2021).
    ancestral_variance: of ancestral draws: beta, that of the bound; or posterior, that of q(x_{t-1} | x_t, x_0).
    eta: of ddim: 0 is deterministic, 1 has the variance of q(x_{t-1} | x_t, x_0).
    draw_steps: of ddim, evenly spaced over T; 0 for T.
  """

  support: ClassVar[tuple[float, float]] = (0.0, 1.0)  # range of x

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  num_steps: int = 100
  hidden: Sequence[int] = (512, 512)
  time_dim: int = 64
  schedule: str = "linear"
  objective: str = "elbo"
  decoder: str = "discretised"
  num_levels: int = 256
  net: str = "mlp"
  channels: Sequence[int] = (32, 64, 128)
  prediction: str = "noise"
  num_classes: int = 0
  guidance: float = 1.0
  drop_label: float = 0.1
  sampler: str = "ancestral"
  ancestral_variance: str = "beta"
  eta: float = 0.0
  draw_steps: int = 0

  def setup(self):
    time_net.check(self.net, self.data_shape, self.channels, self.dtype, self.remat)
    check_guidance(self.num_classes, self.guidance, self.drop_label)
    require_one_of(PREDICTIONS, prediction=self.prediction)
    require_one_of(SAMPLERS, sampler=self.sampler)
    require_one_of(VARIANCES, ancestral_variance=self.ancestral_variance)
    errors.require(0 <= self.eta <= 1, f"eta = {self.eta}; it must be between 0 and 1")
    errors.require(
      0 <= self.draw_steps <= self.num_steps,
      f"draw_steps = {self.draw_steps}; it must be 0 to num_steps = {self.num_steps}",
    )
    require_one_of(SCHEDULES, schedule=self.schedule)
    require_one_of(OBJECTIVES, objective=self.objective)
    require_one_of(DECODERS, decoder=self.decoder)
    require_at_least(1, hidden=self.hidden)
    require_at_least(2, time_dim=self.time_dim, num_steps=self.num_steps, num_levels=self.num_levels)
    self.dim = prod(self.data_shape)
    options = {"channels": self.channels, "time_dim": self.time_dim, **self.compute}
    # the multilayer perceptron keeps its name, and its sinusoids of t / T, in the checkpoints of earlier versions
    self.mlp_net = self.mlp((*self.hidden, self.dim), nn.swish, name="net") if self.net == "mlp" else None
    self.unet = time_net.TimeNet(tuple(self.data_shape), "unet", **options) if self.net == "unet" else None
    self.beta = self._betas()  # [T], for t = 1..T, as log_a, a and one_minus_a
    self.log_a = jnp.cumsum(jnp.log1p(-self.beta))
    self.a, self.one_minus_a = jnp.exp(self.log_a), -jnp.expm1(self.log_a)

  def _betas(self) -> jax.Array:
    t = jnp.arange(self.num_steps + 1) / self.num_steps
    if self.schedule == "linear":
      return jnp.minimum((1e-4 + 0.0199 * jnp.linspace(0, 1, self.num_steps)) * 1000 / self.num_steps, 0.999)
    a = jnp.cos((t + 0.008) / 1.008 * jnp.pi / 2) ** 2
    return jnp.clip(1 - a[1:] / a[:-1], 1e-5, 0.999)

  def _scaled(self, batch: dict[str, jax.Array]) -> jax.Array:
    """x_0 [B, D] in [-1, 1]."""
    return 2 * batch["x"].reshape(-1, self.dim) - 1

  def predict_noise(
    self, x_t: jax.Array, t: jax.Array, context: jax.Array | None = None, weight: float = 1.0
  ) -> jax.Array:  # fmt: skip
    """eps(x_t, t) [B, D]; x_t [B, D], t int [B] in 1..T; with classes, guided with this weight."""

    def predict(c):
      if self.unet is not None:
        return self.unet(x_t, t / self.num_steps, c)
      given = [time_net.sinusoids(t / self.num_steps, self.time_dim), *([] if c is None else [c])]
      return self.mlp_net(jnp.concatenate([x_t, *given], -1))

    predicted = guided(predict, context, weight)
    if self.prediction == "noise":
      return predicted
    at = self._at(t[:, None])
    if self.prediction == "v":
      return at.sigma * x_t + at.alpha * predicted
    return (x_t - at.alpha * predicted) / at.sigma

  def _noise(self, x_t, t, context, weight=1.0):
    return self.predict_noise(x_t, t) if context is None else self.predict_noise(x_t, t, context, weight)

  def _at(self, t: jax.Array) -> paths.Point:
    """sqrt(a_t) and sqrt(1 - a_t), 1 and 0 at t = 0; t int."""
    alpha = jnp.where(t > 0, jnp.sqrt(self.a[t - 1]), 1.0)
    sigma = jnp.where(t > 0, jnp.sqrt(self.one_minus_a[t - 1]), 0.0)
    return paths.Point(alpha, sigma, jnp.zeros_like(alpha), jnp.zeros_like(alpha))

  def diffuse(self, x_0: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
    """x_t ~ q(x_t | x_0) for standard normal noise, [B, D]; x_0 [B, D] in [-1, 1], t int [B]."""
    return jnp.sqrt(self.a[t - 1])[:, None] * x_0 + jnp.sqrt(self.one_minus_a[t - 1])[:, None] * noise

  def posterior(self, x_0: jax.Array, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(mean [B, D], variance [B]) of q(x_{t-1} | x_t, x_0); t int [B] in 2..T."""
    beta, before, now = self.beta[t - 1], self.one_minus_a[t - 2], self.one_minus_a[t - 1]
    w_0 = jnp.sqrt(self.a[t - 2]) * beta / now
    w_t = jnp.sqrt(1 - beta) * before / now
    return w_0[:, None] * x_0 + w_t[:, None] * x_t, beta * before / now

  def reverse_mean(
    self, x_t: jax.Array, t: jax.Array, context: jax.Array | None = None, weight: float = 1.0
  ) -> jax.Array:
    """mu_t(x_t) [B, D], the mean of p(x_{t-1} | x_t)."""
    beta = self.beta[t - 1][:, None]
    noise = self._noise(x_t, t, context, weight)
    return (x_t - beta / jnp.sqrt(self.one_minus_a[t - 1])[:, None] * noise) / jnp.sqrt(1 - beta)

  def _log_px(self, x_0: jax.Array, mean: jax.Array) -> jax.Array:
    """log p(x | x_1) [B], in the units of x."""
    scale = jnp.sqrt(self.beta[0])
    if self.decoder == "gaussian":
      log_p = -0.5 * ((x_0 - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi) + math.log(2)
    else:
      half = 1 / (self.num_levels - 1)
      x_0 = 2 * half * jnp.round((x_0 + 1) / (2 * half)) - 1  # the nearest level: probabilities of levels sum to 1
      log_p = log_bin(x_0, (x_0 - half - mean) / scale, (x_0 + half - mean) / scale, half)
    return jnp.sum(log_p, -1)

  def term(
    self, key: jax.Array, x_0: jax.Array, t: jax.Array, context: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """(the ELBO's term for step t, the squared error of the noise: [B]) for one draw of x_t; t int [B] in 1..T.

    The term is log p(x|x_1) at t = 1, else -KL(q(x_{t-1}|x_t,x_0) || p(x_{t-1}|x_t)).
    """
    noise = jax.random.normal(key, x_0.shape)
    x_t = self.diffuse(x_0, t, noise)
    predicted = self._noise(x_t, t, context)
    square = jnp.sum((noise - predicted) ** 2, -1)
    beta, now = self.beta[t - 1], self.one_minus_a[t - 1]
    ratio = self.one_minus_a[jnp.maximum(t - 2, 0)] / now  # variance of q / variance of p
    kl = 0.5 * self.dim * (ratio - 1 - jnp.log(ratio)) + 0.5 * beta / ((1 - beta) * now) * square
    beta_1 = self.beta[0]  # the decoder's mean from the same prediction of the noise
    decoded = self._log_px(x_0, (x_t - jnp.sqrt(beta_1) * predicted) / jnp.sqrt(1 - beta_1))
    return jnp.where(t == 1, decoded, -kl), square

  def prior_kl(self, x_0: jax.Array) -> jax.Array:
    """KL(q(x_T | x_0) || N(0, I)) in closed form, [B]."""
    variance = self.one_minus_a[-1]
    return 0.5 * jnp.sum(variance + self.a[-1] * x_0**2 - 1 - jnp.log(variance), -1)

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {elbo: unbiased, square_error of the noise: [B]}), each from one t and one x_t.

    The t of a batch are spaced evenly over 1..T from one uniform draw, so that each t is marginally uniform.
    """
    key_t, key_x = jax.random.split(key)
    x_0 = self._scaled(batch)
    context = without_some(jax.random.fold_in(key, 2), self._context(batch), self.drop_label)
    size = x_0.shape[0]
    u = (jax.random.uniform(key_t) + jnp.arange(size) / size) % 1
    t = jnp.minimum((u * self.num_steps).astype(jnp.int32), self.num_steps - 1) + 1
    term, square = self.term(key_x, x_0, t, context)
    elbo = self.num_steps * term - self.prior_kl(x_0)
    return elbo if self.objective == "elbo" else -square, {"elbo": elbo, "square_error": square}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{elbo, distortion = -log p(x|x_1), rate = the KL of all steps: [B]}, nats: all T terms, one draw of x_t each."""
    x_0, context = self._scaled(batch), self._context(batch)

    def one(t):
      return self.term(jax.random.fold_in(key, t), x_0, jnp.full(x_0.shape[0], t), context)[0]

    terms = jax.lax.map(one, jnp.arange(1, self.num_steps + 1))  # [T, B]
    distortion, rate = -terms[0], self.prior_kl(x_0) - jnp.sum(terms[1:], 0)
    return {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}

  def _context(self, batch: dict[str, jax.Array]) -> jax.Array | None:
    return contexts.of_batch(batch, self.num_classes, 0)

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.bound(jax.random.key(0), batch)
