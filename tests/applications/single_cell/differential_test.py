"""Differential expression is calibrated: for pairs of cells drawn from a model, with draws of their exact posterior."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

import dgm_jax
from dgm_jax.applications.single_cell import differential
from dgm_jax.data import simulated_cells

PAIRS, GENES, DELTA, DRAWS = 150, 20, 0.5, 200


def _log_rho(a, w, z):
  scores = a + z @ w.T
  return scores - scipy.special.logsumexp(scores, -1, keepdims=True)


def _posterior_draws(rng, a, w, theta, totals, x):
  """z ~ p(z|x) on a grid of the plane, [N, DRAWS, 2], with z ~ N(0, I) and negative binomial counts."""
  axis = np.linspace(-4, 4, 41)
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  rho, prior = np.exp(_log_rho(a, w, grid)), -0.5 * (grid**2).sum(1)
  drawn = np.empty((len(x), DRAWS, 2))
  for i in range(len(x)):
    mean = totals[i] * rho
    log_p = scipy.stats.nbinom.logpmf(x[i], theta, theta / (theta + mean)).sum(1) + prior
    p = np.exp(log_p - log_p.max())
    jitter = rng.uniform(-0.1, 0.1, (DRAWS, 2))
    drawn[i] = grid[rng.choice(len(grid), DRAWS, p=p / p.sum())] + jitter
  return drawn


@pytest.fixture(scope="module")
def calibrated():
  """(probability, whether it happened), [PAIRS, GENES], of |log2 rho_a / rho_b| > delta."""
  rng = np.random.default_rng(0)
  a, w, theta = rng.normal(0, 1, GENES), rng.normal(0, 0.6, (GENES, 2)), np.exp(rng.normal(1, 0.3, GENES))
  z = rng.normal(size=(2, PAIRS, 2))
  totals = rng.lognormal(5, 0.3, (2, PAIRS))
  rho = np.exp(_log_rho(a, w, z))
  x = rng.poisson(rng.gamma(theta, totals[..., None] * rho / theta))
  drawn = [_posterior_draws(rng, a, w, theta, totals[s], x[s]) for s in range(2)]
  p = np.stack(
    [
      differential.scores(*(np.exp(_log_rho(a, w, d[i])) for d in drawn), "change", DELTA)["proba_de"]
      for i in range(PAIRS)
    ]
  )
  return p, np.abs(differential.log2_ratio(rho[0], rho[1])) > DELTA


def test_probabilities_are_those_of_the_events(calibrated):
  """E[event - p] = 0 overall and where p is small, middling and large; errors are clustered by pair."""
  p, event = calibrated
  for low, high in ((0, 1.01), (0, 0.3), (0.3, 0.7), (0.7, 1.01)):
    inside = (p >= low) & (p < high)
    by_pair = np.where(inside, event - p, 0).sum(1)
    assert abs(by_pair.mean()) < 4 * by_pair.std(ddof=1) / np.sqrt(PAIRS), (low, high)


def test_the_expected_share_of_false_discoveries_is_the_share_there_is(calibrated):
  p, event = calibrated
  called = np.stack([differential.called(row, 0.1) for row in p])
  excess = np.where(called, (1 - event) - (1 - p), 0).sum(1)
  assert called.mean() > 0.05
  assert abs(excess.mean()) < 4 * excess.std(ddof=1) / np.sqrt(PAIRS)


@pytest.mark.slow
def test_decoding_in_one_batch_removes_a_planted_effect_and_finds_it(tmp_path):
  """The log-ratio of the two batches' expectations is the planted shift; in one batch the cells do not differ by it."""
  import anndata
  import pandas as pd

  arrays, about = simulated_cells.draw(1500)
  obs = pd.DataFrame({"batch": [about["batches"][b] for b in arrays["batch"]]}, index=np.arange(1500).astype(str))
  adata = anndata.AnnData(arrays["x"].astype("f"), obs, pd.DataFrame(index=list(about["genes"])))
  model = dgm_jax.SCVI(adata, batch_key="batch", gene_likelihood="nb", n_hidden=64, n_latent=2)
  model.train(80, workdir=tmp_path / "run")
  of = [np.log(model.get_normalized_expression(transform_batch=b, return_numpy=True)) for b in about["batches"]]
  planted = simulated_cells.parameters().shift
  found = (of[1] - of[0]).mean(0)
  expected = planted[1] - planted[0]
  assert np.corrcoef(found, expected)[0, 1] > 0.95
  first = arrays["batch"] == 0
  left = of[0][first].mean(0) - of[0][~first].mean(0)  # types are as frequent in both batches
  assert np.std(left) < 0.2 * np.std(expected)
