"""Papamakarios et al. (2017): the normals in closed form, the formula with the class, published rows, planned runs."""

import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import config_args, errors, files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import comparisons
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.durkan2019 import paper as durkan
from dgm_jax.experiments.papers.papamakarios2017 import gaussian, paper

RNG = np.random.default_rng(0)


def digits(n):
  y = np.arange(n) % 10
  return {
    "x": RNG.integers(0, 200, (n, 2, 2, 1)).astype(np.uint8) + (5 * y)[:, None, None, None].astype(np.uint8),
    "y": y,
  }


def test_logits_of_dequantised_grey_levels():
  x = RNG.integers(0, 256, (2000, 2, 1, 1)).astype(np.uint8)
  x[:3] = 0
  x[3:6] = 255
  made = gaussian.logits(x, np.random.default_rng(1))
  share = (1 / (1 + np.exp(-made)) - 1e-6) / (1 - 2e-6)
  np.testing.assert_array_equal(np.floor(share * 256 + 1e-9), x.reshape(-1, 2))
  assert abs((share * 256 - x.reshape(-1, 2)).mean() - 0.5) < 4 * 12**-0.5 / 4000**0.5
  assert np.isfinite(made).all()


def test_the_normals_are_fitted_to_the_training_digits_alone():
  train, test = digits(400), digits(30)
  found = gaussian.log_likelihoods(train, test, 3)
  rng = np.random.default_rng(3)
  x, held_out = gaussian.logits(train["x"], rng), gaussian.logits(test["x"], rng)
  normal = lambda rows: scipy.stats.multivariate_normal(rows.mean(0), np.cov(rows.T, bias=True))
  np.testing.assert_allclose(found["gaussian"], normal(x).logpdf(held_out), rtol=1e-9)
  given = np.stack([normal(x[train["y"] == y]).pdf(held_out) for y in range(10)])
  np.testing.assert_allclose(found["gaussian-class"], np.log(given.mean(0)), rtol=1e-9)
  np.testing.assert_allclose(found["true-class"], np.log(given[test["y"], np.arange(30)]), rtol=1e-9)


def test_the_report_by_hand(tmp_path):
  for seed, shift in enumerate((0.0, 0.2)):
    arrays = {"gaussian": np.array([-1366.0, -1368.0]), "gaussian-class": np.array([-1344.0, -1345.0])}
    arrays = {name: a - shift for name, a in arrays.items()} | {"true-class": np.array([-1346.0, -1346.4])}
    files.save_arrays(tmp_path / "runs" / "computed" / f"seed-{seed}.npz", **arrays)
  found = paper.report("table=gaussian", "quick", tmp_path)
  cells = found["numbers"]["cells"]
  assert cells["gaussian"]["nll"] == pytest.approx(1367.1)
  assert cells["gaussian"]["stderr_images"] == pytest.approx(1.0)
  assert cells["gaussian-class"]["stderr_seeds"] == pytest.approx(0.1)
  [table] = found["tables"]
  assert [c["text"] for c in table["rows"][0]][:2] == ["a normal", "1366.9"]
  assert "1346.2" in found["sentences"][0]
  row = paper.summary(found["numbers"])
  assert row["published"] == "1366.9/1344.7" and row["ours"].startswith("1367.1")
  of_class = paper.ours(found["numbers"])["gaussian-class"]  # judged by noise and digits: sqrt(0.1^2 + 0.5^2)
  assert (of_class.value, of_class.stderr) == (pytest.approx(1344.6), pytest.approx(0.26**0.5))
  assert "± 0.51" in table["rows"][1][-1]["text"]
  assert paper.report("table=gaussian", "test", tmp_path / "none")["tables"] == []


def test_published_numbers_are_nll():
  published = paper.PUBLISHED["table=2"]
  assert (published["maf-5"].value, published["maf-5-class"].value) == (1300.5, 1302.9)
  assert len(published) == 14
  for first, second in paper.CLAIMS.pairs:  # what the paper's table says
    assert published[first].value < published[second].value
  assert paper.CLAIMS.label("made-mog-class") == "MADE MoG, with the class"


