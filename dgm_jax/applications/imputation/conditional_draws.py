"""Multiple imputations by the networks of orderless.py, also moved to other means and probabilities."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.imputation import conditional_nets, orderless
from dgm_jax.applications.imputation.conditional_nets import Nets
from dgm_jax.core import rng
from dgm_jax.models.autoregressive.conditionals import Entries

_EDGE = 1e-7  # of uniform noise, away from 0 and 1


def _pick(log_p: jax.Array, u: jax.Array) -> jax.Array:
  """The class at which the cumulative probability reaches u in (0, 1); log_p [..., C], u [...]."""
  total = jnp.cumsum(jnp.exp(log_p), -1)
  return jnp.argmax(total >= u[..., None] * total[..., -1:], -1)


@functools.lru_cache(maxsize=32)
def _drawer(spec: orderless.Spec) -> Callable:
  """(params of one model, key of the order, keys [B], rows, classes) -> (z [B, D], c [B, E], uniform noise [B, E, 2]).

  Every unknown entry is drawn given those that are known or were drawn before it, in a random order.
  """
  net, d = orderless.model(spec), spec.num_numbers

  def draw(params, key_order, keys, rows, classes):
    def uniform(name, shape):
      return jax.vmap(lambda key: jax.random.uniform(rng.stream(key, name), shape, minval=_EDGE, maxval=1 - _EDGE))(
        keys
      )

    noise = uniform("entries", (d + spec.num_classified, 2))

    def step(x, j):
      p, (u, v) = net.apply({"params": params}, x, classes), jnp.moveaxis(noise[:, j], -1, 0)[..., None]
      component = _pick(p.log_share, jnp.broadcast_to(u, x.z.shape))[..., None]
      take = lambda a: jnp.take_along_axis(a, component, -1)[..., 0]
      z = take(p.loc) + take(p.scale) * jax.scipy.special.ndtri(v)
      c = _pick(p.log_p, jnp.broadcast_to(u, x.c.shape)) if spec.num_classified else x.c
      new_z, new_c = (jnp.arange(d) == j) & (x.of_z == 0), (d + jnp.arange(spec.num_classified) == j) & (x.of_c == 0)
      known = jnp.maximum(x.of_z, new_z), jnp.maximum(x.of_c, new_c)
      return Entries(jnp.where(new_z, z, x.z), x.y, jnp.where(new_c, c, x.c), *known), None

    x = jax.lax.scan(step, rows, jax.random.permutation(key_order, d + spec.num_classified))[0]
    return x.z, x.c, uniform("moves", (spec.num_classified, 2))

  return jax.jit(draw)


def draws(nets: Nets, x: np.ndarray, num_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """(draws of the missing entries of x [N, D] given the others, [M, N, D]; uniform noise for classes [M, N, D, 2]).

  Numbers are standardised, classes are their indices.  Draw m is of model m mod R; entries are drawn one after the
  other, in an order of the draw.  The noise of a row depends on its observed entries and the seed alone.
  """
  program, key = _drawer(nets.spec), rng.stream(jax.random.key(seed), "draws")
  num_models = len(jax.tree.leaves(nets.fit.params)[0])
  out, noise = np.zeros((num_draws, *x.shape)), np.zeros((num_draws, *x.shape, 2))
  for rows, block in conditional_nets.blocks(nets, x):
    n = rows.stop - rows.start
    values, known = (jnp.concatenate(pair, 1) for pair in ((block.z, block.c), (block.of_z, block.of_c)))
    index = rng.content_index(values, known)
    for m in range(num_draws):
      params = jax.tree.map(lambda a, r=m % num_models: a[r], nets.fit.params)
      key_order, key_rows = jax.random.split(jax.random.fold_in(key, m))
      keys = rng.row_keys(key_rows, index)
      z, c, u = jax.device_get(program(params, key_order, keys, block, nets.classes))
      for i, d in enumerate(nets.numbers):
        column = nets.spread.columns[d]
        out[m, rows, d] = (nets.scores[d].inverse(z[:n, i]) - column.loc) / column.scale
      for i, d in enumerate(nets.classified):
        out[m, rows, d], noise[m, rows, d] = c[:n, i], u[:n, i]
  return out, noise


def moved(nets: Nets, x: np.ndarray, own: np.ndarray, wanted: np.ndarray, num_draws: int, seed: int) -> np.ndarray:
  """Draws [M, N, D] of the networks, whose features are `own` [N, F], moved to the features `wanted`.

  A number is shifted by the difference of the means.  A class c stays with probability min(1, wanted_c / own_c), and is
  otherwise drawn from the excess max(0, wanted - own): the coupling with the fewest changes.
  """
  out, noise = draws(nets, x, num_draws, seed)
  for d, at, numeric in nets.spread.parts():
    if numeric:
      out[..., d] += wanted[:, at.start] - own[:, at.start]
    else:
      out[..., d] = recoupled(out[..., d].astype(int), own[:, at], wanted[:, at], noise[..., d, :])
  return out


def recoupled(drawn: np.ndarray, own: np.ndarray, wanted: np.ndarray, noise: np.ndarray) -> np.ndarray:
  """Classes [M, N], distributed as `own` [N, C], as draws of `wanted` [N, C]; noise [M, N, 2] is uniform."""
  rows = np.arange(len(own))
  stays = noise[..., 0] * own[rows, drawn] < wanted[rows, drawn]
  excess = np.cumsum(np.maximum(wanted - own, 0), 1)
  other = (excess[None] < noise[..., 1:] * excess[None, :, -1:]).sum(-1)
  return np.where(stays, drawn, np.minimum(other, own.shape[1] - 1))
