"""A fitted MIWAE: densities, draws and errors compared with reference distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax.applications.imputation import cells, columns, comparison, fit, fitted
from dgm_jax.core.system import TrainState
from helpers import mixed_table as mt


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """Uses small blocks, so that every test compiles the same shape and runs over several blocks."""
  monkeypatch.setattr(fitted, "_BLOCK", 16)


def test_log_prob_is_the_models_density_in_the_tables_units():
  """q is the prior here: log 1/K sum_k p(x_observed | z_k), with factors computed by scipy from the decoder output."""
  model, n = mt.untrained(), 6
  got = fitted.log_prob(model, mt.MISSING[:n], num_samples=20_000)
  bound = fit.model(mt.SPEC).bind(jax.tree.map(lambda a: a[0], model.fit.variables))
  z = jax.random.normal(jax.random.key(1), (20_000, 2))
  p = bound.decode(z)
  numbers, binary, classes = p._groups
  t = numbers.distribution
  df, loc, scale = (np.asarray(a)[:, None] for a in (t._df, t._loc, t._scale))
  x, where = np.nan_to_num(mt.MISSING[:n]), ~np.isnan(mt.MISSING[:n])
  places, units = np.array([3.0, 10.0]), np.array([2.0, 4.0])
  terms = scipy.stats.t.logpdf(x[:, [0, 2]], df, places + units * loc, units * scale)
  log_p = (terms * where[:, [0, 2]]).sum(-1)
  log_p += where[:, 1] * scipy.stats.bernoulli.logpmf(x[:, 1], np.asarray(binary.mean()))
  log_p += where[:, 3] * np.log(np.asarray(classes.distribution.probs)[:, 0])[:, x[:, 3].astype(int)]
  np.testing.assert_allclose(got, scipy.special.logsumexp(log_p, 0) - np.log(20_000), atol=0.1)


def test_the_score_is_the_log_density_of_hidden_given_observed_entries():
  """From joint densities with and without the hidden entries, in standardised units; 50 samples per row are biased."""
  model, hidden = mt.untrained(), fitted.hide(mt.MISSING, 0.1, 0)
  x, hidden = mt.MISSING[hidden.any(1)], hidden[hidden.any(1)]
  seen = np.where(hidden, np.nan, x)
  density = fitted.log_prob(model, x, 20_000) - fitted.log_prob(model, seen, 20_000)
  expected = (density.sum() + hidden.sum(0) @ np.log([c.scale for c in mt.COLUMNS])) / hidden.sum()
  assert expected < -1
  rows = fit.Rows(columns.standardise(mt.COLUMNS, np.nan_to_num(x)), (~np.isnan(seen)).astype("f"))
  states = TrainState(jnp.zeros(1), model.fit.variables["params"], (), {}, {})
  arrays = jax.tree.map(fit.pad, rows), fit.pad(hidden.astype("f"))
  score = fit._programs(mt.SPEC).score(states, jax.random.key(0), *arrays)
  assert score[0] == pytest.approx(expected, abs=0.5)


def test_the_scaling_does_not_see_the_entries_that_are_held_out(monkeypatch):
  """Neither do the rows to train on; the held-out entries are standardised in the same way, for the score."""
  seen = {}
  monkeypatch.setattr(fit, "fit", lambda spec, rows, scored, *args: seen.update(rows=rows, scored=scored))
  found = fitted.fit(mt.MISSING, mt.COLUMNS, limits=fit.Limits(1), held_out=0.3, seed=4)
  hidden = fitted.hide(mt.MISSING, 0.3, 4)
  visible = np.where(hidden, np.nan, mt.MISSING)
  assert hidden.any()
  for j in (0, 2):
    assert found.columns[j].loc == pytest.approx(np.nanmean(visible[:, j]))
    assert found.columns[j].scale == pytest.approx(np.nanstd(visible[:, j]))
  np.testing.assert_array_equal(seen["rows"].mask, ~np.isnan(visible))
  np.testing.assert_array_equal(seen["scored"], hidden)


def test_draws_of_the_model_have_the_tables_values():
  drawn = fitted.generate(mt.untrained(), 500)
  assert drawn.shape == (500, 4)
  assert set(drawn[:, 1]) == {0, 1}
  assert set(drawn[:, 3]) == {0, 1, 2}
  assert (drawn[:, 2] == np.round(drawn[:, 2])).all()


@pytest.fixture(scope="module")
def trained():
  return fitted.fit(mt.MISSING, mt.COLUMNS, limits=fit.Limits(600), **mt.SMALL)


def test_a_fit_beats_mean_and_mode_on_missing_entries(trained):
  found = cells.impute(trained, mt.MISSING, **mt.DRAWS)
  filled = mt.MISSING.copy()
  filled[found.row, found.column] = found.x
  missing = np.isnan(mt.MISSING)
  got = comparison.measure(trained.columns, mt.COMPLETE, filled, missing, 0.0)
  means = np.tile([np.nanmean(mt.MISSING[:, 0]), 1, np.nanmean(mt.MISSING[:, 2]), 1], (len(mt.MISSING), 1))
  plain = comparison.measure(trained.columns, mt.COMPLETE, means, missing, 0.0)
  assert got.numbers < 0.75 * plain.numbers
  assert got.classes < 0.8 * plain.classes


def test_errors_are_measured_by_column():
  truth = np.array([[1.0, 0, 5, 2], [3.0, 1, 5, 2]])
  filled = np.array([[2.0, 1, 5, 2], [7.0, 1, 9, 0]])
  hidden = np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
  got = comparison.measure(mt.COLUMNS, truth, filled, hidden, 0.0)
  np.testing.assert_allclose(got.by_column[:2], [np.sqrt((1 + 16) / 2), 0.5])
  assert got.by_column[2:] == [None, 0.0]
  assert got.numbers == pytest.approx(np.sqrt((0.25 + 4) / 2))
  assert got.classes == pytest.approx(1 / 3)


def test_entries_are_hidden_in_few_rows_and_in_no_sparse_column():
  x = np.where(np.random.default_rng(0).random((5000, 4)) < 0.2, np.nan, 1.0)
  x[9:, 3] = np.nan
  hidden = fitted.hide(x, 0.1, 0)
  assert not (hidden & np.isnan(x)).any()
  assert hidden.any(1).sum() <= 2000
  count = (~np.isnan(x[:, :3])).mean() * 2000 * 3
  assert abs(hidden.sum() - 0.1 * count) < 5 * np.sqrt(0.09 * count)
  assert not hidden[:, 3].any()


def test_several_models_are_fitted_to_bootstrap_samples_of_the_rows(monkeypatch):
  """Rows are drawn with replacement: a sample contains a share 1 - (1 - 1/n)^n of the n rows on average."""
  chosen = []
  monkeypatch.setattr(fit, "fit", lambda spec, rows, hidden, rows_of, *rest: chosen.append(rows_of))
  for num_models in (1, 50):
    fitted.fit(mt.MISSING, mt.COLUMNS, limits=fit.Limits(1), num_models=num_models)
  one, many = chosen
  np.testing.assert_array_equal(one, [np.arange(100)])
  distinct = [len(set(rows.tolist())) for rows in many]
  assert abs(np.mean(distinct) - 100 * (1 - 0.99**100)) < 5 * np.std(distinct) / 50**0.5
  assert len(set(map(tuple, many.tolist()))) == 50


@pytest.mark.slow
def test_gaussian_tables_are_imputed_nearly_as_well_as_by_the_true_distribution():
  """Errors are compared with those of a known normal's conditional means; 90 % intervals must cover the truth."""
  g = np.random.default_rng(0)
  w = g.normal(size=(5, 2))
  covariance = w @ w.T + 0.2 * np.eye(5)
  complete = g.multivariate_normal(np.arange(5), covariance, 2000)
  incomplete = np.where(g.random(complete.shape) < 0.3, np.nan, complete)
  known = [columns.Column(str(j), "real") for j in range(5)]
  model = fitted.fit(incomplete, known, limits=fit.Limits(4000))
  found = cells.impute(model, incomplete, num_samples=500)
  exact = incomplete.copy()
  for x in exact:
    o, m = ~np.isnan(x), np.isnan(x)
    x[m] = np.arange(5)[m] + covariance[np.ix_(m, o)] @ np.linalg.solve(covariance[np.ix_(o, o)], (x - np.arange(5))[o])
  truth = complete[found.row, found.column]
  rmse = lambda a: np.sqrt(np.mean(np.square(a - truth)))
  assert rmse(exact[found.row, found.column]) < rmse(found.x) < 1.08 * rmse(exact[found.row, found.column])
  assert 0.86 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.94
  log_px = fitted.log_prob(model, complete, 500).mean()
  assert log_px == pytest.approx(
    scipy.stats.multivariate_normal(np.arange(5), covariance).logpdf(complete).mean(), abs=0.2
  )
