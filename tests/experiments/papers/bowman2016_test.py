"""Tables and figures of VAEs of sentences, from numbers by hand; the runs that are planned."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.harness import stages
from dgm_jax.experiments.papers.bowman2016 import paper as bowman2016
from dgm_jax.experiments.papers.he2019 import paper as he2019
from dgm_jax.experiments.papers.he2019 import trajectories
from helpers import made_runs

NLL = {"lm": 100.0, "vae": 99.0, "plain": 100.0, "inputless lm": 135.0, "inputless vae": 125.0}


@pytest.fixture
def table(tmp_path):
  folder = made_runs.make(tmp_path, "bowman2016", "table=2", {cell: [[-v] * 4] for cell, v in NLL.items()})
  names = stages.run_names(bowman2016.RUNS["table=2"]["test"])
  for cell, runs in names.items():
    for path in (folder / "runs" / name / "results.json" for name in runs):
      more = {"test/perplexity": 80.0} | (
        {} if cell == "lm" else {"test/collapse_rate": 0.1 if cell == "plain" else 4.0}
      )
      path.write_text(json.dumps(files.read_json(path) | more))
  return bowman2016.report("table=2", "test", folder)


def test_numbers_stand_beside_the_unverified_published_ones(table):
  rows = {row[0]["text"]: [c["text"] for c in row] for row in table["tables"][0]["rows"]}
  assert rows["vae"][1:5] == ["101, KL 2, perplexity 119 (unverified)", "99.00", "4.00", "80.0"]
  assert rows["lm"][3] == ""
  assert table["sentences"] == [
    "The KL is 0.10 nats without annealing and 4.00 with it and word dropout.",
    "The inputless decoder gains 10.00 nats from z, more than the LSTM, 1.00.",
  ]
  assert "vae 99.00 (KL 4.00)" in bowman2016.summary(table["numbers"])["ours"]


def test_an_order_that_does_not_hold_is_said(table):
  cells = {name: dict(values) for name, values in table["numbers"]["cells"].items()}
  cells["inputless vae"]["nll"] = 134.9
  assert "gains 0.10 nats from z, not more" in bowman2016.tables.sentences(cells)[1]


@pytest.mark.parametrize("module", [bowman2016, he2019])
def test_every_budget_is_planned_with_valid_configs(module):
  for item, budgets in module.RUNS.items():
    for name in budgets:
      budget = papers.budget(module, item, name)
      if budget.config:
        runs, _ = reproduce.plan(budget, {}, "")
        assert len(runs) == sum(map(len, budget.cells.values()))


def test_trajectories_measure_how_far_the_encoder_lags(tmp_path):
  folder = tmp_path / "runs" / "computed"
  folder.mkdir(parents=True)
  model = np.array([[0.0, 0.0], [-2.0, 2.0]])
  for method, inference in (("plain", 0.0 * model), ("aggressive", 0.5 * model)):
    np.savez(folder / f"{method}.npz", steps=[0, 10], updates=[0, 5], model=model, inference=inference)
  found = trajectories.report(tmp_path)
  assert found["numbers"]["lag"]["plain"] == {"model": 2, "inference": 0, "distance": 2, "largest_distance": 2}
  assert found["numbers"]["lag"]["aggressive"]["distance"] == 1
  assert "aggressive: spread of the means of q 1.00, of p 2.00" in he2019.summary(found["numbers"])["ours"]
  assert len(found["figures"]) == 4
  lines = found["figures"][3]["series"]  # a line for each sentence, (mean of p, mean of q) at each step
  assert [np.asarray(line["points"]).tolist() for line in lines[:2]] == [[[0, 0], [-2, -1]], [[0, 0], [2, 1]]]


@pytest.mark.slow
@pytest.mark.parametrize(
  "paper,item", [("bowman2016", i) for i in bowman2016.RUNS] + [("he2019", i) for i in he2019.RUNS]
)
def test_the_test_budget_runs(paper, item, tmp_path):
  flag = f"--{item}"
  assert reproduce.main([paper, flag, "--budget=test", f"--root={tmp_path}"]) == 0


def test_the_lengths_of_runs_stand_beside_their_numbers(tmp_path):
  folder = made_runs.make(tmp_path, "he2019", "table=1", {cell: [[-9.0] * 4] for cell in he2019._CELLS})
  names = stages.run_names(he2019.RUNS["table=1"]["test"])
  for cell, more in (("annealed", {"train/beta": 0.75}), ("aggressive", {"train/decoder_updates": 1234.0})):
    path = folder / "runs" / names[cell][0] / "metrics.jsonl"
    path.write_text(path.read_text() + json.dumps({"step": 60} | more) + "\n")
  found = he2019.report("table=1", "test", folder)
  rows = {row[0]["text"]: [c["text"] for c in row] for row in found["tables"][1]["rows"]}
  assert rows["annealed"][2:] == ["", "0.75"] and rows["aggressive"][2:] == ["1,234", ""]
  assert found["numbers"]["cells"]["annealed"]["beta"] == 0.75
