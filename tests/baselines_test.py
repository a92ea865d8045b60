"""Baselines of imputation: scikit-learn's, on tables with classes."""

import numpy as np
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from dgm_jax import baselines, errors

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
  """Of classes the chained ones keep to the most frequent: an indicator is one minus the others of its column."""
  monkeypatch.setattr(baselines, "_TREES", 5)
  monkeypatch.setattr(baselines, "_ROUNDS", 3)
  x, holes = table(150)
  gone = np.isnan(holes)
  wrong = {}
  for method in (name, "mean"):
    filled = baselines.make(method, (0, 0, 3)).fit(holes).transform(holes)
    wrong[method] = [np.abs(filled - x)[gone[:, j], j].mean() for j in range(3)]
  compared = 3 if name == "knn" else 2
  assert all(a < 0.8 * b for a, b in zip(wrong[name][:compared], wrong["mean"][:compared], strict=True))


def test_unknown_names_are_told():
  with pytest.raises(errors.UserError, match=r"Unknown baseline 'kmn'\. Did you mean 'knn'"):
    baselines.make("kmn")
