"""Tucker et al. (2019): slopes of the estimators by theory, differences by hand."""

import numpy as np
import pytest

from dgm_jax.experiments import reproduce
from dgm_jax.experiments.papers.tucker2019 import figure1, paper
from dgm_jax.experiments.shared import linear_gaussian_snr as toy
from helpers import made_runs


def test_the_snr_of_dreg_rises_that_of_iwae_falls_and_stl_is_biased(tmp_path, monkeypatch):
  setting = toy.Setting(2, 1000, (10, 30, 90), (), 3, 0.2, estimators=tuple(figure1._NAMES))
  monkeypatch.setitem(figure1.SETTINGS, "test", setting)
  toy.compute(tmp_path / "runs" / "computed", setting)
  found = paper.report("figure=1", "test", tmp_path)
  for name, both in found["numbers"]["slopes"].items():
    for what, n in both.items():
      assert abs(n["slope"] - n["theory"]) < 0.15, (name, what, n)
      assert n["stderr"] < 0.05
  falls, rises, biased = found["sentences"]
  assert "IWAE falls with K: shown (slope −0.5" in falls
  assert "IWAE-DReG rises with K: shown (slope +0.5" in rises
  assert "IWAE-STL is biased: shown (at K = 90" in biased
  bias = {int(k): v for k, (v, _) in found["numbers"]["bias_of_stl"].items()}
  assert bias[90] / bias[10] == pytest.approx(9, rel=0.2)  # the gradient is of order 1/K, the bias of order 1
  assert {f["file"] for f in found["figures"]} == {"snr.png", "variance.png", "bias.png"}
  assert "IWAE-DReG +0.5" in paper.summary(found["numbers"])["ours"]


def test_the_bias_is_the_mean_of_rws_dreg_over_the_gradient():
  ones = np.ones((toy.PARTS, 2))
  found = {"b_dreg_mean": 0.5 * ones, "b_rws_dreg_mean": ones * [3.0, 4.0]}
  found |= {f"{name}_variance": 0 * ones for name in ("b_dreg", "b_rws_dreg")}
  assert figure1._bias({4: found}, 1000) == {4: (pytest.approx(10 / 2**0.5), pytest.approx(0))}


def test_verdicts_on_the_sign_of_a_slope():
  assert figure1._verdict(0.5, 0.1, 1) == "shown"
  assert figure1._verdict(0.5, 0.1, -1) == "the opposite is shown"
  assert figure1._verdict(0.1, 0.07, 1) == "cannot be told"


def test_training_curves_and_differences_by_hand(tmp_path):
  log_px = {"iwae": ([-5.0, -6.0, -7.0], [-6.0, -6.0, -8.0]), "dreg": ([-4.0, -5.0, -6.5], [-5.0, -5.5, -7.0])}
  folder = made_runs.make(tmp_path, "tucker2019", "figure=2", log_px)
  found = paper.report("figure=2", "test", folder)
  cells, (name, pair) = found["numbers"]["cells"], *found["numbers"]["pairs"].items()
  assert name == "IWAE-DReG − IWAE"
  assert cells["iwae"]["log_px"] == pytest.approx(-(6 + 20 / 3) / 2)
  assert pair["difference"] == pytest.approx(5 / 6)  # by image, averaged over seeds: 1, .75, .75
  assert pair["stderr_images"] == pytest.approx(np.std([1, 0.75, 0.75], ddof=1) / 3**0.5)
  assert pair["by_seed"] == pytest.approx([5 / 6, 5 / 6])
  assert found["sentences"] == ["Claim that IWAE-DReG ends above IWAE: higher: shown."]
  (figure,) = found["figures"]
  assert [s["points"] for s in figure["series"]] == [[[20, -9], [40, -8.5]]] * 2
  row = paper.summary(found["numbers"])
  assert row["system"] == "log p(x) of IWAE, K = 4, by gradient estimator"
  assert row["data"] == "mnist5k"


@pytest.mark.slow
def test_both_gradients_train(tmp_path):
  assert reproduce.main(["tucker2019", "--figure=2", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
  text = (tmp_path / "index.html").read_text()
  assert "IWAE-DReG − IWAE" in text
