"""Tables and figures on MIWAE: pairing by mask and by image, by hand; classifiers of imputed images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import accuracy_score, log_loss

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.harness import plots
from dgm_jax.experiments.papers.mattei2019 import imputed_classifier, paper, table2
from dgm_jax.experiments.shared import data_lanes, masked_tables
from dgm_jax.training.train import train_and_evaluate
from helpers import made_runs, measured_runs

MADE = table2.Setting("test", ("white",), 2)


def make_table2(folder, mse):
  """Writes {row: MSE of each mask} as the test budget does; returns the folder."""
  for row, values in mse.items():
    files.save_arrays(folder / "runs" / "computed" / f"white-{row}.npz", mse=np.asarray(values))
  return folder


def test_methods_are_paired_mask_by_mask(tmp_path, monkeypatch):
  """Errors differ far more between masks than between methods; the planted difference is 0.1 for each mask."""
  mse = {"miwae": [0.5, 0.9], "mvae": [0.55, 0.9], "forest": [0.6, 1.002], "mean": [1, 1.1]}
  monkeypatch.setitem(table2._SETTINGS, "made", (*table2._SETTINGS["test"][:2], MADE))
  found = paper.report("table=2", "made", make_table2(tmp_path, mse))
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert cells["white-forest"]["by_seed"] == {"0": 0.6, "1": 1.002}
  assert cells["white-miwae"]["stderr"] == pytest.approx(0.2)
  forest = pairs["white: MIWAE − forest, missForest-like"]
  assert forest["by_seed"] == pytest.approx([-0.1, -0.102])
  assert (forest["stderr"], forest["verdict"]) == (pytest.approx(0.001), "lower")
  assert pairs["white: MIWAE − MVAE"]["verdict"] == "undecided"
  assert found["sentences"][0] == (
    "The error of MIWAE is lower than that of forest, missForest-like in 1 of 1 data sets, shown in 1: "
    "white −0.101 ± 0.001."
  )
  row = found["tables"][0]["rows"][0]
  assert [c["text"] for c in row] == [
    "MIWAE",
    "0.735 (0.033) (unverified)",
    "0.700 ± 0.200",
    "−0.035 ± 0.200 (not comparable)",
  ]
  summary = paper.summary(found["numbers"])
  assert summary["published"].startswith("MIWAE 0.735 (unverified), forest, missForest-like 0.798 (unverified)")
  assert "MVAE" not in summary["ours"]  # the summary has the compared methods, the report also the others
  assert "forest, missForest-like 0.801 ± 0.201" in summary["ours"]


def test_models_of_a_mask_and_other_methods_have_the_same_entries_hidden(raw_data):
  """Hidden entries differ between masks, not between models and methods of one mask."""
  setting = table2.Setting("quick", ("banknote",), 2)
  masks = {}
  for row in ("miwae", "mvae", "forest"):
    for i, config in enumerate(table2.configs(setting, "banknote", row)):
      with config.unlocked():
        config.data.manual_dir = str(raw_data / "uci")
      masks[row, i] = masked_tables.read(config).mask
  for i in (0, 1):
    np.testing.assert_array_equal(masks["miwae", i], masks["forest", i])
    np.testing.assert_array_equal(masks["miwae", i], masks["mvae", i])
    assert abs(masks["miwae", i].mean() - 0.5) < 5 * np.sqrt(0.25 / masks["miwae", i].size)
  assert (masks["miwae", 0] != masks["miwae", 1]).any()


def test_every_row_has_its_own_number_of_samples():
  k = {row: table2.configs(MADE, "white", row)[0].objective.num_samples for row in ("miwae", "mvae")}
  full = table2.configs(table2.Setting(""), "red", "miwae")
  assert (k["mvae"], full[0].objective.num_samples, full[0].num_epochs) == (1, 20, 2002)
  assert [c.data.transforms[-1] for c in full] == [f"mcar:rate=0.5,seed={i}" for i in range(5)]


@pytest.mark.slow
def test_every_lane_equals_a_single_run_of_its_mask(tmp_path):
  """The second mask against the training loop, after ten steps: in forty, rounding differences grow to 1e-3."""
  configs = table2.configs(MADE, "white", "miwae")
  for config in configs:
    with config.unlocked():
      for name in ("num_steps", "log_every", "eval_every", "checkpoint_every", "figures_every"):
        config[name] = min(config[name], 10)
  found = data_lanes.imputation_errors(configs, [0, 5])
  with configs[1].unlocked():
    configs[1].seed = 5
  results = train_and_evaluate(configs[1], tmp_path / "run")
  assert found["mse"][1] == pytest.approx(results["test/imputation_mse"], rel=1e-4)
  assert abs(found["mse"][0] / found["mse"][1] - 1) > 1e-3


@pytest.mark.slow
def test_two_masks_train_and_impute_beside_the_mean(tmp_path):
  command = ["mattei2019", "--table=2", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  found = files.read_json(papers.folder(tmp_path, "mattei2019", "table=2", "test") / "report.json")
  cells = found["numbers"]["cells"]
  assert set(cells) == {"white-miwae", "white-mvae", "white-mean"}
  assert all(len(cell["by_seed"]) == 2 and 0 < cell["mean"] < 1.5 for cell in cells.values())


def test_likelihoods_of_models_that_saw_other_pixels_are_paired_by_image(tmp_path):
  """The same four test images, regardless of what was hidden in training; curves by epoch."""
  log_px = {
    "miwae": [[-5.0, -6.0, -7.0, -8.0], [-5.0, -6.0, -7.0, -8.0]],
    "mvae": [[-6.0, -7.0, -8.0, -9.0], [-6.5, -7.5, -8.5, -9.5]],
    "iwae": [[-4.0, -7.0, -6.0, -9.0], [-4.0, -7.0, -6.0, -9.0]],
  }
  folder = made_runs.make(tmp_path, "mattei2019", "figure=1", log_px)
  for path in (folder / "runs").iterdir():
    config = files.read_json(path / "config.json")
    files.write_json(path / "config.json", config | {"batch_size": 4})  # of eight training images
  found = paper.report("figure=1", "test", folder)
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert (cells["mvae"]["nll"], cells["mvae"]["stderr_seeds"]) == (7.75, 0.25)
  assert pairs["MIWAE, half − MVAE, half"]["by_seed"] == [-1.0, -1.5]
  assert pairs["IWAE, all − MIWAE, half"]["difference"] == 0
  assert "MIWAE, half − VAE, all" not in pairs
  assert found["sentences"] == [
    "The NLL of MIWAE, half is lower than that of MVAE, half: cannot be told (−1.25 ± 0.00 nats).",
    "The NLL of IWAE, all is lower than that of MIWAE, half: cannot be told (+0.00 ± 0.58 nats).",
  ]
  (curve,) = found["figures"]
  assert curve["series"][0]["points"] == [[10.0, -9.0], [20.0, -8.5]]  # steps 20 and 40, two an epoch
  assert curve["series"][0]["band"] == [[10.0, -9.5, -8.5], [20.0, -9.0, -8.0]]  # of two seeds
  plots.draw(folder, found["figures"])
  assert (folder / "curves.png").exists()
  assert paper.summary(found["numbers"])["ours"].startswith("MIWAE, half 6.50 ± 0.00, MVAE, half 7.75 ± 0.25")


def test_classifiers_are_paired_by_test_image(tmp_path):
  right = {"zero": [1, 0, 1, 0], "single": [1, 1, 1, 0], "multiple": [1, 1, 1, 1], "complete": [1, 1, 1, 1]}
  shift = {"zero": 0.4, "single": 0.2, "multiple": 0.1, "complete": 0.1}
  images = np.array([0.1, 0.2, 0.3, 0.4])
  for cell, seed, run in measured_runs.of(paper, "table=1"):
    if cell == "mcar":
      arrays = {f"{row}_right": np.array(r, bool) for row, r in right.items()}
      arrays |= {f"{row}_cross_entropy": images + s * (1 + 0.1 * seed) for row, s in shift.items()}
      measured_runs.measure(tmp_path, run, **arrays)
  found = paper.report("table=1", "test", tmp_path)
  numbers = found["numbers"]["cells"]["mcar"]
  assert (numbers["zero"]["accuracy"], numbers["zero"]["accuracy_stderr"]) == (0.5, 0)
  assert numbers["single"]["cross_entropy"] == pytest.approx(0.25 + 0.21)
  assert {name: p["verdict"] for name, p in found["numbers"]["pairs"].items()} == {
    "half: MIWAE, single imputation − zero imputation": "lower",
    "half: MIWAE, multiple imputation − zero imputation": "lower",
    "half: MIWAE, multiple imputation − MIWAE, single imputation": "lower",
    "half: MIWAE, multiple imputation − complete images": "undecided",
  }
  rows = [[c["text"] for c in row] for row in found["tables"][0]["rows"]]
  assert rows[0][1] == "0.9739 (0.0018), 0.1003 (0.0092) (unverified)"
  assert (rows[1][0], rows[1][2:]) == ("missForest", ["not run", "not run"])
  assert "half: zero imputation 0.5000, 0.6700" in paper.summary(found["numbers"])["ours"]


_NET = imputed_classifier.ConvNet(num_classes=2, channels=(4, 4), hidden=8)


@pytest.mark.slow
def test_a_classifier_learns_and_multiple_imputation_shows_it_every_draw():
  """If one of two imputations reveals the label, training on both is nearly as good as training on that one."""
  rng = np.random.default_rng(0)
  y = jnp.asarray(rng.integers(0, 2, 100))
  informative = (rng.random((100, 8, 8, 1)) < np.where(y, 0.8, 0.2)[:, None, None, None]).astype("f")
  noise = (rng.random((100, 8, 8, 1)) < 0.5).astype("f")
  train = jax.jit(lambda images: imputed_classifier.fit(_NET, jax.random.key(0), images, y, 30, 10))
  entropy = lambda images: float(imputed_classifier.scores(_NET, train(images), informative, y)[1].mean())
  assert entropy(np.stack([informative, informative])) < 0.1
  assert entropy(np.stack([noise, noise])) > 0.5
  assert entropy(np.stack([noise, informative])) < 0.3
  params = train(np.stack([informative, noise]))
  right, cross_entropy = imputed_classifier.scores(_NET, params, noise, y)
  logits = np.asarray(_NET.apply({"params": params}, noise), np.float64)
  assert float(right.mean()) == pytest.approx(accuracy_score(y, logits.argmax(-1)))
  assert float(cross_entropy.mean()) == pytest.approx(log_loss(y, scipy.special.softmax(logits, -1)), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("item", ["figure=1", "table=1"])
def test_the_test_budget_trains_on_incomplete_and_tests_on_complete_digits(tmp_path, item, capfd):
  command = ["mattei2019", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  found = files.read_json(papers.folder(tmp_path, "mattei2019", item, "test") / "report.json")["numbers"]
  if item == "figure=1":
    assert set(found["cells"]) == {"miwae", "mvae", "iwae", "vae"}
    assert all(100 < cell["nll"] < 600 for cell in found["cells"].values())
  else:
    assert all(0.05 <= n["accuracy"] <= 1 for rows in found["cells"].values() for n in rows.values())
    assert "measuring" in capfd.readouterr().out
    assert reproduce.main(command) == 0
    assert "measuring" not in capfd.readouterr().out
