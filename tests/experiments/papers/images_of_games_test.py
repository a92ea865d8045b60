"""The papers of image GANs: their tables from made numbers, with the published ones beside them."""

import types

import numpy as np
import pytest

from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.papers.brock2018 import paper as brock2018
from dgm_jax.experiments.papers.lin2018 import paper as lin2018
from dgm_jax.experiments.papers.zhao2020 import paper as zhao2020
from dgm_jax.experiments.shared import sample_scores


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


@pytest.mark.parametrize("distances,words", [((50, 52), "lower with it"), ((59, 62), "undecided")])
def test_augmentation_is_decided_or_not(tmp_path, distances, words):
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
  assert texts(found["tables"][0]) == [["BigGAN", "166.50", "7.40", "9.00", "80.00"]]
  published = brock2018.PAPER.published["table=1"]
  assert {name for name, value in published.items() if value.verified} == {"biggan inception_score", "biggan fid"}


def test_a_missing_number_is_no_result():
  run = types.SimpleNamespace(results={"test/samples_frechet": 3.0})
  columns = zhao2020._COLUMNS
  scores = sample_scores.measure(run, columns)["scores"]
  assert scores[0] == 3.0
  assert np.isnan(scores[1:]).all()
