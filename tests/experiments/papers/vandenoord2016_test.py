"""The table of PixelCNNs on MNIST: exact NLL beside the published number, and what the budgets run."""

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, paper
from dgm_jax.experiments.papers.vandenoord2016 import paper as vandenoord2016
from helpers import made_runs


@pytest.fixture
def found(tmp_path):
  g = np.random.default_rng(0)
  folder = made_runs.make(tmp_path, "vandenoord2016", "table=4", {"plain": [[-1.0] * 4], "gated": [[-1.0] * 4]})
  names = [path.parent.name for path in sorted(folder.glob("runs/*/results.json"))]
  for name in names:
    path = measured.file(folder, name)
    path.parent.mkdir(exist_ok=True)
    log_px = (
      -83.0 - ("gated" in str(files.read_json(folder / "runs" / name / "config.json"))) + 0.01 * g.normal(size=50)
    )
    arrays = {"log_px": log_px, "log_px_transformed": log_px, "valid": np.float64(-83), "step": np.asarray(40)}
    files.save_arrays(path, **arrays, kind=np.asarray("exact"), normalisation=np.float64(1))
  return vandenoord2016.report("table=4", "test", folder)


def test_the_table_has_the_published_number_of_the_pixelcnn_alone(found):
  assert found["numbers"]["cells"]["plain"]["nll"] == pytest.approx(83.0, abs=0.1)
  plain, gated = found["tables"][0]["rows"]
  assert (plain[1]["text"], gated[1]["text"]) == ("81.3", "none")
  assert vandenoord2016.summary(found["numbers"])["published"] == "PixelCNN 81.3"


def test_the_short_budget_trains_the_net_that_the_page_describes():
  (run,), _ = reproduce.plan(paper.budget(vandenoord2016, "table=4", "short"), {}, "")
  args = run.config["model"]["args"]
  assert [args[name] for name in ("net", "features", "blocks", "first_kernel_size")] == ["plain", 32, 15, 7]
  assert (run.config["data"]["name"], run.config["num_epochs"], run.config["max_minutes"]) == (
    "binarized_mnist",
    20,
    300,
  )
