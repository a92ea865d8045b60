"""Linear VAEs and probabilistic PCA against scikit-learn, scipy and Monte Carlo; reports by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sklearn.decomposition import PCA

from dgm_jax.configs import linear_vae_mnist
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import plots
from dgm_jax.experiments.papers.lucas2019 import paper
from dgm_jax.experiments.papers.lucas2019 import tables as lt
from dgm_jax.experiments.shared import linear_vae as lv
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import vae
from helpers import measured_runs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 6)) + 0.4 * RNG.normal(size=(60, 6)) + 1.0


def linear(seed=1, dim=6, latent_dim=2):
  rng = np.random.default_rng(seed)
  w, v = rng.normal(size=(dim, latent_dim)), 0.3 * rng.normal(size=(latent_dim, dim))
  return lv.Linear(
    w, rng.normal(size=dim), v, rng.normal(size=latent_dim), 0.3, np.exp(rng.normal(-0.5, 0.3, latent_dim))
  )


def optimum(latent_dim, variance=0.0):
  """The linear VAE at the optimum of probabilistic PCA: W = U (l - s^2)^(1/2), q the exact posterior."""
  values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
  values, vectors = values[::-1], vectors[:, ::-1]
  s2 = variance or values[latent_dim:].mean()
  w = vectors[:, :latent_dim] * np.sqrt(np.maximum(values[:latent_dim] - s2, 0))
  inverse = np.diag(1 / ((w**2).sum(0) + s2))
  mean = X.mean(0)
  return lv.Linear(w, mean, inverse @ w.T, -inverse @ w.T @ mean, s2, np.sqrt(s2 * np.diag(inverse)))


def test_log_px_is_the_multivariate_normal_of_scipy():
  model = linear()
  expected = scipy.stats.multivariate_normal(model.b, model.w @ model.w.T + 0.3 * np.eye(6)).logpdf(X)
  np.testing.assert_allclose(lv.log_px(model, X), expected, rtol=1e-9)


@pytest.mark.parametrize("variance", [0.0, 0.3])
def test_the_elbo_is_that_of_the_model_that_is_trained(variance):
  """With the parameters of the config's model, the exact bound is the mean of sampled log-weights."""
  args = linear_vae_mnist.get_config(f"test,d=2,variance={variance}").model.args.to_dict()
  model, batch = vae.Model(data_shape=(6,), **args), {"x": jnp.asarray(X[:5], jnp.float32)}
  params = model.init(jax.random.key(0), batch)["params"]
  params = jax.tree.map(lambda a: a + 0.3 * jax.random.normal(jax.random.key(a.size), a.shape), params)
  terms = log_terms.log_terms(model, {"params": params}, jax.random.key(1), batch, 40_000)
  log_w = np.asarray(terms.w, np.float64)
  found = lv.elbo(lv.of_params(params, variance), X[:5])
  np.testing.assert_array_less(abs(log_w.mean(0) - found), 5 * log_w.std(0) / 200)


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_the_best_likelihood_matches_scikit_learn(latent_dim):
  """scikit-learn's covariance has denominator N - 1: with the data repeated 4000 times both agree."""
  spectrum = lv.eigenvalues(X)
  np.testing.assert_allclose(spectrum, np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1], rtol=1e-9)
  many = np.tile(X, (4000, 1))
  expected = PCA(latent_dim, svd_solver="full").fit(many).score(many)
  assert lv.best_log_px(spectrum, latent_dim) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("variance", [0.0, 0.1, 2.0, 50.0])
def test_at_the_optimum_the_elbo_is_the_likelihood_and_no_neighbour_is_better(variance):
  best = lv.best_log_px(lv.eigenvalues(X), 3, variance)
  model = optimum(3, variance)
  assert lv.log_px(model, X).mean() == pytest.approx(best, abs=1e-9)
  assert lv.elbo(model, X).mean() == pytest.approx(best, abs=1e-9)
  rng = np.random.default_rng(2)
  for _ in range(50):
    moved = lv.Linear(*(a + 0.05 * rng.normal(size=np.shape(a)) for a in model[:4]), model.variance, model.d)
    assert lv.elbo(moved, X).mean() < lv.log_px(moved, X).mean() <= best


