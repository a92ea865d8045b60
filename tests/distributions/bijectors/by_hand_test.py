"""Bijectors against computations by other means: dense matrices, moments, tfp, determinants, unrolled loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import (
  autoregressive,
  flows,
  layers,
  linear,
  masks,
  norms,
  residual,
  squeeze,
)
from dgm_jax.distributions.bijectors import transforms as transforms_of
from dgm_jax.networks import norms as spectral
from dgm_jax.networks.conditioners import Conditioner

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(5, 4))


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def random_like(tree, seed=3):
  g = np.random.default_rng(seed)
  return jax.tree.map(lambda a: jnp.asarray(g.normal(size=a.shape)), tree)


def test_lu_is_its_dense_matrix_on_every_pixel():
  g = np.random.default_rng(1)
  lower, upper = g.normal(size=(2, 3, 3))
  log_diagonal, bias = g.normal(size=(2, 3))
  order = np.array([2, 0, 1])
  made = linear.LU(*map(jnp.asarray, (lower, upper, log_diagonal, bias, order)), event_ndims=3)
  matrix = (np.tril(lower, -1) + np.eye(3)) @ (np.triu(upper, 1) + np.diag(np.exp(log_diagonal))) @ np.eye(3)[order]
  x = g.normal(size=(2, 4, 5, 3))
  y, log_det = made.forward_and_log_det(jnp.asarray(x))
  np.testing.assert_allclose(y, np.einsum("ij,bhwj->bhwi", matrix, x) + bias, atol=1e-12)
  np.testing.assert_allclose(log_det, 20 * np.linalg.slogdet(matrix)[1], atol=1e-12)


@pytest.mark.parametrize("count,dim", [(3, 4), (30, 30)])
def test_householder_is_the_product_of_its_reflections(count, dim):
  g = np.random.default_rng(2)
  vectors = g.normal(size=(count, dim))
  vectors[1] = vectors[0] + 1e-3 * g.normal(size=dim)  # nearly the same
  made = linear.Householder(jnp.asarray(vectors))
  product = np.eye(dim)
  for v in vectors:
    product = (np.eye(dim) - 2 * np.outer(v, v) / (v @ v)) @ product
  x = g.normal(size=(5, dim))
  np.testing.assert_allclose(made.forward(jnp.asarray(x)), x @ product.T, atol=1e-12)
  np.testing.assert_allclose(made.inverse(jnp.asarray(x)), x @ product, atol=1e-12)
  unrolled = lambda x: len(jax.make_jaxpr(lambda v: linear.Householder(v).forward(x))(jnp.asarray(vectors)).eqns)
  assert unrolled(jnp.asarray(x)) < 40  # not one operation for each reflection


def test_a_squeeze_puts_blocks_of_four_pixels_into_channels():
  x = jnp.arange(2 * 4 * 3).reshape(1, 2, 4, 3).astype(float)
  y = squeeze.Squeeze().forward(x)
  np.testing.assert_array_equal(y[0, 0, 1].reshape(2, 2, 3), x[0, :2, 2:])
  with pytest.raises(errors.UserError, match="even height and width; this is 3 x 4"):
    squeeze.Squeeze().forward(jnp.zeros((1, 3, 4, 1)))


def test_a_chessboard_halves_the_pixels_and_swaps():
  mask = masks.checkerboard((4, 6, 2))
  assert (mask[:, :-1] != mask[:, 1:]).all() and (mask[:-1] != mask[1:]).all() and (mask[..., 0] == mask[..., 1]).all()
  np.testing.assert_array_equal(masks.checkerboard((4, 6, 2), swap=True), ~mask)
  for shape, said in (((4, 6), "images .H, W, C.; x has shape .4, 6."), ((1, 1, 3), "two pixels or more")):
    with pytest.raises(errors.UserError, match=said):
      masks.checkerboard(shape)


def test_actnorm_has_mean_0_and_variance_1_on_its_first_batch_only():
  layer = norms.ActNorm(4)
  x = jnp.asarray(3 + 2 * X)
  variables = layer.init(KEY, x, method="observe")
  y = layer.apply(variables, x, method="observe").forward(x)
  np.testing.assert_allclose(y.mean(0), 0, atol=1e-9)
  np.testing.assert_allclose(y.var(0), 1, atol=1e-5)
  moved = layer.apply(variables, 10 * x, True, method="observe").forward(x)
  np.testing.assert_array_equal(y, moved)


def test_batch_norm_normalises_by_the_batch_in_training_and_by_its_averages_else():
  layer = norms.BatchNorm(4, momentum=0.9)
  x = jnp.asarray(3 + 2 * X)
  variables = layer.init(KEY, x, method="observe")
  np.testing.assert_allclose(variables["batch_stats"]["mean"], x.mean(0))
  other = x * 2 + 1
  observe = lambda v, x, train: layer.apply(
    v, x, train, method=lambda m, *a: m.observe(*a).forward_and_log_det(x), mutable=["batch_stats"]
  )
  (y, log_det), changed = observe(variables, other, True)
  np.testing.assert_allclose(y, (other - other.mean(0)) / np.sqrt(other.var(0) + 1e-5), atol=1e-12)
  np.testing.assert_allclose(log_det, -0.5 * np.log(other.var(0) + 1e-5).sum(), atol=1e-12)
  np.testing.assert_allclose(changed["batch_stats"]["var"], 0.9 * x.var(0) + 0.1 * other.var(0), atol=1e-12)
  (one, _), _ = observe(variables, other[:1], False)
  (all_, _), _ = observe(variables, other, False)
  np.testing.assert_allclose(one[0], all_[0], atol=1e-14)


def test_the_mask_of_a_conditioner_is_strict_in_both_orders():
  x = jnp.asarray(X[0, [0, 1, 2, 3, 0]])
  for reverse in (False, True):
    net = Conditioner(2, 5, (7, 7, 7), "tanh", 0, True, reverse, residual=True)
    variables = {"params": random_like(jax.eval_shape(net.init, KEY, x)["params"])}
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda x, net=net, v=variables: net.apply(v, x)))(x))
    strict = np.tril(np.ones((5, 5)), -1) if not reverse else np.triu(np.ones((5, 5)), 1)
    assert (jacobian[:, strict == 0] == 0).all()
    assert (np.abs(jacobian[:, strict == 1]) > 0).all()


def autoregressive_flow(**args):
  layer = layers.AutoregressiveLayer(6, hidden=(8,), activation="tanh", **args)
  variables = {"params": random_like(jax.eval_shape(layer.init, KEY)["params"])}
  return layer, variables


def test_gradients_of_the_inverse_are_those_of_the_unrolled_loop():
  layer, variables = autoregressive_flow(transform="affine")
  y = jnp.asarray(np.random.default_rng(4).normal(size=(3, 6)))

  def implicit(variables, y):
    x, log_det = layer.apply(variables).inverse_and_log_det(y)
    return jnp.sum(jnp.sin(x)) + jnp.sum(log_det)

  def unrolled(variables, y):
    bijector, x = layer.apply(variables), jnp.zeros_like(y)
    for _ in range(6):
      x, log_slope = bijector.transform.inverse(y, bijector.conditioner(x))
    return jnp.sum(jnp.sin(x)) - jnp.sum(log_slope)

  both = (jax.tree.leaves(jax.jit(jax.grad(f, (0, 1)))(variables, y)) for f in (implicit, unrolled))
  for found, expected in zip(*both, strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_jacobi_and_sequential_agree_and_count_their_passes():
  layer, variables = autoregressive_flow(transform="spline")
  other = layer.clone(inverse="sequential")
  y = jnp.asarray(np.random.default_rng(4).normal(size=(3, 6)))
  run = jax.jit(lambda y: [m.apply(variables).inverse_and_passes(y) for m in (layer, other)])
  (x, passes), (x_of_scan, most) = run(y)
  np.testing.assert_allclose(x, x_of_scan, atol=1e-11)
  assert int(passes) <= int(most) == 6
  with pytest.raises(errors.UserError, match="inverse = 'newton'; it must be one of jacobi, sequential"):
    layer.clone(inverse="newton").apply(variables)


@pytest.mark.parametrize("shared", [True, False])
def test_a_residual_log_det_estimate_and_its_gradient_are_unbiased(shared):
  """Of g(x) = A x, whose log det(I + A) and gradient (I + A)^-T have large terms of all orders."""
  a = 0.3 * np.random.default_rng(8).normal(size=(4, 4)) + 0.6 * np.eye(4)
  a = jnp.asarray(0.85 * a / np.linalg.norm(a, 2))

  def estimate(a, key):
    return residual.log_det_estimate(lambda x: x @ a.T, jnp.asarray(X[:1]), key, 1, shared=shared)[0]

  n = 20_000
  keys = jax.random.split(jax.random.key(7), n)
  values, gradients = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))(a, keys)
  assert abs(values.mean() - np.linalg.slogdet(np.eye(4) + a)[1]) < 4 * values.std() / np.sqrt(n)
  error = np.asarray(gradients).std(0) / np.sqrt(n)
  assert (np.abs(gradients.mean(0) - np.linalg.inv(np.eye(4) + a).T) < 4.5 * error).all()


def test_jacobi_stops_early_at_the_solution():
  layer = layers.AutoregressiveLayer(20, hidden=(16,), activation="tanh")
  variables = {"params": jax.tree.map(lambda a: 0.2 * a, random_like(jax.eval_shape(layer.init, KEY)["params"]))}
  x = jnp.asarray(np.random.default_rng(4).normal(size=(3, 20)))

  @jax.jit
  def run(x):
    bijector = layer.apply(variables)
    return bijector.inverse_and_passes(bijector.forward(x))

  found, passes = run(x)
  assert 5 < int(passes) < 20
  np.testing.assert_allclose(found, x, atol=1e-11)


def test_spectral_norms_of_matrices_and_convolutions():
  g = np.random.default_rng(0)
  kernel = g.normal(size=(5, 3))
  sigma, _ = jax.jit(lambda k: spectral.of_matrix(k, jnp.ones(3), steps=60))(jnp.asarray(kernel))
  assert sigma == pytest.approx(np.linalg.norm(kernel, 2), rel=1e-9)
  kernel = jnp.asarray(g.normal(size=(3, 3, 2, 2)))
  iterate = jax.jit(lambda u: spectral.of_convolution(kernel, u, steps=8))
  u = jnp.asarray(g.normal(size=(4, 5, 2)))
  for _ in range(60):
    sigma, u = iterate(u)
  apply = lambda x: spectral.conv_by_lax(x.reshape(1, 4, 5, 2), kernel, 1, "SAME").ravel()
  dense = jax.jit(jax.jacfwd(apply))(jnp.zeros(40))
  assert sigma == pytest.approx(np.linalg.norm(dense, 2), rel=1e-6)
  assert np.linalg.norm(spectral.at_most(dense, sigma, 0.9), 2) == pytest.approx(0.9, rel=1e-6)


def test_a_spline_is_tfps():
  from tensorflow_probability.substrates import jax as tfp

  transform = transforms_of.make("spline", num_bins=3)
  h = jnp.asarray(np.random.default_rng(5).normal(size=(7, 8, 4)))
  widths, heights, slopes = transform.knots(h)
  theirs = tfp.bijectors.RationalQuadraticSpline(widths, heights, slopes[..., 1:-1], range_min=-3.0)
  x = jnp.asarray(np.random.default_rng(6).uniform(-2.99, 2.99, (7, 4)))
  y, log_slope = transform.forward(x, h)
  np.testing.assert_allclose(y, theirs.forward(x), atol=1e-10)
  np.testing.assert_allclose(log_slope, theirs.forward_log_det_jacobian(x, 0), atol=1e-9)
  np.testing.assert_allclose(transform.inverse(y, h)[0], theirs.inverse(y), atol=1e-9)


@pytest.mark.slow
def test_a_spline_is_flowjax_s():
  """Where that library is installed: it has no part in this package."""
  bijections, eqx = pytest.importorskip("flowjax.bijections"), pytest.importorskip("equinox")
  transform = transforms_of.make("spline", num_bins=3)
  h = jnp.asarray(np.random.default_rng(5).normal(size=(8, 1)))
  widths, heights, slopes = (a[0] for a in transform.knots(h))
  place = lambda lengths: jnp.concatenate([jnp.zeros(1), jnp.cumsum(lengths)]) - 3.0
  theirs = bijections.RationalQuadraticSpline(knots=2, interval=3.0)
  parts = lambda b: (b.x_pos, b.y_pos, b.derivatives)
  theirs = eqx.tree_at(parts, theirs, (place(widths), place(heights), slopes))
  x = jnp.asarray(np.random.default_rng(6).uniform(-3.5, 3.5, 50))
  y, log_slope = transform.forward(x[:, None], h)
  expected, slope = jax.vmap(theirs.transform_and_log_det)(x)
  np.testing.assert_allclose(y[:, 0], expected, atol=1e-9)
  np.testing.assert_allclose(log_slope[:, 0], slope, atol=1e-8)
  np.testing.assert_allclose(transform.inverse(y, h)[0][:, 0], x, atol=1e-8)


def test_splines_of_any_shape_have_finite_gradients_outside_at_knots_and_where_rounding_matters():
  """In single precision: rounding makes discriminants negative, and polynomials far outside are negative, too."""
  transform, g = transforms_of.make("spline", num_bins=3), np.random.default_rng(9)
  h = jnp.asarray(4 * g.normal(size=(3000, 8, 8)), jnp.float32)
  widths, heights, _ = transform.knots(h)

  @jax.jit
  def run(h, x):
    of = lambda f: jax.value_and_grad(lambda h, x: sum(jnp.sum(jnp.tanh(1e-3 * a)) for a in f(x, h)), (0, 1))(h, x)
    return of(transform.forward), of(transform.inverse)

  for lengths in (widths, heights):
    knots = jnp.cumsum(lengths, -1)[..., :2] - 3.0
    x = jnp.concatenate([knots, jnp.broadcast_to(jnp.asarray([1e3, -1e3, 3.0, -3.0], jnp.float32), (3000, 8, 4))], -1)
    x = jnp.concatenate([x, jnp.asarray(g.uniform(-3, 3, (3000, 8, 2)), jnp.float32)], -1)
    for j in range(8):
      found = run(h, x[..., j])
      assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(found)), j


def test_a_spline_has_finite_gradients_of_its_parameters_at_any_input():
  """Of the branch that is not taken outside: its polynomials overflow there, and 0 times infinity is NaN.

  Not compiled: XLA's optimiser may reorder products so that they happen to stay finite.
  """
  transform, h = transforms_of.make("spline", num_bins=3), np.random.default_rng(0).normal(size=(9, 8, 100))
  x = jnp.asarray([[3.0], [-3.0], [1e3], [1e10], [1e20], [-1e20], [1e30], [jnp.inf], [-jnp.inf]], jnp.float32)
  for method in (transform.forward, transform.inverse):
    values = lambda h, x, method=method: sum(jnp.sum(jnp.tanh(1e-3 * a)) for a in method(x, h))
    found = jax.grad(values, (0, 1))(jnp.asarray(4 * h, jnp.float32), jnp.broadcast_to(x, (9, 100)))
    assert all(bool(jnp.isfinite(a).all()) for a in found), method.__name__


def test_a_masked_autoregressive_flow_and_a_real_nvp_are_tfps():
  from tensorflow_probability.substrates import jax as tfp

  layer, variables = autoregressive_flow(transform="affine")
  ours, y = layer.apply(variables), jnp.asarray(np.random.default_rng(4).normal(size=(3, 6)))

  def shift_and_log_scale(x):  # theirs is x -> exp(s) x + t in the other direction
    log_scale = transforms_of.bounded(ours.conditioner(x)[..., 0, :], 7.0)
    return -ours.conditioner(x)[..., 1, :] * jnp.exp(-log_scale), -log_scale

  theirs = tfp.bijectors.MaskedAutoregressiveFlow(shift_and_log_scale)
  pairs = lambda y: (
    (ours.forward(y), theirs.inverse(y)),
    (ours.forward_and_log_det(y)[1], theirs.inverse_log_det_jacobian(y, 1)),
    (ours.inverse(y), theirs.forward(y)),
  )
  for found, expected in jax.jit(pairs)(y):
    np.testing.assert_allclose(found, expected, atol=1e-10)

  coupling = layers.CouplingLayer(6, hidden=(5,))
  weights = {"params": random_like(jax.eval_shape(coupling.init, KEY)["params"])}
  made = coupling.apply(weights)

  def of_half(x, units, **_):
    h = made.conditioner(x)
    return h[..., 1, :], transforms_of.bounded(h[..., 0, :], 7.0)

  theirs = tfp.bijectors.RealNVP(num_masked=3, shift_and_log_scale_fn=of_half)
  pairs = lambda y: (
    (made.forward(y), theirs.forward(y)),
    (made.forward_and_log_det(y)[1], theirs.forward_log_det_jacobian(y, 1)),
  )
  for found, expected in jax.jit(pairs)(y):
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_unknown_names_are_listed():
  init = lambda flow, x: jax.eval_shape(lambda: flow.init(KEY, x, method="observe"))
  make = lambda **args: init(flows.Flow(4, **args), jnp.zeros((3, 4)))
  with pytest.raises(errors.UserError, match="layer = 'maf' of a flow; it must be one of coupling, autoregressive"):
    make(layer="maf")
  with pytest.raises(errors.UserError, match="transform = 'cubic'; it must be one of additive, affine, spline"):
    make(layer_args={"transform": "cubic"})
  with pytest.raises(errors.UserError, match=r"min_width = 0\.5 of transform 'spline' must be in"):
    make(layer_args={"transform": "spline", "transform_args": {"min_width": 0.5}})
  with pytest.raises(errors.UserError, match="x has one entry only: choose another flow"):
    init(flows.Flow(1), jnp.zeros((3, 1)))


def test_a_wild_start_ends_at_the_fixed_point():
  """Entries that grow without bound on the way do not poison those before them: inf times a masked weight is NaN."""
  before = lambda x: x @ jnp.triu(jnp.ones((6, 6)), 1)
  conditioner = lambda x: jnp.stack([before(x), 10 * before(x) ** 5], -2)
  bijector = autoregressive.Autoregressive(conditioner, transforms_of.Affine(), 1 + jnp.arange(6))
  x = jnp.asarray([[0.3, -0.8, 0.9, 0.7, -0.5, 0.2]])
  found, passes = jax.jit(lambda x: bijector.inverse_and_passes(bijector.forward(x)))(x)
  np.testing.assert_allclose(found, x, atol=1e-9)
  assert int(passes) == 6
