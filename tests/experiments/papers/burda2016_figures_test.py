"""The figures of Burda et al. (2016): modes and entropies in closed form, counts by hand, no repeated measurements."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import dgm_jax
from dgm_jax.core.files import load_arrays, save_arrays
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.harness import stages
from dgm_jax.experiments.papers.burda2016 import figure_activity, figure_posteriors, paper
from helpers import made_runs


@pytest.mark.parametrize("first,second,spreads", [(-4.0, 0.0, (0.3, 0.4)), (-3.0, -1.0, (0.2, 0.2))])
def test_the_separation_of_two_normals_is_the_closed_form(first, second, spreads):
  rng = np.random.default_rng(0)
  values = np.concatenate([rng.normal(first, spreads[0], 3000), rng.normal(second, spreads[1], 2000)])
  d, gain = figure_activity.separation(values)
  assert d == pytest.approx(np.sqrt(2) * abs(second - first) / np.hypot(*spreads), rel=0.03)
  assert gain > 0


def test_one_normal_does_not_have_two_modes():
  gains = [figure_activity.separation(np.random.default_rng(s).normal(-2, 1, 50))[1] for s in range(8)]
  assert np.mean(np.array(gains) < 0) >= 0.75


def activities(cell, seed):
  """Fifty units: 20 active ones for VAE, 24 for IWAE; one unit of seeds 1 and 2 is near the threshold."""
  rng, active = np.random.default_rng(seed), {"vae-1": 20, "iwae-5": 24}[cell]
  logs = np.concatenate([rng.normal(-0.3, 0.2, active), rng.normal(-4, 0.3, 49 - active), [-2.3 if seed else -4]])
  return {"test/units/activity_1": (10**logs).astype(np.float32)}


@pytest.fixture
def activity(tmp_path):
  values = {cell: [[-100.0, -101.0]] * 3 for cell in ("vae-1", "iwae-5")}
  folder = made_runs.make(tmp_path, "burda2016", "figure=activity", values, more=activities, budget="quick")
  return paper.report("figure=activity", "quick", folder)


def test_active_units_are_counted_and_two_modes_are_shown(activity):
  vae, iwae = (activity["numbers"]["cells"][c] for c in ("vae-1", "iwae-5"))
  assert (vae["active"], iwae["active"]) == (dict.fromkeys("012", 20), dict.fromkeys("012", 24))
  assert vae["near_threshold"] == {"0": 0, "1": 1, "2": 1}
  sentences, tolerance = activity["sentences"], "The threshold is not critical (at most 1 unit is near it)"
  assert sentences[0] == "Two modes of log A_u, VAE k = 1: shown."
  assert sentences[1] == f"{tolerance}, VAE k = 1: cannot be told (0.67 ± 0.33 units lie within half a decade of it)."
  assert sentences[2] == "Two modes of log A_u, IWAE k = 5: shown."
  assert sentences[4] == "IWAE k = 5 has more active units than VAE k = 1: shown (+4.00 ± 0.00 over seeds)."


def test_the_histogram_has_every_unit_once(activity):
  (figure,) = activity["figures"]
  for line in figure["series"]:
    points = np.array(line["points"])
    assert points[:, 1].sum() == 150
    assert np.allclose(np.diff(points[:, 0]), 0.25)
  right = [sum(y for x, y in line["points"] if x >= -2) for line in figure["series"]]
  assert right == [60, 72]


def test_modes_that_touch_are_not_claimed():
  found = {"d": dict.fromkeys("012", 1.9), "bic_gain": dict.fromkeys("012", 5.0)}
  assert figure_activity._two_modes(found) == "cannot be told"
  assert figure_activity._two_modes(found | {"d": {"0": 2.1, "1": 2.5, "2": 9.0}}) == "cannot be told"
  assert figure_activity._two_modes(found | {"d": {"0": 7.0, "1": 8.0, "2": 9.0}}) == "shown"
  one = {"d": dict.fromkeys("012", 9.0), "bic_gain": dict.fromkeys("012", -1.0)}
  assert figure_activity._two_modes(one) == "cannot be told"


def test_a_threshold_in_the_middle_of_a_mode_is_critical():
  verdict = lambda *near: figure_activity._threshold("VAE", {"near_threshold": dict(enumerate(near))})
  assert "VAE: it is critical here (30.33 ± 1.67 units" in verdict(32, 27, 32)
  assert "VAE: shown (0.00 ± 0.00 units" in verdict(0, 0, 0)
  assert "cannot be told" in verdict(0, 2, 0)
  of = lambda active, near: {"active": dict(enumerate(active)), "near_threshold": dict(enumerate(near))}
  cells = {"vae-1": of((20, 21, 20), (32, 27, 32)), "iwae-5": of((30, 31, 30), (0, 0, 0))}
  (sentence,) = figure_activity._more_active(cells)
  assert sentence.endswith("shown (+10.00 ± 0.00 over seeds); another threshold would give another count.")


def grid(low, high, num=400):
  z = np.linspace(low, high, num)
  return z, np.stack(np.meshgrid(z, z, indexing="ij"), -1)


def negentropy(z, p, covariance):
  return float(figure_posteriors.negentropy(z[None], z[None], jnp.array(p)[None], jnp.array(covariance)[None])[0])


def test_a_normal_has_no_negentropy_and_that_of_a_mixture_is_the_closed_form():
  z, points = grid(-12.0, 12.0)
  c = np.array([[1.0, 0.6], [0.6, 2.0]])
  assert negentropy(z, scipy.stats.multivariate_normal([0.5, -1], c).pdf(points), c) == pytest.approx(0, abs=1e-4)
  # two unit normals 12 apart do not overlap: H = log 2 + log(2 pi e); variance 1 + 36 along the first axis
  parts = [scipy.stats.multivariate_normal([m, 0]).pdf(points) for m in (-6, 6)]
  mixture = negentropy(z, sum(parts) / 2, np.diag([37.0, 1.0]))
  assert mixture == pytest.approx(0.5 * np.log(37) - np.log(2), abs=1e-4)


def test_the_negentropy_of_a_uniform_density_is_the_closed_form():
  z, points = grid(-1.0, 1.0, 401)  # cells whose centres are inside
  p = (np.abs(points).max(-1) < 0.75).astype(float)
  width = 1.5
  j = negentropy(z, p / width**2, np.eye(2) * width**2 / 12)
  assert j == pytest.approx(np.log(2 * np.pi * np.e / 12), abs=0.02)


def test_posteriors_are_measured_once_and_only_for_finished_runs(tmp_path, monkeypatch):
  budget = paper.RUNS["figure=posteriors"]["test"]
  folder = made_runs.make(tmp_path, "burda2016", "figure=posteriors", {"vae-1": [[-100.0]] * 2})
  asked = []
  monkeypatch.setattr(dgm_jax, "load", lambda path: path)
  monkeypatch.setattr(
    figure_posteriors, "posteriors", lambda path, n, grid: asked.append((path.name, n, grid)) or {"kl": np.zeros(n)}
  )
  budget.measure(folder, stages.run_names(budget))
  budget.measure(folder, stages.run_names(budget))
  assert asked == [(name, 6, 100) for name in stages.run_names(budget)["vae-1"]]


def measured_values(folder, cell, by_seed):
  for name, kl in zip(stages.run_names(paper.RUNS["figure=posteriors"]["test"])[cell], by_seed, strict=True):
    kl, z = np.array(kl, np.float32), np.tile(np.linspace(-3, 3, 8, dtype=np.float32), (2, 1))
    p = np.exp(-(z[:, :, None] ** 2 + z[:, None, :] ** 2) / 2) / (2 * np.pi)
    arrays = {"kl": kl, "negentropy": 2 * kl, "log_px": -100 - kl, "error": kl * 0 + 1e-4, "z1": z, "z2": z}
    (folder / "measured").mkdir(exist_ok=True)
    save_arrays(folder / "measured" / f"{name}.npz", p=p, q=p, x=np.zeros((2, 4, 4, 1)), **arrays)


def test_differences_of_posteriors_are_paired_by_image(tmp_path):
  folder = made_runs.make(tmp_path, "burda2016", "figure=posteriors", {c: [[-1.0]] * 2 for c in ("vae-1", "iwae-5")})
  measured_values(folder, "vae-1", ([1.0, 3.0], [1.5, 3.5]))
  measured_values(folder, "iwae-5", ([2.0, 4.5], [2.5, 5.0]))
  found = paper.report("figure=posteriors", "test", folder)
  kl, j = found["numbers"]["pairs"].values()
  # by image +1 and +1.5 for both seeds
  assert (kl["difference"], j["difference"]) == (pytest.approx(1.25), pytest.approx(2.5))
  assert kl["stderr_images"] == pytest.approx(0.25)
  assert (kl["stderr_seeds"], kl["verdict"]) == (pytest.approx(0), "higher")
  assert found["sentences"][0] == "KL(q || p), IWAE k = 5 − VAE k = 1 > 0: shown (+1.25 ± 0.25 over images)."
  assert found["numbers"]["cells"]["vae-1"]["kl"]["mean"] == pytest.approx(2.25)
  assert all((folder / figure["file"]).stat().st_size > 1000 for figure in found["figures"])
  json.dumps(found, allow_nan=False)
  assert "VAE k = 1 KL 2.25 ± 0.25, J 4.50 ± 0.50" in paper.summary(found["numbers"])["ours"]


@pytest.mark.slow
def test_two_latent_units_are_trained_measured_and_drawn(tmp_path):
  command = ["burda2016", "--figure=posteriors", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  folder = papers.folder(tmp_path, "burda2016", "figure=posteriors", "test")
  files = sorted((folder / "measured").iterdir())
  assert len(files) == 4
  arrays = load_arrays(files[0])
  cell = (arrays["z1"][:, 1] - arrays["z1"][:, 0]) * (arrays["z2"][:, 1] - arrays["z2"][:, 0])
  np.testing.assert_allclose(arrays["p"].sum((1, 2)) * cell, 1, atol=5e-3)
  assert (arrays["kl"] > -1e-3).all() and (arrays["negentropy"] > -1e-2).all()
  times = [file.stat().st_mtime_ns for file in files]
  assert reproduce.main(command) == 0
  assert [file.stat().st_mtime_ns for file in files] == times
  assert sorted(p.name for p in folder.glob("*.png")) == ["posteriors_iwae-5.png", "posteriors_vae-1.png"]
