"""Planes: densities integrate to 1, entropies equal Monte Carlo, draws follow the density; stacked digits."""

import numpy as np
import pytest
from scipy.special import i0e
from scipy.stats import chi2

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data.sets import plane, stacked_mnist

N = 10_000


def points(name, step):
  """Centres of the cells of a grid over the box of a plane, [n, 2], and the area of a cell."""
  low, high = plane.box(name)
  counts = np.ceil((high - low) / step).astype(int)
  sides = (high - low) / counts
  axes = [a + s * (np.arange(n) + 0.5) for a, s, n in zip(low, sides, counts, strict=True)]
  return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2), sides.prod()


@pytest.mark.parametrize("name", sorted(set(plane.MEMBERS) - {"ring", "grid"}))
def test_densities_integrate_to_one(name):
  step = {"checkerboard": 0.1, "pinwheel": 0.02}.get(name, 0.5 * plane._PLANES[name].noise)
  x, cell = points(name, step)
  inside = np.linalg.norm(x, axis=1) < (2.5 if name == "pinwheel" else np.inf)  # 5 deviations; beyond, too wound up
  assert np.exp(plane.log_density(name, x[inside])).sum() * cell == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_densities_of_separate_modes_integrate_to_one_around_each(name):
  noise = plane._PLANES[name].noise
  offsets = noise * (np.stack(np.meshgrid(*[np.arange(-8, 8, 0.4)] * 2), -1).reshape(-1, 2) + 0.2)
  masses = [
    np.exp(plane.log_density(name, mode + offsets)).sum() * (0.4 * noise) ** 2 for mode in plane._PLANES[name].modes
  ]
  np.testing.assert_allclose(masses, 1 / len(masses), rtol=1e-8)


@pytest.mark.parametrize("name", plane.MEMBERS)
def test_entropies_equal_monte_carlo(name):
  loaded = data.load(f"plane/{name}", train_size=N, test_size=5, valid_size=0)
  assert loaded.valid is None
  assert loaded.train["x"].dtype == np.float32
  draws = plane._draw(name, np.random.RandomState(1), N, plane._PLANES[name].noise)["x"]
  log_p = plane.log_density(name, draws)
  error = log_p.std() / np.sqrt(N) + 1e-12
  assert abs(log_p.mean() + loaded.about["entropy"]) < 4 * error
  assert (
    abs(plane.log_density(name, loaded.train["x"].astype("d")).mean() + loaded.about["entropy"]) < 4.5 * error + 1e-5
  )


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "swiss_roll", "sine", "pinwheel", "eight_gaussians"])
def test_draws_follow_the_density(name):
  """chi^2 of the counts in cells against the density, integrated over each."""
  loaded = data.load(f"plane/{name}", train_size=N, test_size=1, valid_size=0).train["x"]
  low, high = plane.box(name, deviations=2.0)
  if name == "sine":
    low, high = plane.box(name)
  edges = [np.linspace(a, b, 13) for a, b in zip(low, high, strict=True)]
  counts = np.histogram2d(*loaded.T, bins=edges)[0].ravel()
  fine = [np.linspace(e[0], e[-1], 12 * 24 + 1) for e in edges]
  middle = [(f[1:] + f[:-1]) / 2 for f in fine]
  density = np.exp(plane.log_density(name, np.stack(np.meshgrid(*middle, indexing="ij"), -1).reshape(-1, 2)))
  cells = density.reshape(12, 24, 12, 24).sum((1, 3)).ravel() * np.prod([f[1] - f[0] for f in fine])
  expected = np.append(cells, 1 - cells.sum()) * N
  observed = np.append(counts, N - counts.sum())
  seen = expected > 10
  rest = max(expected[~seen].sum(), 1e-9), observed[~seen].sum()
  statistic = ((observed - expected)[seen] ** 2 / expected[seen]).sum() + (rest[1] - rest[0]) ** 2 / max(rest[0], 10)
  assert chi2.sf(statistic, seen.sum()) > 1e-4