def test_the_planned_runs_are_the_rows_of_the_table():
  runs, _ = reproduce.plan(papers.budget(paper, "table=2", "paper"), {}, "")
  by_model = {}
  for run in runs:
    config = run.config
    args, evaluate = config["model"]["args"], config["evaluate"]["exact_likelihood"]
    with_class = "condition" in config["data"]["transforms"]
    assert evaluate["classes"] == ("uniform" if with_class else "")
    assert args["num_classes"] == 10 * with_class
    assert config["optim"]["lr"] == (1e-4 if args.get("norm") == "batch" else 1e-3)
    assert (config["keep_best"], config["early_stopping"]) == ("valid/log_px", 30)
    kind = (config["model"]["name"], args.get("layer"), args.get("num_layers"), args.get("base"))
    by_model.setdefault(kind, []).append(with_class)
  expected = (
    ("flow", "autoregressive", 1, "normal"),
    ("made", None, None, None),
    ("flow", "coupling", 5, "normal"),
    ("flow", "coupling", 10, "normal"),
    ("flow", "autoregressive", 5, "normal"),
    ("flow", "autoregressive", 10, "normal"),
    ("flow", "autoregressive", 5, "made"),
  )
  assert by_model == {kind: [False, True] for kind in expected}


def test_the_normals_that_are_committed_agree_within_the_joint_error():
  found = files.read_json(papers.results_file("papamakarios2017", "table=gaussian", "quick"))
  assert {cell.name: cell.agrees for cell in comparisons.cells(found)} == {"gaussian": True, "gaussian-class": True}
  far = found | {"numbers": {"item": "table=gaussian", "cells": {}}}
  cell = {"nll": 1344.7 + 1.9, "stderr_seeds": 0.15, "stderr_images": 0.88}
  far["numbers"]["cells"]["gaussian-class"] = cell
  assert [cell.agrees for cell in comparisons.cells(far)] == [False]


def test_the_rows_of_table_1_are_maf_s_settings_for_each_set():
  runs, _ = reproduce.plan(papers.budget(paper, "table=1", "paper"), {}, "")
  assert len(runs) == 7 * 5
  published = paper.PUBLISHED["table=1"]
  assert (published["maf-5-power"].value, published["made-mog-bsds300"].value) == (-0.14, -153.71)
  for run in runs:
    config, args = run.config, run.config["model"]["args"]
    layers = args.get("num_layers", 0)
    base = args if config["model"]["name"] == "made" or args["base"] == "made" else None
    assert config["optim"]["lr"] == (1e-4 if layers > 1 else 1e-3) and config["optim"]["l2"] == 1e-6
    assert (config["batch_size"], config["keep_best"], config["early_stopping"]) == (100, "valid/log_px", 30)
    assert config["data"]["name"].startswith("maf/") and list(config["data"]["transforms"]) == []
    if layers:
      normalised = layers > 1 or base is not None
      assert args["norm"] == ("batch" if normalised else "none")
      assert config["evaluate"]["exact_likelihood"]["statistics"] == ("train" if normalised else "")
      net = args["layer_args"]
      width = 100 if config["data"]["name"] in ("maf/power", "maf/gas") else 512
      assert list(net["hidden"]) == [width, width]
      assert net["activation"] == ("tanh" if config["data"]["name"] == "maf/gas" else "relu")
  assert paper.table1.CLAIMS.label("maf-mog-gas") == "MAF MoG (5), GAS"


@pytest.mark.parametrize("arg,rate", [("", 1e-4), ("layers=1,norm=none", 1e-3), ("layers=0,base=mog", 1e-3)])
def test_the_config_trains_made_with_the_paper_s_rate(arg, rate):
  assert config_args.load(f"maf_mnist:{arg}").optim.lr == rate


def test_durkan2019_has_the_flows_of_the_paper_on_each_set():
  runs, _ = reproduce.plan(papers.budget(durkan, "table=1", "paper"), {}, "")
  kinds = {(r.config["model"]["args"]["layer"], r.config["model"]["args"]["layer_args"]["transform"]) for r in runs}
  assert len(runs) == 15
  assert kinds == {("autoregressive", "affine"), ("coupling", "spline"), ("autoregressive", "spline")}
  assert durkan.PUBLISHED["table=1"]["spline-coupling-hepmass"].value == 14.75
  assert durkan.CLAIMS.label("spline-autoregressive-bsds300") == "RQ-NSF (AR), BSDS300"
  for first, second in durkan.CLAIMS.pairs:  # what the paper's table says
    assert durkan.PUBLISHED["table=1"][first].value < durkan.PUBLISHED["table=1"][second].value
  with pytest.raises(errors.UserError, match=r"recipe=maf takes transform=affine alone"):
    config_args.load("flow_uci:recipe=maf,transform=spline")
