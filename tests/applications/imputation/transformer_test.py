"""The scikit-learn transformer follows scikit-learn's conventions."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

import dgm_jax
from dgm_jax.applications.imputation import fitted
from helpers import tables

SMALL = {"latent_dim": 2, "hidden": (8,), "num_samples": 5, "max_steps": 200, "impute_samples": 50, "random_state": 0}
QUICK = (
  "check_transformer_general",
  "check_estimators_pickle",
  "check_fit2d_1sample",
  "check_transformer_get_feature_names_out",
  "check_set_output_transform",
)


def imputer(**options):
  return dgm_jax.MIWAEImputer(**SMALL | options)


def table(n=40, seed=0):
  g = np.random.default_rng(seed)
  z = g.normal(size=n)
  x = np.stack([z, np.round(100 * z + g.normal(size=n)), np.digitize(z, [0.0]) * 5 + 2.0], 1)
  return np.where(g.random(x.shape) < 0.25, np.nan, x), x


@pytest.fixture(scope="module")
def fit():
  frame = pd.DataFrame(table()[0], columns=["a", "b", "c"])
  return imputer(categorical_features=["c"]).fit(frame), frame


@pytest.mark.parametrize("name", QUICK)
def test_quick_scikit_learn_estimator_checks(name):
  check = getattr(estimator_checks, name)
  check("MIWAEImputer", imputer())


@pytest.mark.slow
def test_all_scikit_learn_estimator_checks():
  estimator_checks.check_estimator(dgm_jax.MIWAEImputer(max_steps=200, random_state=0))


def test_observed_entries_are_unchanged_and_imputed_classes_occur_in_the_column(fit):
  model, frame = fit
  filled = model.transform(frame)
  seen = frame.notna().to_numpy()
  np.testing.assert_array_equal(filled[seen], frame.to_numpy()[seen])
  assert np.isfinite(filled).all()
  assert set(filled[:, 2]) == {2.0, 7.0}
  assert (filled[~seen[:, 1], 1] % 1 > 0).all()  # expectations are not rounded, though all observed values are whole


def test_rows_do_not_depend_on_other_rows(fit):
  model, frame = fit
  whole, order = model.transform(frame), np.random.default_rng(1).permutation(40)[:23]
  np.testing.assert_allclose(model.transform(frame.iloc[order]), whole[order], rtol=1e-5, atol=1e-5)
  single = np.concatenate([model.transform(frame.iloc[[i]]) for i in range(5)])
  np.testing.assert_allclose(single, whole[:5], rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(model.transform(pd.concat([frame, frame])), np.tile(whole, (2, 1)))


def test_copies_of_the_estimator_impute_alike(fit):
  model, frame = fit
  whole = model.transform(frame)
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(frame), whole)
  np.testing.assert_array_equal(clone(model).fit(frame).transform(frame), whole)
  out = clone(model).set_output(transform="pandas").fit_transform(frame)
  assert list(out.columns) == list(model.get_feature_names_out()) == ["a", "b", "c"]
  np.testing.assert_array_equal(out.to_numpy(), whole)


def test_samples_impute_every_missing_entry_and_their_mean_is_the_imputation(fit):
  model, frame = fit
  draws, filled, missing = model.sample(frame, m=400), model.transform(frame), frame.isna().to_numpy()
  assert draws.shape == (400, 40, 3)
  np.testing.assert_array_equal(draws[:, ~missing], np.tile(filled[~missing], (400, 1)))
  for j in (0, 1):
    spread = draws[:, missing[:, j], j].std(0)
    assert (spread > 0).all()
    assert np.mean(np.abs(draws[:, missing[:, j], j].mean(0) - filled[missing[:, j], j]) < spread) > 0.8  # 50 samples
  assert set(np.unique(draws[..., 2])) == {2.0, 7.0}
  drawn = model.sample(m=100)
  assert drawn.shape == (100, 3)
  assert set(drawn[:, 2]) == {2.0, 7.0}


def test_score_is_the_mean_log_likelihood_in_the_datas_units(fit):
  """Rescaling a column lowers the log-density of each of its observed numbers by log |scale|."""
  model, frame = fit
  x = np.stack([frame["a"], frame["b"], (frame["c"] - 2) / 5], 1)
  assert model.score(frame) == pytest.approx(fitted.log_prob(model.fitted_, x, 50, model.seed_).mean())
  other = clone(model).fit(frame.assign(b=8 * frame["b"]))
  rows = frame.assign(b=8 * frame["b"])
  assert other.score(rows) == pytest.approx(model.score(frame) - frame["b"].notna().mean() * np.log(8), abs=0.02)


def test_constant_columns_get_their_value_and_empty_columns_raise_an_error():
  incomplete, _ = table()
  incomplete[:, 1] = np.where(np.isnan(incomplete[:, 1]), np.nan, 4.0)
  model = imputer().fit(incomplete)
  assert (model.transform(incomplete)[:, 1] == 4).all()
  assert (model.sample(m=3)[:, 1] == 4).all()
  incomplete[:, 1] = np.nan
  with pytest.raises(ValueError, match="Column 1 of X has no observed entry"):
    imputer().fit(incomplete)
  with pytest.raises(ValueError, match="Column 1 of X has no observed entry"):
    imputer().fit(np.full((3, 2), [1.0, np.nan]))
  with pytest.raises(ValueError, match="categorical_features contains 9"):
    imputer(categorical_features=[9]).fit(table()[0])


def test_an_empty_row_is_imputed_and_an_unknown_class_is_kept(fit):
  model, _ = fit
  rows = pd.DataFrame([[np.nan, np.nan, np.nan], [np.nan, 0.0, 99.0]], columns=list("abc"))
  filled = model.transform(rows)
  assert np.isfinite(filled).all()
  assert filled[1, 2] == 99
  alone = model.transform(rows.assign(c=np.nan))
  np.testing.assert_allclose(filled[1, 0], alone[1, 0], rtol=1e-5)


def test_importing_dgm_jax_imports_neither_jax_nor_scikit_learn():
  code = "import sys, dgm_jax; print({'jax', 'sklearn', 'pandas'} & set(sys.modules))"
  done = subprocess.run([sys.executable, "-c", code], cwd=tables.ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "set()"
  with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
    dgm_jax.Nothing  # noqa: B018


@pytest.mark.slow
def test_the_examples_of_the_readme_run():
  """A classifier on several imputations has a lower log loss than one on imputed means, as the README says."""
  page = (tables.ROOT / "dgm_jax" / "applications" / "imputation" / "README.md").read_text()
  names = {}
  for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
    exec(block, names)
  assert names["several"] > names["plain"]
