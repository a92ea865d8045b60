"""The scikit-learn transformer follows scikit-learn's conventions."""

import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
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


def test_constant_columns_get_their_value_and_empty_ones_are_dropped_or_kept():
  incomplete, _ = table()
  incomplete[:, 1] = np.where(np.isnan(incomplete[:, 1]), np.nan, 4.0)
  model = imputer(categorical_features=[2]).fit(incomplete)
  assert (model.transform(incomplete)[:, 1] == 4).all()
  assert (model.sample(m=3)[:, 1] == 4).all()
  incomplete[:, 1] = np.nan
  for keep in (False, True):
    model = imputer(keep_empty_features=keep, categorical_features=[2]).fit(incomplete)
    theirs = SimpleImputer(keep_empty_features=keep).fit(incomplete)
    new = np.where(np.arange(3) == 1, [[7.0], [np.nan]], incomplete[:2])
    filled = model.transform(new)
    assert filled.shape == theirs.transform(new).shape == model.sample(new, m=4).shape[1:]
    assert list(model.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert model.sample(m=2).shape == (2, 2 + keep)
    assert not keep or filled[:, 1].tolist() == [7.0, 0.0]
  with pytest.raises(ValueError, match="No column of X has two different observed values"):
    imputer().fit(np.full((3, 2), [1.0, np.nan]))


@pytest.mark.parametrize(
  ("given", "sentence"),
  [
    ([9], "categorical_features contains 9"),
    (["d"], "categorical_features contains 'd'"),
    ([True, 2], "categorical_features contains True"),  # neither a mask nor indices
    ([True, False], "boolean mask of length 2, but X has 3 columns"),
    ("c", "categorical_features = 'c'; it must be 'from_dtype'"),
  ],
)
def test_invalid_categorical_features_raise_one_sentence(given, sentence):
  with pytest.raises(ValueError, match=sentence):
    imputer(categorical_features=given).fit(table()[0])


HIGH_LOW = {  # classes of each type, from whether a variable is high
  "category": lambda high: pd.Categorical(np.where(high, "large", "small"), ["small", "medium", "large"], ordered=True),
  "numbers": lambda high: pd.Categorical(np.where(high, 7, 3)),
  "text": lambda high: np.where(high, "b", "a").astype(object),
  "boolean": lambda high: pd.array(high, dtype="boolean"),
}


def mixed_frame(kind):
  """(incomplete, complete): a number, a whole number and a class, all of which depend on one variable."""
  g = np.random.default_rng(0)
  z = g.normal(size=40)
  x, n = (z + 0.1 * g.normal(size=40)).astype(np.float32), pd.array(np.round(10 * z), dtype="Int64")
  complete = pd.DataFrame({"x": x, "n": n, "c": HIGH_LOW[kind](z > 0)}, index=[f"row {i}" for i in range(40)])
  hidden = g.random(complete.shape) < [0.0, 0.2, 0.3]
  return complete.mask(hidden).astype(complete.dtypes), complete


@pytest.mark.parametrize("kind", HIGH_LOW)
def test_frames_with_texts_and_categories_keep_their_types_and_categories(kind):
  incomplete, complete = mixed_frame(kind)
  model = imputer(max_steps=600).fit(incomplete)
  assert [c.kind for c in model.columns_] == ["real", "real", "binary"]
  filled = model.transform(incomplete)
  assert not filled.isna().any().any()
  assert filled["x"].dtype == np.float32 and filled["c"].dtype == incomplete["c"].dtype
  assert filled["n"].dtype == "Float64"  # expectations are not whole
  assert list(filled.index) == list(incomplete.index)
  pd.testing.assert_frame_equal(filled.mask(incomplete.isna()).astype(incomplete.dtypes), incomplete)
  gone = incomplete["c"].isna()
  assert (filled["c"] == complete["c"])[gone].mean() > 0.8  # the class follows from x
  draws = model.sample(incomplete, m=3)
  assert [d.dtypes.equals(filled.dtypes) and not d.isna().any().any() for d in draws] == [True] * 3
  alone = model.sample(m=5)
  assert list(alone.columns) == ["x", "n", "c"] and set(alone["c"]) <= set(complete["c"]) and len(alone) == 5
  copy = pickle.loads(pickle.dumps(model)).set_output(transform="pandas")
  pd.testing.assert_frame_equal(copy.transform(incomplete), filled)
  assert np.isfinite(model.score(incomplete))


def test_an_unknown_text_is_kept_and_treated_as_missing():
  incomplete, _ = mixed_frame("text")
  model = imputer(max_steps=600).fit(incomplete)
  whole = pd.array([20, 20, None], dtype="Int64")
  rows = pd.DataFrame({"x": np.float32([2, 2, -2]), "n": whole, "c": ["new", None, "a"]})
  filled = model.transform(rows)
  assert filled["c"].tolist() == ["new", "b", "a"]
  alone = model.transform(rows.assign(c=[None, None, "a"]))
  pd.testing.assert_frame_equal(filled.drop(columns="c"), alone.drop(columns="c"))
  with pytest.raises(ValueError, match="Column 'x' of X holds texts"):
    model.transform(rows.assign(x=["1", "two", "3"]))


def test_arrays_of_objects_hold_numbers_and_texts():
  X = mixed_frame("text")[0].astype({"n": float}).to_numpy(object)
  model = imputer().fit(X)
  assert [c.kind for c in model.columns_] == ["real", "real", "binary"]
  filled = model.transform(X)
  assert filled.dtype == object and set(filled[:, 2]) == {"a", "b"}
  assert model.sample(X, m=2).shape == (2, 40, 3) and model.sample(m=4).shape == (4, 3)
  X[0, 1] = {"town": 1}
  with pytest.raises(TypeError, match="argument must be a string or a number, not dict"):
    imputer().fit(X)


@pytest.fixture
def kinds(monkeypatch):
  """(X, options) -> the kinds of the columns; nothing is fitted."""
  monkeypatch.setattr(fitted, "fit", lambda *args, **options: SimpleNamespace(fit=SimpleNamespace(steps=0)))
  return lambda X, **options: [c.kind for c in imputer(**options).fit(X).columns_]


def test_columns_of_classes_are_found_by_their_type(kinds):
  numbers = pd.Categorical([1, 2, 3, None] * 5)
  frame = pd.DataFrame({"n": numbers, "t": ["a", "b"] * 10, "x": np.arange(20.0), "f": [True, None] * 5 + [False] * 10})
  assert kinds(frame) == ["categorical", "binary", "real", "binary"]
  assert kinds(frame, categorical_features=None) == ["real", "binary", "real", "binary"]
  assert kinds(frame, categorical_features=[2]) == ["real", "binary", "categorical", "binary"]
  with pytest.raises(ValueError, match="Column 'when' of X holds datetime64"):
    kinds(pd.DataFrame({"when": pd.date_range("2020", periods=9), "t": "a"}))
  with pytest.raises(ValueError, match="'name' of X has 101 classes; at most 100"):
    kinds(pd.DataFrame({"name": [f"n{i}" for i in range(101)], "x": 1.0}))


@pytest.mark.parametrize("given", [[2], ["c"], [False, False, True], np.array([False, False, True])])
def test_categorical_features_are_indices_names_or_a_mask(given, kinds):
  frame = pd.DataFrame(table()[0], columns=["a", "b", "c"])
  assert kinds(frame, categorical_features=given) == ["real", "real", "binary"]


def test_verbose_shows_rate_and_time_left(capsys):
  options = {"categorical_features": [2]}
  imputer(**options).fit(table()[0]).transform(table()[0])
  assert capsys.readouterr().err == ""
  imputer(verbose=1, **options).fit(table()[0]).transform(table()[0])
  shown = capsys.readouterr().err
  assert "fit" in shown and "200/200" in shown and "held out" in shown and "impute" in shown


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
