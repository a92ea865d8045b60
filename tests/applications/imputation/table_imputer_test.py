"""The command and the transformer that weigh several methods."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

import dgm_jax
from dgm_jax.applications.imputation import combined, combined_report
from dgm_jax.applications.imputation import command as impute
from dgm_jax.core import errors
from helpers import mixed_table as mt

HEADER = ["r", "b", "i", "c"]


pytestmark = pytest.mark.usefixtures("short_fits")


def written(path, x):
  """A table of a number, a class, a whole number and a class, empty where missing."""
  show = [lambda v: f"{v:.3f}", lambda v: "ny"[int(v)], lambda v: f"{v:.0f}", lambda v: "pqs"[int(v)]]
  lines = [",".join("" if np.isnan(v) else f(v) for f, v in zip(show, row, strict=True)) for row in x]
  path.write_text("\n".join([",".join(HEADER), *lines]) + "\n")
  return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
  folder = tmp_path_factory.mktemp("auto")
  x, _ = mt.rows(160, 1)
  x[12:, 2] = np.nan  # sparse
  data, out = written(folder / "data.csv", x), folder / "out.csv"
  flags = ["--multiple=2", "--models=2", "--hidden=8", "--steps=20"]
  assert impute.main([str(data), f"--out={out}", *flags]) == 0
  return folder, x


def test_the_command_fills_every_cell_and_leaves_observed_ones(filled):
  folder, x = filled
  given = list(csv.reader((folder / "data.csv").open()))
  for name in ("out.csv", "out.1.csv", "out.2.csv"):
    got = list(csv.reader((folder / name).open()))
    for before, after in zip(given, got, strict=True):
      assert all(b in ("", a) and a for b, a in zip(before, after, strict=True))
  cells = list(csv.DictReader((folder / "out.cells.csv").open()))
  assert len(cells) == np.isnan(x).sum()
  for cell in cells:
    if cell["column"] in "ri":
      assert float(cell["low"]) <= float(cell["value"]) <= float(cell["high"])
    else:
      assert 0.3 < float(cell["probability"]) <= 1


def test_the_report_says_what_carries_each_column_and_what_is_not_known(filled):
  folder, _ = filled
  about = json.loads((folder / "out.report.json").read_text())
  assert set(about["errors"]) == {"auto", *combined.CANDIDATES}
  for column in about["columns"]:
    assert sum(column["weights"].values()) == pytest.approx(1, abs=0.01)
  by = {c["name"]: c for c in about["columns"]}
  assert by["i"]["weights"] == {"mean": 1.0}
  assert 0 <= by["r"]["coverage"] <= 1 and by["r"]["width"] > 0 and by["c"]["coverage"] is None
  text = (folder / "out.report.txt").read_text()
  for part in ("Method auto: orderless, forest", "fewer than 20 observed cells and gets its mean", "not proper",
               "--mechanism=self_masking", "weights of the methods", "2 networks, 30 steps"):  # fmt: skip
    assert part in text


def test_entries_of_the_report_reach_neither_the_methods_nor_the_weights(monkeypatch):
  """Neither do they as evidence; whatever their values are, the fitted combination is the same."""
  x, _ = mt.rows(160, 1)
  seen = []
  fit = combined.fit
  monkeypatch.setattr(combined, "fit", lambda x, *a, **k: seen.append((x, a[1])) or fit(x, *a, **k))
  found = [
    combined_report.fit(table, mt.COLUMNS, "mice", combined_report.hide(table, "mice", 0), seed=0)[0]
    for table in (x, np.where(combined.hide(x, combined_report.rate(x, combined_report._REPORTED), 1), 1.0, x))
  ]
  (first, evidence), (second, _) = seen
  hidden = combined.hide(x, combined_report.rate(x, combined_report._REPORTED), 1)
  assert hidden.sum() > 20 and not (evidence & hidden).any()
  assert np.isnan(first[hidden]).all()
  np.testing.assert_array_equal(first, second)
  np.testing.assert_array_equal(found[0].factors, found[1].factors)


def imputer(**options):
  return dgm_jax.TableImputer(num_models=2, hidden=8, max_steps=20, random_state=0, **options)


def test_the_transformer_imputes_draws_and_says_probabilities():
  x, _ = mt.rows(160, 1)
  frame = pd.DataFrame(
    {"r": x[:, 0], "c": pd.Categorical.from_codes(np.nan_to_num(x[:, 3], nan=-1).astype(int), list("pqs"))}
  )
  model = imputer().fit(frame)
  whole, missing = model.transform(frame), frame.isna().to_numpy()
  assert not whole.isna().any().any()
  pd.testing.assert_frame_equal(whole.mask(frame.isna()).astype(frame.dtypes), frame)
  alone = model.transform(frame.iloc[7:9])
  pd.testing.assert_series_equal(alone["c"], whole["c"].iloc[7:9])
  np.testing.assert_allclose(alone["r"], whole["r"].iloc[7:9], rtol=1e-4)
  drawn = model.sample(frame, 3)
  assert all(not d.isna().any().any() for d in drawn)
  low, high = model.intervals(frame)
  np.testing.assert_array_equal(np.isnan(low[:, 0]), ~missing[:, 0])
  inside = (low[:, 0] <= whole["r"]) & (whole["r"] <= high[:, 0])
  assert inside[missing[:, 0]].all()
  p = model.predict_proba(frame, "c")
  np.testing.assert_allclose(p.sum(1), 1)
  assert (whole["c"].cat.codes == p.argmax(1))[missing[:, 1]].all()
  assert [sum(w.values()) for w in model.weights_] == pytest.approx([1, 1], abs=0.01)
  with pytest.raises(ValueError, match="'r' of X holds no classes"):
    model.predict_proba(frame, "r")


def test_one_method_alone_gives_its_own_values():
  """`mean`: the means of numbers; without networks there are no draws."""
  x, _ = mt.rows(160, 1)
  model = imputer(method="mean").fit(x[:, [0, 2]])
  got, missing = model.transform(x[:, [0, 2]]), np.isnan(x[:, [0, 2]])
  np.testing.assert_allclose(got[missing[:, 0], 0], np.nanmean(x[:, 0]))
  with pytest.raises(errors.UserError, match="Draws need networks"):
    model.sample(x[:, [0, 2]])
  with pytest.raises(ValueError, match="Unknown method 'trees'"):
    imputer(method="trees").fit(x[:, [0, 2]])
  with pytest.raises(ValueError, match="num_models = 0; it must be 1"):
    clone(model).set_params(num_models=0).fit(x[:, [0, 2]])


def test_networks_alone_impute_classes_and_numbers_and_draw():
  x, _ = mt.rows(160, 1)
  model = imputer(method="orderless", categorical_features=[1, 3]).fit(x)
  filled, drawn = model.transform(x), model.sample(x, 2)
  assert model.weights_ == [{"orderless": 1.0}] * 4
  np.testing.assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
  assert np.isfinite(filled).all() and np.isfinite(drawn).all()
  assert set(filled[:, 3]) <= {0, 1, 2} and set(drawn[:, :, 1].ravel()) <= {0, 1}


@pytest.mark.slow
def test_scikit_learns_estimator_checks():
  estimator_checks.check_estimator(imputer(method="mice"))
