"""Flows of images, residual flows, mixtures of flows, learned noise of integers; integers without noise are refused."""

import itertools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import config_args, errors, system
from dgm_jax.data import pipeline
from dgm_jax.distributions.bijectors import multiscale
from dgm_jax.evaluate import invertibility
from dgm_jax.models.flows import dequantised_flow, flow, flow_mixture, image_flow, residual_flow
from dgm_jax.training import build

KEY = jax.random.key(0)
NET = {"hidden": (8,), "activation": "tanh"}


def random_like(tree, scale, seed=1):
  g = np.random.default_rng(seed)
  return jax.tree.map(lambda a: a + jnp.asarray(scale * g.normal(size=a.shape), a.dtype), tree)


def test_a_multi_scale_flow_inverts_and_is_the_product_of_its_conditionals():
  with jax.enable_x64(True):
    net = multiscale.ImageFlow((4, 4, 1), num_levels=2, num_steps=1, hidden=4)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4, 4, 1)))
    variables = jax.jit(lambda x: net.init(KEY, x, method="observe"))(x)
    variables = {**variables, "params": random_like(variables["params"], 0.3)}
    bijector = net.apply(variables)

    @jax.jit
    def run(x):
      z, log_det = bijector.forward_and_log_det(x)
      jacobian = jax.vmap(jax.jacfwd(lambda x: bijector.forward(x[None])[0]))(x).reshape(6, 16, 16)
      return z, log_det, jnp.linalg.slogdet(jacobian)[1], *bijector.inverse_and_log_det(z)

    z, log_det, expected, back, inverse = run(x)
    np.testing.assert_allclose(back, x, atol=1e-10)
    np.testing.assert_allclose(log_det, expected, atol=1e-10)
    np.testing.assert_allclose(inverse, -log_det, atol=1e-10)

    # log p(x) = log p(half of level 1 | the rest) + log p(the rest), written out
    log_n = lambda a, loc=0.0, scale=1.0: jax.scipy.stats.norm.logpdf(a, loc, scale)
    a, first = bijector._levels[0].forward_and_log_det(x)
    stays, leaves = a[..., :2], a[..., 2:]
    coupling = bijector._couplings[0]
    h = coupling.conditioner(stays)
    s = 7 * jnp.tanh(h[..., 0, :] / 7)
    of_leaving = log_n(leaves, -h[..., 1, :] * jnp.exp(-s), jnp.exp(-s)).sum((1, 2, 3))
    b, second = bijector._levels[1].forward_and_log_det(stays)
    by_hand = of_leaving + first + second + log_n(b).sum((1, 2, 3))
    np.testing.assert_allclose(log_n(z).sum(1) + log_det, by_hand, atol=1e-10)


def test_chessboards_and_networks_that_are_computed_again_keep_the_density():
  options = {"num_levels": 1, "num_steps": 2, "hidden": 4, "mixer": "reverse", "num_boards": 2, "context": 2}
  with jax.enable_x64(True):
    plain, again = (multiscale.ImageFlow((4, 2, 1), remat=remat, **options) for remat in (False, True))
    g = np.random.default_rng(0)
    x, context = jnp.asarray(g.normal(size=(3, 4, 2, 1))), jnp.asarray(g.normal(size=(3, 2)))
    variables = jax.jit(lambda x: plain.init(KEY, x, context, method="observe"))(x)
    params = random_like(variables["params"], 0.3)
    forward = lambda net, params, x, c: net.apply({**variables, "params": params}, c).forward_and_log_det(x)

    @jax.jit
    def run(params, x, c):
      z, log_det = forward(plain, params, x, c)
      one = lambda x, c: forward(plain, params, x[None], c[None])[0][0].ravel()
      jacobian = jax.vmap(jax.jacfwd(one))(x, c).reshape(3, 8, 8)
      objective = lambda params, net: sum(jnp.sum(jnp.sin(a)) for a in forward(net, params, x, c))
      gradients = [jax.grad(objective)(params, net) for net in (plain, again)]
      back = plain.apply({**variables, "params": params}, c).inverse(z)
      return log_det, jnp.linalg.slogdet(jacobian)[1], back, gradients

    log_det, expected, back, (first, second) = run(params, x, context)
    np.testing.assert_allclose(log_det, expected, atol=1e-10)
    np.testing.assert_allclose(back, x, atol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), first, second)
    assert all(float(jnp.abs(a).max()) > 0 for a in jax.tree.leaves(first))


