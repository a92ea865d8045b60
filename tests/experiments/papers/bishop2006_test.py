"""Bishop (2006): steps of EM against scikit-learn, projections, components matched to digits; reports by hand."""

import numpy as np
import pytest
from sklearn import decomposition, mixture

from dgm_jax import data
from dgm_jax.core.files import save_arrays
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import plots
from dgm_jax.experiments.papers.bishop2006 import figure12_5 as reconstructions
from dgm_jax.experiments.papers.bishop2006 import figures9 as mixtures
from dgm_jax.experiments.papers.bishop2006 import paper
from helpers import measured_runs


def test_old_faithful_matches_r():
  """Against the output of R's summary(faithful) and cov(faithful)."""
  splits = data.load("old_faithful", everything=True)
  x = splits.train["x"].astype(np.float64)
  assert x.shape == (272, 2)
  np.testing.assert_allclose(x.mean(0), [3.487783, 70.897059], rtol=1e-6)
  np.testing.assert_allclose(np.quantile(x, [0, 0.25, 0.5, 0.75, 1], 0).T,
                             [[1.6, 2.16275, 4, 4.45425, 5.1], [43, 58, 76, 82, 96]], rtol=1e-6)  # fmt: skip
  np.testing.assert_allclose(np.cov(x.T), [[1.302728, 13.977808], [13.977808, 184.823312]], rtol=1e-5)
  parts = data.load("old_faithful", valid_fraction=0.1, split_seed=3)
  assert sorted(np.concatenate([p["x"] for p in parts.parts().values()]).tolist()) == sorted(x.astype("f").tolist())


@pytest.fixture(scope="module")
def steps():
  return mixtures.old_faithful()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("step", [1, 5, 20])
def test_steps_match_scikit_learn(steps, step):
  """From the same start; the parameters after `step` M-steps."""
  begin = {"weights_init": [0.5, 0.5], "means_init": steps["means"][0], "precisions_init": np.stack([np.eye(2)] * 2)}
  theirs = mixture.GaussianMixture(2, reg_covar=1e-6, tol=0, max_iter=step, **begin).fit(steps["x"].astype(np.float64))
  np.testing.assert_allclose(steps["means"][step], theirs.means_, atol=1e-4)
  covariance = steps["roots"][step] @ np.swapaxes(steps["roots"][step], 1, 2)
  np.testing.assert_allclose(covariance, theirs.covariances_, atol=1e-4)
  np.testing.assert_allclose(steps["log_px"][step], theirs.score(steps["x"]), atol=1e-4)
  np.testing.assert_allclose(steps["responsibilities"][step], theirs.predict_proba(steps["x"]), atol=1e-3)


def test_the_report_of_steps_has_the_computed_numbers(steps, tmp_path):
  save_arrays(tmp_path / "runs" / "computed" / "old_faithful.npz", **steps)
  found = paper.report("figure=9.8", "test", tmp_path)
  n = found["numbers"]["steps"]
  assert n["log_px"]["5"] == pytest.approx(steps["log_px"][5])
  short, long = sorted(n["components"], key=lambda c: c["eruption"])
  assert (short["weight"], short["eruption"], short["waiting"]) == pytest.approx((0.356, 2.036, 54.48), abs=0.01)
  assert (long["eruption"], long["waiting"]) == pytest.approx((4.29, 79.97), abs=0.01)
  assert found["sentences"][0].startswith("log p(x) rises at every step. After 20 steps: ")
  assert (tmp_path / "steps.png").stat().st_size > 20_000
  assert "steps 0: −" in paper.summary(found["numbers"])["ours"]


def test_components_are_matched_by_the_best_assignment():
  """Component 1 has more 4s than 7s, but is matched to 7, since component 0 has only 4s."""
  own = np.eye(2)[[0, 0, 0, 1, 1, 1, 1, 1]]
  y = np.array([4, 4, 4, 4, 4, 4, 7, 7])
  assert mixtures.matched(own, y) == (5 / 8, {"0": "4", "1": "7"})
  share, names = mixtures.matched(np.eye(3)[[0, 1, 2, 2]], np.array([4, 4, 7, 7]))  # one component is unmatched
  assert share == 3 / 4
  assert names["2"] == "7"


