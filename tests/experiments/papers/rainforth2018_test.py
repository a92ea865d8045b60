"""The signal-to-noise ratios of Rainforth et al. (2018): gradients by automatic differentiation, slopes by theory."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgm_jax
from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper, stages
from dgm_jax.experiments.papers.rainforth2018 import figure1, figure2, table1
from dgm_jax.experiments.papers.rainforth2018 import paper as rainforth2018
from dgm_jax.experiments.shared import linear_gaussian_snr as toy
from helpers import made_runs

SETTING = toy.Setting(points=3, repeats=1000, ks=(10,), ms=(10,), dim=4)


def test_gradients_are_those_of_the_bound():
  model, key, k = toy.make_model(SETTING), jax.random.key(5), 7
  found = toy.gradients(model, key, 1, k)
  noise = jnp.sqrt(2 / 3) * jax.random.normal(key, (k, 3, 4))

  def bound(mu, b):
    z = model.x @ model.a.T + b + noise
    log_w = jnp.sum(-0.5 * (z - mu) ** 2 - 0.5 * (model.x - z) ** 2 + 0.75 * (z - model.x @ model.a.T - b) ** 2, -1)
    return jax.nn.logsumexp(log_w, 0)  # [N]

  by_mu, by_b = jax.jacobian(bound, (0, 1))(model.mu, model.b)
  np.testing.assert_allclose(found["mu"][0], by_mu, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["b"][0], by_b, rtol=1e-4, atol=1e-5)


def test_estimators_of_b_agree_in_expectation_except_stl():
  """DReG has the mean of the bound's gradient, RWS that of RWS-DReG; STL is DReG + RWS-DReG and so biased."""
  model = toy.make_model(SETTING._replace(perturbation=0.3))
  names = ("b", "b_dreg", "b_stl", "b_rws", "b_rws_dreg")
  found = jax.jit(lambda key: toy.gradients(model, key, 20_000, 6, names))(jax.random.key(2))
  found = {name: np.asarray(g, np.float64).mean(1) for name, g in found.items()}  # [R, D]
  np.testing.assert_allclose(found["b_stl"], found["b_dreg"] + found["b_rws_dreg"], atol=1e-5)
  errors = lambda d: np.abs(d.mean(0)) / (d.std(0) / np.sqrt(len(d)))
  assert errors(found["b"] - found["b_dreg"]).max() < 4.5
  assert errors(found["b_rws"] - found["b_rws_dreg"]).max() < 4.5
  assert errors(found["b_stl"] - found["b"]).max() > 10


def test_histograms_are_of_the_parameters_furthest_from_their_optimum_with_known_means():
  """K = 1: E = -2 (b - mu / 2) and mean(x) / 2 + b - mu; K large: 0 and (mean(x) - mu) / 2."""
  model = toy.make_model(SETTING._replace(perturbation=0.3))
  chosen, best = figure1.furthest(model), np.asarray(model.x).mean(0)
  mu, b = np.asarray(model.mu), np.asarray(model.b)
  assert abs(mu - best).argmax() == chosen["mu"]
  assert abs(b - mu / 2).argmax() == chosen["b"]
  one = figure1.estimates(model, jax.random.key(3), 4000, 1)
  many = figure1.estimates(model, jax.random.key(4), 400, 2000)
  off = lambda g, expected: abs(g.mean() - expected) / (g.std() / np.sqrt(len(g)))
  assert off(one["b"], -2 * (b - mu / 2)[chosen["b"]]) < 4
  assert off(one["mu"], (best / 2 + b - mu)[chosen["mu"]]) < 4
  assert off(many["mu"], (best - mu)[chosen["mu"]] / 2) < 4
  assert abs(many["b"].mean()) < 0.02 * abs(one["b"].mean())


def test_moments_of_averages_over_data_points_and_samples():
  """The average of M samples has the mean of one sample, and 1/M of its variance."""
  model = toy.make_model(SETTING)
  one, ten = (toy.moments(model, jax.random.key(m), SETTING, 1, m) for m in (1, 10))
  assert one["mu_mean"].shape == (toy.PARTS, 4)
  ratio = one["mu_variance"].mean(0) / ten["mu_variance"].mean(0)
  np.testing.assert_allclose(ratio, 10, rtol=0.15)
  error = np.sqrt(one["mu_variance"].mean(0) / SETTING.repeats)
  assert np.all(np.abs(one["mu_mean"].mean(0) - ten["mu_mean"].mean(0)) < 5 * error)
  drawn = toy.gradients(model, jax.random.key(1), 1000, 1)["mu"].mean(1)
  np.testing.assert_allclose(one["mu_variance"].mean(0), drawn.var(0), rtol=0.2)


