"""scANVI: the sum over types against brute force, the bounds, and gradients of every parameter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.vae import scanvi

G, B, C = 6, 30, 3
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
BATCH = {"x": RNG.poisson(2.0, (B, G)) + np.eye(G, dtype=int)[np.arange(B) % G], "y": np.arange(B) % 4 - 1}


def model(**options):
  return scanvi.Model((G,), latent_dim=2, hidden=8, num_labels=C, **({"library": "observed"} | options))


@functools.cache
def variables(**options):
  found = jax.jit(model(**options).init)(KEY, BATCH)
  return found | {"params": jax.tree.map(lambda a: a + 0.2 * jax.random.normal(KEY, a.shape), found["params"])}


def test_the_sum_over_types_equals_brute_force():
  """U(x) = below + sum_y q(y|z) (J(z, y) - log q(y|z)), where J is computed for one type after the other."""
  made, params = model(), variables()
  bound = made.bind(params)
  (below, by_type, log_qy), (objective, metrics) = jax.jit(lambda: (bound.terms(KEY, BATCH), bound.bound(KEY, BATCH)))()
  q = np.exp(np.asarray(log_qy, np.float64))
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
  expected = np.asarray(below) + sum(q[:, c] * (by_type[:, c] - log_qy[:, c]) for c in range(C))
  np.testing.assert_allclose(metrics["elbo"], expected, rtol=1e-5)
  y = BATCH["y"]
  rows = np.arange(B)
  of_known = np.asarray(below + by_type[rows, y] + made.alpha * log_qy[rows, y])
  np.testing.assert_allclose(objective, np.where(y >= 0, of_known, expected), rtol=1e-5)


def test_the_upper_bound_is_below_the_log_density_of_z_and_y():
  """E[J(z, y)] <= log p(z, y), whose integral over z_2 is computed on a grid; the mean of its draws is E[J]."""
  made, params = model(), variables()
  bound, z = made.bind(params), jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32)
  axis = jnp.linspace(-6, 6, 121)
  plane = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  draws = jax.jit(lambda: jax.vmap(lambda k: bound.by_type(k, z))(jax.random.split(KEY, 400)))()
  for c in range(C):
    y = jnp.broadcast_to(jax.nn.one_hot(c, C), (len(plane), C))
    h = jax.jit(lambda y=y: bound.upper_decoder(plane, y, None))()
    mean, log_scale = jnp.split(h, 2, -1)
    log_p = -0.5 * jnp.square((z[:, None] - mean) * jnp.exp(-log_scale)) - log_scale - 0.5 * jnp.log(2 * jnp.pi)
    log_prior = -0.5 * jnp.sum(plane**2, 1) - jnp.log(2 * jnp.pi)
    exact = jax.nn.logsumexp(log_p.sum(-1) + log_prior, 1) + 2 * jnp.log(axis[1] - axis[0]) - np.log(C)
    values = np.asarray(draws[:, :, c], np.float64)
    assert (values.mean(0) - exact < 4 * values.std(0) / 20).all()


@pytest.mark.slow
def test_every_parameter_has_a_gradient_and_averages_are_updated():
  made, params = model(library="latent", library_moments=((2.0,), (0.3,))), None
  params = jax.jit(made.init)(KEY, BATCH)
  batch = BATCH | {"key": jax.random.split(KEY, B)}
  loss = lambda p: made.apply(params | {"params": p}, KEY, batch, method="bound")[0].mean()
  for path, g in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params["params"])):
    assert jnp.isfinite(g).all() and abs(g).max() > 0, jax.tree_util.keystr(path)
  new = jax.jit(lambda: made.update(params, KEY, batch))()
  moved = jax.tree.map(lambda a, b: bool(abs(a - b).max() > 0), new["averages"], params["averages"])
  assert all(jax.tree.leaves(moved))


def test_one_type_is_no_classification():
  with pytest.raises(errors.UserError, match="two types or more, and the data have 1"):
    jax.eval_shape(scanvi.Model((G,), num_labels=1).init, KEY, BATCH)
