"""Ha & Schmidhuber (2018): the tables have the published numbers beside ours, standard deviations and errors."""

import json

import pytest

from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.ha2018 import curves, paper

ROW = {"mean": 612.4, "sd": 250.0, "stderr": 25.0, "episodes": 100, "values": [612.4]}


def texts(table):
  return [[cell["text"] for cell in row] for row in table["rows"]]


def made(folder, cell, controllers, environment):
  """A folder with the score of one world model and the fitness of its controllers."""
  world = folder / "runs" / "computed" / "worlds" / cell
  (world / "score").mkdir(parents=True)
  play = {name: ROW | {"mean": mean} for name, mean in (("every", 243.0), ("held", 316.0), ("still", 162.0))}
  score = {"real": ROW, "random_play": play, "controllers": controllers, "wheels": {}, "environment": environment}
  (world / "score" / "results.json").write_text(json.dumps(score))
  for name in controllers:
    (world / name).mkdir()
    rows = [{"seed": 0}, {"step": 1, "fitness/mean": 10.0}, {"step": 2, "fitness/mean": 20.0}]
    (world / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_table_of_the_car(tmp_path):
  made(tmp_path, "random", {"c": {"real": ROW}}, "CarRacing-v3")
  found = paper.report("table=1", "short", tmp_path)
  rows = {row[0]: row[1:] for row in texts(found["tables"][0])}
  assert rows["V and M"] == ["906 ± 21", ""]
  assert rows["V and an untrained M"] == ["", "612 ± 250 (standard error 25)"]
  assert rows["A3C, discrete"] == ["652 ± 10", ""]
  assert rows["random play, still"][1] == "162 ± 250 (standard error 25)"
  lines = {line["name"]: line["points"] for line in found["figures"][0]["series"]}
  assert lines["published"] == [[float(a), float(b)] for a, b in curves.CAR]
  assert lines["random c"] == [[1.0, 10.0], [2.0, 20.0]]
  row = paper.summary(found["numbers"])
  assert row["data"] == "CarRacing-v3" and row["ours"] == "random 612 ± 250"


def test_the_table_of_doom_has_the_dream_beside_the_game(tmp_path):
  of = {"tau": 1.15, "real": ROW, "dream": ROW | {"mean": 700.0}}
  made(tmp_path, "doom", {"c_tau_1.15": of}, "VizdoomTakeCover")
  found = paper.report("table=2", "quick", tmp_path)
  rows = {row[0]: row[1:] for row in texts(found["tables"][0])}
  ours = ["700 ± 250 (standard error 25)", "612 ± 250 (standard error 25)"]
  assert rows["1.15"] == ["918 ± 546", ours[0], "1092 ± 556", ours[1]]
  assert rows["0.10"] == ["2086 ± 140", "", "193 ± 58", ""]
  assert list(rows)[5:] == [f"random play, {play}" for play in ("every", "held", "still")]
  assert "vizdoom" in paper.summary(found["numbers"])["data"]


@pytest.mark.parametrize("item", paper.RUNS)
def test_every_item_has_every_budget(item):
  assert set(paper.RUNS[item]) == set(papers.BUDGETS)
  assert [b.full for b in paper.RUNS[item].values()] == [name == "paper" for name in paper.RUNS[item]]


@pytest.mark.slow
@pytest.mark.parametrize("item", paper.RUNS)
def test_it_runs_at_test_size(item, tmp_path):
  budget = paper.RUNS[item]["test"]
  folder = tmp_path / "runs" / "computed"
  budget.compute(folder)
  assert (folder / "results.json").exists()
  found = paper.report(item, "test", tmp_path)
  assert found["sentences"] == ["1 of 1 world models are finished."]
