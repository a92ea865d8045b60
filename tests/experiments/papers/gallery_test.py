"""The gallery: KL of the planes' own densities is 0, a known KL, bent lines of a known map, the report by hand."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

from dgm_jax import data
from dgm_jax.configs import flow_plane
from dgm_jax.core import system
from dgm_jax.data import pipeline
from dgm_jax.data.sets import plane
from dgm_jax.experiments.papers.gallery import paper, planes
from helpers import measured_runs


class Normal(nn.Module):
  """x_d ~ N(0, 4) after the transforms, the flow z = x / 2."""

  data_shape: tuple[int, ...] = (2,)

  def log_prob(self, batch):
    return -0.5 * jnp.sum(jnp.square(batch["x"] / 2), -1) - jnp.log(2 * jnp.pi * 4)

  def generate(self, key, n, mean=False):
    return 2 * jnp.ones((n, 2))

  def bijectors(self):
    import distrax

    half = distrax.Block(distrax.ScalarAffine(0.0, 0.5), 1)
    return [("half", half)]


def run(member):
  splits = data.load(f"plane/{member}", train_size=3000, test_size=3000, valid_size=0)
  made = types.SimpleNamespace(model=Normal(), splits=splits, transforms=pipeline.make(("standardize",), splits.train))
  config = types.SimpleNamespace(data=types.SimpleNamespace(name=f"plane/{member}"))
  state = system.TrainState(0, {}, (), {}, {})
  results = {"test/normalisation": 1.001, "test/invertibility": 1e-6}
  sample = lambda n: 2 * np.ones((n, 2), "f")
  return types.SimpleNamespace(experiment=made, state=state, config=config, sample=sample, results=results)


def test_measurements_of_a_known_density_on_a_plane():
  found = planes.measure(run("moons"))
  x = np.asarray(data.load("plane/moons", train_size=3000, test_size=3000, valid_size=0).train["x"], np.float64)
  mean, std = x.mean(0), x.std(0)
  test = np.asarray(run("moons").experiment.splits.test["x"], np.float64)
  right = -0.5 * (((test - mean) / std / 2) ** 2).sum(1) - np.log(8 * np.pi) - np.log(std).sum()
  np.testing.assert_allclose(found["log_px"], right, atol=1e-4)
  np.testing.assert_allclose(found["true"], plane.log_density("moons", test), atol=1e-9)
  kl, error = planes.divergence(found)
  assert found["normalisation"] == 1.001 and found["invertibility"] == 1e-6
  assert kl == pytest.approx(-plane.entropy("moons") - right.mean(), abs=5 * error + 0.05) and kl > 10 * error
  np.testing.assert_allclose(found["draws"], np.broadcast_to(2 * std + mean, (2000, 2)), rtol=1e-4)
  low, high = planes.window("moons")
  cell = np.prod(high - low) / planes.BINS**2
  within = np.prod(np.diff(scipy.stats.norm.cdf([low, high], mean, 2 * std), axis=0))
  assert found["density"].sum() * cell == pytest.approx(within, rel=1e-3)
  lines = found["lines"]
  np.testing.assert_allclose(lines[0, :, 0], -6 * std[0] + mean[0], rtol=1e-4)  # z_1 = -3
  np.testing.assert_allclose(lines[-1, :, 1], 6 * std[1] + mean[1], rtol=1e-4)  # z_2 = 3


@pytest.mark.parametrize("member", ["moons", "checkerboard"])
def test_the_plane_s_own_density_has_no_divergence(member):
  x = planes.grid(member)
  low, high = planes.window(member)
  total = np.exp(plane.log_density(member, x)).sum() * np.prod(high - low) / planes.BINS**2
  assert total == pytest.approx(1, abs=0.01)
  assert planes.divergence({"true": np.ones(9), "log_px": np.ones(9)}) == (0.0, 0.0)


def test_the_report_by_hand(tmp_path):
  rng = np.random.default_rng(0)
  kl = {"maf-moons": 0.3, "made-moons": 0.2, "maf-grid": -0.5}
  for cell, _, name in measured_runs.of(paper, "figure=planes"):
    if cell in kl:
      true = rng.normal(size=400)
      arrays = {"true": true, "log_px": true - kl[cell] + 0.1 * rng.normal(size=400)}
      arrays |= {"density": rng.random((planes.BINS, planes.BINS)), "draws": rng.normal(size=(20, 2))}
      arrays |= {"lines": rng.normal(size=(4, 5, 2))} if "maf" in cell else {}
      arrays |= {"normalisation": 0.998} if cell == "maf-moons" else {}
      measured_runs.measure(tmp_path, name, **arrays)
  found = paper.report("figure=planes", "test", tmp_path)
  cells = found["numbers"]["cells"]
  assert cells["maf-moons"]["kl"] == pytest.approx(0.3, abs=0.02)
  assert cells["maf-moons"]["stderr"] == pytest.approx(0.1 / 20, rel=0.2)
  [table] = found["tables"]
  assert table["rows"][0][1]["text"].startswith("0.30") and table["rows"][1][2]["text"] == "not finished"
  assert cells["maf-moons"]["normalisation"] == 0.998
  assert "differ from 1 by at most 0.002" in table["note"] and "invertibility" not in table["note"]
  assert any("maf-grid" in s and "log p(x) is wrong" in s for s in found["sentences"])
  assert any(s.startswith("moons: least KL 0.2") and "MADE" in s for s in found["sentences"])
  assert (tmp_path / "planes.png").stat().st_size > 5000 and (tmp_path / "grids.png").stat().st_size > 5000
  assert "moons 0.2" in paper.summary(found["numbers"])["ours"]


def test_only_planes_that_were_run_are_named():
  said = paper._sentences({"spline_coupling-moons": {"kl": 0.01, "stderr": 0.001}})
  assert "Spline flows are below 0.05 nats on moons: 0.010 at most." in said


def test_every_net_of_the_config_is_in_the_gallery():
  assert set(paper._LABELS) == set(flow_plane.NETS)
  assert set(paper._CONTINUOUS) == set(flow_plane.CONTINUOUS)
  assert len(paper.RUNS["figure=continuous"]["short"].cells) == 2 * 8
  short = paper.RUNS["figure=planes"]["short"]
  assert len(short.cells) == 11 * 8


def test_the_report_of_continuous_flows_has_their_trajectories(tmp_path):
  rng = np.random.default_rng(0)
  for cell, _, name in measured_runs.of(paper, "figure=continuous"):
    true = rng.normal(size=400)
    arrays = {"true": true, "log_px": true - (0.04 if "ffjord" in cell else 0.02) + 0.1 * rng.normal(size=400)}
    arrays |= {"density": rng.random((planes.BINS, planes.BINS)), "draws": rng.normal(size=(20, 2))}
    measured_runs.measure(tmp_path, name, **arrays, paths=rng.normal(size=(6, 9, 2)))
  found = paper.report("figure=continuous", "test", tmp_path)
  assert found["numbers"]["cells"]["ffjord-moons"]["kl"] == pytest.approx(0.04, abs=0.03)
  assert [f["file"] for f in found["figures"]] == ["planes.png", "trajectories.png"]
  assert (tmp_path / "trajectories.png").stat().st_size > 3000
  assert paper.summary(found["numbers"])["system"].startswith("continuous flows")
