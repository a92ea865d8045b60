"""Tables of the Grammar VAE and of MOSES from numbers by hand; the runs that are planned."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.kusner2017 import paper as kusner2017
from dgm_jax.experiments.papers.polykovskiy2020 import paper as polykovskiy2020
from helpers import made_runs


def test_searches_stand_beside_the_published_and_an_order_that_does_not_hold_is_said(tmp_path):
  names = stages.run_names(kusner2017.RUNS["table=1"]["test"])
  for cell, shift in (("grammar", 0.0), ("character", 1.5)):
    more = {f"{m}_{k}": np.array([v, v + 0.2]) + shift for m in ("ei", "random") for k, v in
            (("valid", 0.8), ("average", 3.0), ("best", 0.1), ("average_of_all", 3.5), ("true", 0.05))}  # fmt: skip
    path = measured.file(tmp_path, names[cell][0])
    path.parent.mkdir(exist_ok=True)
    files.save_arrays(path, ei_texts=np.array(["x", "1+x"]), random_texts=np.array(["1", "2"]),
                      rmse=np.array([0.9, 1.1]), log_py=np.array([-1.3, -1.5]), **more)  # fmt: skip
  found = kusner2017.report("table=1", "test", tmp_path)
  rows = {row[0]["text"]: [c["text"] for c in row] for row in found["tables"][0]["rows"]}
  assert rows["grammar"][3] == "3.10 ± 0.10" and rows["grammar"][4].startswith("3.26 ± 0.2; rerun")
  assert rows["character, random search"][4] == ""
  assert found["tables"][1]["rows"][0][1]["text"] == "x"
  assert (
    "1.000" in found["tables"][2]["rows"][0][1]["text"] and "(unverified)" in found["tables"][2]["rows"][0][2]["text"]
  )
  assert found["sentences"] == [
    "The average score of the grammar minus that of characters is -1.50 ± 0.14: lower by more than the joint error."
  ]
  assert "grammar 3.10" in kusner2017.summary(found["numbers"])["ours"]
  cells = {name: dict(values) for name, values in found["numbers"]["cells"].items()}
  cells["grammar"]["ei_average"] = 4.5
  assert "not lower by more" in kusner2017.tables._sentences(cells)[0]


def test_log_p_of_equations_stands_beside_its_greatest_value(tmp_path):
  log_px = {"elbo autoregressive": [[-11.7] * 4], "published inputless": [[-107.0] * 4]}
  folder = made_runs.make(tmp_path, "kusner2017", "table=2", log_px)
  for runs in stages.run_names(kusner2017.RUNS["table=2"]["test"]).values():
    for name in runs:
      path = folder / "runs" / name / "results.json"
      if path.exists():
        results = files.read_json(path)
        path.write_text(json.dumps(results | {"test/log_px": -results["test/nll"]}))
  found = kusner2017.report("table=2", "test", folder)
  assert (
    "elbo autoregressive: log p(x) is -11.70 nats; no model has more than -11.513 on average." in found["sentences"]
  )
  assert "-107.00" in kusner2017.summary(found["numbers"])["ours"]


@pytest.mark.parametrize("module", [kusner2017, polykovskiy2020])
def test_every_budget_is_planned_with_valid_configs(module):
  for item, budgets in module.RUNS.items():
    for name in budgets:
      budget = papers.budget(module, item, name)
      runs, _ = reproduce.plan(budget, {}, "")
      assert len(runs) == sum(map(len, budget.cells.values()))


@pytest.mark.slow
@pytest.mark.parametrize(
  "paper,item", [("kusner2017", i) for i in kusner2017.RUNS] + [("polykovskiy2020", i) for i in polykovskiy2020.RUNS]
)
def test_the_test_budget_runs(paper, item, tmp_path):
  assert reproduce.main([paper, f"--{item}", "--budget=test", f"--root={tmp_path}"]) == 0
