"""Draws of a discrete-time diffusion model: ancestral steps, or those of DDIM (Song, Meng & Ermon, 2021)."""

import jax
import jax.numpy as jnp

from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models import contexts
from dgm_jax.networks.mlp import Networks


class Draws(Networks):
  """x_T ~ N(0, I), then x_{t-1} given x_t, and x given x_1; the fields and the rest are those of diffusion.Model."""

  def step_variance(self, t: jax.Array) -> jax.Array:
    """The variance of an ancestral step from t to t - 1."""
    if self.ancestral_variance == "beta":
      return self.beta[t - 1]
    return self.beta[t - 1] * jnp.where(t > 1, self.one_minus_a[t - 2] / self.one_minus_a[t - 1], 0.0)

  def _descend(
    self, key: jax.Array, x_t: jax.Array, start: int, context: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """(x_1 [n, D], sampled by p(x_{t-1} | x_t) from x_start, or by DDIM; an unused key)."""
    key, key_noise = jax.random.split(key)
    draw = lambda t: jax.random.normal(jax.random.fold_in(key_noise, t), x_t.shape)

    def step(x_t, t):
      mean = self.reverse_mean(x_t, jnp.full(x_t.shape[0], t), context, self.guidance)
      return mean + jnp.sqrt(self.step_variance(t)) * draw(t), None

    def ddim(x_t, pair):
      t, s = pair
      noise = self._noise(x_t, jnp.full(x_t.shape[0], t), context, self.guidance)
      now, before = self._at(t), self._at(s)
      return paths.reverse_step(now, before, (x_t - now.sigma * noise) / now.alpha, noise, draw(t), self.eta), None

    if self.sampler == "ancestral":
      return jax.lax.scan(step, x_t, jnp.arange(start, 1, -1))[0], key
    count = max(2, round((self.draw_steps or self.num_steps) * start / self.num_steps))
    times = jnp.round(jnp.linspace(start, 1, count)).astype(jnp.int32)
    return jax.lax.scan(ddim, x_t, jnp.stack([times[:-1], times[1:]], 1))[0], key

  def _decode(self, key: jax.Array, x_1: jax.Array, mean: bool, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x | x_1), or the normal's mean clipped to [0, 1], [n, *data_shape]."""
    x = self.reverse_mean(x_1, jnp.ones(x_1.shape[0], jnp.int32), context, self.guidance)
    if not mean:
      x += jnp.sqrt(self.beta[0]) * jax.random.normal(key, x.shape)
    x = (x + 1) / 2
    if mean or self.decoder == "discretised":
      x = jnp.clip(x, 0, 1)
    if not mean and self.decoder == "discretised":
      x = jnp.round(x * (self.num_levels - 1)) / (self.num_levels - 1)
    return x.reshape(-1, *self.data_shape)

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x), [n, *data_shape], a pass of the network a step; with `mean`, the mean at x_1, clipped to [0, 1].

    Without `context` [n, C] classes are uniform.
    """
    key_T, key = jax.random.split(key)
    context = contexts.of_draws(jax.random.fold_in(key, 0), n, context, self.num_classes, 0)
    x_1, key = self._descend(key, jax.random.normal(key_T, (n, self.dim)), self.num_steps, context)
    return self._decode(key, x_1, mean, context)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """The mean at x_1, from x_{T/2} ~ q(x_{T/2} | x_0) downwards, [B, *data_shape]."""
    key_t, key = jax.random.split(key)
    x_0, t, context = self._scaled(batch), self.num_steps // 2, self._context(batch)
    x_t = self.diffuse(x_0, jnp.full(x_0.shape[0], t), jax.random.normal(key_t, x_0.shape))
    x_1, key = self._descend(key, x_t, t, context)
    return self._decode(key, x_1, mean=True, context=context)
