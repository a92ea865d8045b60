"""Losses and penalties of a game of two players, as pure functions of logits and of a critic.

d(x) is the discriminator's output, a logit or an unbounded score.  The discriminator lowers E_p[real(d)] + E_q[fake(d)]
for data p and samples q, the generator lowers E_q[generator(d)], and an encoder, whose pairs with the data are judged
as real (BiGAN), lowers E_p[encoder(d)].  A row of LOSSES says at which d the discriminator is optimal and what its
loss, or a function of it, then measures; `tests/inference/adversarial_losses_test.py` verifies each, but W1, by
sums over a grid.  The relativistic losses compare pairs of logits and have no row.

Everything is written by softplus, never as log(sigmoid), which overflows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

_softplus = jax.nn.softplus


class Loss(NamedTuple):
  """A loss whose terms are means of functions of single logits.

  Attributes:
    real, fake: d -> what the discriminator lowers on data, and on samples.
    generator: d -> what the generator lowers on samples.
    encoder: d -> what an encoder lowers on data.
    optimal: (log p, log q) -> the d at which the discriminator's loss is smallest, or 0 where every d is.
    measures: what -E_p[real(d)] - E_q[fake(d)] is at the optimal d, in words.
  """

  real: Callable
  fake: Callable
  generator: Callable
  encoder: Callable
  optimal: Callable
  measures: str


def _f_divergence(term: Callable, conjugate: Callable, optimal: Callable, measures: str) -> Loss:
  """E_p[T] - E_q[f*(T)] <= D_f(p || q) (Nguyen, Wainwright & Jordan, 2010; f-GAN, Nowozin et al., 2016).

  Args:
    term: d -> T, which maps any number into the domain of f*.
    conjugate: d -> f*(T(d)).
    optimal: see Loss; T is there f'(p / q).
    measures: see Loss.
  """
  return Loss(lambda d: -term(d), conjugate, lambda d: -conjugate(d), term, optimal, measures)


_log_ratio = lambda log_p, log_q: log_p - log_q
_COIN = lambda d: _softplus(-d), _softplus  # -log D and -log(1 - D)
_SCORE = lambda d: -d, lambda d: d  # of the generator, and of an encoder
LOSSES: dict[str, Loss] = {
  # Goodfellow et al. (2014)
  "minimax": Loss(*_COIN, lambda d: -_softplus(d), lambda d: -_softplus(-d), _log_ratio, "2 JS(p, q) - log 4"),
  "non_saturating": Loss(
    *_COIN, *_COIN, _log_ratio, "2 JS(p, q) - log 4; the generator's gradient is that of KL(q || p) - 2 JS"
  ),
  # Lim & Ye (2017); Miyato et al. (2018)
  "hinge": Loss(
    lambda d: jax.nn.relu(1 - d), lambda d: jax.nn.relu(1 + d), *_SCORE, lambda p, q: jnp.sign(p - q), "2 TV(p, q) - 2"
  ),
  # Arjovsky, Chintala & Bottou (2017); without a bound on the critic there is no optimal d
  "wasserstein": Loss(
    *_SCORE, *_SCORE, lambda p, q: jnp.zeros_like(p), "W1(p, q) over critics of slope 1; not with a penalty or clipping"
  ),
  "kl": _f_divergence(
    lambda d: d, lambda d: jnp.exp(d - 1), lambda log_p, log_q: 1 + log_p - log_q, "KL(p || q), f* = exp(t - 1)"
  ),
  "reverse_kl": _f_divergence(
    lambda d: -jnp.exp(-d), lambda d: d - 1, _log_ratio, "KL(q || p), T = -exp(-d), f* = -1 - log(-t)"
  ),
  "pearson": _f_divergence(
    lambda d: d,
    lambda d: d**2 / 4 + d,
    lambda log_p, log_q: 2 * jnp.expm1(log_p - log_q),
    "int (p - q)^2 / q, f* = t^2 / 4 + t",
  ),
  "squared_hellinger": _f_divergence(
    lambda d: -jnp.expm1(-d),
    jnp.expm1,
    lambda log_p, log_q: (log_p - log_q) / 2,
    "int (sqrt p - sqrt q)^2, T = 1 - exp(-d), f* = t / (1 - t)",
  ),
  "jensen_shannon": _f_divergence(
    lambda d: math.log(2) - _softplus(-d),
    lambda d: _softplus(d) - math.log(2),
    _log_ratio,
    "2 JS(p, q), T = log 2 - log(1 + exp(-d)), f* = -log(2 - exp t)",
  ),
}
RELATIVISTIC = ("relativistic", "relativistic_average")  # Jolicoeur-Martineau (2019)
NAMES = (*LOSSES, "least_squares", *RELATIVISTIC)
SMOOTHED = ("minimax", "non_saturating")  # whose real term is the log-likelihood of a label
CODING = (0.0, 1.0, 1.0)


def least_squares(a: float | jax.Array, b: float | jax.Array, c: float | jax.Array) -> Loss:
  """The loss of Mao et al. (2017): labels a of samples and b of data, and the label c that the generator wants.

  Where b - c = 1 and b - a = 2, the generator's loss with its term on the data, E_p[(D* - c)^2] + E_q[(D* - c)^2], is
  int (p - q)^2 / (p + q).  That is not so for the usual 0, 1, 1.
  """
  half_square = lambda label: lambda d: (d - label) ** 2 / 2
  optimal = lambda log_p, log_q: a + (b - a) * jax.nn.sigmoid(log_p - log_q)
  wanted = half_square(a + b - c)  # on the data: the generator's label seen from the other side
  return Loss(half_square(b), half_square(a), half_square(c), wanted, optimal, "-(b - a)^2 / 2 int p q / (p + q)")


def find(name: str, coding: tuple[Any, Any, Any] = CODING) -> Loss:
  """The row of a loss of single logits."""
  return least_squares(*coding) if name == "least_squares" else LOSSES[name]


def discriminator_loss(
  name: str, real: jax.Array, fake: jax.Array, smoothing: float | jax.Array = 0.0, coding: tuple = CODING
) -> jax.Array:
  """What the discriminator lowers, a scalar.

  Args:
    name: of NAMES.
    real, fake: logits [B] of data and of samples.
    smoothing: the label of data is 1 - smoothing (one-sided; Salimans et al., 2016), for the losses in SMOOTHED.
    coding: a, b, c of least_squares.
  """
  if name == "relativistic":
    return jnp.mean(_softplus(fake - real))
  if name == "relativistic_average":
    return jnp.mean(_softplus(jnp.mean(fake) - real)) + jnp.mean(_softplus(fake - jnp.mean(real)))
  row = find(name, coding)
  loss = jnp.mean(row.real(real)) + jnp.mean(row.fake(fake))
  # -(1 - s) log D - s log(1 - D) = softplus(-d) + s d
  return loss + smoothing * jnp.mean(real) if name in SMOOTHED else loss


def generator_loss(
  name: str, real: jax.Array, fake: jax.Array, encoder: bool = False, coding: tuple = CODING
) -> jax.Array:
  """What the generator lowers, a scalar.

  Args:
    name: of NAMES.
    real, fake: logits [B] of data and of samples; the relativistic losses alone use `real` without an encoder.
    encoder: whether a part of the generator also makes what is judged as real, and lowers its own term there.
    coding: a, b, c of least_squares.
  """
  if name in RELATIVISTIC:
    return discriminator_loss(name, fake, real)
  row = find(name, coding)
  loss = jnp.mean(row.generator(fake))
  return loss + jnp.mean(row.encoder(real)) if encoder else loss


def slopes(critic: Callable, x: Any) -> jax.Array:
  """|d critic / d x|^2 of each example, [B].

  Args:
    critic: x -> [B], where an output depends on its own example alone; with batch statistics it is that of the sum.
    x: an array [B, ...], or a tree of them, such as a pair (x, z).
  """
  gradients = jax.grad(lambda x: jnp.sum(critic(x)))(x)
  squares = [jnp.sum(jnp.square(g.reshape(g.shape[0], -1)), 1) for g in jax.tree.leaves(gradients)]
  return sum(squares[1:], start=squares[0])


def _safe_root(square: jax.Array) -> jax.Array:
  """The root, whose derivative at 0 is 0."""
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def gradient_penalty(critic: Callable, u: jax.Array, real: Any, fake: Any) -> jax.Array:
  """Mean of (|slope| - 1)^2 at u real + (1 - u) fake, with u in [0, 1] [B] (WGAN-GP; Gulrajani et al., 2017).

  The best linear critic between two points at distance d then has slope 1 + d / (2 weight) and value
  d + d^2 / (4 weight): not the Wasserstein distance d.
  """

  def between(r, f):
    v = u.reshape(-1, *[1] * (r.ndim - 1))
    return v * r + (1 - v) * f

  return jnp.mean((_safe_root(slopes(critic, jax.tree.map(between, real, fake))) - 1) ** 2)


def zero_centred(critic: Callable, x: Any) -> jax.Array:
  """Mean of |slope|^2 / 2: R1 at data, R2 at samples (Mescheder et al., 2018)."""
  return jnp.mean(slopes(critic, x)) / 2


def dragan(critic: Callable, noise: Any, real: Any) -> jax.Array:
  """Mean of (|slope| - 1)^2 at data with added noise (Kodali et al., 2017): real + sd(real) / 2 noise.

  Args:
    critic: see slopes.
    noise: uniform in [0, 1], the shape of `real`.
    real: data; its standard deviation is taken over the whole batch.
  """
  moved = jax.tree.map(lambda r, u: r + 0.5 * jnp.std(r) * u, real, noise)
  return jnp.mean((_safe_root(slopes(critic, moved)) - 1) ** 2)


def lecam(real: jax.Array, fake: jax.Array, mean_real: jax.Array, mean_fake: jax.Array) -> jax.Array:
  """Mean of (d(x) - mean_fake)^2 over data and of (d(x) - mean_real)^2 over samples (Tseng et al., 2021).

  The means, [], are moving averages of the logits of samples and of data.
  """
  return jnp.mean((real - mean_fake) ** 2) + jnp.mean((fake - mean_real) ** 2)


def clip(params: Any, bound: float | jax.Array) -> Any:
  """Every parameter clipped to [-bound, bound].  A linear critic w'x then has the maximum bound |E_p x - E_q x|_1."""
  return jax.tree.map(lambda p: jnp.clip(p, -bound, bound), params)


def spread(x: jax.Array) -> jax.Array:
  """The mean squared distance of two examples of a batch [B, ...]; 0 for B = 1."""
  flat = x.reshape(x.shape[0], -1)
  return 2 * jnp.sum((flat - jnp.mean(flat, 0)) ** 2) / max(1, flat.shape[0] - 1)


def relative_spread(fake: jax.Array, real: jax.Array) -> jax.Array:
  """spread(fake) / spread(real), finite also where the data are all equal."""
  return spread(fake) / jnp.maximum(spread(real), 1e-12)


def require(name: str, smoothing: float) -> None:
  """Raises UserError for an unknown loss, or one whose labels cannot be smoothed."""
  errors.choose("value of objective.loss", name, NAMES)
  errors.require(
    0 <= smoothing < 1 and (smoothing == 0 or name in SMOOTHED),
    f"objective.smoothing = {smoothing}; it must be in [0, 1), and 0 for losses other than {' and '.join(SMOOTHED)}.",
  )
