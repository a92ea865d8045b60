"""The networks of players of images: equal to PyTorch's, with published numbers of parameters, and laws of parts."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.models.adversarial import biggan, residual_gan
from dgm_jax.networks import norms, resampled_convolutions
from dgm_jax.networks.convolutions import conv_by_lax
from dgm_jax.networks.image_attention import ImageAttention, largest_of_four
from dgm_jax.networks.spectral import SpectralConv, SpectralEmbed
from helpers import player_rule

EXPECTED = np.load(pathlib.Path(__file__).parent / "players.npz")
Z, Y, X = player_rule.inputs()
MODELS = {
  "biggan": biggan.Model(
    data_shape=(32, 32, 3), data_classes=3, width=2, latent_dim=128, shared_dim=4, attention=(16,)
  ),
  "deep": biggan.Model(
    data_shape=(64, 64, 3), data_classes=3, width=4, latent_dim=128, shared_dim=4, attention=(32,), deep=True
  ),
  "sngan": residual_gan.Model(
    data_shape=(32, 32, 3), data_classes=3, conditional=True, generator_channels=6, discriminator_channels=6
  ),
}


def touch(model, n=2):
  y = jnp.zeros(n, jnp.int32)
  return model.discriminate(model.generate(model.latent(jax.random.key(0), n), y, True), y, True)


def shapes(model):
  return jax.eval_shape(lambda: model.init(jax.random.key(0), method=touch))


@functools.cache
def variables(name):
  """Of a tiny model, by the rule; the names within a player are the same in all collections."""
  return {collection: player_rule.filled(tree) for collection, tree in shapes(MODELS[name]).items()}


@pytest.mark.parametrize("name", ["biggan", "sngan", pytest.param("deep", marks=pytest.mark.slow)])
def test_players_equal_those_of_pytorch(name):
  """Of BigGAN-deep, whose images are twice as high and wide, every fourth pixel."""
  model, given = MODELS[name], variables(name)
  x, stride = (X.repeat(2, 1).repeat(2, 2), 4) if name == "deep" else (X, 1)
  logits = jax.jit(lambda v: model.apply(v, x, Y, method="discriminate"))(given)
  np.testing.assert_allclose(logits, EXPECTED[f"{name}_logits"], rtol=1e-4, atol=1e-4)
  for train in (False, True):
    run = jax.jit(lambda v, train=train: model.apply(v, Z, Y, train, method="generate", mutable=["batch_stats"])[0])
    expected = EXPECTED[f"{name}_generated_{'train' if train else 'moving'}"]
    assert expected.std() > 0.05
    np.testing.assert_allclose(run(given)[:, ::stride, ::stride], expected, atol=1e-4)


def test_attention_equals_pytorch_and_a_loop():
  layer, x = ImageAttention(), player_rule.weight("attention/input", (2, 4, 6, 16))
  of = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
  given = {collection: player_rule.filled(tree, "attention") for collection, tree in of.items()}
  found = jax.jit(layer.apply)(given, x)
  np.testing.assert_allclose(found, EXPECTED["attention"], atol=1e-4)
  maps = {}
  for name, own in given["params"].items():
    if name != "gain":
      kernel = own["kernel"][0, 0]
      maps[name] = kernel / np.linalg.norm(kernel @ given["spectral"][name]["u"])
  for n in range(2):
    blocks = [x[n, i : i + 2, j : j + 2].reshape(4, 16) for i in (0, 2) for j in (0, 2, 4)]
    keys = np.stack([(b @ maps["key"]).max(0) for b in blocks])
    values = np.stack([(b @ maps["value"]).max(0) for b in blocks])
    for i, j in np.ndindex(4, 6):
      scores = np.exp(keys @ (x[n, i, j] @ maps["query"]))
      expected = x[n, i, j] + given["params"]["gain"] * ((scores / scores.sum()) @ values @ maps["out"])
      np.testing.assert_allclose(found[n, i, j], expected, atol=1e-4)
  assert (largest_of_four(jnp.asarray(x))[1, 1, 2] == x[1, 2:4, 4:6].reshape(4, 16).max(0)).all()


COUNTS = [
  ({}, (70_433_988, 87_982_370)),
  ({"latent_dim": 128, "hierarchical": False}, 160_774_886),  # 160.77 M
  ({"latent_dim": 128, "hierarchical": False, "shared_dim": 0}, 173_538_534),
  ({"latent_dim": 128, "hierarchical": False, "shared_dim": 0, "width": 64}, 81_465_670),
  ({"width": 64}, 71_426_886),
  ({"deep": True, "width": 128, "latent_dim": 128}, (50_244_484, 34_590_210)),
]


@pytest.mark.parametrize("args,expected", COUNTS, ids=str)
def test_numbers_of_parameters_are_the_published_ones(args, expected):
  """At 128 x 128 with 1,000 classes; the authors' code has 160.77, 173.54, 81.47 and 71.43 M in the middle rows."""
  model = biggan.Model(**{"data_shape": (128, 128, 3), "data_classes": 1000, "latent_dim": 120, "width": 96} | args)
  params = shapes(model)["params"]
  found = tuple(sum(a.size for a in jax.tree.leaves(params[p])) for p in ("generator", "discriminator"))
  assert found == expected or sum(found) == expected


