"""Combinations of methods: what they may see, what they leave alone, and whether their intervals hold."""

import numpy as np
import pytest

from dgm_jax.applications.imputation import baselines, columns, combined, combined_cells, conditional_draws, evidence
from dgm_jax.applications.imputation.spread import Spread
from helpers import mixed_table as mt

LINEAR = ("mice", "knn", "mean")
PLAIN = tuple(columns.Column(c, "real") for c in "abcd")


def gaussian(n, seed=0, rate=0.25):
  """(incomplete, complete) rows of four numbers; the last depends on nothing."""
  g = np.random.default_rng(seed)
  x = g.normal(size=(n, 4)) @ np.array([[1, 0.8, -0.5, 0], [0, 0.6, 0.4, 0], [0, 0, 0.7, 0], [0, 0, 0, 1.0]])
  x = x * [1, 10, 0.1, 3] + [0, 5, 0, -2]
  return np.where(g.random(x.shape) < rate, np.nan, x), x


def filled(found, x):
  out = x.copy()
  out[found.row, found.column] = found.x
  return out


@pytest.fixture(scope="module")
def linear():
  x, complete = gaussian(1500)
  return combined.fit(x, PLAIN, combined.hide(x, 0.15, 0), LINEAR), x, complete


def test_observed_entries_are_untouched_and_rows_do_not_depend_on_each_other(linear):
  model, x, _ = linear
  found = combined_cells.impute(model, x[:60])
  np.testing.assert_array_equal(np.isnan(x[:60])[found.row, found.column], True)
  assert len(found.x) == np.isnan(x[:60]).sum()
  whole = filled(found, x[:60])
  for i in (0, 3, 11):
    np.testing.assert_allclose(filled(combined_cells.impute(model, x[i : i + 1]), x[i : i + 1])[0], whole[i], rtol=1e-9)


def test_a_column_that_nothing_predicts_gets_its_mean(linear):
  """No method can do better there, and the evidence of a few hundred entries says so."""
  model, x, complete = linear
  missing = np.isnan(x[:, 3])
  got = filled(combined_cells.impute(model, x), x)[missing, 3]
  mean = np.nanmean(x[:, 3])
  assert model.weights[3, 1] < 0.2  # of the neighbours; the ridge regression of this column is its mean, too
  assert np.abs(got - mean).mean() < 0.1 * complete[:, 3].std()
  lost = np.square(got - complete[missing, 3]) - np.square(mean - complete[missing, 3])
  assert lost.mean() < 4 * lost.std() / missing.sum() ** 0.5


def test_the_combination_is_no_worse_than_its_best_method_on_gaussian_data(linear):
  """Chained ridge regressions are nearly the exact conditional means here: errors paired by entry."""
  model, x, complete = linear
  spread, rows = model.spread, np.isnan(x).any(1)
  values, said = combined.combine(model, x[rows])
  truth, missing = spread.encode(complete[rows]), np.isnan(x[rows])
  better = (np.square(values.features - truth) - np.square(said.features[0] - truth))[missing]
  assert better.mean() < 3 * better.std() / missing.sum() ** 0.5
  assert model.weights[:3, 0].mean() > 0.8


def test_intervals_cover_nine_in_ten_of_missing_entries(linear):
  model, x, complete = linear
  found = combined_cells.impute(model, x)
  truth = complete[found.row, found.column]
  inside = np.mean((found.low <= truth) & (truth <= found.high))
  error = (0.09 / len(truth) + 0.09 / 600) ** 0.5  # of the entries, and of the quantiles of about 600 hidden ones
  assert abs(inside - 0.9) < 3 * error


class _Knows(baselines.Imputer):
  """A method that was told some entries, and is wrong by three standard deviations elsewhere."""

  def __init__(self, told, complete):
    super().__init__(None)
    self.told, self.complete = told, complete
    self.mean_, self.scale_ = np.zeros(4), np.ones(4)

  def fit(self, x, y=None):
    return self

  def expect(self, x):
    rows = [np.flatnonzero((np.isnan(r) | (r == self.complete)).all(1))[0] for r in x]
    return np.where(self.told, self.complete, self.complete + 3 * self.complete.std(0))[rows]


def test_a_method_that_knows_the_entries_of_the_report_is_not_believed(monkeypatch):
  """It has no errors there, but the weights are fitted on others, where it is worse than the rest."""
  x, complete = gaussian(400, 2)
  report = combined.hide(x, 0.1, 1)
  seen = np.where(report, np.nan, x)
  make = baselines.make
  monkeypatch.setattr(
    baselines, "make", lambda name, *args: _Knows(report, complete) if name == "knn" else make(name, *args)
  )
  model = combined.fit(seen, PLAIN, combined.hide(seen, 0.15, 0), LINEAR, agree=False)
  assert model.weights[:, 1].max() < 0.25


def test_classes_numbers_and_sparse_columns():
  """A sparse column gets its mean or commonest class; probabilities sum to 1; classes occur in the column."""
  x, complete = mt.rows(300, 1)
  x[:, 0] = np.where(np.arange(300) < 12, complete[:, 0], np.nan)
  model = combined.fit(x, mt.COLUMNS, combined.hide(x, 0.1, 0), LINEAR)
  assert model.sparse == (0,)
  found = combined_cells.impute(model, x)
  np.testing.assert_allclose(found.x[found.column == 0], np.nanmean(x[:, 0]))
  values, _ = combined.combine(model, x)
  for _, at, numeric in model.spread.parts():
    assert numeric or np.allclose(values.features[:, at].sum(1), 1)
  assert set(found.x[found.column == 3]) <= {0, 1, 2}
  classes = np.isnan(x[:, 3])
  right = (filled(found, x)[classes, 3] == complete[classes, 3]).mean()
  assert right > np.mean(complete[:, 3] == 1) + 0.1
  assert np.isnan(found.probability[found.column == 0]).all() and (found.probability[found.column == 3] > 0.3).all()


def test_nothing_is_hidden_in_sparse_columns():
  x, _ = gaussian(400)
  x[15:, 1] = np.nan
  hidden = combined.hide(x, 0.2, 0)
  assert not hidden[:, 1].any() and not (hidden & np.isnan(x)).any()
  assert abs(hidden[:, [0, 2, 3]].sum() - 0.2 * (~np.isnan(x[:, [0, 2, 3]])).sum()) < 60


def test_recoupled_classes_have_the_wanted_probabilities_and_change_as_seldom_as_possible():
  """Shares of changes equal the total variation distance, 1/2 sum |p - q|."""
  g, n = np.random.default_rng(0), 40_000
  own, wanted = np.array([[0.6, 0.3, 0.1]]), np.array([[0.2, 0.3, 0.5]])
  drawn = g.choice(3, size=(n, 1), p=own[0])
  got = conditional_draws.recoupled(drawn, own, wanted, g.random((n, 1, 2)))
  np.testing.assert_allclose(np.bincount(got[:, 0], minlength=3) / n, wanted[0], atol=4 * 0.5 / n**0.5)
  assert np.mean(got != drawn) == pytest.approx(0.4, abs=4 * 0.5 / n**0.5)


def test_spread_features_and_cells():
  spread = Spread(mt.COLUMNS)
  x = np.array([[5.0, 1, 14, 2], [np.nan, 0, 6, np.nan]])
  features = spread.encode(x)
  np.testing.assert_array_equal(features[0], [1, 0, 1, 1, 0, 0, 1])
  np.testing.assert_array_equal(np.isnan(features[1]), [1, 0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(spread.cells(features[:1])[0], [[1, 1, 1, 2]])
  assert evidence.first(spread) == [0, 1, 3, 4]
