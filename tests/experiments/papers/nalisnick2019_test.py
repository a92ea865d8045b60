"""Nalisnick et al. (2019): the independent pixels by hand, a measured run, the table by hand."""

import numpy as np
import pytest

from dgm_jax.api import loading
from dgm_jax.configs import densities_fashion
from dgm_jax.experiments.papers.nalisnick2019 import paper
from dgm_jax.sweeps import states
from dgm_jax.training import train
from helpers import measured_runs

ITEM = "table=fashion"


def test_independent_pixels_are_the_frequencies_of_the_training_set():
  train_x = np.array([[[0, 3]], [[0, 1]], [[2, 3]]], np.uint8)
  log_p = paper.independent(train_x, 4)(None, {"x": np.array([[[0, 3]], [[3, 0]]], np.uint8)})
  np.testing.assert_allclose(log_p, np.log([(3 / 7) * (3 / 7), (1 / 7) * (1 / 7)]), rtol=1e-5)
  every = np.array([[[a, b]] for a in range(4) for b in range(4)], np.uint8)
  assert np.exp(paper.independent(train_x, 4)(None, {"x": every})).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["glow", "vae"])
def test_a_run_is_measured_with_the_ratio_to_independent_pixels(kind, tmp_path):
  config = densities_fashion.get_config(f"test,model={kind}")
  place = states.folder(tmp_path, "one")
  results = train.train_and_evaluate(config, place)
  assert results["test/ood_auroc"] == pytest.approx(0.5, abs=5 * results["test/ood_auroc_stderr"])  # the same set
  paper.measure(tmp_path, {kind: ["one"]})
  with np.load(tmp_path / "measured" / "one.npz") as found:
    assert found["ood_auroc"] == pytest.approx(results["test/ood_auroc"], abs=0.02)
    assert 0 <= found["ood_ratio_auroc"] <= 1 and found["entries"] == 784
  assert loading.of_run(place).step == 40


def test_the_table_by_hand(tmp_path):
  nats = 784 * np.log(2)
  of = {"glow": (0.1, 3.0, 1.5), "vae": (0.7, 4.0, 5.0), "pixelcnn": (0.51, 3.0, 3.0)}
  for cell, _, name in measured_runs.of(paper, ITEM):
    if cell in of:
      area, test, other = of[cell]
      arrays = {"ood_log_px_test": -test * nats, "ood_log_px": -other * nats, "entries": 784, "ood_examples": 2000}
      arrays |= {f"ood_{score}auroc": area for score in paper._SCORES}
      arrays |= {f"ood_{score}auroc_stderr": 0.01 for score in paper._SCORES}
      measured_runs.measure(tmp_path, name, ood_kind="bound", **arrays)
  found = paper.report(ITEM, "test", tmp_path)
  cells, [table] = found["numbers"]["cells"], found["tables"]
  assert cells["glow"]["bits_other"] == pytest.approx(1.5) and cells["vae"]["scores"]["ratio_"] == [0.7, 0.01]
  rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in table["rows"]}
  assert rows["Glow (2 levels)"][:2] == ["3.000", "1.500"] and rows["Glow (2 levels)"][2].startswith("0.100")
  assert rows["MAF (5 layers)"][0] == "not finished"
  assert all(len(row) == len(table["columns"]) for row in table["rows"])
  said = dict(sentence.split(":", 1) for sentence in found["sentences"])
  assert said["Glow (2 levels)"].startswith(" MNIST has the higher likelihood")
  assert said["VAE"].startswith(" the test set has") and said["Gated PixelCNN"].startswith(" neither set")
  assert "Glow (2 levels) 0.100" in paper.summary(found["numbers"])["ours"]
