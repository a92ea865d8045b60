"""Spectral norms against the singular value decomposition, and where the vector u moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.networks import norms, players
from dgm_jax.networks.spectral import SpectralDense


def matrix(rows, columns, ratio=0.8, seed=0):
  """A matrix whose second singular value is `ratio` of the first."""
  g = np.random.default_rng(seed)
  u, s, v = np.linalg.svd(g.normal(size=(rows, columns)), full_matrices=False)
  s = np.minimum(s, ratio * s[0])
  s[0] = np.linalg.norm(s, 2) if ratio == 1 else s[1] / ratio
  return (u * s) @ v


def test_the_layers_norm_is_that_of_the_svd_after_thirty_passes():
  x, layer = jnp.ones((2, 7)), SpectralDense(5)
  variables = layer.init(jax.random.key(0), x)
  kernel = jnp.float32(matrix(7, 5))
  variables = {"params": variables["params"] | {"kernel": kernel}, "spectral": variables["spectral"]}
  for _ in range(30):
    _, changed = layer.apply(variables, x, mutable=["spectral"])
    variables |= changed
  largest = np.linalg.svd(np.asarray(kernel, np.float64))[1][0]
  np.testing.assert_allclose(variables["spectral"]["sigma"], largest, rtol=1e-4)
  np.testing.assert_allclose(layer.apply(variables, x), x @ kernel / largest, rtol=1e-4)
  np.testing.assert_array_equal(layer.apply(variables, x), layer.apply(variables, x))  # u stays

  def loss(kernel, norm):
    return jnp.sum(jnp.sin(x[0] @ (kernel / norm(kernel))))

  u = variables["spectral"]["u"]
  ours = jax.grad(loss)(kernel, lambda k: norms.at(lambda x: x @ k, lambda y: k @ y, u))
  svd = jax.grad(loss)(kernel, lambda k: jnp.linalg.norm(k, 2))
  np.testing.assert_allclose(ours, svd, atol=1e-4 * float(abs(svd).max()))


def test_the_reshaped_kernel_has_another_norm_than_the_convolution():
  """A kernel that averages 3 x 3 pixels: the reshaped matrix has norm 1/3, the convolution nearly 1."""
  kernel = jnp.full((3, 3, 1, 1), 1 / 9)
  reshaped, _ = norms.of_matrix(kernel.reshape(9, 1), jnp.ones(1), 30)
  own, _ = norms.of_convolution(kernel, jax.random.normal(jax.random.key(0), (12, 12, 1)) + 1, 100)
  dense = jax.jacobian(lambda x: norms.conv_by_lax(x[None], kernel, 1, "SAME")[0])(jnp.zeros((12, 12, 1)))
  np.testing.assert_allclose(own, np.linalg.norm(np.asarray(dense).reshape(144, 144), 2), rtol=1e-3)
  np.testing.assert_allclose(reshaped, 1 / 3, rtol=1e-5)
  assert own > 0.9


def test_a_kernel_of_zeros_gives_zeros():
  layer = SpectralDense(3, kernel_init=jax.nn.initializers.zeros)
  variables = layer.init(jax.random.key(0), jnp.ones((2, 4)))
  value, grads = jax.value_and_grad(
    lambda p: jnp.sum(layer.apply({"params": p, "spectral": variables["spectral"]}, jnp.ones((2, 4))))
  )(variables["params"])
  assert value == 0
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_maxout_is_the_largest_piece_and_dropout_needs_a_key():
  net = players.make("discriminator", "maxout", 1, {"hidden": (4,), "pieces": 3, "dropout": 0.5, "dropout_input": 0.2})
  x = jax.random.normal(jax.random.key(0), (6, 5))
  variables = net.init(jax.random.key(1), x)
  first = variables["params"]["layers_0"]
  h = (x @ first["kernel"] + first["bias"]).reshape(6, 4, 3).max(-1)
  np.testing.assert_allclose(net.apply(variables, x, method="features", train=False), h, rtol=1e-5)
  last = variables["params"]["last"]
  np.testing.assert_allclose(net.apply(variables, x), h @ last["kernel"] + last["bias"], rtol=1e-5)
  dropped = [net.apply(variables, x, True, rngs={"dropout": jax.random.key(i)}) for i in range(2)]
  assert abs(dropped[0] - dropped[1]).max() > 1e-3


def test_mistakes_get_one_sentence():

  for args, sentence in (
    ({"norm": "layer"}, "norm = 'layer'; it must be one of none, batch, spectral"),
    ({"activation": "swish"}, "activation = 'swish'"),
    ({"piece": 2}, "Did you mean 'pieces'"),
    ({"dropout": 1.0}, "dropout = 1.0"),
    ({"hidden": (0,)}, "every width must be 1"),
  ):
    with pytest.raises(errors.UserError, match=sentence):
      players.make("generator", "mlp", 3, args).init(jax.random.key(0), jnp.ones((1, 2)))
  with pytest.raises(errors.UserError, match="generator_net = 'conv'"):
    players.make("generator", "conv", 3, {})