def test_an_image_flow_draws_from_its_density_and_starts_normalised():
  x = jax.random.normal(KEY, (30, 4, 4, 2)) * 3 + 1
  model = image_flow.Model((4, 4, 2), num_levels=1, num_steps=2, hidden=4, num_classes=2)
  context = jnp.eye(2)[jnp.arange(30) % 2]
  variables = jax.jit(model.init)(KEY, {"x": x, "context": context})

  @jax.jit
  def run(variables):
    bound = model.bind(variables)
    z, _ = bound.flow.observe(x, context)
    drawn = bound.generate(KEY, 4, context=context[:4])
    again = bound.flow(context[:4]).inverse(bound.flow(context[:4]).forward(drawn))
    return z, drawn, again

  z, drawn, again = run(variables)
  of_channels = z.reshape(-1, 8)  # of 2 x 2 pixels after a squeeze
  np.testing.assert_allclose(of_channels.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(of_channels.std(0), 1, atol=1e-3)
  np.testing.assert_allclose(again, drawn, atol=1e-4)
  with pytest.raises(errors.UserError, match="num_levels = 3 needs a height and width that 8 divides; x is 4 x 4"):
    jax.eval_shape(lambda: image_flow.Model((4, 4, 2), num_levels=3).init(KEY, {"x": x}))


def test_invertibility_names_the_parts_of_an_image_flow():
  model = image_flow.Model((4, 4, 1), num_levels=2, num_steps=1, hidden=4, mixer="none")
  x = np.random.default_rng(0).normal(size=(10, 4, 4, 1)).astype("f")
  variables = jax.jit(model.init)(KEY, {"x": x})

  @jax.jit
  def run(variables, x):
    ((_, whole),) = model.bind(variables).bijectors()
    each = [bijector.forward_and_log_det(given)[1] for _, bijector, given in whole.parts(x)]
    return sum(each), whole.forward_and_log_det(x)[1]

  by_parts, log_det = run(variables, x)
  np.testing.assert_allclose(by_parts, log_det, rtol=1e-5)
  ((_, whole),) = model.bind(variables).bijectors()
  steps = ["Squeeze 0", "ActNorm 1", "ImageCoupling 2"]
  of_levels = [[f"level {i}, {step}" for step in steps] for i in (1, 2)]
  assert whole.part_names == [*of_levels[0], "level 1, split", *of_levels[1]]
  arrays = {"x": x, "index": np.arange(10, dtype=np.int32)}
  made = types.SimpleNamespace(model=model, splits=None, transforms=pipeline.make((), arrays))
  params = jax.tree.map(lambda a: a, variables["params"])
  params["flow"]["steps_1_0"]["loc"] = params["flow"]["steps_1_0"]["loc"].at[0].set(jnp.nan)
  state = system.TrainState(jnp.int32(8), params, (), {}, {})
  with pytest.raises(errors.DivergenceError, match="The layer 'level 2, ActNorm 1' of the flow gives NaN"):
    invertibility.evaluate(made, state, KEY, arrays, num_examples=5, layers=False)


def test_a_residual_flow_is_estimated_without_bias_around_its_exact_density():
  model = residual_flow.Model((3,), num_layers=2, layer_args={"hidden": (8,)}, num_estimates=200)
  x = jax.random.normal(KEY, (20, 3))
  variables = jax.jit(model.init)(KEY, {"x": x})
  variables = {**variables, "params": random_like(variables["params"], 0.5)}
  estimate = jax.jit(lambda key: model.apply(variables, key, {"x": x[:2]}, method="log_prob_estimate"))
  log_px, error = estimate(jax.random.key(1))
  log_prob = jax.jit(lambda x: model.apply(variables, {"x": x}, method="log_prob"))
  exact = log_prob(x[:2])
  assert (jnp.abs(log_px - exact) < 4 * error).all() and (error < 0.2).all()
  drawn, of_draw = jax.jit(lambda key: model.apply(variables, key, 2, method="sample_and_log_prob"))(KEY)
  np.testing.assert_allclose(of_draw, log_prob(drawn), atol=1e-3)


def test_a_residual_flow_is_trained_in_the_direction_in_which_it_is_evaluated():
  """Its estimates are of x -> z alone: in the other direction training would be of another density."""
  model = residual_flow.Model((3,), norm="none", direction="sampling")
  with pytest.raises(errors.UserError, match="direction = 'sampling' of a residual flow: its log-determinants are"):
    jax.eval_shape(lambda: model.init(KEY, {"x": jnp.zeros((2, 3))}))


def test_a_mixture_of_flows_integrates_to_1_and_draws_from_all_components():
  model = flow_mixture.Model((2,), 2, {"layer": "coupling", "num_layers": 1, "layer_args": NET}, spread=3.0)
  variables = jax.jit(model.init)(KEY, {"x": jnp.zeros((3, 2))})
  variables = {**variables, "params": random_like(variables["params"], 0.3)}
  axis, step = np.linspace(-25, 25, 401, retstep=True)
  grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), jnp.float32)
  log_px = jax.jit(lambda x: model.apply(variables, {"x": x}, method="log_prob"))
  assert float(jnp.sum(jnp.exp(log_px(grid))) * step**2) == pytest.approx(1, abs=5e-3)
  x = jax.jit(lambda key: model.apply(variables, key, 200, method="generate"))(KEY)
  r = jax.jit(lambda x: model.apply(variables, {"x": x}, method="responsibilities"))(x)
  weights = jax.nn.softmax(variables["params"]["logits"])
  np.testing.assert_allclose(r.sum(1), 1, atol=1e-5)
  np.testing.assert_allclose(r.mean(0), weights, atol=0.12)


