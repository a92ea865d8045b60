"""Kingma & Dhariwal (2018): PPCA in closed form beside scipy, bits of known densities, the table by hand."""

import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA

from dgm_jax.experiments.papers.kingma2018 import closed_forms, paper
from helpers import measured_runs

ITEM = "table=cifar"
G = np.random.default_rng(0)


def test_ppca_is_the_normal_of_its_covariance():
  x, y = G.normal(size=(200, 6)) @ G.normal(size=(6, 6)) + 1, G.normal(size=(9, 6))
  fitted = closed_forms.PPCA(x)
  for components in (1, 3):
    theirs = PCA(components).fit(x)
    scale = (len(x) - 1) / len(x)  # scikit-learn divides by N - 1
    expected = scipy.stats.multivariate_normal(x.mean(0), theirs.get_covariance() * scale).logpdf(y)
    np.testing.assert_allclose(fitted.log_p(y, components), expected, rtol=1e-9)
  expected = scipy.stats.norm(x.mean(0), x.std(0)).logpdf(y).sum(1)
  np.testing.assert_allclose(closed_forms.independent(x, y), expected, rtol=1e-9)


def test_uniform_images_have_eight_bits_and_images_of_few_directions_fewer():
  assert closed_forms.bits(np.zeros(5), 12) == (8.0, 0.0)  # p of the unit cube
  flat = np.clip(128 + 30 * G.normal(size=(500, 2)) @ G.normal(size=(2, 20)), 0, 255).astype(np.uint8)
  found = closed_forms.bits_of(flat[:400], flat[400:])
  assert 0 < found["ppca"][0] < found["independent"][0] < 8.2 and found["components"] <= 16


def test_the_table_by_hand(tmp_path):
  for cell, _, name in measured_runs.of(paper, ITEM):
    if cell != "realnvp":
      values = {"bits_per_dim": 3.5 if cell == "glow" else 3.6, "log_px_stderr": 3072 * np.log(2) * 0.02}
      measured_runs.measure(tmp_path, name, **values, invertibility=2e-5, entries=3072)
  measured_runs.measure(tmp_path, "closed_forms", independent=(7.1, 0.01), ppca=(5.2, 0.02), components=128)
  found = paper.report(ITEM, "test", tmp_path)
  cells, [table] = found["numbers"]["cells"], found["tables"]
  assert cells["glow"]["stderr_images"] == pytest.approx(0.02) and cells["ppca"]["components"] == 128
  rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in table["rows"]}
  assert rows["uniform colours"][1] == "8.000" and rows["PPCA, 128 components"][1] == "5.200"
  assert rows["Glow"] == ["3.35", "3.500", "± 0.020", "2e-05"]
  assert rows["RealNVP"][1] == "not finished"
  assert all(len(row) == len(table["columns"]) for row in table["rows"])
  assert "Glow 3.50" in paper.summary(found["numbers"])["ours"]
