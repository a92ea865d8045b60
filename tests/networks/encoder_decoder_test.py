"""Convolutions against lax, Flax and scipy; connections and parameters of convolutional nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks import convolutions, encoder_decoder

# kernel, stride, padding, (H, W) of the larger image
GEOMETRIES = [
  (3, 1, "SAME", (5, 6)),
  (4, 2, "SAME", (7, 6)),
  (5, 3, "SAME", (10, 7)),
  (2, 2, "SAME", (7, 5)),
  (2, 3, "SAME", (7, 8)),  # a stride larger than the kernel
  (1, 2, "SAME", (5, 6)),
  (4, 2, 1, (6, 7)),
  (3, 2, 1, (7, 7)),
  (3, 1, 0, (5, 6)),
  (5, 4, 2, (9, 11)),
]
every_geometry = pytest.mark.parametrize("kernel,stride,padding,size", GEOMETRIES)


def draw(seed, *shapes):
  keys = jax.random.split(jax.random.key(seed), len(shapes))
  return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


def small(kernel, stride, padding, size):
  return tuple(convolutions.conv_geometry(n, kernel, stride, padding)[0] for n in size)


def value_and_gradients(f, x, kernel, weights):
  return jax.jit(lambda *a: (f(*a), *jax.grad(lambda *b: jnp.vdot(jnp.sin(f(*b)), weights), (0, 1))(*a)))(x, kernel)


def assert_equal(a, b, tolerance=1e-5):
  for u, v in zip(a, b, strict=True):
    assert u.shape == v.shape
    np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance * float(abs(v).max()))


@every_geometry
def test_both_forms_of_a_convolution_agree(kernel, stride, padding, size):
  x, w, out = draw(0, (2, *size, 3), (kernel, kernel, 3, 4), (2, *small(kernel, stride, padding, size), 4))
  forms = (convolutions.conv_by_matmul, convolutions.conv_by_lax)
  a, b = (value_and_gradients(lambda x, w, f=f: f(x, w, stride, padding), x, w, out) for f in forms)
  assert_equal(a, b)


@every_geometry
def test_both_forms_of_a_transposed_convolution_agree(kernel, stride, padding, size):
  x, w, out = draw(0, (2, *small(kernel, stride, padding, size), 3), (kernel, kernel, 3, 4), (2, *size, 4))
  forms = (convolutions.conv_transpose_by_matmul, convolutions.conv_transpose_by_lax)
  a, b = (value_and_gradients(lambda x, w, f=f: f(x, w, stride, padding, size), x, w, out) for f in forms)
  assert_equal(a, b)


@every_geometry
def test_both_forms_agree_where_the_output_is_narrower_than_its_taps(kernel, stride, padding, size):
  """In this case the product is taken before the shifts."""
  wide = kernel**2 + 1
  x, w, out = draw(0, (2, *size, wide), (kernel, kernel, wide, 1), (2, *small(kernel, stride, padding, size), 1))
  forms = (convolutions.conv_by_matmul, convolutions.conv_by_lax)
  assert_equal(*(value_and_gradients(lambda x, w, f=f: f(x, w, stride, padding), x, w, out) for f in forms))
  x, out = draw(1, (*out.shape[:-1], wide), (2, *size, 1))
  forms = (convolutions.conv_transpose_by_matmul, convolutions.conv_transpose_by_lax)
  assert_equal(*(value_and_gradients(lambda x, w, f=f: f(x, w, stride, padding, size), x, w, out) for f in forms))


def test_a_bias_has_the_derivatives_of_a_sum():
  y, bias, y_dot, bias_dot, weights = draw(0, (3, 5, 4), (4,), (3, 5, 4), (4,), (3, 5, 4))
  plain = lambda y, bias: y + bias
  backward = lambda f: jax.vjp(f, y, bias)[1](weights)
  forward = lambda f: jax.jvp(f, (y, bias), (y_dot, bias_dot))
  for derivative in (backward, forward):
    assert_equal(derivative(convolutions.add_bias), derivative(plain))
  mapped = jax.grad(lambda bias: jnp.vdot(jax.vmap(convolutions.add_bias, (0, None))(y, bias), weights))(bias)
  np.testing.assert_allclose(mapped, weights.sum((0, 1)), rtol=1e-6)


@every_geometry
def test_transposed_convolution_is_the_adjoint_of_the_convolution(kernel, stride, padding, size):
  """<conv(x), y> = <x, convT(y)>, with the kernel's channels exchanged."""
  x, w, y = draw(1, (2, *size, 3), (kernel, kernel, 3, 4), (2, *small(kernel, stride, padding, size), 4))
  forward = jnp.vdot(convolutions.conv_by_matmul(x, w, stride, padding), y)
  back = convolutions.conv_transpose_by_matmul(y, w.transpose(0, 1, 3, 2), stride, padding, size)
  assert float(jnp.vdot(x, back)) == pytest.approx(float(forward), abs=1e-4)