def test_the_error_of_the_mean_is_subtracted_from_the_signal():
  rng = np.random.default_rng(0)
  repeats, dim = 1000, 2000
  per_part = repeats // toy.PARTS
  means = 0.01 + rng.normal(size=(toy.PARTS, dim)) / np.sqrt(per_part)
  found = {"mu_mean": means, "mu_variance": np.ones((toy.PARTS, dim))}
  whole = np.ones(toy.PARTS, bool)
  assert np.sqrt((means.mean(0) ** 2).sum() / dim) > 0.03
  assert toy.snr(found, "mu", whole, repeats) == pytest.approx(0.01, abs=0.005)
  half = np.arange(toy.PARTS) < 5
  assert toy.snr(found, "mu", half, repeats) < 0.02


def test_a_slope_and_its_error():
  assert toy.slope([10, 100], [3.0, 0.3]) == pytest.approx(-1)
  parts = [{"mu_mean": np.full((toy.PARTS, 1), c**0.5), "mu_variance": np.ones((toy.PARTS, 1))} for c in (10, 40, 160)]
  value, error = toy.slope_and_error(parts, [10, 40, 160], "mu", 10**9)
  assert (value, error) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0, abs=1e-6))


@pytest.mark.slow
def test_slopes_match_the_theorem_and_finished_pieces_are_not_repeated(tmp_path, capsys, monkeypatch):
  command = ["rainforth2018", "--figure=2", "--budget=test", f"--root={tmp_path}"]
  moments, calls = toy.moments, []

  def interrupted(model, key, setting, k, m):
    calls.append((k, m))
    if len(calls) == 3:
      raise KeyboardInterrupt
    return moments(model, key, setting, k, m)

  monkeypatch.setattr(toy, "moments", interrupted)
  with pytest.raises(KeyboardInterrupt):
    reproduce.main(command)
  assert reproduce.main(command) == 0
  assert reproduce.main(command) == 0
  assert len(set(calls)) == len(calls) - 1 == len(toy.pieces(figure2.SETTINGS["test"]))
  folder = tmp_path / "rainforth2018/figure2/test"
  numbers = rainforth2018.report("figure=2", "test", folder)["numbers"]["slopes"]
  for key, n in numbers.items():
    assert abs(n["slope"] - n["theory"]) < 0.15, (key, n)
    assert n["stderr"] < 0.1
  assert (folder / "snr_b.png").stat().st_size > 10_000
  assert "slope −0.5" in (tmp_path / "index.html").read_text()


def test_histograms_and_their_sentences(tmp_path):
  place = tmp_path / "runs" / "computed"
  place.mkdir(parents=True)
  wide, narrow = np.array([-3.0, 1.0, 5.0] * 100), np.array([0.9, 1.0, 1.1] * 100)
  np.savez(place / "k00001.npz", b=wide, mu=wide)
  np.savez(place / "k00010.npz", b=narrow, mu=narrow)
  found = rainforth2018.report("figure=1", "test", tmp_path)
  first = found["numbers"]["moments"]["b"]["1"]
  assert first["mean"] == pytest.approx(1)
  assert first["sd"] == pytest.approx(np.sqrt(32 / 3 * 300 / 299))
  assert first["positive"] == pytest.approx(2 / 3)
  assert first["ratio_stderr"] == pytest.approx(np.sqrt((1 + 1 / first["sd"] ** 2 / 2) / 300))
  falls, rises = found["sentences"]
  assert "inference network's estimates falls from K = 1 to 10: the opposite is shown" in falls
  assert "generative network's estimates rises from K = 1 to 10: shown" in rises
  bars = found["figures"][0]["series"][0]["points"]
  area = sum(density * (right - left) for (left, density), (right, _) in itertools.pairwise(bars))
  assert area == pytest.approx(1)
  assert rainforth2018.summary(found["numbers"])["ours"].startswith("inference network 0.31, 12.2")


