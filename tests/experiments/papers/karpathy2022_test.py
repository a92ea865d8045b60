"""The table of nanoGPT's losses: means over seeds beside the published numbers."""

import json

import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import comparisons, paper
from dgm_jax.experiments.papers.karpathy2022 import paper as karpathy2022
from helpers import made_runs


@pytest.fixture
def found(tmp_path):
  folder = made_runs.make(tmp_path, "karpathy2022", "table=1", {"small": [[-1.0] * 4] * 2})
  for path in folder.glob("runs/*/results.json"):
    results = files.read_json(path)
    values = {m: 1.85 + 0.02 * results["seed"] + 0.1 * i for i, m in enumerate(karpathy2022.METRICS)}
    path.write_text(json.dumps(results | {f"test/{m}": v for m, v in values.items()} | {"test/normalisation": 1.0}))
  return karpathy2022.report("table=1", "test", folder)


def test_numbers_are_means_over_seeds_beside_the_published_ones(found):
  cell = found["numbers"]["cells"]["small"]
  assert cell["mean"] == pytest.approx(1.86)
  assert cell["stderr"] == pytest.approx(0.01)
  assert cell["normalisation"] == [1.0, 1.0]
  assert cell["metrics"]["bits_per_character"]["mean"] == pytest.approx(2.06)
  (row,) = found["tables"][0]["rows"]
  assert [c["text"] for c in row][1:3] == ["1.88", "1.8600 ± 0.0100"]
  assert len(row) == len(found["tables"][0]["columns"])
  assert comparisons.ours(found["numbers"])["small"].value == pytest.approx(1.86)
  assert karpathy2022.summary(found["numbers"])["ours"] == "small 1.860 ± 0.010"


def test_the_papers_runs_have_the_readmes_settings():
  runs, _ = reproduce.plan(paper.budget(karpathy2022, "table=1", "paper"), {}, "")
  settings = set()
  for run in runs:
    config, args = run.config, run.config["model"]["args"]
    assert (config["data"]["name"], config["data"]["split"]) == ("tiny_shakespeare", "nanogpt")
    length = config["data"]["stride"]
    assert config["data"]["seq_len"] == 2 * length - 1
    assert tuple(config["data"]["transforms"]) == (f"crop:length={length}",)
    net = args["num_layers"], args["width"], args["num_heads"], length - 1, args["dropout"]
    settings.add(
      (*net, config["batch_size"], config["num_steps"], round(config["optim"]["warmup"] * config["num_steps"]))
    )
    assert (config["optim"]["lr"], config["optim"]["end_scale"], config["optim"]["b2"]) == (1e-3, 0.1, 0.99)
  assert settings == {(4, 128, 4, 64, 0.0, 12, 2000, 100), (6, 384, 6, 256, 0.2, 64, 5000, 100)}
