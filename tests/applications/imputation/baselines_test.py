"""Baseline imputation methods from scikit-learn, on tables with numeric and categorical columns."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge

from dgm_jax.applications.imputation import baselines
from dgm_jax.core import errors

RNG = np.random.default_rng(0)


def table(n=60):
  rng = np.random.default_rng(1)
  z = rng.normal(size=n)
  x = np.stack([z + 0.1 * rng.normal(size=n), 100 * z + 5, np.digitize(z, [-0.5, 0.5]).astype(float)], 1)
  return x, np.where(rng.random(x.shape) < 0.2, np.nan, x)


def test_on_standardised_numbers_baselines_equal_scikit_learns_imputers():
  x = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 3))
  x = (x - x.mean(0)) / x.std(0)
  incomplete = x.copy()
  incomplete[::5, 0] = np.nan
  mean, scale = np.nanmean(incomplete, 0), np.nanstd(incomplete, 0)
  z = (incomplete - mean) / scale
  for name, imputer in (("knn", KNNImputer()), ("mice", IterativeImputer(max_iter=10, random_state=0))):
    got = baselines.make(name).fit(incomplete).transform(incomplete)
    np.testing.assert_allclose(got, imputer.fit_transform(z) * scale + mean, rtol=1e-8)


def test_mean_is_the_mean_of_numbers_and_the_mode_of_classes():
  _, incomplete = table()
  filled = baselines.make("mean", (0, 0, 3)).fit(incomplete).transform(incomplete)
  missing = np.isnan(incomplete)
  np.testing.assert_allclose(filled[missing[:, 1], 1], np.nanmean(incomplete[:, 1]))
  values, counts = np.unique(incomplete[~missing[:, 2], 2], return_counts=True)
  assert set(filled[missing[:, 2], 2]) == {values[counts.argmax()]}
  np.testing.assert_array_equal(filled[~missing], incomplete[~missing])


@pytest.mark.parametrize("name", ["knn", "mice", "forest"])
def test_methods_that_use_other_columns_beat_the_mean(name, monkeypatch):
  monkeypatch.setattr(baselines, "_TREES", 5)
  x, incomplete = table(150)
  missing = np.isnan(incomplete)
  wrong = {}
  for method in (name, "mean"):
    filled = baselines.make(method, (0, 0, 3)).fit(incomplete).transform(incomplete)
    wrong[method] = [np.abs(filled - x)[missing[:, j], j].mean() for j in range(3)]
  assert all(a < 0.8 * b for a, b in zip(wrong[name], wrong["mean"], strict=True))


def test_chained_imputation_of_numbers_equals_scikit_learns():
  """On the fitted table and on new rows, which have missing entries in a column that was complete in the fit."""
  g = np.random.default_rng(2)
  x, new = (g.normal(size=(n, 3)) @ g.normal(size=(3, 4)) for n in (80, 30))
  x[g.random(x.shape) < [0.4, 0, 0.1, 0.2]] = np.nan
  new[g.random(new.shape) < 0.3] = np.nan
  ours = baselines.Chained(BayesianRidge(), None, (1,) * 4, rounds=3).fit(x)
  with pytest.warns(ConvergenceWarning):  # because tol = 0
    theirs = IterativeImputer(BayesianRidge(), max_iter=3, tol=0).fit(x)
  for rows in (x, new):
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-10)


@pytest.mark.parametrize("name", ["mice", "forest"])
def test_classes_that_are_functions_of_other_columns_are_recovered(name, monkeypatch):
  """On new rows: a class given by another class, one by a number's sign, and a number given by a class."""
  monkeypatch.setattr(baselines, "_TREES", 10)
  g = np.random.default_rng(3)
  c, z = g.integers(0, 4, 400), g.normal(size=400)
  x = np.stack([c, np.array([2, 0, 1, 3])[c], z > 0, z, np.array([-3.0, 1.0, 2.0, 7.0])[c]], 1).astype(float)
  incomplete, missing = x.copy(), np.zeros(x.shape, bool)
  missing[np.arange(400), g.choice([1, 2, 4], 400)] = True
  incomplete[missing] = np.nan
  filled = baselines.make(name, (4, 4, 2, 0, 0)).fit(incomplete[:300]).transform(incomplete[300:])
  missing, x = missing[300:], x[300:]
  wrong = [np.mean((filled != x)[missing[:, j], j]) for j in (1, 2)]
  assert wrong[0] == 0 and wrong[1] < 0.1
  np.testing.assert_allclose(filled[missing[:, 4], 4], x[missing[:, 4], 4], atol=0.1)
  modes = baselines.make("mean", (4, 4, 2, 0, 0)).fit(incomplete[:300]).transform(incomplete[300:])
  assert all(np.mean((modes != x)[missing[:, j], j]) > 0.3 for j in (1, 2))


def test_chained_imputation_without_a_usable_predictor_gives_mean_and_mode():
  """For a table of one column, and for a column whose observed entries all have the same class."""
  lone = np.array([[0.0], [2.0], [2.0], [np.nan]])
  assert baselines.make("mice", (3,)).fit(lone).transform(lone)[3, 0] == 2
  pair = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 1.0], [3.0, np.nan]])
  np.testing.assert_array_equal(baselines.make("mice", (0, 3)).fit(pair).transform(pair)[:, 1], 1)


def test_unknown_names_raise_an_error():
  with pytest.raises(errors.UserError, match=r"Unknown baseline 'kmn'\. Did you mean 'knn'"):
    baselines.make("kmn")
