"""Numbers far from zero, or tiny, keep their differences: they are standardised in float64, then cast to float32."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.configs import mixture_uci
from dgm_jax.core import errors
from dgm_jax.data import pipeline, stored, units
from dgm_jax.data.splits import Splits
from dgm_jax.training import build
from dgm_jax.training.workdir import folder

RNG = np.random.default_rng(0)
N = 300
Z = RNG.normal(size=(N, 2))
FAR = {  # columns whose values float32 makes equal, beside one that it does not
  "seconds": np.stack([1.7e9 + 10 * Z[:, 0], Z[:, 1]], 1),
  "tiny": np.stack([Z[:, 1], 1e-42 * Z[:, 0]], 1),
  "denormal": np.stack([1e-39 * (3 + Z[:, 0]), Z[:, 1]], 1),
  "ids": (2**30 + np.arange(N * 2)).reshape(N, 2),
}
NEAR = {"plain": Z, "thousands": 1000 + Z, "wide": np.exp(20 * Z), "whole": np.round(1e6 * Z)}
NEAR["years"] = 2000 + np.round(9 * Z)


def loaded(folder, transforms=("standardize",), **arrays):
  """(the data as a run has them, their transforms, the data as they are read) of a file with these arrays."""
  np.savez(folder / "d.npz", **arrays)
  config = mixture_uci.get_config("data=array,test").unlock()
  config.data.update({"path": str(folder / "d.npz"), "data_dir": str(folder / "data"), "transforms": transforms})
  options = {k: v for k, v in config.data.items() if k not in ("name", "transforms", "source")}
  return *build.load(config), data.load("array", **options)


def transformed(pipeline_, arrays):
  return jax.jit(pipeline_.evaluate)(jax.random.key(0), {k: jnp.asarray(a) for k, a in arrays.items()})


@pytest.mark.parametrize("name", FAR)
def test_x_is_standardised_as_in_float64(tmp_path, name):
  splits, made, read = loaded(tmp_path, x=FAR[name])
  seen, test = np.asarray(read.train["x"], np.float64), np.asarray(read.test["x"], np.float64)
  found = transformed(made, splits.test)
  assert splits.test["x"].dtype == np.float32
  np.testing.assert_allclose(found["x"], (test - seen.mean(0)) / seen.std(0), atol=2e-6, rtol=2e-6)
  np.testing.assert_allclose(found["log_det"], -np.log(seen.std(0)).sum(), rtol=1e-5)
  for j in range(2):
    assert len(np.unique(found["x"][:, j])) == len(np.unique(test[:, j]))


@pytest.mark.parametrize("name", NEAR)
def test_other_numbers_enter_as_float32_as_they_always_did(tmp_path, name):
  splits, _, read = loaded(tmp_path, x=NEAR[name], y=NEAR[name][:, 0])
  assert "units" not in splits.about and "reading" not in splits.about
  for part, arrays in splits.parts().items():
    assert arrays["x"].dtype == arrays["y"].dtype == np.float32
    np.testing.assert_array_equal(arrays["x"], read.parts()[part]["x"])
  assert np.isin(splits.test["x"], NEAR[name].astype(np.float32)).all()


def test_missing_entries_do_not_count(tmp_path):
  x = FAR["seconds"].copy()
  x[::3, 0] = np.nan
  splits, made, read = loaded(tmp_path, x=x)
  mask, seen = read.train["mask"] > 0, read.train["x"][:, 0]
  found = transformed(made, splits.train)
  expected = np.where(mask[:, 0], (seen - seen[mask[:, 0]].mean()) / seen[mask[:, 0]].std(), 0)
  np.testing.assert_allclose(found["x"][:, 0], expected, atol=2e-6)


def test_y_keeps_its_differences_and_its_units(tmp_path):
  y = 1e9 + 0.5 * np.arange(N)
  splits, made, read = loaded(tmp_path, ("standardize", "standardize_targets"), x=Z, y=y)
  found = transformed(made, splits.test)
  values = found["y_loc"] + found["y_scale"] * found["y"]
  assert splits.test["x"].dtype == np.float32 and set(splits.about["units"]) == {"y"}
  np.testing.assert_allclose(values - values[0], read.test["y"] - read.test["y"][0], atol=1e-4)


@pytest.mark.parametrize(
  ("arrays", "transforms", "sentence"),
  [
    ({"x": FAR["seconds"]}, (), "feature 0 of x become equal in float32.*'standardize' first"),
    ({"x": FAR["ids"]}, (), "feature 0 of x become equal in float32.*'standardize' first"),
    ({"x": FAR["tiny"]}, ("mcar:rate=0.1", "standardize"), "feature 1 of x"),
    ({"x": np.where(Z > 1, 0, 1e9 + Z)}, ("standardize",), "feature 0 of x .* even when they are standardised"),
    ({"x": Z, "y": FAR["seconds"][:, 0]}, ("standardize",), "values of y .*'standardize_targets'"),
  ],
)
def test_where_standardising_does_not_keep_them_they_are_refused(tmp_path, arrays, transforms, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    loaded(tmp_path, transforms, **arrays)


def test_a_packed_model_has_the_same_units(tmp_path):
  names = ("standardize", "standardize_targets")
  splits, made, read = loaded(tmp_path, names, x=FAR["seconds"], y=1e9 + Z[:, 0])
  description, kept = stored.describe(names, splits)
  blank, again = stored.stand_in(names, json.loads(json.dumps(description)), kept)
  given = {"x": read.test["x"], "y": read.test["y"], "index": splits.test["index"]}
  given = units.converted(given, blank.about["units"])
  for name, a in transformed(made, splits.test).items():
    np.testing.assert_array_equal(transformed(again, given)[name], a)
  kept, (low, high) = again.given({"x": read.test["x"]})
  np.testing.assert_array_equal(kept["x"], splits.test["x"])
  np.testing.assert_array_equal(again.given(kept)[0]["x"], splits.test["x"])  # those of the run itself
  assert -5 < low < -1 and 1 < high < 5
  with pytest.raises(errors.UserError, match="x is float32, which makes different values of it equal"):
    again.given({"x": read.test["x"].astype("f")})


def test_splits_of_any_origin_are_reduced_and_a_sentence_names_the_column():
  part = {"x": FAR["seconds"]}
  splits = Splits(part, None, part, {"columns": ["when", "what"]})
  with pytest.raises(errors.UserError, match="column 'when' become equal"):
    units.reduced(splits, ("flip", "condition"))
  found = units.reduced(splits, ("condition", "standardize"))
  made = pipeline.make(("standardize",), found.train, units=found.about["units"])
  assert abs(float(made.statistics.mean[0])) < 1e-6


def test_a_run_whose_values_change_is_told_why(tmp_path):
  about = {"data": "array", "split_sizes": {}, "data_digest": "new", "reading": ["x is read in float64"]}
  (tmp_path / "data.json").write_text(json.dumps({"data": "array", "split_sizes": {}, "data_digest": "old"}))
  with pytest.raises(errors.UserError, match=r"Earlier versions read them otherwise \(x is read in float64\)"):
    folder.check_data(tmp_path, about)


@pytest.mark.parametrize("hole", [False, True])
def test_integers_that_floating_point_numbers_cannot_tell_apart_are_refused(tmp_path, hole):
  """Beyond 2^53 they are equal before anything can be subtracted, whether or not a column has missing cells."""
  rows = [f"{10**18 + i},{i}" for i in range(60)]
  rows[7] = ",7" if hole else rows[7]
  (tmp_path / "d.csv").write_text("\n".join(["id,b", *rows]) + "\n")
  with pytest.raises(errors.UserError, match=r"d.csv: different integers of column 'id' become equal .* subtract"):
    data.load("array", path=str(tmp_path / "d.csv"), data_dir=str(tmp_path / "data"))