def test_learned_noise_bounds_the_probabilities_of_integers_whose_sum_is_1():
  """P(x), the integral of p over cells, by many draws of q: over all 4^2 images they sum to 1."""
  options = {"layer": "coupling", "num_layers": 1, "layer_args": NET}
  model = dequantised_flow.Model((2,), 4, flow=options, noise={"num_layers": 1, "layer_args": NET}, num_draws=2000)
  x = jnp.asarray(list(itertools.product(range(4), repeat=2)), jnp.float32)
  variables = jax.jit(model.init)(KEY, {"x": x})
  variables = {**variables, "params": random_like(variables["params"], 0.1)}
  estimate = lambda model: jax.jit(lambda key: model.apply(variables, key, {"x": x}, method="log_prob_estimate"))(
    jax.random.key(1)
  )
  log_px, error = estimate(model)
  cut = -math.log(model.alpha / (1 - model.alpha))  # p has the rest of its mass beyond the logits of the levels
  logits = jax.jit(lambda key: model.apply(variables, key, 20_000, method="generate_logits"))(KEY)
  inside = jnp.mean((jnp.abs(logits) < cut).all(1))
  assert float(jnp.exp(log_px).sum()) == pytest.approx(float(inside), abs=0.03)
  few, _ = estimate(model.clone(num_draws=2))
  assert float(few.mean()) < float(log_px.mean()) + 4 * float(error.mean())
  drawn = jax.jit(lambda key: model.apply(variables, key, 50, method="generate"))(KEY)
  assert set(np.unique(drawn)) <= {0.0, 1.0, 2.0, 3.0}


def test_integers_without_noise_are_refused_by_name():
  config = config_args.load("maf_mnist:test")
  with config.unlocked():
    config.data.transforms = ("scale",)
  with pytest.raises(errors.UserError, match=r"x of 'mnist5k' is integers, .* put the transform 'dequantize' first"):
    build.build(config)


def test_flow_models_say_what_they_take():
  assert flow.Model.takes_real_numbers and not hasattr(dequantised_flow.Model, "takes_real_numbers")