def test_the_small_network_has_the_published_number_too():
  args = {"width": 64, "latent_dim": 128, "hierarchical": False, "shared_dim": 0, "attention": ()}
  params = shapes(biggan.Model(data_shape=(32, 32, 3), data_classes=10, **args))["params"]
  sizes = [sum(a.size for a in jax.tree.leaves(params[p])) for p in ("generator", "discriminator")]
  assert sizes == [4_304_387, 4_207_361]


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("deep", [False, True])
def test_other_sizes_make_images_of_their_size(size, deep):
  model = biggan.Model(data_shape=(size, size, 3), data_classes=5, width=8, deep=deep, shared_dim=4, attention=(32,))
  run = lambda v: touch_both(model, v)
  x, logits = jax.eval_shape(run, shapes(model))
  assert x.shape == (2, size, size, 3)
  assert logits.shape == (2,)


def touch_both(model, given):
  z, y = jnp.zeros((2, model.num_noise)), jnp.zeros(2, jnp.int32)
  x = model.apply(given, z, y, method="generate")
  return x, model.apply(given, x, y, method="discriminate")


def test_resampled_convolutions_equal_the_long_way():
  x = jax.random.normal(jax.random.key(0), (2, 6, 8, 5))
  for k in (1, 3):
    kernel = jax.random.normal(jax.random.key(1), (k, k, 5, 7))
    plain = lambda x, kernel=kernel: conv_by_lax(x, kernel, 1, "SAME")
    up, down = resampled_convolutions.conv_of_doubled(x, kernel), resampled_convolutions.halved_conv(x, kernel)
    np.testing.assert_allclose(up, plain(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)), atol=1e-4)
    four = plain(x).reshape(2, 3, 2, 4, 2, 7)
    np.testing.assert_allclose(
      down, (four[:, :, 0, :, 0] + four[:, :, 0, :, 1] + four[:, :, 1, :, 0] + four[:, :, 1, :, 1]) / 4, atol=1e-4
    )


def test_the_logit_difference_of_two_classes_is_linear_in_the_features():
  """Projection: D(x, a) - D(x, b) = (e_a - e_b)'h(x) for every image."""
  model, given = MODELS["sngan"], variables("sngan")
  of = lambda y: model.apply(given, X, np.full(3, y), method="discriminate")
  h = model.apply(given, X, method=lambda m, x: m.discriminator(m.seen(x), None, only_features=True))
  own = given["params"]["discriminator"]["classes"]["embedding"]
  table = own / np.linalg.norm(own @ given["spectral"]["discriminator"]["classes"]["u"])
  np.testing.assert_allclose(of(2) - of(0), h @ (table[2] - table[0]), rtol=1e-3, atol=1e-4)


def test_spectral_layers_have_norm_one():
  for layer, x, shape in (
    (SpectralConv(5, 3), jnp.ones((1, 4, 4, 3)), (27, 5)),
    (SpectralEmbed(4, 6), jnp.arange(4), (4, 6)),
  ):
    given = layer.init(jax.random.key(0), x)
    name = next(iter(given["params"].keys() - {"bias"}))
    assert given["params"][name].size == np.prod(shape)
    for _ in range(60):
      _, changed = layer.apply(given, x, mutable=["spectral"])
      given |= changed
    largest = np.linalg.svd(np.asarray(given["params"][name]).reshape(shape))[1][0]
    np.testing.assert_allclose(given["spectral"]["sigma"], largest, rtol=1e-3)
  np.testing.assert_allclose(layer.apply(given, x), given["params"]["embedding"] / largest, rtol=1e-3, atol=1e-5)


def test_orthogonal_regularisation_has_the_gradient_of_its_formula():
  """2 W (W'W - diag(W'W)), and 0 for orthogonal columns of any lengths."""
  kernels = [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(3, 3, 2, 4), (5, 6)])]
  for kernel, gradient in zip(kernels, jax.grad(norms.off_diagonal)(kernels), strict=True):
    w = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    products = w.T @ w
    expected = 2 * w @ (products - np.diag(np.diag(products)))
    np.testing.assert_allclose(gradient.reshape(w.shape), expected, rtol=1e-4, atol=1e-4)
  assert abs(float(norms.off_diagonal([jnp.eye(5)[:, :3] * jnp.array([1.0, 2.0, 3.0])]))) < 1e-6
