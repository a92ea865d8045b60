"""Planar flows of energies: normalisers and divergences by quadrature and closed forms; reports by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors.planar import PlanarFlow
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import plots
from dgm_jax.experiments.papers.rezende2015 import paper
from dgm_jax.experiments.papers.rezende2015 import planar_energies as pe
from dgm_jax.training.workdir.folder import create
from helpers import made_runs

SIDE = math.sqrt(2 * math.pi)


def test_the_sine_is_a_normal_along_a_curve_whose_mass_is_known():
  """exp(-U2) is a normal in z_2 for each z_1, far from the wall; along z_1: the window and two half normals."""
  width = 2 * pe.WINDOW + 0.4 * SIDE
  assert pe.log_normaliser("U2") == pytest.approx(math.log(0.4 * SIDE * width), abs=1e-5)


@pytest.mark.parametrize("name,z,expected", [
  ("U1", (2.0, 0.0), -math.log(1 + math.exp(-0.5 * (4 / 0.6) ** 2))),
  ("U1", (0.0, 2.4), 0.5 - math.log(2) + 0.5 * (2 / 0.6) ** 2),
  ("U2", (1.0, 1.4), 0.5),
  ("U2", (3.0, -1.0), 0.0),
  ("U3", (1.0, 1.0), -math.log(1 + math.exp(-0.5 * (3 / 0.35) ** 2))),
  ("U3", (1.0, -2.0), -math.log(1 + math.exp(-0.5 * (3 / 0.35) ** 2))),
  ("U4", (1.0, 1.0), -math.log(1 + math.exp(-0.5 * (1.5 / 0.35) ** 2))),
  ("U4", (1.0, -0.5), -math.log(1 + math.exp(-0.5 * (1.5 / 0.4) ** 2))),
])  # fmt: skip
def test_energies_by_hand(name, z, expected):
  assert float(pe.energy(name, jnp.array(z))) == pytest.approx(expected, abs=1e-5)


def test_the_wall_stands_around_the_window():
  inside, beyond = jnp.array([4.0, 0.0]), jnp.array([4.8, -4.4])
  assert pe.energy("U2", inside) == pytest.approx(float(pe.ENERGIES["U2"](inside)), rel=1e-6)
  assert pe.energy("U2", beyond) - pe.ENERGIES["U2"](beyond) == pytest.approx(0.5 * (2**2 + 1**2), rel=1e-4)


@pytest.mark.slow
def test_the_divergence_of_the_identity_is_that_of_the_normal():
  """For a flow at the identity: KL(N(0, I) || p) by quadrature."""
  params = pe.start(jax.random.key(0), 3)
  along = math.log(math.e - 1) * params["w"] / jnp.sum(params["w"] ** 2, -1, keepdims=True)
  z = jax.random.normal(jax.random.key(1), (1000, 2))
  moved = PlanarFlow(**params).sample(seed=jax.random.key(2), sample_shape=(1000,))
  assert abs(np.cov(np.asarray(moved).T) - np.eye(2)).max() < 0.6  # near the identity already
  identity = params | {"u": along}
  value, error = pe.divergence("U4", identity, jax.random.key(3), 100_000)
  side = np.linspace(-8, 8, 801)
  grid = np.stack(np.meshgrid(side, side, indexing="ij"), -1)
  log_q = scipy.stats.multivariate_normal(np.zeros(2), np.eye(2)).logpdf(grid)
  expected = np.exp(log_q) * (log_q + np.asarray(pe.energy("U4", jnp.asarray(grid, jnp.float32)), np.float64))
  expected = expected.sum() * (side[1] - side[0]) ** 2 + pe.log_normaliser("U4")
  assert float(value) + pe.log_normaliser("U4") == pytest.approx(expected, abs=5 * float(error))
  density = pe.histogram(identity, jax.random.key(4), 100_000)
  inside = (1 - 2 * scipy.stats.norm.sf(4)) ** 2
  assert density.sum() * (8 / pe.BINS) ** 2 == pytest.approx(inside, abs=1e-3)
  assert density[50:, :].sum() / density.sum() == pytest.approx(0.5, abs=0.01)
  assert z.shape == moved.shape


def test_a_flow_that_can_represent_the_density_fits_it(monkeypatch):
  monkeypatch.setitem(pe.ENERGIES, "U1", lambda z: 0.5 * jnp.sum(((z - jnp.array([0.5, -1.0])) / 0.7) ** 2, -1))
  setting = pe.Setting((1,), 1500, 100, 1e-3, 300, 2, draws=20_000, pictured=1000)
  found = pe.fitted("U1", 1, setting)
  assert found["kl"].shape == (2,)
  assert (found["kl"] > -5 * found["kl_error"]).all()
  assert (found["kl"] < 0.05).all()


def test_the_comparison_of_lengths_by_hand(tmp_path):
  folder = tmp_path / "runs" / "computed"
  folder.mkdir(parents=True)
  fits = {(n, 1): [1.0, 1.2] for n in pe.ENERGIES} | {(n, 8): [0.5, 0.8] for n in pe.ENERGIES}
  fits["U2", 8] = [0.5, 2.0]
  fits["U3", 8] = [1.5, 1.8]
  for (name, length), kl in fits.items():
    arrays = {"kl": np.array(kl), "kl_error": np.full(2, 1e-3), "density": np.ones((pe.BINS, pe.BINS), "f")}
    np.savez(folder / f"{name}_{length:02d}.npz", **arrays)
  found = paper.report("figure=3", "test", tmp_path)
  fall = found["numbers"]["falls"]
  assert fall["U1, K = 8 − K = 1"]["difference"] == pytest.approx(-0.45)
  assert fall["U1, K = 8 − K = 1"]["stderr"] == pytest.approx(0.05)  # of -0.5, -0.4
  assert [f["verdict"] for f in fall.values()] == ["lower", "undecided", "higher", "lower"]
  assert found["numbers"]["divergences"]["U2"]["8"]["kl"] == pytest.approx(1.25)
  assert found["sentences"] == [
    "Longer flows fit better: shown in 2 of 4 comparisons; not in U2, K = 8 − K = 1; U3, K = 8 − K = 1."
  ]
  plots.draw(tmp_path, found["figures"])
  for file in ("densities.png", "divergences.png"):
    assert (tmp_path / file).stat().st_size > 10_000
  assert "U1 1.100 ± 0.100, 0.650 ± 0.150" in paper.summary(found["numbers"])["ours"]


LOG_PX = {"diagonal": ([-90.0, -92.0], [-91.0, -93.0]), "planar-2": ([-89.0, -91.0], [-90.0, -92.2])}


def test_posteriors_by_hand(tmp_path):
  folder = made_runs.make(tmp_path, "rezende2015", "table=2", LOG_PX)
  found = paper.report("table=2", "test", folder)
  rows = {row[0]["text"]: [c["text"] for c in row[1:]] for row in found["tables"][0]["rows"]}
  assert rows["diagonal"][:2] == ["89.90", "91.50 ± 0.50"]
  assert rows["diagonal"][-1] == "+1.60 ± 0.50 (not comparable)"
  assert rows["planar, 2 layers"][0] == "none"  # the paper has no such row
  (sentence,) = found["sentences"]
  assert "order of NLL planar, 2 layers < diagonal is shown (planar, 2 layers − diagonal: −0.95 ± 0.05)" in sentence
  assert paper.summary(found["numbers"])["ours"].endswith("planar, 2 layers < diagonal: shown")


def test_a_folder_computed_with_other_settings_is_an_error(tmp_path):
  create(tmp_path / "x", {"model": "planar flows of energies"})
  with pytest.raises(errors.UserError, match="fits computed with other settings"):
    pe.compute(tmp_path / "x", paper._SETTINGS["test"])


@pytest.mark.slow  # a minute
@pytest.mark.parametrize("item", ["figure=3", "table=2"])
def test_the_test_budget_is_not_repeated(tmp_path, item, capfd):
  command = ["rezende2015", f"--{item}", "--budget=test", f"--root={tmp_path}"]
  assert reproduce.main(command) == 0
  before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("rezende2015/*/test/runs/*/results.json")}
  capfd.readouterr()
  assert reproduce.main(command) == 0
  assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("rezende2015/*/test/runs/*/results.json")} == before
  assert (tmp_path / "index.html").stat().st_size > 5000
