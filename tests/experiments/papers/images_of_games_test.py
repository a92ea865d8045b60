"""The papers of image GANs: their tables from made numbers, with the published ones beside them."""

import json
import types

import numpy as np
import pytest

from dgm_jax.core import config_args
from dgm_jax.evaluate import samples
from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.papers.brock2018 import paper as brock2018
from dgm_jax.experiments.papers.lin2018 import paper as lin2018
from dgm_jax.experiments.papers.miyato2018 import paper as miyato2018
from dgm_jax.experiments.papers.radford2016 import paper as radford2016
from dgm_jax.experiments.papers.zhao2020 import paper as zhao2020
from dgm_jax.experiments.shared import sample_scores
from dgm_jax.training import train


def write(folder, runs, scores):
  """Saves what a measurement of each run would."""
  for name, values in zip(runs, scores, strict=True):
    path = measured.file(folder, name)
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, scores=np.asarray(values))


def texts(table):
  return [[c["text"] for c in row] for row in table["rows"]]


def test_modes_of_stacked_digits_stand_beside_the_published_ones(tmp_path):
  names = stages.run_names(lin2018.RUNS["table=3"]["test"])
  write(tmp_path, names["4-1"], [[70, 5.0], [90, 5.4]])
  write(tmp_path, names["4-2"], [[400, 2.5], [420, 2.7]])
  found = lin2018.report("table=3", "test", tmp_path)
  first = ["D = 1/4 G, GAN", "78.5 ± 17.6", "5.21 ± 0.19", "80.0 ± 10.0", "5.20 ± 0.20"]
  assert texts(found["tables"][0])[0] == first
  assert found["sentences"] == ["With D = 1/4 G PacGAN2 reaches more modes than the GAN, and its mean KL is lower."]
  row = lin2018.summary(found["numbers"])
  assert row["published"] == "D = 1/4 G, GAN 78.5, 5.21; D = 1/4 G, PacGAN2 484.5, 2.61"
  assert "D = 1/4 G, PacGAN2 410.0 ± 10.0, 2.60 ± 0.10" in row["ours"]


@pytest.mark.parametrize(
  "distances,words", [((50, 52), "lower with it"), ((59, 62), "undecided"), ((57, 59), "undecided")]
)
def test_augmentation_is_decided_or_not(tmp_path, distances, words):
  """By a t test: with two seeds each, 2.2 standard errors are no difference."""
  names = stages.run_names(zhao2020.RUNS["table=cifar10"]["test"])
  write(tmp_path, names["plain-small"], [[60, 1, 4, 0.1, 0.01], [61, 1, 4, 0.1, 0.01]])
  write(tmp_path, names["augmented-small"], [[d, 1, 5, 0.1, 0.01] for d in distances])
  found = zhao2020.report("table=cifar10", "test", tmp_path)
  assert words in found["sentences"][0]
  assert texts(found["tables"][0])[0][:2] == ["BigGAN", "60.50 ± 0.50"]
  assert "FID 39.78" in zhao2020.summary(found["numbers"])["published"]


def test_unverified_numbers_are_marked(tmp_path):
  names = stages.run_names(brock2018.RUNS["table=1"]["test"])
  write(tmp_path, names["biggan"], [[9.0, 80.0]])
  found = brock2018.report("table=1", "test", tmp_path)
  first, *others = texts(found["tables"][0])
  assert first == ["BigGAN", "166.50", "7.40", "9.00", "80.00"]
  assert len(others) == 6
  assert others[0] == ["batch 256", "52.52 (unverified)", "18.65 (unverified)", "", ""]
  published = brock2018.PAPER.published["table=1"]
  assert {name for name, value in published.items() if value.verified} == {"biggan inception_score", "biggan fid"}


def test_a_missing_number_is_no_result(tmp_path):
  """In the table, in the numbers that are saved as JSON, in the sentences and in README's row."""
  run = types.SimpleNamespace(results={"test/samples_frechet": 3.0})
  scores = sample_scores.measure(run, zhao2020._COLUMNS)["scores"]
  assert scores[0] == 3.0
  names = stages.run_names(zhao2020.RUNS["table=cifar10"]["test"])
  write(tmp_path, names["plain-small"], [scores, scores])
  write(tmp_path, names["augmented-small"], [[np.nan, 1, 5, 0.1, 0.01], [4.0, 1, 5, 0.1, 0.01]])
  found = zhao2020.report("table=cifar10", "test", tmp_path)
  rows = {row[0]: row for row in texts(found["tables"][0])}
  assert rows["BigGAN"][-5:] == ["3.00 ± 0.00", *["no result"] * 4]
  assert rows["BigGAN, DiffAugment"][-5:-2] == ["no result", "1.00 ± 0.00", "5.00 ± 0.00"]
  assert found["sentences"] == []
  assert "nan" not in json.dumps(found, allow_nan=False)
  assert "BigGAN 3.00 ± 0.00, no result, no result" in zhao2020.summary(found["numbers"])["ours"]


