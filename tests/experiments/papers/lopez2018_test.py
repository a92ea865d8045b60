"""The table of scVI: means over seeds, differences by cell, and what the budgets train."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper
from dgm_jax.experiments.papers.lopez2018 import paper as lopez2018
from helpers import made_runs

_LOG_PX = {"zinb": -120.0, "nb": -125.0, "zinb-iwae": -119.0}


@pytest.fixture
def found(tmp_path):
  noise = np.array([0.1, -0.1, 0.2, -0.2])
  log_px = {c: [(v + s + noise * (1 + len(c))).tolist() for s in range(2)] for c, v in _LOG_PX.items()}
  folder = made_runs.make(tmp_path, "lopez2018", "table=1", log_px)
  for path in folder.glob("runs/*/results.json"):
    results, config = files.read_json(path), files.read_json(path.with_name("config.json"))
    results |= {"test/log_px": -results["test/nll"], "test/cells_ari": 0.4 + 0.02 * config["seed"]}
    path.write_text(json.dumps(results))
  return lopez2018.report("table=1", "test", folder)


def test_numbers_and_rows_by_hand(found):
  cells = found["numbers"]["cells"]
  assert cells["zinb"]["log_px"]["mean"] == pytest.approx(-119.5)
  assert cells["zinb"]["cells_ari"]["mean"] == pytest.approx(0.41)
  pair = found["numbers"]["pairs"]["negative binomial − ZINB"]
  assert pair["difference"] == pytest.approx(5.0)  # of the NLL
  main = found["tables"][0]
  assert [len(row) for row in main["rows"]] == [len(main["columns"])] * 3
  assert "ARI 0.410 ± 0.010" in lopez2018.summary(found["numbers"])["ours"]


def test_the_short_budget_is_of_starmap_given_the_library():
  runs, _ = reproduce.plan(paper.budget(lopez2018, "table=1", "short"), {}, "")
  assert {run.config["data"]["name"] for run in runs} == {"scrna/starmap"}
  assert {run.config["model"]["args"]["library"] for run in runs} == {"observed"}
  assert len(runs) == 9 and {run.config["objective"]["num_samples"] for run in runs} == {1, 5}
