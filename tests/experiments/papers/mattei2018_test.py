"""Reports on likelihoods and imputation by hand; masks, chains and scores against scikit-learn."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from dgm_jax.core.system import TrainState
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import plots
from dgm_jax.experiments.papers.mattei2018 import imputation_scores as scores
from dgm_jax.experiments.papers.mattei2018 import paper, parsimony
from dgm_jax.models.vae import vae
from helpers import measured_runs


def test_f1_matches_scikit_learn_over_all_missing_pixels():
  rng = np.random.default_rng(0)
  truth, guess = rng.integers(0, 2, (2, 30, 12))
  missing = rng.random((30, 12)) < 0.6
  kinds = (guess & truth & missing, guess & (1 - truth) & missing, (1 - guess) & truth & missing)
  counts = np.stack([k.sum(1) for k in kinds], -1)
  assert scores.f1(counts.sum(0)) == pytest.approx(f1_score(truth[missing], guess[missing]))


def test_the_jackknife_leaves_out_one_image_at_a_time():
  rng = np.random.default_rng(1)
  counts = [rng.integers(1, 20, (2, 15, 3)) for _ in range(2)]
  mean, error, by_seed = scores.difference(counts)
  whole = lambda c: scores.f1(c[1].sum(0)) - scores.f1(c[0].sum(0))
  assert by_seed == pytest.approx([whole(c) for c in counts])
  assert mean == pytest.approx(np.mean(by_seed))
  left = np.array([np.mean([whole(np.delete(c, i, 1)) for c in counts]) for i in range(15)])
  assert error == pytest.approx(np.sqrt(14 / 15 * ((left - left.mean()) ** 2).sum()))


def test_masks_hide_the_stated_pixels():
  shape = (50, 28, 28, 1)
  for setting in scores.SETTINGS[:5]:
    rate = 1 - float(scores.observed(setting, jax.random.key(0), shape).mean())
    assert rate == pytest.approx(float(setting.split()[0]) / 100, abs=5 * np.sqrt(0.25 / 39200))
  top, bottom = (np.asarray(scores.observed(s, jax.random.key(0), shape)) for s in scores.SETTINGS[5:])
  np.testing.assert_array_equal(top[:, :14], 0)
  np.testing.assert_array_equal(top[:, 14:], 1)
  np.testing.assert_array_equal(top + bottom, 1)


def test_counts_of_a_run_are_those_of_missing_pixels_and_padding_is_dropped(monkeypatch):
  """With fake chains that impute every missing pixel by the mean of the observed ones."""
  calls = []

  def impute(model, key, x, mask, num_steps):
    calls.append(x.shape)
    bright = (x * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    return jnp.stack([jnp.broadcast_to(bright, x.shape), jnp.ones_like(x)]), jnp.full(len(x), 0.5)

  monkeypatch.setattr(scores, "impute", impute)
  rng = np.random.default_rng(2)
  x = (rng.random((63, 4, 6, 1)) < rng.random((63, 1, 1, 1))).astype("f")
  pipeline = types.SimpleNamespace(evaluate=lambda key, batch: batch)
  splits = types.SimpleNamespace(test={"x": x, "index": np.arange(63, dtype="i4")})
  model = vae.Model((4, 6, 1), latent_dim=2, hidden=(3,))
  state = TrainState(0, model.init(jax.random.key(0), {"x": x[:2]})["params"], (), {}, {})
  experiment = types.SimpleNamespace(model=model, transforms=pipeline, splits=splits)
  run = types.SimpleNamespace(experiment=experiment, state=state)
  found = scores.score(run, 60, 4)
  assert found["counts"].shape == (7, 2, 60, 3)
  assert calls == [(50, 24)]
  half = x[:60, :2].reshape(60, -1)  # "top half" is missing
  lower = x[:60, 2:].reshape(60, -1).mean(1, keepdims=True) > 0.5
  expected = np.stack([(lower & (half > 0)).sum(1), (lower & (half == 0)).sum(1), (~lower & (half > 0)).sum(1)], -1)
  np.testing.assert_array_equal(found["counts"][5, 0], expected)
  np.testing.assert_array_equal(found["counts"][5, 1], np.stack([half.sum(1), 12 - half.sum(1), 0 * half.sum(1)], -1))
  np.testing.assert_allclose(found["taken"], 0.5)
  np.testing.assert_array_equal(found["shown"][5, :, 0, ..., 0], x[:8, ..., 0])


def test_the_best_mixture_is_bounded_from_both_sides():
  x = jnp.asarray(np.random.default_rng(3).integers(0, 2, (30, 40)).astype("f"))
  found = parsimony.mixture(x, 0.05)
  peak = -20 * np.log(2 * np.pi * 0.05) - np.log(30)  # one component per point
  assert found["below"] == pytest.approx(peak, abs=1e-3)
  assert found["below"] - 1e-3 <= found["searched"] <= found["above"] + 1e-3
  assert found["above"] == pytest.approx(peak, abs=0.05)


def make_likelihoods(folder, late):
  """log p(x) 10 and 12 by seed with the floor, 30 without; the ELBO one less; the best mixture 20.0 to 20.5."""
  for cell, seed, run in measured_runs.of(paper, "figure=1"):
    log_px = np.full(4, 10.0 + 2 * seed if cell == "floor" else 30.0)
    end = 9.0 + seed if cell == "floor" else late[seed]
    rows = [{"step": step, "train/elbo": end if step >= 30 else 0.0, "valid/log_px": 5.0} for step in (10, 20, 30, 40)]
    measured_runs.train(folder, run, rows)
    measured_runs.measure(folder, run, log_px=log_px, elbo=log_px - 1)
  measured_runs.measure(folder, "mixture", below=20.0, above=20.5, searched=20.25)
  return folder


def test_the_bounds_on_the_likelihood_by_hand(tmp_path):
  found = paper.report("figure=1", "test", make_likelihoods(tmp_path, (40.0, 41.0)))
  held, free = (found["numbers"]["cells"][c] for c in ("floor", "no floor"))
  assert (held["elbo"], held["log_px"], held["log_px_stderr"], held["gap"]) == pytest.approx((10, 11, 1, 9))
  assert held["late"] == pytest.approx(9.5)
  assert (free["late"], free["late_stderr"], free["beyond"]) == (pytest.approx(40.5), pytest.approx(0.5), "higher")
  first, second = found["sentences"]
  assert "shown; 40.5 nats against 20.5" in first
  assert "ELBO 10.00 <= log p(x) 11.00 <= best mixture 20.00 (at most 20.50): holds" in second
  assert "certified): parsimony gap 9.0" in paper.summary(found["numbers"])["ours"]


@pytest.mark.parametrize("late,word", [((20.0, 30.0), "cannot be told"), ((9.0, 9.1), "the opposite is shown")])
def test_an_undecided_or_absent_divergence_is_not_claimed(tmp_path, late, word):
  found = paper.report("figure=1", "test", make_likelihoods(tmp_path, late))
  assert word in found["sentences"][0]


def test_scores_by_hand(tmp_path):
  pseudo, exact = np.array([6, 2, 2]), np.array([8, 1, 1])  # F1 0.75, 16/18

  counts = np.broadcast_to(np.stack([pseudo, exact])[:, None], (7, 2, 40, 3)).copy()
  counts[5:] = counts[5:, ::-1]  # for the halves the other way round
  counts[0] = pseudo
  for _, _, run in measured_runs.of(paper, "figure=2"):
    shown = np.zeros((7, 8, 4, 28, 28, 1), "f")
    measured_runs.measure(tmp_path, run, counts=counts, taken=np.full(7, 0.4), shown=shown)
  found = paper.report("figure=2", "test", tmp_path)
  cells = found["numbers"]["scores"]["mnist5k"]
  assert cells["50 %"]["pseudo"] == pytest.approx(0.75)
  assert cells["50 %"]["difference"] == pytest.approx(16 / 18 - 0.75)
  verdicts = [n["verdict"] for n in cells.values()]
  assert verdicts == ["undecided"] + ["higher"] * 4 + ["lower"] * 2
  assert found["sentences"] == ["mnist5k: a higher F1 of Metropolis-within-Gibbs is shown in 4 of 7 settings."]
  assert "80 %: 0.750, 0.889 (higher); top half: 0.889, 0.750 (lower)" in paper.summary(found["numbers"])["ours"]
  plots.draw(tmp_path, found["figures"])
  assert {f["file"] for f in found["figures"]} == {p.name for p in tmp_path.glob("*.png")}


@pytest.mark.slow  # some minutes
@pytest.mark.parametrize("item", ["figure=1", "figure=2"])
def test_the_test_budget_measures_its_runs_once(tmp_path, item, capfd):
  command = ["mattei2018", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  assert "measuring" in capfd.readouterr().out
  assert reproduce.main(command) == 0
  assert "measuring" not in capfd.readouterr().out
  found = paper.report(item, "test", tmp_path / "mattei2018" / item.replace("=", "") / "test")["numbers"]
  if item == "figure=1":
    held, best = found["cells"]["floor"], found["mixture"]
    assert held["elbo"] < held["log_px"] < best["below"] <= best["above"]
  else:
    assert all(0 < n["pseudo"] < 1 and 0 < n["metropolis"] < 1 for n in found["scores"]["mnist5k"].values())
