"""What PixelCNNs see: of 9 x 9 pixels, and of colours; draws of images whose layers have several scales."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.autoregressive import drawing, pixelcnn
from dgm_jax.networks import causal_convolutions as causal
from dgm_jax.networks.causal_views import Whole

SIDE = 9
LEVELS = {"likelihood": "logistic_levels", "likelihood_args": {"num_components": 2, "num_levels": 5}}
CLASSES = {"likelihood": "categorical", "likelihood_args": {"num_classes": 5}}
NETS = {
  "plain": {"net": "plain", "blocks": 8, "first_kernel_size": 5, "features": 24},
  "gated": {"net": "gated", "blocks": 8, "first_kernel_size": 5},
  "plusplus": {"net": "plusplus", "blocks": 2, "scales": 2},
  "row_lstm": {"net": "row_lstm", "blocks": 2, "first_kernel_size": 5},
}
COLOURS = {
  "plain": {"net": "plain", "blocks": 2, "first_kernel_size": 5, "features": 24, **CLASSES},
  "gated": {"net": "gated", "blocks": 2, "first_kernel_size": 5, **LEVELS},
  "plusplus": {"net": "plusplus", "blocks": 1, "scales": 2, "num_classes": 2, **LEVELS},
  "row_lstm": {"net": "row_lstm", "blocks": 2, "first_kernel_size": 5, "features": 12, "num_classes": 2, **LEVELS},
}


def made_model(shape, n, **options):
  """(the model with random parameters, n images of its values [n, D])."""
  model = pixelcnn.Model(shape, **({"features": 6} | options))
  x = np.random.default_rng(0).integers(0, model.num_levels, (n, *shape)).astype("f")
  batch = {"x": jnp.asarray(x)} | ({"context": jnp.zeros((n, 2))} if model.num_classes else {})
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  leaves, tree = jax.tree.flatten(shapes["params"])
  g = np.random.default_rng(1)
  spread = lambda shape: float(np.prod(shape[:-1])) ** -0.5 if len(shape) > 1 else 0.3
  drawn = [jnp.asarray(g.normal(0, spread(a.shape), a.shape), jnp.float32) for a in leaves]
  return model.bind({"params": jax.tree.unflatten(tree, drawn)}), jnp.asarray(x.reshape(n, -1))


def slopes(bound, x, context=None):
  """sum |d h_d / d x_e| over the parameters of h_d and the images, [D, D]."""
  h = lambda x: bound.conditionals(x[None], context, 0)[0]
  return np.asarray(jax.jit(lambda x: abs(jax.lax.map(jax.jacfwd(h), x)).sum((0, 2)))(x))


def reaches(*layers):
  """[D, D]: whether the last layer at a pixel can see a pixel of the input, through layers with these offsets."""
  seen = np.eye(SIDE * SIDE, dtype=bool)
  for offsets in layers:
    step = np.zeros((SIDE, SIDE, SIDE, SIDE), bool)
    for (i, j), (dy, dx) in ((p, o) for p in np.ndindex(SIDE, SIDE) for o in offsets):
      if 0 <= i + dy < SIDE and 0 <= j + dx < SIDE:
        step[i, j, i + dy, j + dx] = True
    seen = step.reshape(SIDE**2, SIDE**2) @ seen
  return seen


@functools.cache
def seen_by(net):
  return slopes(*made_model((SIDE, SIDE, 1), 3, **NETS[net]))


@pytest.mark.parametrize("net", NETS)
def test_no_pixel_sees_itself_or_a_later_one(net):
  np.testing.assert_array_equal(np.triu(seen_by(net)), 0)


@pytest.mark.parametrize("net", ["gated", "plusplus"])
def test_every_earlier_pixel_is_seen(net):
  assert (seen_by(net)[np.tri(SIDE**2, k=-1, dtype=bool)] > 0).all()


def test_the_plain_pixelcnn_has_a_blind_spot_above_on_the_right():
  expected = reaches(causal.before(5, False), *[causal.before(3, True)] * 8)
  np.testing.assert_array_equal(seen_by("plain") > 0, expected)
  pixel = lambda i, j: i * SIDE + j
  assert expected[pixel(4, 0), pixel(3, 2)]
  assert not expected[
    pixel(4, 0), pixel(3, 3)
  ]  # one row up a layer moves by its own reach, the others not to the right
  assert not expected[pixel(8, 4), pixel(7, 7)]


def test_the_row_lstm_sees_a_triangle_above():
  """All pixels in it: dx <= r at r rows up, for a first convolution of 3 x 3 and one layer of 3 x 1."""
  found = slopes(*made_model((SIDE, SIDE, 1), 3, net="row_lstm", blocks=1, first_kernel_size=3)) > 0
  i, j = np.divmod(np.arange(SIDE**2), SIDE)
  up, right = i[:, None] - i, j - j[:, None]
  np.testing.assert_array_equal(found, (up >= 0) & (-2 - up <= right) & (right <= np.where(up, up, -1)))


def test_the_row_lstm_is_the_recurrence_of_its_paper():
  """One layer of a 2 x 3 image, pixel by pixel in NumPy."""
  bound, x = made_model((2, 3, 1), 1, net="row_lstm", features=4, blocks=1, first_kernel_size=3)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), bound.variables["params"]["network"])
  s, pixels = lambda a: 1 / (1 + np.exp(-a)), np.pad(np.asarray(x[0]).reshape(2, 3), 1)
  dense = lambda name, a: a @ p[name]["kernel"][0] + p[name]["bias"]
  seen = lambda i, j: np.array([pixels[i, j], pixels[i, j + 1], pixels[i, j + 2], pixels[i + 1, j]])
  first = np.array([[seen(i, j) @ p["start"]["kernel"][:, 0] + p["start"]["bias"] for j in range(3)] for i in range(2)])
  h, c = np.zeros((3, 5, 2)), np.zeros((3, 3, 2))  # the row above the image; columns beside it
  for i, j in np.ndindex(2, 3):
    before = first[i, j - 1] if j else np.zeros(4)
    z = before @ p["inputs_to_state_0"]["kernel"][0] + first[i, j] @ p["inputs_to_state_0"]["kernel"][1]
    z = z + p["inputs_to_state_0"]["bias"] + h[i, j : j + 3].reshape(-1) @ p["recur_0"]["kernel"]
    out, forget, enter, new = z.reshape(4, 2)
    c[i + 1, j] = s(forget) * c[i, j] + s(enter) * np.tanh(new)
    h[i + 1, j + 1] = s(out) * np.tanh(c[i + 1, j])
  last = np.maximum(dense("last", np.maximum(first + dense("expand_0", h[1:, 1:4]), 0)), 0)
  np.testing.assert_allclose(bound.conditionals(x, None)[0, :, 0], dense("out", last).reshape(-1), rtol=1e-4, atol=1e-5)


def test_the_row_lstm_of_3_x_3_binary_pixels_sums_to_one():
  bound, _ = made_model((3, 3, 1), 1, net="row_lstm", blocks=2, first_kernel_size=3)
  states = (np.arange(2**9)[:, None] >> np.arange(9) & 1).astype("f")
  total = jnp.exp(bound.log_prob({"x": jnp.asarray(states).reshape(-1, 3, 3, 1)})).sum()
  assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("net", COLOURS)
def test_colours_come_in_their_order(net):
  """Red, green, blue of a pixel: each sees the earlier ones, and all of the pixels before."""
  bound, x = made_model((3, 3, 3), 2, **COLOURS[net])
  context = jnp.ones((1, 2)) if bound.num_classes else None
  found = slopes(bound, x, context)
  np.testing.assert_array_equal(np.triu(found), 0)
  of_pixel = found.reshape(9, 3, 9, 3)
  for p in range(9):
    assert (of_pixel[p, :, p][np.tri(3, k=-1, dtype=bool)] > 0).all()
  assert (of_pixel[4, :, 3] > 0).all()
  assert (of_pixel[4, :, 1] > 0).all()


@pytest.mark.parametrize("net", COLOURS)
def test_steps_give_the_conditionals_and_draws_those_of_whole_passes(net):
  """Of 3 x 5 colour pixels, whose coarse scale has 2 x 3; draws with the same random numbers."""
  shape, n = (3, 5, 3), 4
  bound, x = made_model(shape, n, **COLOURS[net])
  context = jax.nn.one_hot(jnp.arange(n) % 2, 2) if bound.num_classes else None
  conditionals = jax.jit(lambda x: bound.conditionals(x, context, 0))

  def steps(x):
    next_one = bound.pure("step")
    one = lambda carry, t: (lambda c, h: ((c, x[:, t]), h))(*next_one(carry[0], t, carry[1]))
    return jax.lax.scan(one, (bound.start(n, context), jnp.zeros(n)), jnp.arange(bound.dim))[1]

  np.testing.assert_allclose(jnp.moveaxis(jax.jit(steps)(x), 0, 1), conditionals(x), atol=2e-5, rtol=1e-5)
  draw = jax.jit(lambda key: drawing.draw(bound, key, n, context, 0)["x"])
  drawn, keys = draw(jax.random.key(2)), jax.random.split(jax.random.key(2), bound.dim)
  one = jax.jit(lambda h, key: drawing.one_entry(bound, h, key, drawing.AS_THEY_ARE))
  given = jnp.zeros_like(x)
  for t in range(bound.dim):
    given = given.at[:, t].set(one(conditionals(given)[:, t], keys[t]))
  np.testing.assert_array_equal(drawn, given)


def test_the_coarse_product_is_the_transpose_of_a_convolution():
  """finer(x)[2 i + a, 2 j + b] = x[i, j] kernel[a, b], of an odd number of pixels."""
  g = np.random.default_rng(0)
  x, kernel = g.normal(size=(2, 3, 4, 5)).astype("f"), g.normal(size=(2, 2, 5, 6)).astype("f")
  found = np.asarray(Whole(x).finer(jnp.asarray(x), jnp.asarray(kernel), (5, 7)))
  for i, j in ((0, 0), (1, 2), (4, 6), (3, 3)):
    np.testing.assert_allclose(found[:, i, j], x[:, i // 2, j // 2] @ kernel[i % 2, j % 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_both_forms_of_a_convolution_agree(stride):
  """Taps gathered for a product, as on a CPU, and a convolution with zeros, as on other devices."""
  g = np.random.default_rng(0)
  x = jnp.asarray(g.normal(size=(2, 5, 6, 3)), jnp.float32)
  for offsets in (causal.before(5, True), causal.above(3, False), causal.left(3, False)):
    kernel = jnp.asarray(g.normal(size=(len(offsets), 3, 4)), jnp.float32)
    forms = [Whole(x, None, platform).convolve(x, kernel, offsets, stride) for platform in ("cpu", "cuda")]
    np.testing.assert_allclose(*forms, atol=1e-5)


MISTAKES = {
  "net": ({"net": "diagonal_lstm"}, "net = 'diagonal_lstm'"),
  "kernel": ({"kernel_size": 4}, "kernel_size = 4; it must be an odd number"),
  "features": ({"features": 1}, "features = 1"),
  "blocks": ({"blocks": 0}, "blocks = 0"),
  "dropout": ({"dropout": 0.5}, "dropout is for net = 'plusplus'"),
  "colours": ({"net": "plusplus"}, "needs likelihood 'logistic_levels'"),
  "scales": ({"net": "plusplus", "scales": 5, **LEVELS}, "too often"),
  "table": ({"data_shape": (12,)}, "pixelcnn is for images"),
}


@pytest.mark.parametrize("options,said", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_get_one_sentence(options, said):
  options = {"data_shape": (4, 4, 3)} | options
  model = pixelcnn.Model(**options)
  with pytest.raises(errors.UserError, match=said):
    jax.eval_shape(model.init, jax.random.key(0), {"x": jnp.zeros((2, *options["data_shape"]))})


def test_dropout_changes_the_objective_and_not_the_likelihood():
  bound, x = made_model((4, 4, 1), 3, net="plusplus", blocks=1, scales=1, dropout=0.5)
  batch = {"x": x.reshape(-1, 4, 4, 1)}
  objective, log_prob = jax.jit(lambda key: bound.objective(key, batch)[0]), jax.jit(bound.log_prob)
  first, again = (objective(jax.random.key(k)) for k in (0, 1))
  assert (abs(first - again) > 1e-4).all()
  assert (abs(first - log_prob(batch)) > 1e-4).all()


@pytest.mark.slow
def test_three_scales_give_the_conditionals_step_by_step():
  """5 x 7 pixels, 3 x 4, and 2 x 2."""
  bound, x = made_model((5, 7, 1), 3, net="plusplus", blocks=2, scales=3)

  def steps(x):
    next_one = bound.pure("step")
    one = lambda carry, t: (lambda c, h: ((c, x[:, t]), h))(*next_one(carry[0], t, carry[1]))
    return jax.lax.scan(one, (bound.start(3, None), jnp.zeros(3)), jnp.arange(bound.dim))[1]

  found, expected = jax.jit(steps)(x), jax.jit(lambda x: bound.conditionals(x, None))(x)
  np.testing.assert_allclose(jnp.moveaxis(found, 0, 1), expected, atol=2e-5, rtol=1e-5)
