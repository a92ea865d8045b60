"""Figures of the latent space: the coordinates, densities and images that they show, and the written files."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from matplotlib import image
from sklearn.decomposition import PCA

from dgm_jax.core import errors
from dgm_jax.evaluate import latent_figures, latent_space
from dgm_jax.models.mixtures import bernoulli_product
from dgm_jax.models.vae import autoencoder, dlgm, vae
from helpers import linear_gaussian as lg
from helpers import tables

pytestmark = pytest.mark.usefixtures("readable_figures")

ARRAYS = {"x": tables.TEST["x"][:21], "y": np.arange(21, dtype=np.int32) % 3}
SMALL = {"grid": 5, "num_pairs": 3, "num_steps": 4, "num_posteriors": 2, "num_points": 30}


def state_of(model, scale=1.0):
  """Untrained parameters times `scale`; larger scales make decoder and encoder depend more on their inputs."""
  params = jax.jit(model.init)(lg.KEY, tables.TEST)["params"]
  return lg.state(jax.tree.map(lambda a: scale * a, params))


def evaluate(model, state, arrays=ARRAYS, **options):
  return latent_space.evaluate(lg.experiment(model), state, lg.KEY, arrays, **(SMALL | options))


def drawn(results, name):
  """The arguments with which a figure is drawn."""
  return types.SimpleNamespace(**results["figures"][name].keywords)


@pytest.mark.parametrize("n", [1, 2, 20, 101])
def test_the_grid_has_the_quantiles_of_the_normal(n):
  expected = scipy.stats.norm.ppf((np.arange(n) + 0.5) / n)
  np.testing.assert_allclose(latent_space.quantile_grid(n), expected, atol=2e-6)


def test_principal_components_agree_with_sklearn():
  z = (np.random.default_rng(0).normal(size=(300, 6)) @ np.diag([3, 2, 1, 0.7, 0.3, 0.1]) + 5).astype("f")
  pca = PCA().fit(z.astype(np.float64))
  coordinates, shares = latent_space.principal_components(z)
  expected = pca.transform(z.astype(np.float64))[:, :2]
  signs = np.sign((expected * coordinates).sum(0))
  np.testing.assert_allclose(coordinates, expected * signs, atol=1e-4)
  np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-4)
  np.testing.assert_allclose(latent_space.principal_components(-z)[0], -coordinates, atol=1e-4)  # a unique sign


def test_densities_on_the_square_agree_with_the_linear_gaussian_model():
  """p(z|x), a correlated normal, and q(z|x), a shifted diagonal one, against scipy at every point."""
  model = lg.model(2, shift=0.3, stretch=1.2)
  x = lg.draws(model, 3).astype("f")
  found = jax.jit(lambda k: latent_space.posterior_densities(model.bind({}), k, {"x": x}, 60, 200))(lg.KEY)
  found = jax.tree.map(np.asarray, found)
  exact = model.exact(x)
  scale = 1.2 * np.sqrt(np.diag(exact.covariance))
  for b in range(3):
    z = np.stack(np.meshgrid(found.z1[b], found.z2[b], indexing="ij"), -1)
    p = scipy.stats.multivariate_normal(exact.mean[b], exact.covariance).pdf(z)
    q = scipy.stats.norm(exact.mean[b] + 0.3, scale).pdf(z).prod(-1)
    np.testing.assert_allclose(found.p[b], p, atol=1e-4 * p.max())
    np.testing.assert_allclose(found.q[b], q, atol=1e-4 * q.max())
    cell = (found.z1[b, 1] - found.z1[b, 0]) * (found.z2[b, 1] - found.z2[b, 0])
    assert found.p[b].sum() * cell == pytest.approx(1, abs=1e-3)
    assert found.q[b].sum() * cell == pytest.approx(1, abs=1e-3)
  assert (found.error < 1e-3).all()


def test_drawn_posteriors_of_a_network_integrate_to_one():
  """p(x) is computed on another grid than the one that is drawn."""
  model = vae.Model(tables.SHAPE, latent_dim=2, hidden=(32,))
  results = evaluate(model, state_of(model, 1.5))
  shown = drawn(results, "latent_posteriors")
  cell = (shown.z1[:, 1] - shown.z1[:, 0]) * (shown.z2[:, 1] - shown.z2[:, 0])
  np.testing.assert_allclose(shown.p.sum((1, 2)) * cell, 1, atol=5e-3)
  np.testing.assert_allclose(shown.q.sum((1, 2)) * cell, 1, atol=5e-3)
  np.testing.assert_array_equal(shown.images, ARRAYS["x"][:2])
  assert results["latent_posterior_error"] < 1e-3


@pytest.mark.parametrize("model", [
  vae.Model(tables.SHAPE, latent_dim=2, hidden=(32,)), autoencoder.Model(tables.SHAPE, hidden=(32,))
], ids=["vae", "autoencoder"])  # fmt: skip
def test_images_are_decoded_from_the_codes_and_coordinates_at_their_places(model):
  """The ends of interpolations are the examples' reconstructions; cell (i, j) of the plane is the decoder at its z."""
  state = state_of(model, 2.0)
  bound = model.bind({"params": state.params})
  codes = bound.infer(ARRAYS).mean() if hasattr(model, "infer") else bound.encode(ARRAYS)
  results = evaluate(model, state)

  lines = drawn(results, "latent_interpolations")
  reconstructions = bound.reconstruct(codes[:6])
  np.testing.assert_allclose(lines.images[:, 0], reconstructions[0::2], atol=1e-5)
  np.testing.assert_allclose(lines.images[:, -1], reconstructions[1::2], atol=1e-5)
  np.testing.assert_allclose(lines.images[:, 1], bound.reconstruct((2 * codes[:6:2] + codes[1:6:2]) / 3), atol=1e-5)
  np.testing.assert_array_equal(lines.ends.reshape(6, *tables.SHAPE), ARRAYS["x"][:6])

  plane = drawn(results, "latent_manifold")
  quantiles = scipy.stats.norm.ppf((np.arange(5) + 0.5) / 5)
  fitted = isinstance(model, autoencoder.Model)
  for axis, z in enumerate((plane.z1, plane.z2)):
    normal = (np.mean(codes[:, axis]), np.std(codes[:, axis])) if fitted else (0, 1)
    np.testing.assert_allclose(z, normal[0] + normal[1] * quantiles, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    plane.images[1, 3], bound.reconstruct(jnp.stack([plane.z1[1], plane.z2[3]])[None])[0], atol=1e-5
  )
  np.testing.assert_allclose(drawn(results, "latent_codes").points, codes, atol=1e-5)