def test_a_comparison_of_packings_needs_all_of_its_numbers(tmp_path):
  names = stages.run_names(lin2018.RUNS["table=3"]["test"])
  write(tmp_path, names["4-1"], [[70, 5.0], [90, 5.4]])
  write(tmp_path, names["4-2"], [[np.nan, 2.5], [420, 2.7]])
  assert lin2018.report("table=3", "test", tmp_path)["sentences"] == []


@pytest.mark.parametrize(
  "paper,item,budget,columns",
  [
    (brock2018, item, budget, brock2018._OF_TABLE[item])
    for item in brock2018.RUNS
    for budget in brock2018.RUNS[item]
    if budget != "test"  # whose images are padded, and have no classifier
  ]
  + [(radford2016, item, b, radford2016._OF_TABLE[item]) for item in radford2016.RUNS for b in radford2016.RUNS[item]]
  + [(miyato2018, "table=cifar10", "paper", miyato2018._COLUMNS)]
  + [(zhao2020, "table=cifar10", budget, zhao2020._COLUMNS) for budget in ("quick", "paper")]
  + [
    (lin2018, item, budget, lin2018.stacked.COLUMNS) for item in ("table=2", "table=3") for budget in ("paper", "test")
  ],
)
def test_runs_have_the_numbers_of_their_columns(paper, item, budget, columns):
  """By the names that the evaluation of their config gives."""
  given = paper.RUNS[item][budget]
  section = config_args.load(given.config).evaluate.samples.to_dict()
  section |= {
    k.removeprefix("evaluate.samples."): v for k, v in given.common.items() if k.startswith("evaluate.samples.")
  }
  known = {f"test/{name}" for name in samples.names(**section)}
  assert {c.result.removesuffix("_stderr").removesuffix("_floor") for c in columns} <= known
  samples.check(**section)


def test_nearest_neighbours_stand_beside_the_published_ones(tmp_path):
  names = stages.run_names(radford2016.RUNS["table=nearest"]["test"])
  write(tmp_path, names["dcgan"], [[0.96, 0.97, 0.91], [0.96, 0.97, 0.93]])
  found = radford2016.report("table=nearest", "test", tmp_path)
  ours, gan = texts(found["tables"][0])
  assert ours[1:3] == ["0.9700 (unverified)", "0.9690 (unverified)"]
  assert ours[-3:] == ["0.9600 ± 0.0000", "0.9700 ± 0.0000", "0.920 ± 0.010"]
  assert gan == ["GAN of fully connected layers", "0.9370 (unverified)", "", "", "", "", ""]
  assert "DCGAN 0.9600 ± 0.0000" in radford2016.summary(found["numbers"])["ours"]


def test_scores_of_three_games_stand_beside_the_published_ones(tmp_path):
  names = stages.run_names(miyato2018.RUNS["table=cifar10"]["test"])
  write(tmp_path, names["projection"], [[8.0, 11.0, 0.007], [8.2, 12.0, 0.008]])
  found = miyato2018.report("table=cifar10", "test", tmp_path)
  rows = texts(found["tables"][0])
  assert rows[1][1:] == ["8.25", "10.84", "0.0070", "8.10 ± 0.10", "11.50 ± 0.50", "0.0075 ± 0.0005"]
  assert rows[2][-1] == "no result"
  assert miyato2018.summary(found["numbers"])["published"].endswith("with classes 8.25, 10.84, 0.007")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["biggan_imagenet:test", "biggan_cifar10:test,augment"])
def test_a_report_of_a_real_run_can_be_saved(tmp_path, name):
  """Also of one whose evaluation lacks the columns' numbers."""
  results = train.train_and_evaluate(config_args.load(name), tmp_path / "run")
  paper, item = (brock2018, "table=1") if "imagenet" in name else (zhao2020, "table=cifar10")
  columns = brock2018._OF_TABLE[item] if paper is brock2018 else zhao2020._COLUMNS
  scores = sample_scores.measure(types.SimpleNamespace(results=results), columns)["scores"]
  for names in stages.run_names(paper.RUNS[item]["test"]).values():
    write(tmp_path, names, [scores] * len(names))
  json.dumps(paper.report(item, "test", tmp_path), allow_nan=False)