# IWAE-4 and log p(x) of two images for seeds 0 and 1
_TABLE = {
  "iwae": (([-6.0, -8.0], [-5.0, -6.0]), ([-6.0, -8.0], [-5.0, -6.0])),
  "piwae": (([-5.5, -7.4], [-5.0, -6.5]), ([-5.5, -7.6], [-5.0, -6.5])),
  "miwae": (([-7.0, -9.0], [-5.0, -7.0]), ([-7.0, -9.0], [-5.0, -7.0])),
  "ciwae": (([-6.0, -8.0], [-6.0, -8.0]), ([-6.0, -8.0], [-6.0, -8.0])),
  "vae": (([-8.0, -9.0], [-7.0, -8.0]), ([-6.0, -8.0], [-5.0, -7.0])),
}


def test_the_table_by_hand(tmp_path):
  log_px = {cell: [values for _, values in by_seed] for cell, by_seed in _TABLE.items()}
  folder = made_runs.make(tmp_path, "rainforth2018", "table=1", log_px)
  for cell, names in stages.run_names(table1.BUDGETS["test"]).items():
    for name, (bound, _) in zip(names, _TABLE[cell], strict=True):
      files.save_arrays(folder / "measured" / f"{name}.npz", bound=np.array(bound))
  numbers = rainforth2018.report("table=1", "test", folder)["numbers"]
  assert numbers["samples"] == 4
  vae = numbers["cells"]["minus_kl/vae"]
  assert vae["by_seed"] == {"0": -1.0, "1": -1.0}
  assert numbers["cells"]["bound/vae"]["mean"] == pytest.approx(-7.75)
  assert numbers["cells"]["bound/vae"]["sd"] == pytest.approx(np.sqrt(2) * 0.75)
  assert numbers["cells"]["bound/vae"]["stderr_seeds"] == pytest.approx(0.75)
  pair = numbers["pairs"]["bound/piwae/iwae"]  # by image .5 and .5 (the mean of .6 and .4)
  assert (pair["difference"], pair["by_seed"]) == (pytest.approx(0.5), pytest.approx([0.55, 0.45]))
  assert pair["verdict"] == "higher"
  assert numbers["pairs"]["log_px/piwae/iwae"]["verdict"] == "undecided"  # 0, -0.5
  assert numbers["pairs"]["minus_kl/miwae/piwae"]["verdict"] == "lower"
  row = rainforth2018.summary(numbers)
  assert "PIWAE −5.75 ± 0.00" in row["ours"]
  assert "PIWAE −84.46" in row["published"]


def test_orders_are_those_of_the_published_numbers():
  for metric, orders in table1._ORDERS.items():
    for first, second in orders:
      higher, lower = (table1.PUBLISHED[f"{metric}/{cell}"] for cell in (first, second))
      assert higher.value > lower.value
  for cell in table1._NAMES:
    bound, log_px, kl = (table1.PUBLISHED[f"{m}/{cell}"].value for m in ("bound", "log_px", "minus_kl"))
    assert bound - log_px == pytest.approx(kl, abs=0.011)  # rounded


@pytest.mark.slow
def test_runs_are_measured_on_the_images_that_they_were_evaluated_on(tmp_path, capsys):
  """With about as many samples as in the evaluation, the bound is close to the evaluation's log p(x) of each image."""
  command = ["rainforth2018", "--table=1", "--budget=test", f"--root={tmp_path}", "--cells=miwae", "--jobs=1"]
  assert reproduce.main(command) == 0
  folder = paper.folder(tmp_path, "rainforth2018", "table=1", "test")
  many = table1._budget("25 samples", 5, 2).measure.keywords["measure"]
  for name in stages.run_names(table1.BUDGETS["test"])["miwae"]:
    bound = many(dgm_jax.load(folder / "runs" / name))["bound"]
    four = files.load_arrays(folder / "measured" / f"{name}.npz")["bound"]
    log_px = np.load(folder / "runs" / name / "values.npz")["test/log_px"]  # by 20 samples
    assert np.corrcoef(bound, log_px)[0, 1] > 0.999
    assert abs((bound - log_px).mean()) < 0.15
    assert four.mean() < log_px.mean() - 0.1
