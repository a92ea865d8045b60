"""Baselines of imputation: scikit-learn's, on tables with classes."""

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


def test_of_standardised_numbers_they_are_scikit_learns():
  x = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 3))
  x = (x - x.mean(0)) / x.std(0)
  holes = x.copy()
  holes[::5, 0] = np.nan
  mean, scale = np.nanmean(holes, 0), np.nanstd(holes, 0)
  z = (holes - mean) / scale
  for name, imputer in (("knn", KNNImputer()), ("mice", IterativeImputer(max_iter=10, random_state=0))):
    got = baselines.make(name).fit(holes).transform(holes)
    np.testing.assert_allclose(got, imputer.fit_transform(z) * scale + mean, rtol=1e-8)


def test_mean_is_the_mean_of_numbers_and_the_mode_of_classes():
  _, holes = table()
  filled = baselines.make("mean", (0, 0, 3)).fit(holes).transform(holes)
  gone = np.isnan(holes)
  np.testing.assert_allclose(filled[gone[:, 1], 1], np.nanmean(holes[:, 1]))
  values, counts = np.unique(holes[~gone[:, 2], 2], return_counts=True)
  assert set(filled[gone[:, 2], 2]) == {values[counts.argmax()]}
  np.testing.assert_array_equal(filled[~gone], holes[~gone])


@pytest.mark.parametrize("name", ["knn", "mice", "forest"])
def test_those_that_look_at_other_columns_beat_the_mean(name, monkeypatch):
  monkeypatch.setattr(baselines, "_TREES", 5)
  x, holes = table(150)
  gone = np.isnan(holes)
  wrong = {}
  for method in (name, "mean"):
    filled = baselines.make(method, (0, 0, 3)).fit(holes).transform(holes)
    wrong[method] = [np.abs(filled - x)[gone[:, j], j].mean() for j in range(3)]
  assert all(a < 0.8 * b for a, b in zip(wrong[name], wrong["mean"], strict=True))


def test_chains_of_numbers_are_scikit_learns():
  """Steps and their order, of the table of the fit and of other rows, with holes where that has none."""
  g = np.random.default_rng(2)
  x, new = (g.normal(size=(n, 3)) @ g.normal(size=(3, 4)) for n in (80, 30))
  x[g.random(x.shape) < [0.4, 0, 0.1, 0.2]] = np.nan
  new[g.random(new.shape) < 0.3] = np.nan
  ours = baselines.Chained(BayesianRidge(), None, (1,) * 4, rounds=3).fit(x)
  with pytest.warns(ConvergenceWarning):  # of tol = 0
    theirs = IterativeImputer(BayesianRidge(), max_iter=3, tol=0).fit(x)
  for rows in (x, new):
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-10)


@pytest.mark.parametrize("name", ["mice", "forest"])
def test_classes_that_are_functions_of_other_columns_are_recovered(name, monkeypatch):
  """Of a class, and of the sign of a number, and a number of a class, in other rows than the fit's."""
  monkeypatch.setattr(baselines, "_TREES", 10)
  g = np.random.default_rng(3)
  c, z = g.integers(0, 4, 400), g.normal(size=400)
  x = np.stack([c, np.array([2, 0, 1, 3])[c], z > 0, z, np.array([-3.0, 1.0, 2.0, 7.0])[c]], 1).astype(float)
  holes, gone = x.copy(), np.zeros(x.shape, bool)
  gone[np.arange(400), g.choice([1, 2, 4], 400)] = True
  holes[gone] = np.nan
  filled = baselines.make(name, (4, 4, 2, 0, 0)).fit(holes[:300]).transform(holes[300:])
  gone, x = gone[300:], x[300:]
  wrong = [np.mean((filled != x)[gone[:, j], j]) for j in (1, 2)]
  assert wrong[0] == 0 and wrong[1] < 0.1
  np.testing.assert_allclose(filled[gone[:, 4], 4], x[gone[:, 4], 4], atol=0.1)
  modes = baselines.make("mean", (4, 4, 2, 0, 0)).fit(holes[:300]).transform(holes[300:])
  assert all(np.mean((modes != x)[gone[:, j], j]) > 0.3 for j in (1, 2))


def test_chains_leave_what_nothing_tells_of_at_its_mean_and_mode():
  """A lone column, and one whose observed entries are all of a class."""
  lone = np.array([[0.0], [2.0], [2.0], [np.nan]])
  assert baselines.make("mice", (3,)).fit(lone).transform(lone)[3, 0] == 2
  pair = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 1.0], [3.0, np.nan]])
  np.testing.assert_array_equal(baselines.make("mice", (0, 3)).fit(pair).transform(pair)[:, 1], 1)


def test_unknown_names_are_told():
  with pytest.raises(errors.UserError, match=r"Unknown baseline 'kmn'\. Did you mean 'knn'"):
    baselines.make("kmn")
