"""The papers of two players: their tables from made numbers, published numbers beside, and what is measured."""

import json

import numpy as np
import pytest

from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.papers.donahue2017 import paper as donahue2017
from dgm_jax.experiments.papers.goodfellow2014 import paper as goodfellow2014
from dgm_jax.experiments.papers.goodfellow2014 import parzen
from dgm_jax.experiments.papers.lin2018 import paper as lin2018


def write(folder, runs, **arrays):
  """Saves what a measurement of each run would: arrays [seeds, ...]."""
  for i, name in enumerate(runs):
    path = measured.file(folder, name)
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, **{k: np.asarray(v[i]) for k, v in arrays.items()})


def texts(table):
  return [[c["text"] for c in row] for row in table["rows"]]


def test_modes_stand_beside_the_published_ones(tmp_path):
  names = stages.run_names(lin2018.RUNS["table=1"]["test"])
  raw = {"grid-1": [[17, 0.9, 0.6], [19, 0.8, 0.4]], "grid-2": [[24, 0.9, 0.1], [25, 0.7, 0.2]]}
  for cell, values in raw.items():
    write(tmp_path, names[cell], raw=values, averaged=[[25, 1.0, 0.0]] * 2)
  found = lin2018.report("table=1", "test", tmp_path)
  assert texts(found["tables"][0])[0][:7] == [
    "grid, GAN", "17.3 ± 0.8", "94.8 ± 0.7", "0.70 ± 0.07", "18.0 ± 1.0", "85.0 ± 5.0", "0.500 ± 0.100",
  ]  # fmt: skip
  assert found["sentences"] == [
    "On the grid PacGAN2 covers at least as many modes as the GAN, and its mean reverse KL is lower."
  ]
  assert "grid, PacGAN2 24.5 ± 0.5, 80.0 ± 10.0, 0.150 ± 0.050" in lin2018.summary(found["numbers"])["ours"]
  assert "grid, GAN 17.3, 94.8, 0.7" in lin2018.summary(found["numbers"])["published"]


def test_losses_have_rows_with_and_without_the_average(tmp_path):
  names = stages.run_names(lin2018.RUNS["table=losses"]["test"])
  write(tmp_path, names["hinge r1"], raw=[[20, 0.5, 0.3]] * 2, averaged=[[25, 0.9, 0.01]] * 2)
  found = lin2018.report("table=losses", "test", tmp_path)
  assert texts(found["tables"][0])[0][:7] == [
    "hinge + r1", "25.0 ± 0.0", "90.0 ± 0.0", "0.010 ± 0.000", "20.0 ± 0.0", "50.0 ± 0.0", "0.300 ± 0.000",
  ]  # fmt: skip
  assert found["sentences"] == ["All 25 modes in every seed, with the averaged generator: hinge + r1."]
  assert len(stages.run_names(lin2018.RUNS["table=losses"]["quick"])) == 36
  assert lin2018.summary(found["numbers"])["published"] == "none"


def test_the_curve_of_2014_and_what_needs_no_model(tmp_path):
  names = stages.run_names(goodfellow2014.RUNS["table=1"]["test"])["simultaneous"]
  scores = [[[100.0, 2.0, 0.2], [200.0, 2.0, 0.2]], [[110.0, 2.0, 0.2], [220.0, 2.0, 0.2]]]
  write(
    tmp_path, names[:1], steps=[[500, 12_500]], scores=scores[:1], digits=[[242.5, 2.1, 0.17]], centres=[[300, 2, 0.2]]
  )
  write(tmp_path, names[1:], steps=[[500, 12_500]], scores=scores[1:])
  found = goodfellow2014.report("table=1", "test", tmp_path)
  rows = texts(found["tables"][0])
  assert rows[0] == ["GAN, both updated at once", "225 ± 2", "25", "210.0 ± 10.0", "0.200"]
  assert rows[1][:4] == ["training digits", "243 (unverified)", "", "242.5 ± 2.1"]
  assert found["figures"][0]["series"][0]["points"] == [[1.0, 105.0], [25.0, 210.0]]
  assert found["sentences"] == ["A list of 10,000 training digits scores higher than the samples of the best GAN."]
  assert "25 epochs: 210.0 ± 10.0; training digits 242.5" in goodfellow2014.summary(found["numbers"])["ours"]


def test_models_are_measured_alike_beside_digits(tmp_path):
  names = stages.run_names(goodfellow2014.RUNS["table=samples"]["test"])
  row = lambda frechet, parzen: [[[frechet, 0.5], *[[0.25, np.nan]] * 6, [parzen, 2.0]]]
  training = [[[0.5, 0.5], *[[np.nan, np.nan]] * 6, [243, 2.0]]]
  write(tmp_path, names["gan"], draws=row(20, 210), training=training, held_out=row(0.75, 240))
  write(tmp_path, names["vae"], draws=row(30, 100), means=row(9, 220))
  found = goodfellow2014.report("table=samples", "test", tmp_path)
  rows = texts(found["tables"][0])
  assert rows[0] == ["GAN of 2014", "20.000 ± 0.500", *["0.250"] * 5, "0.2", "210.0 ± 2.0"]
  assert [r[0] for r in rows[1:]] == ["VAE, x ~ p(x|z)", "VAE, E[x|z]", "training digits", "held-out digits"]
  assert found["sentences"] == [
    "By the Frechet distance, best first: VAE, E[x|z]; GAN of 2014; VAE, x ~ p(x|z).",
    "By Parzen windows: the same order.",
  ]
  assert rows[3] == ["training digits", "0.500 ± 0.500", *[""] * 6, "243.0 ± 2.0"]
  json.dumps(found, allow_nan=False)
  shown = goodfellow2014.summary(found["numbers"])["ours"]
  assert "GAN of 2014 20.00 ± 0.50, 210.0" in shown and "training digits 0.50 ± 0.50, 243.0" in shown


def test_centres_of_clusters_are_means_of_their_members():
  x = np.concatenate([np.full((5, 2), 0.0), np.full((5, 2), 10.0)]) + np.random.default_rng(0).normal(0, 0.1, (10, 2))
  centres = parzen.clusters(x, 2, seed=3)
  assert sorted(np.round(centres[:, 0]).tolist()) == [0.0, 10.0]
  mean, error, sigma = parzen.score(centres, x, x)
  assert sigma == pytest.approx(0.1)
  assert error > 0
  assert np.isfinite(mean)


def test_nearest_neighbours_stand_beside_an_untrained_encoder(tmp_path):
  names = stages.run_names(donahue2017.RUNS["table=1"]["test"])["25"]
  write(tmp_path, names, trained=[[96.0, 95.0], [96.4, 95.4]], untrained=[[96.9, 91.0], [96.7, 92.0]])
  found = donahue2017.report("table=1", "test", tmp_path)
  rows = texts(found["tables"][0])
  assert rows[0] == ["untrained encoder", "96.84", "96.80 ± 0.10", "91.50", "91.50 ± 0.50"]
  assert rows[1] == ["BiGAN, 25 epochs", "96.28", "96.20 ± 0.20", "95.41", "95.20 ± 0.20"]
  assert found["sentences"] == [
    "In E(x), 25 epochs of training change the accuracy by +3.70 points, -0.21 from the published number."
  ]