@every_geometry
def test_convolution_agrees_with_flax(kernel, stride, padding, size):
  ours = convolutions.Conv(4, kernel, stride, padding)
  flax = nn.Conv(4, (kernel, kernel), (stride, stride), padding if padding == "SAME" else [(padding, padding)] * 2)
  x, bias = draw(2, (2, *size, 3), (4,))
  variables = ours.init(jax.random.key(0), x)
  params = {**variables["params"], "bias": bias}
  assert_equal([ours.apply({"params": params}, x)], [flax.apply({"params": params}, x)])


@pytest.mark.parametrize("kernel,stride,padding,size", [g for g in GEOMETRIES if g[1] == 2 or g[0] == 3])
def test_transposed_convolution_agrees_with_flax(kernel, stride, padding, size):
  """With transpose_kernel, Flax computes the gradient of a convolution, too; its padding is for the dilated image."""
  low = small(kernel, stride, padding, size)
  ours = convolutions.ConvTranspose(4, kernel, stride, padding, output_size=size)
  paddings = []
  for n, m in zip(size, low, strict=True):
    front = convolutions.conv_geometry(n, kernel, stride, padding)[1][0]
    paddings.append((kernel - 1 - front, n + front - (m - 1) * stride - 1))
  flax = nn.ConvTranspose(4, (kernel, kernel), (stride, stride), paddings, transpose_kernel=True)
  (x,) = draw(3, (2, *low, 3))
  params = ours.init(jax.random.key(0), x)["params"]
  theirs = {**params, "kernel": params["kernel"].transpose(0, 1, 3, 2)}
  assert_equal([ours.apply({"params": params}, x)], [flax.apply({"params": theirs}, x)])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_single_channel_agrees_with_scipy(stride):
  x, w = draw(4, (1, 8, 9, 1), (3, 3, 1, 1))
  expected = scipy.signal.correlate2d(np.float64(x[0, ..., 0]), np.float64(w[..., 0, 0]), "valid")[::stride, ::stride]
  np.testing.assert_allclose(convolutions.conv_by_matmul(x, w, stride, 0)[0, ..., 0], expected, atol=1e-5)
  full = np.zeros(((8 - 1) * stride + 1, (9 - 1) * stride + 1))
  full[::stride, ::stride] = x[0, ..., 0]
  expected = scipy.signal.convolve2d(full, np.float64(w[..., 0, 0]), "full")
  y = convolutions.conv_transpose_by_matmul(x, w, stride, 0, expected.shape)
  np.testing.assert_allclose(y[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("transpose", [False, True])
def test_other_backends_use_the_lax_form(transpose, monkeypatch):
  """The same parameters give the same function on every backend."""
  (x,) = draw(5, (2, 6, 6, 3))
  layer = convolutions.ConvTranspose(4, 4, 2, output_size=(12, 11)) if transpose else convolutions.Conv(4, 4, 2)
  variables = layer.init(jax.random.key(0), x)
  here, text = layer.apply(variables, x), str(jax.make_jaxpr(layer.apply)(variables, x))
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  there = str(jax.make_jaxpr(layer.apply)(variables, x))
  assert ("conv_general" in text, "conv_general" in there) == (False, True)
  assert_equal([here], [layer.apply(variables, x)])


@pytest.mark.parametrize("gain", [1.0, 2.0])
@pytest.mark.parametrize("layer", [
  convolutions.Conv(32, 4, 2, 0),
  convolutions.ConvTranspose(32, 4, 2, 0, output_size=(34, 34)),
])  # fmt: skip
def test_initial_outputs_have_the_variance_of_the_gain(layer, gain):
  x = jax.random.normal(jax.random.key(0), (8, 16, 16, 64))
  y = layer.clone(gain=gain).init_with_output(jax.random.key(1), x)[0][:, 2:-2, 2:-2]  # without the edges
  assert float(y.var()) == pytest.approx(gain, rel=0.1)


def test_a_residual_block_is_initially_its_shortcut():
  (x,) = draw(6, (2, 5, 6, 3))
  y, variables = convolutions.ResidualBlock(3).init_with_output(jax.random.key(0), x)
  np.testing.assert_array_equal(y, x)
  moved = jax.tree.map(lambda a: a + 0.1, variables)
  assert abs(convolutions.ResidualBlock(3).apply(moved, x) - x).max() > 0.1
  y, variables = convolutions.ResidualBlock(4, stride=2, output_size=(10, 11)).init_with_output(jax.random.key(0), x)
  p = variables["params"]["ConvTranspose_0"]
  expected = convolutions.conv_transpose_by_lax(nn.relu(x), p["kernel"], 2, "SAME", (10, 11))
  np.testing.assert_allclose(y, expected, atol=1e-5)


def pair(net, shape=(7, 6, 2), depth=1, widths=(5, 84), hidden=(), **options):
  return encoder_decoder.make(net, shape, depth, hidden, widths, nn.initializers.zeros, **options)


def test_maxout_is_the_maximum_of_four_linear_maps():
  encoder, decoder = pair("mlp", hidden=(12,), activation="maxout")
  for module, size in ((encoder, 84), (decoder, 3)):
    (x,) = draw(9, (6, size))
    y, variables = module.init_with_output(jax.random.key(0), x)
    first, last = (variables["params"][f"Dense_{i}"] for i in range(2))
    hidden = np.max([np.asarray(x @ first["kernel"])[:, i::4] for i in range(4)], 0)
    np.testing.assert_allclose(y, hidden @ last["kernel"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", ["conv", pytest.param("residual", marks=pytest.mark.slow)])
def test_every_input_and_output_is_connected(net):
  """The strides skip no pixel and every pixel is written: the Jacobians have no zero row or column."""
  encoder, decoder = pair(net, channels=(8, 8), kernel_size=3, activation="tanh")
  x, z = draw(7, (1, 84), (1, 3))
  for module, value in ((encoder, x), (decoder, z)):
    variables = module.init(jax.random.key(0), value)
    variables = jax.tree.map(lambda a: a + 0.05 * jax.random.normal(jax.random.key(2), a.shape), variables)
    jacobian = jax.jit(jax.jacobian(lambda v, m=module, p=variables: m.apply(p, v)))(value)[0, :, 0]
    assert (abs(jacobian).max(0) > 0).all() and (abs(jacobian).max(1) > 0).all()


@pytest.mark.parametrize("net", ["conv", "residual"])
def test_decoder_outputs_are_blocks_of_images(net):
  """P = 2 outputs per entry: channel p C + c at (i, j) is output (p, i, j, c), plus its bias."""
  bias = lambda key, shape: jnp.arange(168.0).reshape(shape)
  _, decoder = encoder_decoder.make(net, (7, 6, 2), 1, (), (5, 168), bias, channels=(4,), kernel_size=3)
  z = draw(8, (3, 4))[0]
  y, variables = decoder.init_with_output(jax.random.key(0), z)
  last = "Conv_0" if net == "residual" else "ConvTranspose_0"
  params = variables["params"]
  kernel = params[last]["kernel"]
  for channel in range(4):
    only = jnp.zeros_like(kernel).at[..., channel].set(kernel[..., channel])
    part = decoder.apply({"params": params | {last: {"kernel": only}}}, z) - jnp.arange(168.0)
    p, c = divmod(channel, 2)
    blocks = part.reshape(3, 2, 7, 6, 2)
    assert abs(blocks[:, p, ..., c]).max() > 0.01
    assert abs(blocks.at[:, p, ..., c].set(0)).max() < 1e-4
  assert abs(y - jnp.arange(168.0)).max() > 0.01


def test_mnist_net_of_seventeen_million_parameters():
  """Convolutions 4x4 of 128-256-512-1024 channels; transposed 3x3 of 1024 (4x4 images), 512, 256: 17 M in all."""
  encoder, decoder = encoder_decoder.make(
    "conv", (28, 28, 1), 1, (), (32, 784), nn.initializers.zeros, channels=(128, 256, 512, 1024), padding=1,
    decoder={"channels": (1024, 512, 256), "kernel_size": 3},
  )  # fmt: skip
  shapes = [
    jax.eval_shape(m.init, jax.random.key(0), x)
    for m, x in zip((encoder, decoder), draw(0, (2, 784), (2, 16)), strict=True)
  ]
  count = lambda tree: sum(np.prod(a.shape) for a in jax.tree.leaves(tree))
  convs = 16 * (128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128 + 256 + 512 + 1024
  assert count(shapes[0]) == convs + 1025 * 32
  assert count(shapes[1]) == 17 * 16384 + 9 * (1024 * 512 + 512 * 256 + 256) + 512 + 256 + 784
  assert count(shapes) == 17_227_440


@pytest.mark.parametrize("net,options,sentence", [
  ("cnn", {}, "net = 'cnn'; it must be one of mlp, conv, residual, set"),
  ("mlp", {"activation": "step"}, "activation = 'step'; it must be one of relu"),
  ("mlp", {"activation": "maxout", "hidden": (10,)}, r"hidden = \(10,\) of activation 'maxout' must be multiples of 4"),
  ("conv", {"shape": (84,)}, r"must be \[H, W, C\], but it is \[84\]"),
  ("conv", {"activation": "step"}, "activation = 'step'; it must be one of relu"),
  ("conv", {"channels": ()}, "channels must list at least one"),
  ("conv", {"channels": (4, 0)}, "channels = 0 must be 1 or more"),
  ("conv", {"decoder": {"stride": 0}}, "stride = 0 must"),
  ("conv", {"padding": "VALID"}, "padding = 'VALID'; it must be 'SAME', or 0 or more"),
  ("conv", {"padding": -1}, "padding = -1"),
  ("conv", {"blocks": 2}, "net 'residual'"),
  ("residual", {"blocks": 0}, "blocks = 0 must be 1 or more"),
  ("residual", {"padding": 1}, "always 'SAME'"),
])  # fmt: skip
def test_invalid_options_raise_a_user_error(net, options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    pair(net, **options)


def test_a_kernel_that_does_not_fit_raises_a_user_error():
  encoder, _ = pair("conv", channels=(4, 4, 4), padding=0)
  with pytest.raises(errors.UserError, match="a kernel of 4 does not fit"):
    encoder.init(jax.random.key(0), jnp.zeros((1, 84)))
