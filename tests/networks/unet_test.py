"""The U-Net: any size, shifts, what a pixel depends on, and an embedding of every level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.networks import unet

NET = unet.UNet(2, channels=(4, 6, 8), width=1.5, gain=1.0)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def params():
  return jax.jit(NET.init)(KEY, jnp.zeros((1, 8, 8, 3)))


apply = jax.jit(NET.apply)


def test_parameters_serve_every_size_that_the_divisor_divides(params):
  assert NET.divisor == 4
  assert apply(params, jnp.ones((2, 12, 20, 3))).shape == (2, 12, 20, 2)
  assert params["params"]["down_2"]["kernel"].shape == (4, 4, 9, 12)
  with pytest.raises(errors.UserError, match="10 x 20 pixels: 3 levels take sizes divisible by 4"):
    NET.apply(params, jnp.ones((1, 10, 20, 3)))


def test_a_shift_by_the_divisor_shifts_the_output(params):
  """Away from the border: halving and doubling are aligned, and so are the levels that are joined."""
  x = jax.random.normal(KEY, (1, 64, 64, 3))
  y, shifted = apply(params, x), apply(params, jnp.roll(x, (4, 8), (1, 2)))
  inside = slice(28, 40)
  np.testing.assert_allclose(jnp.roll(y, (4, 8), (1, 2))[:, inside, inside], shifted[:, inside, inside], atol=1e-5)
  assert np.abs(y[:, inside, inside] - shifted[:, inside, inside]).max() > 0.1


def test_an_output_depends_on_its_own_image_and_on_its_own_pixel(params):
  x = jax.random.normal(KEY, (2, 16, 16, 3))
  changed = apply(params, x.at[1].add(1.0)) - apply(params, x)
  assert np.abs(changed[0]).max() == 0 < np.abs(changed[1]).min()
  slope = jax.jit(jax.grad(lambda x: NET.apply(params, x)[0, 7, 9, 0]))(x)[0]
  assert np.abs(slope[7, 9]).max() > 0.01  # the first level is joined to the last
  assert np.abs(slope[0]).max() > 0  # and the deepest sees far


def test_an_embedding_moves_every_level_and_the_absent_one_adds_nothing():
  e = jnp.array([[0.5, -1.0]])
  params = jax.jit(lambda: NET.init(KEY, jnp.zeros((1, 8, 8, 3)), False, e))()
  names = {n for n in params["params"] if n.startswith("embed")}
  assert names == {"embed_down_0", "embed_down_1", "embed_down_2", "embed_up_0", "embed_up_1"}
  x = jax.random.normal(KEY, (1, 8, 8, 3))
  embedded = jax.jit(lambda params, e: NET.apply(params, x, False, e))
  plain = apply(params, x)
  np.testing.assert_allclose(embedded(params, 0 * e), plain, atol=1e-6)
  flat = params["params"]
  for name in names:
    without = {n: jax.tree.map(jnp.zeros_like, flat[n]) for n in names - {name}}
    assert np.abs(embedded({"params": flat | without}, e) - plain).max() > 1e-3


def test_batch_statistics_and_dropout():
  net = unet.UNet(1, channels=(4, 4, 4), norm="batch", dropout=0.5)
  x = jax.random.normal(KEY, (4, 8, 8, 1))
  variables = jax.jit(net.init)(KEY, x)
  assert "bias" not in variables["params"]["down_1"]  # the normalisation removes it
  train = jax.jit(lambda key: net.apply(variables, x, True, rngs={"dropout": key}, mutable=["batch_stats"]))
  (out, moved), (again, _) = train(KEY), train(jax.random.key(1))
  assert (moved["batch_stats"]["norm_down_1"]["mean"] != 0).all()
  assert np.abs(out - again).max() > 0


def test_patches_are_judged_each_by_what_they_see():
  net = unet.PatchDiscriminator(channels=(3, 5), kernel_size=4)
  x = jax.random.normal(KEY, (2, 32, 32, 3))
  params = jax.jit(net.init)(KEY, x)
  value, slope = jax.jit(jax.value_and_grad(lambda x: net.apply(params, x)[0, 0]))(x)  # the first patch
  slope = slope[0]
  assert jax.eval_shape(net.apply, params, x).shape == (2, 64) and np.isfinite(value)
  assert np.abs(slope[:4, :4]).max() > 0 == np.abs(slope[20:]).max()
