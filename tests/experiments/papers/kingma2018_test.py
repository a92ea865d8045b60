"""Kingma & Dhariwal (2018): the table by hand."""

import numpy as np
import pytest

from dgm_jax.experiments.papers.kingma2018 import paper
from helpers import measured_runs

ITEM = "table=cifar"


def test_the_table_by_hand(tmp_path):
  for cell, _, name in measured_runs.of(paper, ITEM):
    if cell != "realnvp":
      values = {"bits_per_dim": 3.5 if cell == "glow" else 3.6, "log_px_stderr": 3072 * np.log(2) * 0.02}
      measured_runs.measure(tmp_path, name, **values, invertibility=2e-5, entries=3072)
  bits = {"uniform": 8.0, "gaussian": 8.9, "ridge": 5.1, "ppca": 5.2}
  closed = {name: mean + np.array([-0.02, 0.02]) for name, mean in bits.items()}
  measured_runs.measure(tmp_path, "closed_forms", **closed, chosen_ridge=1e-4, chosen_ppca=128)
  found = paper.report(ITEM, "test", tmp_path)
  cells, [table] = found["numbers"]["cells"], found["tables"]
  assert cells["glow"]["stderr_images"] == pytest.approx(0.02) and cells["ppca"]["dimensions"] == 128
  rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in table["rows"]}
  assert rows["uniform"][1] == "8.000" and rows["probabilistic PCA, 128 dimensions"][1] == "5.200"
  assert rows["Glow"] == ["3.35", "3.500", "± 0.020", "2e-05"]
  assert rows["RealNVP"][1] == "not finished"
  assert all(len(row) == len(table["columns"]) for row in table["rows"])
  assert "Glow 3.50" in paper.summary(found["numbers"])["ours"]
