"""Cremer et al. (2018): the gaps of synthetic runs by hand, verdicts on claims."""

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.cremer2018 import paper
from helpers import made_runs

# for two images: log p(x) by IWAE (for one more image, too) and AIS, L[q*] of q's family and of normals, L[q]
_FFG = {"log_px": [-90, -92, -5], "ais": [-91, -92.5], "local": [-92, -94.5], "elbo": [-97, -99]}
_FLOW = {"log_px": [-90, -92, -5], "ais": [-89, -91], "own": [-90, -92.2], "local": [-92, -94], "elbo": [-97, -99]}


def make(root, terms, by_seed=(0.0, 0.0)):
  """The folder of finished runs of some cells, {cell: terms}; L[q] of the diagonal normal differs by seed."""

  def more(cell, seed):
    of, shift = terms[cell], by_seed[seed] if cell.startswith("ffg") else 0.0
    values = {"log_px": of["ais"], "elbo_local": of["local"], "elbo": np.array(of["elbo"]) + shift}
    values |= {"elbo_own": of["own"]} if "own" in of else {}
    return {f"test/gaps_{name}": np.array(v) for name, v in values.items()}

  log_px = {cell: [of["log_px"]] * 2 for cell, of in terms.items()}
  return made_runs.make(root, "cremer2018", "table=1", log_px, more=more)


def test_the_gaps_by_hand(tmp_path):
  folder = make(tmp_path, {"ffg-mnist5k": _FFG, "flow-mnist5k": _FLOW}, (0.0, 0.5))
  found = paper.report("table=1", "test", folder)
  cells = found["numbers"]["cells"]
  mean = lambda cell, term: cells[cell][term]["mean"]
  assert mean("ffg-mnist5k", "log_px") == mean("ffg-mnist5k", "iwae") == -91  # of the two images that have gaps
  assert mean("flow-mnist5k", "log_px") == mean("flow-mnist5k", "ais") == -90
  assert mean("ffg-mnist5k", "approximation") == pytest.approx(2.25)
  assert mean("ffg-mnist5k", "amortisation") == pytest.approx(98 - 93.25 - 0.25)
  assert cells["ffg-mnist5k"]["amortisation"]["stderr_seeds"] == pytest.approx(0.25)
  assert mean("flow-mnist5k", "approximation") == pytest.approx(1.1)
  assert mean("flow-mnist5k", "elbo_ffg") == -93
  for cell in cells:
    both = mean(cell, "approximation") + mean(cell, "amortisation")
    assert mean(cell, "inference") == pytest.approx(both)
  claims = found["numbers"]["claims"]
  assert {name: p["verdict"] for name, p in claims.items()} == {
    "FFG, mnist5k: amortisation − approximation gap": "higher",
    "flow, mnist5k: amortisation − approximation gap": "higher",
    "flow, mnist5k: L[q*] − L[q*] of FFG": "higher",
    "mnist5k: approximation gap, FFG − flow": "higher",
  }
  assert claims["mnist5k: approximation gap, FFG − flow"]["difference"] == pytest.approx(1.15)
  assert claims["flow, mnist5k: L[q*] − L[q*] of FFG"]["difference"] == pytest.approx(1.9)
  row = paper.summary(found["numbers"])
  assert row["data"] == "mnist5k (2 test images)"
  assert "flow, mnist5k 1.10 ± 0.00" in row["ours"]
  assert "of 4 claims 4 shown, 0 opposite" in row["ours"]


def test_a_reversed_claim_is_reported(tmp_path):
  folder = make(tmp_path, {"ffg-mnist5k": _FFG | {"elbo": [-92.5, -95]}})
  found = paper.report("table=1", "test", folder)
  assert found["sentences"] == ["FFG, mnist5k: amortisation − approximation gap: below zero: the opposite is shown."]


@pytest.mark.slow
def test_both_families_train_and_their_gaps_are_measured(tmp_path):
  assert reproduce.main(["cremer2018", "--table=1", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
  found = files.read_json(papers.folder(tmp_path, "cremer2018", "table=1", "test") / "report.json")
  assert set(found["numbers"]["cells"]) == {"ffg-mnist5k", "flow-mnist5k"}
  assert len(found["numbers"]["claims"]) == 4
