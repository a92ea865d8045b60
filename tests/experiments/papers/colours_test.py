"""The papers of colours: tables from made numbers, grey beside every row, and runs that start from each other."""

import json

import jax
import numpy as np
import pytest

from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import config_args
from dgm_jax.evaluate import colour
from dgm_jax.evaluate.sample_features import features
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.papers.nazeri2018 import paper as nazeri2018
from dgm_jax.experiments.papers.zhang2016 import paper as zhang2016
from dgm_jax.experiments.shared import colours
from dgm_jax.sweeps import states
from dgm_jax.training import build


def write(folder, name, shift=0.0, **given):
  """What the measurement of a run saves: every number, and its error."""
  numbers = dict.fromkeys([*colour.names(), "colour_colourfulness_truth"], 10.0 + shift) | given
  errors = {f"{name}_stderr": 0.5 for name in numbers}
  path = measured.file(folder, name)
  path.parent.mkdir(exist_ok=True, parents=True)
  np.savez(path, step=np.array(20), **{k: np.asarray(v) for k, v in (numbers | errors).items()})


@pytest.fixture
def few_features(monkeypatch):
  """Three features in place of those of the random net, whose covariances take longer than all the rest."""
  few = features.Features("means", lambda x: {"features": x.mean((1, 2))})
  monkeypatch.setattr(colour.choose, "make", lambda name, shape: few)
  colour._embedder.cache_clear()
  yield
  colour._embedder.cache_clear()


def test_a_run_is_measured_on_its_photographs(few_features):
  """x of the model is (a, b), [N, 16, 16, 2]; what is measured are photographs, [N, 16, 16, 3]."""
  config = config_args.load("colouriser:test")
  made = build.build(config)
  first = {name: a[:1000] for name, a in made.splits.train.items()}
  state = jax.jit(made.system.init)(jax.random.key(0), made.transforms.train(jax.random.key(1), first), {})
  found = colours.measure(LatentModel(made, state, config))
  assert set(colour.names()) <= found.keys()
  assert found["step"] == 0 and found["colour_mae"] > 1
  assert found["colour_mae_grey"] == pytest.approx(found["colour_mae"], rel=0.5)


def texts(table):
  return [[c["text"] for c in row] for row in table["rows"]]


def test_answers_that_know_nothing_stand_beside_every_row(tmp_path):
  names = stages.run_names(nazeri2018.RUNS["table=1"]["quick"])
  write(tmp_path, names["unet"][0], colour_mae=4.7, colour_mae_grey=5.02, colour_mae_below_grey=4.0)
  found = nazeri2018.report("table=1", "quick", tmp_path)
  [table] = found["tables"]
  rows = texts(table)
  assert [row[0] for row in rows[:2]] == ["grey", "median of training images"]
  assert rows[4][0] == "U-Net, L1"
  at = table["columns"].index("MAE, %")
  assert (rows[0][at], rows[4][at]) == ("5.02 ± 0.50", "4.70 ± 0.50")
  assert "colourfulness" in table["columns"]
  assert found["sentences"][0].startswith("U-Net, L1: MAE below that of grey by z = 8.0, median by z = 20.0")
  assert "(errors over images, of differences paired by image" in found["sentences"][0]
  assert "grey 10.0 ± 0.5, 10.0 ± 0.5, 5.02 ± 0.50" in nazeri2018.summary(found["numbers"])["ours"]


def test_published_numbers_stand_in_the_table_also_where_nothing_of_ours_compares(tmp_path):
  names = stages.run_names(nazeri2018.RUNS["table=1"]["quick"])
  for cell in ("unet", "discriminator"):
    write(tmp_path, names[cell][0])
  [table] = nazeri2018.report("table=1", "quick", tmp_path)["tables"]
  rows = texts(table)
  assert [row[0] for row in rows[4:]] == [
    "U-Net, L1",
    "U-Net with the paper's settings",
    "GAN with the paper's settings",
  ]
  at = table["columns"].index("within 2 %, published")
  assert [row[at] for row in rows[-2:]] == ["13.7 (unverified)", "24.1 (unverified)"]
  assert [row[at + 1] for row in rows[-2:]] == ["", ""]


def test_the_published_numbers_are_unverified(tmp_path):
  for module in (nazeri2018, zhang2016):
    assert not any(value.verified for value in module.PAPER.published["table=1"].values())
  names = stages.run_names(zhang2016.RUNS["table=1"]["quick"])
  write(tmp_path, names["full"][0])
  [table] = zhang2016.report("table=1", "quick", tmp_path)["tables"]
  assert texts(table)[0][:3] == ["grey", "89.1 (unverified)", "10.0 ± 0.5"]
  assert texts(table)[-1][:4] == ["bins, rebalanced", "89.5 (unverified)", "10.0 ± 0.5", "67.3 (unverified)"]


def test_seeds_are_averaged_and_the_curve_of_the_game_marks_what_is_kept(tmp_path):
  names = stages.run_names(nazeri2018.RUNS["table=1"]["test"])
  for i, name in enumerate(names["nogan"]):
    write(tmp_path, name, shift=float(2 * i))
    folder = states.folder(tmp_path, name)
    folder.mkdir(parents=True)
    rows = [{"config": {}}]
    for s in (0, 10, 20):
      distance = 1.0 / (s + 1 + i)
      within = {"valid/colour_frechet": distance, "valid/colour_frechet_within": distance + 1e6 * (s == 0)}
      rows.append({"step": s, **within, "valid/colour_mae": 5.0 + i, "valid/colour_mae_another": 7.0})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
  found = nazeri2018.report("table=1", "test", tmp_path)
  assert texts(found["tables"][0])[4][2] == "11.0 ± 1.0"
  write(tmp_path, names["unet"][0], shift=5.0)
  write(tmp_path, names["unet"][1], shift=6.0)
  said = nazeri2018.report("table=1", "test", tmp_path)["sentences"][-1]
  assert said.endswith("in the game: 11.000 ± 1.000; it falls, z = 4.0.")  # 4.5 / sqrt(0.25 + 1)
  assert "errors over 2 seeds" in nazeri2018.report("table=1", "test", tmp_path)["sentences"][0]
  frechet, mae = found["figures"]
  line, allowed, kept = frechet["series"]
  assert [x for x, _ in line["points"]] == [0, 10, 20] and [x for x, _ in allowed["points"]] == [10, 20]
  assert kept["points"] == [[20, 1 / 21], [20, 1 / 22]]  # each on the curve of its run
  assert line["points"][0][1] == pytest.approx(0.75)
  _, ceiling, _ = mae["series"]
  np.testing.assert_allclose([y for _, y in ceiling["points"]], 0.9 * 7)


def test_the_third_stage_starts_from_the_second_and_asks_for_the_first(tmp_path):
  budget = nazeri2018.RUNS["table=1"]["quick"]
  runs, chosen = reproduce.plan(budget, {}, "nogan", tmp_path)
  names = stages.run_names(budget)
  assert chosen == {name for cell in ("unet", "discriminator", "nogan") for name in names[cell]}
  by = {run.name: run.config for run in runs}
  starts = {cell: by[names[cell][0]]["init_from"] for cell in names}
  assert starts["unet"] == ""
  assert starts["discriminator"].endswith(names["unet"][0]) and starts["nogan"].endswith(names["discriminator"][0])
  assert [by[names[cell][0]]["objective"]["train"] for cell in names] == ["generator", "discriminator", "both"]
