"""The table of Li & Turner (2016): verdicts on orders, trained bounds, one row as shown."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.core import errors
from dgm_jax.evaluate import compare
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured
from dgm_jax.experiments.papers.li2016 import paper
from dgm_jax.training import build
from helpers import made_runs

_NLL = {"vae-5": 7.0, "vae-50": 6.5, "renyi-5": 5.5, "iwae-5": 5.0, "iwae-50": 4.0, "vr_max-5": 5.0, "vr_max-50": 7.5}


@pytest.fixture
def found(tmp_path):
  noise = np.random.default_rng(0).normal(0, 0.01, (2, 4))
  noise -= noise.mean(1, keepdims=True)
  values = {cell: [list(-nll + n) for n in noise * (i + 1)] for i, (cell, nll) in enumerate(_NLL.items())}
  return paper.report("table=1", "test", made_runs.make(tmp_path, "li2016", "table=1", values))


def test_the_papers_orders_are_decided_by_paired_differences(found):
  pairs = found["numbers"]["pairs"]
  assert pairs["IWAE k = 5 − VAE k = 5"]["difference"] == pytest.approx(-2.0)
  assert {name: p["verdict"] for name, p in pairs.items()} == {
    "IWAE k = 5 − VR α = 0.5 k = 5": "lower",
    "VR α = 0.5 k = 5 − VAE k = 5": "lower",
    "IWAE k = 50 − VAE k = 50": "lower",
    "IWAE k = 5 − VAE k = 5": "lower",
    "VR-max k = 5 − VAE k = 5": "lower",
    "VR-max k = 50 − VAE k = 50": "higher",
    "IWAE k = 5 − VR-max k = 5": "undecided",
    "IWAE k = 50 − VR-max k = 50": "lower",
  }
  first, second = found["sentences"]
  assert first.startswith("The order of NLL IWAE k = 5 < VR α = 0.5 k = 5 < VAE k = 5 is shown")
  assert second.startswith("The order of NLL IWAE k = 50 < VAE k = 50 is shown")


def test_published_and_ours_stand_in_one_row(found):
  row = paper.summary(found["numbers"])
  assert row["published"].startswith("VAE 5 86.47, VAE 50 86.35, VR α = 0.5 5 85.50")
  assert "VR-max 50 7.50 ± 0.00" in row["ours"]
  main, _ = found["tables"]
  assert [c["text"] for c in main["rows"][2][:3]] == ["VR α = 0.5 k = 5", "85.50", "5.50 ± 0.00"]
  assert main["rows"][2][5]["text"] == "−80.00 ± 0.00 (not comparable)"


def test_cells_are_trained_by_their_bounds():
  runs, _ = reproduce.plan(paper.RUNS["table=1"]["paper"], {}, "vr_max-50")
  of = lambda r: (r.config["objective"]["bound"], r.config["objective"]["num_samples"], r.config["objective"]["alpha"])
  assert [of(r) for r in runs[::3]] == [
    ("elbo", 5, 0.5), ("elbo", 50, 0.5), ("renyi", 5, 0.5), ("iwae", 5, 0.5), ("iwae", 50, 0.5), ("vr_max", 5, 0.5),
    ("vr_max", 50, 0.5),
  ]  # fmt: skip


def test_folds_are_paired_each_on_its_own_images():
  """Two folds of two images each: differences 1, 2 and 3, 6."""

  def runs(values):
    about = lambda fold: {"data": "frey_faces", "data_digest": f"d{fold}", "transforms": [], "split_sizes": {}}
    return {f: compare.Run(f"run{f}", about(f), {"log_px": np.array(v)}) for f, v in enumerate(values)}

  first, second = runs([[10.0, 20.0], [30.0, 40.0]]), runs([[11.0, 22.0], [33.0, 46.0]])
  found = measured.pair(first, second)
  assert found.difference == pytest.approx(3.0)
  assert found.stderr_images == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 3 / 4))
  assert found.by_seed == pytest.approx((1.5, 4.5))
  assert found.stderr_seeds == pytest.approx(1.5)
  with pytest.raises(errors.UserError, match="data_digest"):
    measured.pair(first, {0: second[1]})


def test_every_fold_has_its_own_test_set(raw_data):
  runs, _ = reproduce.plan(paper.RUNS["table=1-frey"]["short"], {"data.manual_dir": str(raw_data / "freyfaces")}, "")
  test_sets = [build.load(ConfigDict(run.config))[0].test["x"] for run in runs[:3]]
  assert [len(x) for x in test_sets] == [196] * 3
  assert all(not np.array_equal(test_sets[0], x) for x in test_sets[1:])