def test_gradient_ascent_on_the_likelihood_finds_the_same_maximum():
  f = lambda p: -lv.log_px(lv.Linear(p[:12].reshape(6, 2), p[12:18], None, None, float(np.exp(p[18])), None), X).mean()
  found = scipy.optimize.minimize(f, np.random.default_rng(3).normal(size=19), method="L-BFGS-B")
  assert -found.fun == pytest.approx(lv.best_log_px(lv.eigenvalues(X), 2), abs=1e-3)


def test_active_units_by_eigenvalues_and_by_kl():
  assert [lv.active(np.array([3.0, 2.0, 1.0, 0.5]), 3, v) for v in (0.1, 1.5, 2.0, 5.0)] == [3, 2, 1, 0]
  kl = np.zeros((100, 4))
  kl[:, 1] = 1.0
  kl[:1, 2], kl[:2, 3] = 1.0, 1.0  # for 1 % and 2 % of the x
  assert lv.inactive(kl, 0.01) == 0.5
  assert lv.inactive(kl, 2.0) == 1.0
  model = optimum(3, 1.0)  # the eigenvalues above 1 are used, the others not at all
  mean = X @ model.v.T + model.c
  kl = 0.5 * (mean**2 + model.d**2 - 1 - 2 * np.log(model.d))
  assert lv.inactive(kl, 0.01) == pytest.approx(1 - lv.active(lv.eigenvalues(X), 3, 1.0) / 3)


def test_bounds_by_hand(tmp_path):
  numbers = {"2": [(10.0, 8.0, 7.0), (10.0, 9.0, 8.0)], "5": [(30.0, 29.0, 28.5), (30.0, 29.5, 29.5)]}

  for cell, seed, run in measured_runs.of(paper, "figure=1"):
    measured_runs.measure(tmp_path, run, **dict(zip(("best", "log_px", "elbo"), numbers[cell][seed], strict=True)))
  found = paper.report("figure=1", "test", tmp_path)
  two = found["numbers"]["bounds"]["2"]
  assert (two["elbo"], two["stderr"], two["gap"]) == pytest.approx((7.5, 0.5, 2.5))
  (sentence,) = found["sentences"]
  assert "1.00 to 2.50 nats below" in sentence
  assert "gains 20.0 nats from L = 2 to 5: at most 12.5 % of that is missing." in sentence
  assert paper.summary(found["numbers"])["ours"].endswith("L = 2: 7.5 of 10.0, L = 5: 29.0 of 30.0")
  plots.draw(tmp_path, found["figures"])
  assert (tmp_path / "bounds.png").stat().st_size > 5000


def test_collapse_by_hand(tmp_path):
  shares = {"linear 1.0": 0.6, "linear learned": 0.0, "deep 1.0": 0.8, "deep learned": 0.2}
  spectrum = np.r_[np.full(20, 2.0), np.full(764, 0.1)]

  for cell, _, run in measured_runs.of(paper, "figure=2"):
    inactive, variance = np.full(len(lt.EPSILONS), shares[cell]), 0.05 if "learned" in cell else 1.0
    measured_runs.measure(tmp_path, run, units=50, inactive=inactive, spectrum=spectrum, variance=variance)
  found = paper.report("figure=2", "test", tmp_path)
  cells = found["numbers"]["collapse"]
  assert cells["linear 1.0"]["theory"] == pytest.approx(0.6)
  assert cells["linear learned"]["theory"] == 0.0
  expected = "The linear VAE's collapsed units match the eigenvalues' prediction to within 0.0 of 50."
  assert found["sentences"][0] == expected
  assert "20 % of the units collapse with a learned variance" in found["sentences"][2]
  assert "claim that a learned one collapses fewer: shown" in found["sentences"][2]
  assert "linear: 1.0: 0.60, learned: 0.00; deep: 1.0: 0.80" in paper.summary(found["numbers"])["ours"]


@pytest.mark.slow  # two minutes
@pytest.mark.parametrize("item", ["figure=1", "figure=2"])
def test_the_test_budget_measures_its_runs_once(tmp_path, item, capfd):
  command = ["lucas2019", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  assert "measuring" in capfd.readouterr().out
  assert reproduce.main(command) == 0
  assert "measuring" not in capfd.readouterr().out
  folder = tmp_path / "lucas2019" / item.replace("=", "") / "test"
  found = paper.report(item, "test", folder)["numbers"]
  for n in found.get("bounds", {}).values():
    assert n["elbo"] < n["log_px"] < n["best"]
  for n in found.get("collapse", {}).values():
    assert 0 <= n["inactive"] <= 1
