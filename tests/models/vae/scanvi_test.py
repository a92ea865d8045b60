"""scANVI: the sum over types against brute force, the bounds, and gradients of every parameter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors, evaluation
from dgm_jax.inference import log_terms
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


def one_type(bound, z, c, noise):
  """J(z, c) of one type, with the noise of z_2 given, in NumPy."""
  y = np.tile(np.eye(C, dtype="f")[c], (len(z), 1))
  halves = lambda h: np.split(np.asarray(h, np.float64), 2, -1)
  mean, log_scale = halves(bound.upper_encoder(z, y, None))
  upper = mean + np.exp(log_scale) * np.asarray(noise)
  loc, log_width = halves(bound.upper_decoder(jnp.asarray(upper, jnp.float32), y, None))
  log_pz = -0.5 * ((np.asarray(z) - loc) / np.exp(log_width)) ** 2 - log_width - 0.5 * np.log(2 * np.pi)
  kl = 0.5 * (mean**2 + np.exp(2 * log_scale) - 1) - log_scale
  return (log_pz - kl).sum(-1) - np.log(C)


def test_the_sum_over_types_equals_brute_force():
  """U(x) = below + sum_y q(y|z) (J(z, y) - log q(y|z)), where J is computed for one type after the other."""
  made, params = model(), variables()
  bound = made.bind(params)
  (below, by_type, log_qy), (objective, metrics) = jax.jit(lambda: (bound.terms(KEY, BATCH), bound.bound(KEY, BATCH)))()
  q = np.exp(np.asarray(log_qy, np.float64))
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
  key_z, key_upper = jax.random.split(KEY)
  z = bound._below(BATCH).sample(seed=key_z)
  noise = jax.random.normal(key_upper, (B, C, 2))  # of each cell and type
  for c in range(C):
    np.testing.assert_allclose(by_type[:, c], one_type(bound, z, c, noise[:, c]), rtol=1e-4, atol=1e-4)
  expected = np.asarray(below) + sum(q[:, c] * (by_type[:, c] - log_qy[:, c]) for c in range(C))
  np.testing.assert_allclose(metrics["elbo"], expected, rtol=1e-5)
  y = BATCH["y"]
  rows = np.arange(B)
  of_known = np.asarray(below + by_type[rows, y] + made.alpha * log_qy[rows, y])
  np.testing.assert_allclose(objective, np.where(y >= 0, of_known, expected), rtol=1e-5)


def test_the_upper_bound_is_below_the_log_density_of_z_and_y():
  """E[J(z, y)] <= log p(z, y), whose integral over z_2 is computed on a grid; means agree with independent draws."""
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
    noise = np.random.default_rng(c).normal(size=(4000, 4, 2))
    others = one_type(bound, jnp.tile(z, (4000, 1)), c, noise.reshape(-1, 2)).reshape(4000, 4)
    error = np.sqrt(values.var(0) / 400 + others.var(0) / 4000)
    assert (abs(values.mean(0) - others.mean(0)) < 4 * error).all()


def grid(size=161, reach=6.0):
  """Points of a square of (z, z_2) [S^2, 2], and the area of each."""
  axis = np.linspace(-reach, reach, size)
  return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2).astype("f"), (axis[1] - axis[0]) ** 2


def test_importance_samples_estimate_log_p_of_the_mixture_over_types_and_upper_variables():
  """E_q[p(x, z, z_2) / q(z, z_2|x)] = p(x), the sum over y of an integral on a grid; q(z, z_2|x) integrates to 1."""
  made = scanvi.Model((G,), latent_dim=1, hidden=4, num_labels=C, library="observed", likelihood="poisson")
  batch = {name: values[:3] for name, values in BATCH.items()}
  params = jax.jit(made.init)(KEY, batch)
  shift = lambda a: a + 0.3 * jax.random.normal(jax.random.key(a.size), a.shape)
  params = params | {"params": jax.tree.map(shift, params["params"])}
  bound, (points, area) = made.bind(params), grid()
  all_types = jnp.repeat(jnp.eye(C), len(points), 0)

  @jax.jit
  def on_the_grid():
    z, upper = points[:, :1], points[:, 1:]
    h = bound.upper_decoder(jnp.tile(upper, (C, 1)), all_types, None)
    mean, log_scale = jnp.split(h, 2, -1)
    log_pz = -0.5 * ((jnp.tile(z, (C, 1)) - mean) * jnp.exp(-log_scale)) ** 2 - log_scale - 0.5 * jnp.log(2 * jnp.pi)
    log_pz = jax.nn.logsumexp(log_pz.reshape(C, -1), 0) - jnp.log(C)
    log_pz += -0.5 * upper[:, 0] ** 2 - 0.5 * jnp.log(2 * jnp.pi)
    found = []
    for i in range(3):
      one = {name: np.repeat(values[i : i + 1], len(points), 0) for name, values in batch.items()}
      log_px_z = bound.px_z(one, z).log_prob(one["x"]).sum(-1)
      found.append((log_px_z + log_pz, bound.infer(one).log_prob(points)))
    return found

  log_w = np.asarray(jax.jit(lambda: log_terms.log_terms(made, params, KEY, batch, 4000))().w, np.float64)
  for i, (log_joint, log_q) in enumerate(on_the_grid()):
    np.testing.assert_allclose(np.exp(np.asarray(log_q, np.float64)).sum() * area, 1, rtol=2e-3)
    exact = jax.nn.logsumexp(log_joint) + np.log(area)
    ratio = np.exp(log_w[:, i] - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio)) + 1e-3 and ratio.std() > 0.05
    assert (log_w[:, i].mean() - exact) < 0  # the ELBO


def test_joint_draws_have_the_densities_of_the_model():
  """The library has the moments of its prior, and log p(z, log l, z_2) is the sum of its parts."""
  made = model(library="latent", library_moments=((2.0,), (0.3,)))
  params = variables(library="latent", library_moments=((2.0,), (0.3,)))
  bound = made.bind(params)
  batch, z = jax.jit(lambda: bound.simulate(KEY, 400))()
  assert z.shape == (400, 5) and set(np.unique(batch["y"])) == {0, 1, 2}
  (px_z, pz), q = jax.jit(lambda: (bound.log_joint(batch, z), bound.infer(batch).log_prob(z)))()
  np.testing.assert_allclose(z[:, 2].mean(), 2, atol=4 * np.sqrt(0.3 / 400))
  np.testing.assert_allclose(z[:, 2].var(), 0.3, rtol=4 * np.sqrt(2 / 400))
  terms = (bound.log_upper(z[:, :2], z[:, 3:])[1], -0.5 * (z[:, 2] - 2) ** 2 / 0.3 - 0.5 * np.log(2 * np.pi * 0.3))
  upper = -0.5 * (z[:, 3:] ** 2).sum(1) - np.log(2 * np.pi)
  np.testing.assert_allclose(pz, jax.nn.logsumexp(terms[0], 1) - np.log(C) + terms[1] + upper, rtol=1e-4, atol=1e-4)
  assert np.isfinite(px_z).all() and np.isfinite(q).all()
  with pytest.raises(errors.UserError, match="no closed form"):
    bound.kl(batch)


def test_accuracy_is_over_the_cells_with_a_known_type():
  made, params = model(), variables()
  values = jax.jit(lambda: made.bind(params).evaluate(KEY, BATCH))()
  types = np.asarray(made.bind(params).log_types(BATCH)).argmax(1)
  known = BATCH["y"] >= 0
  right = (types == BATCH["y"])[known]
  mean, error = evaluation.means_and_errors(values)["accuracy"]
  np.testing.assert_allclose((mean, error), (right.mean(), right.std(ddof=1) / np.sqrt(known.sum())), rtol=1e-6)
  hidden = evaluation.means_and_errors(values | {"labelled": np.zeros(B)})
  assert "accuracy" not in hidden and hidden["labelled"] == (0, 0)


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


def test_the_dispersion_cannot_read_the_type():
  with pytest.raises(errors.UserError, match="does not support dispersion = 'gene_label'"):
    jax.eval_shape(model(dispersion="gene_label").init, KEY, BATCH)


def test_one_type_is_no_classification():
  with pytest.raises(errors.UserError, match="two types or more, and the data have 1"):
    jax.eval_shape(scanvi.Model((G,), num_labels=1).init, KEY, BATCH)