def test_the_set_of_figures_depends_on_dimensions_and_layers():
  names = lambda model, **options: set(evaluate(model, state_of(model), **options)["figures"])
  codes, lines, plane, posteriors = (f"latent_{n}" for n in ("codes", "interpolations", "manifold", "posteriors"))
  small = lambda latent_dim, **options: vae.Model(tables.SHAPE, latent_dim=latent_dim, hidden=(8,), **options)
  assert names(small(1)) == {lines}
  assert names(small(2), num_posteriors=0) == {codes, lines, plane}
  assert names(small(3)) == {codes, lines}
  assert names(small(2, posterior="planar")) == {codes, lines, plane, posteriors}  # log q is not known everywhere
  assert names(dlgm.Model(tables.SHAPE, latent_dims=(3, 2), hidden=((8,), (8,)))) == {codes}
  labels = drawn(evaluate(small(3), state_of(small(3))), codes).labels
  assert [label[:21] for label in labels] == ["principal component 1", "principal component 2"]


def test_a_model_without_codes_raises_a_user_error():
  model = bernoulli_product.Model(tables.SHAPE)
  with pytest.raises(errors.UserError, match="bernoulli_product does not provide them"):
    evaluate(model, state_of(model))


@pytest.mark.parametrize("name,value", [("num_examples", 0), ("grid", 1), ("num_steps", 1), ("num_posteriors", -1)])
def test_invalid_options_raise_user_errors(name, value):
  latent_space.check(**SMALL, num_examples=1, batch_size=1)
  with pytest.raises(errors.UserError, match=f"evaluate.latent_space.{name} = {value}; it must be"):
    latent_space.check(**{name: value})


def test_the_error_for_an_unknown_option_suggests_the_nearest_name():
  with pytest.raises(errors.UserError, match="Did you mean 'num_steps'"):
    latent_space.check(num_step=3)


def test_levels_enclose_the_masses_of_a_normal():
  """The region of mass m of a 2-D normal ends at the density (1 - m) / (2 pi s1 s2)."""
  z = np.linspace(-6, 6, 400)
  density = scipy.stats.norm(0, 1).pdf(z)[:, None] * scipy.stats.norm(0, 0.5).pdf(z)
  masses = (0.5, 0.9, 0.99)
  levels = latent_figures.density_levels(density, (z[1] - z[0]) ** 2, masses)
  np.testing.assert_allclose(levels, (1 - np.array(masses)) / (2 * np.pi * 0.5), rtol=0.02)


def test_the_plane_is_shown_with_z1_to_the_right_and_z2_upwards(tmp_path, monkeypatch):
  shown = []
  show = latent_figures._show
  monkeypatch.setattr(latent_figures, "_show", lambda axis, x, **options: (shown.append(x), show(axis, x, **options)))
  images = np.arange(6.0).reshape(2, 3, 1, 1, 1) / 10  # [i, j] is at (z1[i], z2[j])
  latent_figures.save_manifold(tmp_path / "plane.png", images, np.arange(2.0), np.arange(3.0))
  np.testing.assert_allclose(shown[0][..., 0], [[0.2, 0.5], [0.1, 0.4], [0.0, 0.3]])


def test_every_figure_is_written(tmp_path):
  model = vae.Model(tables.SHAPE, latent_dim=2, hidden=(8,))
  results = evaluate(model, state_of(model))
  for name, draw in results["figures"].items():
    draw(tmp_path / "new" / f"{name}.png")
    assert image.imread(tmp_path / "new" / f"{name}.png").std() > 0.01
  assert sorted(p.stem for p in (tmp_path / "new").iterdir()) == sorted(results["figures"])
  latent_figures.save_scatter(tmp_path / "plain.png", np.eye(2), None)
  latent_figures.save_scatter(tmp_path / "many.png", np.random.default_rng(0).random((99, 2)), np.arange(99) % 30)
  colours = np.random.default_rng(0).random((2, 3, 4, 5, 3))
  latent_figures.save_interpolations(tmp_path / "colour.png", colours, colours[:, :2])
  assert len(list(tmp_path.glob("*.png"))) == 3