def test_digits_by_hand(tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    "means": rng.random((2, 28, 28, 1)), "single": rng.random((1, 28, 28, 1)), "single_log_px": -210.0,
    "responsibilities": np.eye(2)[[0, 0, 1, 1, 1, 1, 0, 0]], "log_px": np.array([-205.0, -190.5]),
    "ends": np.array([-191.0, -190.5]), "x": rng.random((8, 28, 28, 1)), "y": np.array([2, 2, 2, 4, 4, 4, 4, 4]),
  }  # fmt: skip
  save_arrays(tmp_path / "runs" / "computed" / "digits.npz", **arrays)
  found = paper.report("figure=9.10", "test", tmp_path)
  (sentence,) = found["sentences"]
  assert sentence.startswith("62 % of the images of 2, 4 are in the component of their digit")
  assert sentence.endswith("is 19.5 nats above that of one product of Bernoullis.")
  assert (tmp_path / "digits.png").stat().st_size > 1000
  ours = paper.summary(found["numbers"])["ours"]
  assert ours == "62 % in their digit's component; log p(x) −190.5, of one component −210.0"


def test_the_projection_matches_scikit_learn():
  """For probabilistic PCA's W, which is a scaled rotation of the principal axes."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 3
  pca = decomposition.PCA(2).fit(x)
  w = pca.components_.T @ (np.diag([2.0, 0.1]) @ rng.normal(size=(2, 2)))
  expected = pca.inverse_transform(pca.transform(x))
  np.testing.assert_allclose(reconstructions.projected(x, w, x.mean(0)), expected, atol=1e-9)


def test_reconstructions_by_hand(tmp_path):
  errors = {"1": [0.4, 0.5, 0.3], "5": [0.1, 0.3, 0.1]}
  for cell, _, run in measured_runs.of(paper, "figure=12.5"):
    image = np.zeros((8, 28, 28, 1))
    arrays = {"error": np.array(errors[cell]), "nearest": np.array(errors[cell]) - 0.01, "train": 0.2, "left_out": 0.2}
    measured_runs.measure(tmp_path, run, **arrays, log_px=np.array([1.0, 2.0, 3.0]), x=image, shown=image)
  found = paper.report("figure=12.5", "test", tmp_path)
  n = found["numbers"]["reconstructions"]["1"]
  assert (n["error"], n["nearest"], n["error_stderr"]) == pytest.approx((0.4, 0.39, 0.1 / 3**0.5))
  fall = found["numbers"]["falls"]["M = 5 − M = 1"]
  assert (fall["difference"], fall["stderr"]) == pytest.approx((-7 / 30, np.std([0.3, 0.2, 0.2], ddof=1) / 3**0.5))
  assert found["sentences"] == ["Claim that the error falls with M: M = 5 − M = 1: lower: shown."]
  assert paper.summary(found["numbers"])["ours"].endswith("by M: 1: 0.4000, 5: 0.1667")
  plots.draw(tmp_path, found["figures"])
  for file in ("reconstructions.png", "errors.png"):
    assert (tmp_path / file).stat().st_size > 500


@pytest.mark.slow  # a minute
@pytest.mark.parametrize("item", ["figure=9.8", "figure=9.10", "figure=12.5"])
def test_the_test_budget_is_not_repeated(tmp_path, item, capfd):
  command = ["bishop2006", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  folder = tmp_path / "bishop2006" / item.replace("=", "") / "test"
  files = lambda: {p: p.stat().st_mtime_ns for p in (*folder.glob("runs/*/*.npz"), *folder.glob("measured/*"))}
  before = files()
  assert reproduce.main(command) == 0
  assert before and files() == before
  numbers = paper.report(item, "test", folder)["numbers"]
  for n in numbers.get("reconstructions", {}).values():
    assert n["nearest"] <= n["error"]
    np.testing.assert_allclose(n["train"], n["left_out"], rtol=1e-3)  # PCA's least error, by the closed form
  if "digits" in numbers:
    assert numbers["digits"]["agree"] > 0.8
    assert numbers["digits"]["log_px"] > numbers["digits"]["single"]
    assert numbers["digits"]["least_rise"] > -1e-3
