"""What models of a normal path share: classes and guidance, draws from noise, entries drawn given others."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models.base import require_at_least
from dgm_jax.models.diffusion.base import ContinuousModel


def check_guidance(num_classes: int, guidance: float, drop_label: float) -> None:
  """Raises UserError for guidance without classes, or of a model that never saw an example without its class."""
  errors.require(0 <= drop_label < 1, f"drop_label = {drop_label}; it must be at least 0, and less than 1")
  errors.require(
    num_classes > 0 or guidance == 1,
    f"guidance = {guidance} weighs predictions with and without the class, and this model has none: leave it at 1, or "
    "set num_classes and add 'condition' to data.transforms",
  )
  errors.require(
    guidance == 1 or drop_label > 0,
    f"guidance = {guidance} needs predictions without the class, which drop_label = 0 never trains: choose drop_label "
    "such as 0.1",
  )


def guided(predict: Any, context: jax.Array | None, weight: float) -> jax.Array:
  """(1 - w) f(no class) + w f(c): w = 0 is the model without classes, 1 that with (Ho & Salimans, 2021).

  Args:
    predict: c -> f(c).
    context: c [B, C], or None.
    weight: w; Ho & Salimans write 1 + w for it.
  """
  if context is None or weight == 1:
    return predict(context)
  none = predict(jnp.zeros_like(context))
  return none if weight == 0 else (1 - weight) * none + weight * predict(context)


def without_some(key: jax.Array, context: jax.Array | None, drop: float) -> jax.Array | None:
  """c with each row 0 with probability `drop`."""
  if context is None or not drop:
    return context
  return context * jax.random.bernoulli(key, 1 - drop, context.shape[:1])[:, None]


class Denoiser(ContinuousModel):
  """x_t = alpha(t) x + sigma(t) e; a subclass has

    at(t)                       -> the Point of the path
    denoise(x_t, t, c, weight)  -> (x, e) [B, D], the estimates of E[x | x_t] and E[e | x_t]; t [B]
    velocity(x, t, c, weight)   -> u [B, D]; a scalar t

  Attributes, in addition to those of ContinuousModel:
    guidance: w of the draws, see `guided`; log p(x|y) is that of w = 1.
    drop_label: probability that a training example is shown without its class; positive for guidance.
    resamples, jump: of `complete`: how often every `jump` of its steps are undone and repeated.
  """

  guidance: float = 1.0
  drop_label: float = 0.1
  resamples: int = 5
  jump: int = 5

  def check_options(self) -> None:
    """Raises UserError for options that contradict each other or the data."""
    super().check_options()
    check_guidance(self.num_classes, self.guidance, self.drop_label)
    require_at_least(0, resamples=self.resamples)
    require_at_least(1, jump=self.jump)

  def velocity_of_draws(self, x: jax.Array, t: jax.Array, context: jax.Array | None) -> jax.Array:
    """u(x, t) with guidance, [B, D] at a scalar t."""
    return self.velocity(x, t, context, self.guidance)

  def score(self, x: jax.Array, t: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """The estimate of grad log p_t(x_t) [B, D], -e / sigma; t [B]."""
    return -self.denoise(x, t, context, 1.0)[1] / self.at(t[:, None]).sigma

  def descend(self, key: jax.Array, x_t: jax.Array, times: jax.Array, eta: float, context: Any) -> jax.Array:
    """x at the last of `times`, which fall, from x_t at the first; see gaussian_paths.reverse_step."""

    def step(x_t, k):
      now, before = self.at(times[k]), self.at(times[k + 1])
      x, noise = self.denoise(x_t, jnp.full(len(x_t), times[k]), context, self.guidance)
      fresh = jax.random.normal(jax.random.fold_in(key, k), x_t.shape)
      return paths.reverse_step(now, before, x, noise, fresh, eta), None

    return jax.lax.scan(step, x_t, jnp.arange(len(times) - 1))[0]

  @property
  def ends(self) -> tuple[float, float]:
    """The first and the last time of reverse steps, at which no estimate divides by 0."""
    return 0.0, 1.0 - 1e-3

  def complete(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """x with draws of the entries with mask 0 given the others, [B, *data_shape]: approximately.

    Ancestral steps, in which the known entries are replaced by x_s ~ q(x_s | x); every `jump` steps are undone by
    q(x_t | x_s) and repeated `resamples` times (RePaint: Lugmayr et al., 2022), without which the drawn entries are
    not in keeping with the known ones.  The draws approach the conditional distribution as steps and resamples grow.
    """
    x, mask = self.scaled(batch["x"]), batch["mask"].reshape(len(batch["x"]), -1)
    context = self.context(batch)
    last, first = self.ends
    key_start, key = jax.random.split(key)
    times = jnp.linspace(first, last, self.draw_steps + 1)

    def step(x_t, move):
      number, k, back = move
      now, before = self.at(times[k]), self.at(times[k + 1])
      keys = jax.random.split(jax.random.fold_in(key, number), 3)
      fresh = [jax.random.normal(of, x_t.shape) for of in keys]
      estimates = self.denoise(x_t, jnp.full(len(x_t), times[k]), context, self.guidance)
      drawn = paths.reverse_step(now, before, *estimates, fresh[0], 1.0)
      x_s = jnp.where(mask > 0, before.alpha * x + before.sigma * fresh[1], drawn)
      again = paths.forward_step(before, self.at(times[back]), x_s, fresh[2])
      return jnp.where(back <= k, again, x_s), None

    moves = jnp.array([(i, *move) for i, move in enumerate(self.moves())], jnp.int32)
    x_0 = jax.lax.scan(step, jax.random.normal(key_start, x.shape), moves)[0]
    return self.unscaled(jnp.where(mask > 0, x, x_0))

  def moves(self) -> list[tuple[int, int]]:
    """The steps of `complete`: (k, back) from times[k] to times[k + 1], then to times[back], k + 1 for no jump."""
    found = []
    for start in range(0, self.draw_steps, self.jump):
      block = range(start, min(start + self.jump, self.draw_steps))
      for again in range(self.resamples + 1):
        ends = start if again < self.resamples else block[-1] + 1
        found += [(k, ends if k == block[-1] else k + 1) for k in block]
    return found
