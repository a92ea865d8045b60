"""Exact log p(x), posterior moments and KL(q || p(z|x)) on a grid, for one or two latent dimensions."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar

NEEDS = ("infer", "log_joint")  # methods of the model


class Posterior(NamedTuple):
  """Integrals over the grid for each of B examples; nats.

  Attributes:
    log_px: log p(x), [B].
    error: an estimate of |error of log_px|, [B]: the largest relative change of p(x) on the 2^L grids of twice the
      spacing, plus the mass of p(z|x) in the outer tenth of the range, beyond which there may be more.  Far too large
      once the grid resolves the posterior; near 1 or above, log_px is meaningless.
    mean: E[z | x], [B, L].
    covariance: Cov[z | x], [B, L, L].
    elbo: E_q[log p(x, z) - log q(z|x)], [B].  NaN, as are kl and elbo_error, if log q is not known at every z (planar
      flows).
    kl: KL(q(z|x) || p(z|x)) = log p(x) - elbo, [B].
    elbo_error: an estimate of |error of elbo|, [B]: the largest change on the grids of twice the spacing.
  """

  log_px: jax.Array
  error: jax.Array
  mean: jax.Array
  covariance: jax.Array
  elbo: jax.Array
  kl: jax.Array
  elbo_error: jax.Array


class _Sums(NamedTuple):
  """Running sums over grid points, of p = p(x, z) / exp(top) and of q(z|x)."""

  top: jax.Array  # [B]
  p: jax.Array  # [2^L, B], for each of the grids of twice the spacing
  p_shell: jax.Array  # [B], over the outer tenth of the range
  p_d: jax.Array  # [B, L], d = z - reference: moments about a point near the posterior stay accurate in float32
  p_dd: jax.Array  # [B, L, L]
  q: jax.Array  # [B]
  q_log_w: jax.Array  # [2^L, B]


def grid_points(indices: jax.Array, num_points: int, radius: float, latent_dim: int) -> tuple[jax.Array, jax.Array]:
  """For indices [G] in 0 .. num_points^L - 1: the points z [G, L], and the coarse grid of each, one-hot [G, 2^L]."""
  axes = jnp.stack([indices // num_points**l % num_points for l in range(latent_dim)], -1)
  coarse = jax.nn.one_hot(axes % 2 @ 2 ** jnp.arange(latent_dim), 2**latent_dim)
  return radius * (2 * axes / (num_points - 1.0) - 1), coarse


def _add(
  sums: _Sums, d: jax.Array, log_joint: jax.Array, log_q: jax.Array, coarse: jax.Array, shell: jax.Array
) -> _Sums:
  """The sums with G more points: z - reference [G, B, L], log p(x, z) and log q(z|x) [G, B], [G, 2^L], mask [G]."""
  top = jnp.maximum(sums.top, jnp.max(log_joint, 0))
  scale = jnp.exp(sums.top - top)
  p, q = jnp.exp(log_joint - top), jnp.exp(log_q)
  q_log_w = jnp.where(q > 0, q * (log_joint - log_q), 0.0)  # 0 log 0 = 0, also where log q = -inf
  return _Sums(
    top,
    sums.p * scale + coarse.T @ p,
    sums.p_shell * scale + shell @ p,
    sums.p_d * scale[:, None] + jnp.einsum("gb,gbl->bl", p, d),
    sums.p_dd * scale[:, None, None] + jnp.einsum("gb,gbl,gbm->blm", p, d, d),
    sums.q + jnp.sum(q, 0),
    sums.q_log_w + coarse.T @ q_log_w,
  )


def posterior(bound_model: Any, batch: dict, num_points: int = 400, radius: float = 6.0, chunk: int = 200) -> Posterior:
  """log p(x) = log int p(x, z) dz by the rectangle rule on num_points^L points, |z_l| <= radius.

  For a smooth integrand that vanishes at the ends this is the trapezoidal rule, and converges faster than any power of
  the spacing h = 2 radius / (num_points - 1): for a Gaussian posterior of standard deviation s the relative error per
  axis is 2 exp(-2 (pi s / h)^2), 1e-8 at h = s and 3e-4 at h = 1.5 s (Trefethen & Weideman, 2014).

  Args:
    bound_model: a model with infer and log_joint, bound to its parameters; see principles.latent.
    batch: B examples.
    num_points: points on each axis.
    radius: half the range of each axis.
    chunk: how many points to hold in memory at once, each with all B examples.

  Raises:
    UserError: L is not 1 or 2, or z is not one array.
  """
  q = bound_model.infer(batch)
  reference, _ = q.sample_and_log_prob(seed=jax.random.key(0))
  single = not isinstance(reference, tuple) and reference.ndim == 2
  has = f"{reference.shape[1]} of type {reference.dtype}" if single else "several layers"
  errors.require(
    single and reference.shape[1] <= 2 and jnp.issubdtype(reference.dtype, jnp.floating),
    f"evaluate.quadrature integrates over 1 or 2 real latent variables; this model has {has}. Use evaluate.ais.",
  )
  size, latent_dim = reference.shape

  # The decoder does not see x: with x mapped inside z it runs once for each point, not once for each pair.
  def one_pair(z, example):
    return sum(bound_model.log_joint(jax.tree.map(lambda a: a[None], example), z[None]))[0]

  log_joint = jax.vmap(jax.vmap(one_pair, (None, 0)), (0, None))
  log_q = jax.vmap(lambda z: q.log_prob(jnp.broadcast_to(z, reference.shape)))
  try:
    jax.eval_shape(q.log_prob, reference)
  except NotImplementedError:
    log_q = lambda z: jnp.full((len(z), size), -jnp.inf, z.dtype)  # no mass: elbo = 0 / 0

  def add_chunk(sums, start):
    indices = start + jnp.arange(chunk)
    inside = (indices < num_points**latent_dim)[:, None]
    z, coarse = grid_points(indices, num_points, radius, latent_dim)
    log_p, log_q_z = (jnp.where(inside, f, -jnp.inf) for f in (log_joint(z, batch), log_q(z)))
    shell = jnp.max(jnp.abs(z), -1) > 0.9 * radius
    return _add(sums, z[:, None] - reference, log_p, log_q_z, coarse, shell.astype(z.dtype)), None

  zeros = lambda *shape: jnp.zeros(shape, reference.dtype)
  coarse, least = zeros(2**latent_dim, size), jnp.finfo(reference.dtype).min
  moments = zeros(size, latent_dim), zeros(size, latent_dim, latent_dim)
  empty = _Sums(zeros(size) + least, coarse, zeros(size), *moments, zeros(size), coarse)
  sums, _ = jax.lax.scan(add_chunk, empty, jnp.arange(0, num_points**latent_dim, chunk))
  return _moments(sums, reference, latent_dim * math.log(2 * radius / (num_points - 1)))


def _moments(sums: _Sums, reference: jax.Array, log_cell: float) -> Posterior:
  """The posterior from complete sums; log_cell is the log volume of a cell."""
  p = jnp.sum(sums.p, 0)
  log_px = sums.top + jnp.log(p) + log_cell
  d = sums.p_d / p[:, None]
  elbo = jnp.sum(sums.q_log_w, 0) / sums.q
  num_coarse = len(sums.p)
  return Posterior(
    log_px,
    jnp.max(jnp.abs(num_coarse * sums.p / p - 1), 0) + sums.p_shell / p,
    reference + d,
    sums.p_dd / p[:, None, None] - d[:, :, None] * d[:, None, :],
    elbo,
    log_px - elbo,
    jnp.max(jnp.abs(num_coarse * math.exp(log_cell) * sums.q_log_w - elbo), 0),
  )


def make_log_px(
  experiment: Any, num_points: int = 400, radius: float = 6.0, batch_size: int = 100, chunk: int = 200
) -> Callable:
  """(state, key, data, progress) -> {name of Posterior: [N, ...]}; the arguments as in `evaluate`."""

  def eval_step(state, key, batch):
    del key
    bound_model = experiment.model.bind({"params": state.params, **state.variables})
    found = posterior(bound_model, batch, num_points, radius, chunk)
    log_det = batch.get("log_det", 0.0)  # of the transforms: densities are reported in the units of the data
    return found._replace(log_px=found.log_px + log_det, elbo=found.elbo + log_det)._asdict()

  return make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)


def check(
  *, num_examples: int = 1, num_points: int = 4, radius: float = 1.0, batch_size: int = 1, chunk: int = 1
) -> None:
  """Raises UserError for an invalid option."""
  for name, value in (("num_examples", num_examples), ("batch_size", batch_size), ("chunk", chunk)):
    errors.require(value >= 1, f"evaluate.quadrature.{name} = {value}; it must be 1 or more.")
  errors.require(4 <= num_points <= 2**15, f"evaluate.quadrature.num_points = {num_points}; it must be in 4 .. 32768.")
  errors.require(radius > 0, f"evaluate.quadrature.radius = {radius}; it must be positive.")


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_examples: int = 100,
  num_points: int = 400,
  radius: float = 6.0,
  batch_size: int = 100,
  chunk: int = 200,
) -> dict[str, Any]:
  """log p(x), the ELBO and KL(q || p(z|x)) without sampling error, for a model with one or two latent dimensions.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_examples: number of examples to use, the first ones.
    num_points, radius, chunk: see `posterior`.
    batch_size: images at once.

  Returns:
    exact_log_px, its standard error over examples, exact_nll, exact_elbo, exact_kl, and the largest estimated error of
    log p(x) and of the ELBO over the examples (exact_log_px_error, exact_elbo_error); nats.  exact_elbo, its error and
    exact_kl are absent if log q is not known at every z.  "values" holds the numbers of each example.
  """
  arrays = {name: a[:num_examples] for name, a in arrays.items()}
  run = make_log_px(experiment, num_points, radius, batch_size, chunk)
  with progress_bar(len(arrays["x"]), description=f"log p(x), {num_points} points per axis", unit="image") as bar:
    values = run(state, key, arrays, bar.update)
  log_px, stderr = mean_and_error(values["log_px"])
  results = {
    "exact_nll": -log_px,
    "exact_log_px": log_px,
    "exact_log_px_stderr": stderr,
    "exact_log_px_error": float(jnp.max(values["error"])),
    "exact_examples": len(arrays["x"]),
    "values": {"exact_log_px": values["log_px"], "exact_log_px_error": values["error"]},
  }
  elbo = {
    "exact_elbo": mean_and_error(values["elbo"])[0],
    "exact_elbo_error": float(jnp.max(values["elbo_error"])),
    "exact_kl": mean_and_error(values["kl"])[0],
  }
  if math.isnan(elbo["exact_elbo"]):
    return results
  results["values"] |= {"exact_elbo": values["elbo"], "exact_kl": values["kl"]}
  return results | elbo