def test_circles_have_the_closed_form_by_bessel_functions():
  x, s = np.random.default_rng(0).normal(size=(200, 2)), 0.08
  r = np.linalg.norm(x, axis=1)
  exact = sum(np.exp(-((r - R) ** 2) / (2 * s**2)) * i0e(r * R / s**2) for R in (1.0, 0.5)) / (4 * np.pi * s**2)
  np.testing.assert_allclose(np.exp(plane.log_density("circles", x)), exact, rtol=1e-9, atol=1e-300)


def test_the_quadrature_has_converged(monkeypatch):
  x = data.load("plane/spirals", train_size=300, test_size=1).train["x"]
  names = ("spirals", "swiss_roll", "moons")
  before = [plane.log_density(name, x) for name in names]
  monkeypatch.setattr(plane, "_STEP", 0.25)
  for name, old in zip(names, before, strict=True):
    near = old > -20
    np.testing.assert_allclose(plane.log_density(name, x)[near], old[near], atol=1e-8)


def test_modes_labels_and_noise():
  for name, count, apart in (("ring", 8, 0.765), ("grid", 25, 2.0), ("eight_gaussians", 8, 2.165)):
    loaded = data.load(f"plane/{name}", train_size=4000, test_size=1)
    modes = np.array(loaded.about["modes"])
    assert modes.shape == (count, 2)
    gaps = np.linalg.norm(modes[:, None] - modes, axis=-1)
    assert np.sort(gaps, 1)[:, 1].min() == pytest.approx(apart, abs=1e-3)
    deviation = loaded.train["x"] - modes[loaded.train["y"]]
    assert deviation.std() == pytest.approx(loaded.about["noise"], rel=0.05)
  quiet = data.load("plane/moons", noise=0.0, train_size=50, test_size=1)
  assert quiet.about["entropy"] is None
  assert plane.log_density("moons", quiet.train["x"], 0.0) is None


def test_the_training_points_do_not_depend_on_the_other_sizes():
  a = data.load("plane/moons", train_size=50, test_size=1, valid_size=0).train
  b = data.load("plane/moons", train_size=50, test_size=1, valid_size=7).train
  np.testing.assert_array_equal(a["x"], b["x"])


@pytest.mark.parametrize("options,named", [
  ({"train_size": 0}, "train_size = 0"),
  ({"noise": -1.0}, "data.noise = -1.0; it must be 0 or more"),
  ({"noise": 1e-6}, "too little for the density"),
])  # fmt: skip
def test_invalid_options_raise_user_errors(options, named):
  with pytest.raises(errors.UserError, match=named):
    data.load("plane/moons", **options)


def test_an_unknown_plane_and_noise_of_the_board_raise_user_errors():
  with pytest.raises(errors.UserError, match="Did you mean 'plane/moons'"):
    data.load("plane/moon")
  with pytest.raises(errors.UserError, match="plane/checkerboard has no noise"):
    data.load("plane/checkerboard", noise=0.1)


def test_stacked_digits_show_the_number_that_is_their_label():
  digits = data.load("mnist5k")
  stacked = data.load("stacked_mnist", digits="mnist5k", train_size=3000, test_size=50)
  x, y = stacked.train["x"], stacked.train["y"]
  assert x.shape == (3000, 28, 28, 3)
  assert x.dtype == np.uint8
  known = {image.tobytes(): int(label) for image, label in zip(digits.train["x"], digits.train["y"], strict=True)}
  numbers = [int("".join(str(known[image[..., c].tobytes()]) for c in range(3))) for image in x[:100]]
  assert numbers == y[:100].tolist()
  shares = np.bincount(y, minlength=1000)
  assert chi2.sf(((shares - 3.0) ** 2 / 3.0).sum(), 999) > 1e-4  # 400 of each digit: uniform
  assert len(stacked.about["classes"]) == stacked_mnist.NUM_MODES
  again = data.load("stacked_mnist", digits="mnist5k", train_size=3000, test_size=50)
  np.testing.assert_array_equal(again.test["x"], stacked.test["x"])
  with pytest.raises(errors.UserError, match=r"data\.digits of stacked_mnist .svhn"):
    data.load("stacked_mnist", digits="svhn")
