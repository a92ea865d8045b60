"""Tables of exact NLL by hand: the best of alternatives in validation, paired differences, published rows."""

import numpy as np
import pytest

from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import comparisons, stages
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.germain2015 import paper
from dgm_jax.experiments.papers.larochelle2011 import paper as larochelle2011
from helpers import made_runs, measured_runs

NOISE = np.array([0.3, -0.1, 0.1, -0.3])
NLL = {"mushrooms": (9.0, 8.0), "dna": (84.0, 85.0), "nips": (280.0, 281.0)}  # of the runs with each weight decay
VALID = {"mushrooms": (8.5, 9.5), "dna": (80.0, 79.0), "nips": (270.0, 271.0)}  # which chooses the first, second, first


@pytest.fixture
def found(tmp_path):
  cells = {cell: [[-1.0] * 4] * 2 for cell in NLL}
  folder = made_runs.make(tmp_path, "germain2015", "table=4", cells)
  planned = paper.RUNS["table=4"]["test"]
  names = stages.run_names(planned)
  for cell, overrides in planned.cells.items():
    for o, name in zip(overrides, names[cell], strict=True):
      i = [0.1, 1.0].index(o["optim.weight_decay"])
      log_px = -NLL[cell][i] - 0.5 * o["seed"] + NOISE
      arrays = {"log_px": log_px, "log_px_transformed": log_px, "valid": -VALID[cell][i], "step": 40, "kind": "exact"}
      measured_runs.measure(folder, name, **arrays, normalisation=1.0)
  return paper.report("table=4", "test", folder)


def test_the_run_that_is_best_in_validation_is_taken(found):
  cells = found["numbers"]["cells"]
  assert [cells[c]["nll"] for c in NLL] == pytest.approx([9.25, 85.25, 280.25])  # two seeds, 0.5 apart
  assert cells["dna"]["stderr_seeds"] == pytest.approx(0.25)
  assert cells["dna"]["stderr_images"] == pytest.approx(NOISE.std(ddof=1) / 2)
  assert cells["dna"]["valid_nll"] == 79.0
  assert (cells["dna"]["alternatives"], len(cells["dna"]["runs"])) == (2, 2)
  assert cells["nips"]["normalisation"] == 1.0


def test_published_numbers_stand_beside_ours(found):
  [table] = [t for t in found["tables"] if t["title"] == "Test NLL"]
  texts = [[c["text"] for c in row] for row in table["rows"]]
  assert texts[1] == ["dna", "83.63", "85.25 ± 0.25", "± 0.13", "79.00", "1.000000", "+1.62 ± 0.25 (not comparable)"]
  assert "log p(x) is exact" in table["note"]
  row = paper.summary(found["numbers"])
  assert row["published"] == "mushrooms 9.68, dna 83.63, nips 280.25"
  assert "nips 280.25 ± 0.25" in row["ours"]
  ours = comparisons.ours(found["numbers"])
  assert ours["dna"] == comparisons.Ours(85.25, pytest.approx(0.25), in_nats=True)


def test_published_values_match_the_tables():
  assert paper.PUBLISHED["table=6"]["2-32"] == papers.Value(86.64, "± 0.44", stderr=pytest.approx(0.44 / 1.96))
  assert paper.PUBLISHED["table=4"]["dna-masks"].value == 79.66
  relative = larochelle2011.PUBLISHED["table=1"]
  assert {cell: v.value for cell, v in relative.items()} == {"mushrooms": 9.81, "dna": 84.81, "nips": 273.08}


@pytest.mark.parametrize("name,item,budget", [
  ("germain2015", "figure=2", "short"), ("germain2015", "table=6", "paper"), ("germain2015", "table=4", "quick"),
  ("larochelle2011", "table=1", "short"), ("larochelle2011", "table=mnist", "short"),
])  # fmt: skip
def test_the_runs_keep_the_best_checkpoint_in_validation(name, item, budget):
  runs, _ = reproduce.plan(papers.budget(papers.load(name), item, budget), {}, "")
  for run in runs:
    config = run.config
    assert config["keep_best"] == "valid/log_px"
    assert config["data"]["name"] in ("binarized_mnist", "binary/mushrooms", "binary/dna", "binary/nips")
    assert config["eval_every"] % config["log_every"] == 0
    assert set(config["model"]["args"].get("hidden", (500,))) <= {500, 8000}


@pytest.mark.slow
@pytest.mark.parametrize("name,item", [
  ("germain2015", "figure=2"), ("germain2015", "table=4"), ("germain2015", "table=6"),
  ("larochelle2011", "table=mnist"),
])  # fmt: skip
def test_the_test_budget_trains_and_is_reported(tmp_path, name, item):
  assert reproduce.main([name, f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
