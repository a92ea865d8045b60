"""The tables of PixelCNNs: exact NLL beside the published numbers, densities in closed form, what the budgets run."""

import math

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, paper
from dgm_jax.experiments.papers.vandenoord2016 import paper as vandenoord2016
from dgm_jax.experiments.shared import closed_form_images
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
  assert [args[name] for name in ("net", "features", "blocks", "first_kernel_size")] == ["plain", 64, 15, 7]
  assert (run.config["data"]["name"], run.config["num_epochs"], run.config["max_minutes"]) == (
    "binarized_mnist",
    12,
    240,
  )


def test_the_recurrent_budget_trains_the_net_that_the_page_describes():
  (run,), _ = reproduce.plan(paper.budget(vandenoord2016, "table=4-recurrent", "short"), {}, "")
  args = run.config["model"]["args"]
  assert [args[name] for name in ("net", "features", "blocks", "kernel_size")] == ["row_lstm", 32, 7, 3]
  assert vandenoord2016.PUBLISHED["table=4-recurrent"]["row_lstm"].value == 80.54


def test_colour_photographs_are_in_bits_per_dimension():
  claims = vandenoord2016.CLAIMS["table=5"]
  log_px = np.full(4, -3072 * 3.5 * math.log(2))
  of = vandenoord2016.exact_tables._in_units({"log_px_transformed": log_px, "valid": log_px[0], "step": 7}, claims.nats)
  np.testing.assert_allclose(of["log_px_transformed"], -3.5)
  assert (of["valid"], of["step"]) == (pytest.approx(-3.5), 7)


def test_uniform_images_have_eight_bits_and_normals_more(tmp_path):
  """x is uniform: no density has fewer bits in the mean than its entropy, 8."""
  g = np.random.default_rng(2)
  train, test = (g.integers(0, 256, (n, 2, 1, 2)).astype(np.uint8) for n in (3000, 1000))
  for seed in range(2):
    arrays = closed_form_images.log_likelihoods(train, test, seed, (1, 2))
    files.save_arrays(tmp_path / "runs" / "computed" / f"seed-{seed}.npz", **arrays)
  found = vandenoord2016.report("table=5-closed", "short", tmp_path)
  cells = found["numbers"]["cells"]
  assert cells["uniform"]["bits_per_dim"] == 8
  # a normal of the variance of a uniform density: log2(2 pi e / 12) / 2 bits more
  assert cells["gaussian"]["bits_per_dim"] == pytest.approx(8 + 0.5 * math.log2(2 * math.pi * math.e / 12), abs=0.02)
  assert cells["ridge"]["chosen"].startswith("1e-0")
  [table] = found["tables"]
  assert [[c["text"] for c in row][:2] for row in table["rows"][:2]] == [["uniform", "8.00"], ["a normal", "4.70"]]
  summary = vandenoord2016.summary(found["numbers"])
  assert "uniform 8.000" in summary["ours"]
  assert vandenoord2016.report("table=5-closed", "test", tmp_path / "none")["tables"] == []
