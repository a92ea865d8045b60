"""evaluate.samples on systems whose samples are known: names, floors, streaming, handed-down classifiers, bad input."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.system import System, TrainState
from dgm_jax.data import pipeline, splits
from dgm_jax.evaluate import chosen, samples
from dgm_jax.evaluate.sample_features import embedding
from dgm_jax.evaluate.sample_features.features import Features
from dgm_jax.evaluate.sample_features.measure import Measure
from dgm_jax.evaluate.sample_features.of_experiment import conditional
from dgm_jax.evaluate.sample_metrics import frechet, kernel, manifold, memorisation, parzen
from dgm_jax.models.adversarial import gan

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def numbered(x, start=0, **arrays):
  return {"x": x, "index": start + np.arange(len(x), dtype=np.int32), **arrays}


def experiment(draw, train, test, valid=None, names=(), about=None, model=None):
  """With a system that only samples: draw(key, n)."""
  parts = splits.Splits(train, valid, test, about or {})
  others = [a for a in (valid, test) if a is not None]
  sample = None if draw is None else lambda state, key, n: draw(key, n)
  system = System(None, None, None, sample)
  return types.SimpleNamespace(model=model, system=system, splits=parts, transforms=pipeline.make(names, train, others))


def state():
  return TrainState(0, {}, (), {}, {})


def normals(n, shift=0.0):
  return (shift + RNG.normal(size=(n, 3))).astype("f")


def shifted(key, n):
  return 0.5 + jax.random.normal(key, (n, 3))


def made(draw=shifted, **arrays):
  return experiment(draw, numbered(normals(700)), numbered(normals(400), 700), **arrays)


def measure(found, **options):
  samples.check(**options)
  return samples.evaluate(found, state(), KEY, found.splits.test, **{"num_samples": 300, "batch_size": 70} | options)


def test_numbers_are_those_of_the_pure_functions_and_say_what_was_compared():
  built = made()
  found = measure(built, metrics=("frechet,kernel", "manifold", "memorisation"), seed=3)
  drawn = np.concatenate([shifted(jax.random.fold_in(jax.random.fold_in(KEY, 3), i), 70) for i in range(5)])[:300]
  test, train = built.splits.test["x"], built.splits.train["x"]
  floor = embedding.some({"x": train}, 300)["x"]
  exact = frechet.frechet(drawn, test)
  assert found["samples_frechet"] == pytest.approx(exact.value, rel=1e-5)
  assert found["samples_frechet_stderr"] == pytest.approx(exact.stderr, rel=1e-4)
  assert found["samples_frechet_floor"] == pytest.approx(frechet.frechet(floor, test).value, rel=1e-5)
  assert "samples_frechet_stderr_floor" not in found
  assert abs(found["samples_frechet_infinity"] - 0.75) < 4 * found["samples_frechet_infinity_stderr"]
  assert (found["samples_kernel"], found["samples_kernel_stderr"]) == pytest.approx(
    kernel.kernel(drawn, test), rel=1e-4
  )
  names = ("precision", "recall", "density", "coverage")
  assert [found[f"samples_{n}"] for n in names] == pytest.approx(manifold.manifold(drawn, test), rel=1e-6)
  assert [found[f"samples_{n}_floor"] for n in names] == pytest.approx(manifold.manifold(floor, test), rel=1e-6)
  assert found["samples_memorisation_z"] == pytest.approx(memorisation.memorisation(drawn, test, train).z, abs=1e-6)
  said = {"features": "pixels", "num": 300, "seed": 3, "against": "test", "against_size": 400, "floor": "train"}
  assert {name: found[f"samples_{name}"] for name in said} == said
  assert found["samples_floor_size"] == 300
  assert set(samples.names("frechet,kernel,manifold,memorisation")) <= found.keys()
  assert samples.names(("frechet", "class_score"), "inception_clean") == [
    "samples_fid", "samples_fid_infinity", "samples_inception_score",
  ]  # fmt: skip
  assert "figures" not in found  # x are no images


def test_the_floor_has_examples_of_all_classes_whatever_their_order():
  for y in (np.arange(4000) % 10, np.sort(np.arange(4000) % 10)):
    found = embedding.some({"y": y, "index": np.arange(4000)}, 120)
    assert np.bincount(found["y"], minlength=10).min() >= 3
    assert len(set(found["index"].tolist())) == 120
  assert embedding.some({"y": y}, 4000)["y"] is y


def test_samples_depend_on_the_seed_and_the_batch_alone_and_states_share_the_programs():
  built = made()
  run = Measure(built, metrics=("frechet",), num_samples=100, batch_size=30, floor=False)
  first, again = (run(state(), KEY)["samples_frechet"] for _ in range(2))
  assert first == again
  assert run._sampler._draw._cache_size() == 1
  other = Measure(built, metrics=("frechet",), num_samples=100, batch_size=30, floor=False, seed=1)
  assert other(state(), KEY)["samples_frechet"] != first
  assert not [name for name in other(state(), KEY) if "floor" in name]


def test_examples_in_place_of_samples_have_the_numbers_of_the_floor():
  built = made(valid=numbered(normals(300), 1100))
  run = Measure(built, metrics=("frechet", "memorisation"), num_samples=300, batch_size=70)
  found, of_samples = run.of_examples("train", KEY), run(state(), KEY)
  assert found["samples_frechet"] == of_samples["samples_frechet_floor"]
  assert found["samples_memorisation_z"] < -10
  assert abs(run.of_examples("valid", KEY)["samples_memorisation_z"]) < 3.5
  assert not any(name.endswith("_floor") or name == "samples_pairs" for name in found)


def test_the_samples_of_the_training_set_are_seen_as_copies():
  images = RNG.integers(0, 256, (300, 4, 5, 1)).astype(np.uint8)
  train, test = (
    numbered(images[:200], y=np.zeros(200, np.int32)),
    numbered(images[200:], 200, y=np.zeros(100, np.int32)),
  )
  copies = lambda key, n: jnp.asarray(images[:200])[jax.random.randint(key, (n,), 0, 200)] / 255.0
  found = measure(
    experiment(copies, train, test, names=("scale",)), metrics=("memorisation", "support"), num_samples=150
  )
  assert found["samples_memorisation_z"] < -10
  assert found["samples_memorisation_near"] == 1
  assert 100 < found["samples_support"] < 400
  grid = found["figures"]["samples_nearest"].keywords["grid"]
  assert grid.shape[1] == 10 * 2 * (5 + 2)  # ten pairs, each a sample above its training example
  top, bottom = np.split(np.asarray(grid), 2)
  np.testing.assert_allclose(top, bottom, atol=1e-6)


def test_modes_of_planes_are_found_after_the_transforms():
  built = data.load("plane/grid", train_size=3000, valid_size=0, test_size=200)
  modes = np.asarray(built.about["modes"], "f")
  mean, std = built.train["x"].mean(0), built.train["x"].std(0)
  some = jnp.asarray((modes[:10] - mean) / std)

  def draw(key, n):
    noise = jax.random.normal(jax.random.fold_in(key, 1), (n, 2)) * 0.05 / std
    return some[jax.random.randint(key, (n,), 0, 10)] + noise

  parts = [numbered(a["x"], y=a["y"]) for a in (built.train, built.test)]
  found = measure(
    experiment(draw, *parts, names=("standardize",), about=built.about), metrics=("modes",), num_samples=2000
  )
  assert (found["samples_modes"], found["samples_modes_total"]) == (10, 25)
  assert found["samples_modes_share"] == pytest.approx(1 - np.exp(-4.5), abs=0.01)  # within 3 deviations, in the plane
  assert found["samples_modes_reverse_kl"] == pytest.approx(np.log(2.5), abs=0.01)
  assert found["samples_modes_floor"] == 25
  assert found["samples_modes_reverse_kl_floor"] < 0.02


def test_modes_of_stacked_digits_are_the_numbers_that_they_show():
  loaded = data.load("stacked_mnist", digits="mnist5k", train_size=60, test_size=40)
  parts = [numbered(a["x"], y=a["y"]) for a in (loaded.train, loaded.test)]
  draw = lambda key, n: jnp.asarray(loaded.train["x"])[jnp.arange(n) % 20] / 255.0
  options = {"metrics": ("modes",), "num_samples": 60, "batch_size": 60}
  found = measure(experiment(draw, *parts, names=("scale",), about=loaded.about), **options)
  assert found["samples_modes"] <= 20
  assert found["samples_modes_total"] == 1000
  assert found["samples_modes_floor"] == pytest.approx(len(set(loaded.train["y"])), abs=2)
  assert found["samples_modes_reverse_kl"] > np.log(1000 / 20) - 1e-6  # at most 20 of 1,000 equally probable numbers


def test_parzen_is_that_of_the_protocol():
  built = made(valid=numbered(normals(50), 1100))
  found = measure(built, metrics=("parzen",))
  drawn = np.concatenate([shifted(jax.random.fold_in(jax.random.fold_in(KEY, 0), i), 70) for i in range(5)])[:300]
  values, sigma = parzen.chosen(drawn, built.splits.valid["x"], built.splits.test["x"])
  assert found["samples_parzen"] == pytest.approx(values.mean(), rel=1e-5)
  assert found["samples_parzen_sigma"] == sigma
  assert found["samples_parzen_floor"] > found["samples_parzen"]


def classifier(count=3, classes=None):
  """The class of a point is the index of its greatest coordinate."""
  embed = lambda x: {"features": 2 * x, "probs": jax.nn.softmax(50 * x)}
  return Features("own", embed, (3,), None, count, classes=classes)


def test_a_classifier_gives_class_scores_and_the_histogram_of_labels():
  y = RNG.integers(0, 3, 500).astype(np.int32)
  x = np.eye(3, dtype="f")[y]
  built = experiment(
    lambda key, n: jnp.eye(3)[jax.random.randint(key, (n,), 0, 2)],
    numbered(x[:300], y=y[:300]),
    numbered(x[300:], y=y[300:]),
  )
  for options in ({"features": classifier()}, {"classifier": classifier()}):
    run = Measure(built, metrics=("class_score", "modes"), num_samples=400, splits=1, **options)
    found = run(state(), KEY)
    assert found["samples_class_score"] == pytest.approx(2, rel=0.01)
    assert found["samples_class_score_floor"] == pytest.approx(3, rel=0.01)
    assert (found["samples_modes"], found["samples_modes_total"], found["samples_modes_floor"]) == (2, 3, 3)
    assert found["samples_modes_reverse_kl"] == pytest.approx(np.log(1.5), abs=0.1)
  with pytest.raises(errors.UserError, match="tells 4 classes, others than the 3"):
    Measure(built, metrics=("modes",), classifier=classifier(4))
  with pytest.raises(errors.UserError, match="tells 3 classes, others"):
    Measure(
      built.__class__(**vars(built) | {"splits": built.splits._replace(about={"classes": ("a", "b", "c")})}),
      metrics=("modes",),
      classifier=classifier(classes=("u", "v", "w")),
    )


class Conditional:
  """x is the one-hot class plus noise."""

  num_classes = 3

  def bind(self, variables):
    return self

  def generate(self, key, n, mean=False, context=None):
    return context + 0.1 * jax.random.normal(key, (n, 3))


def test_class_conditional_samples_train_a_nearest_neighbour_classifier():
  y = RNG.integers(0, 3, 200).astype(np.int32)
  x = np.eye(3, dtype="f")[y] + 0.1 * normals(200)
  parts = numbered(x[:100], y=y[:100]), numbered(x[100:], y=y[100:])
  found = measure(experiment(shifted, *parts, model=Conditional()), metrics=("nearest",))
  assert found["samples_nearest_by_samples"] == found["samples_nearest_of_samples"] == 1
  assert found["samples_nearest_by_samples_floor"] == 1
  game = gan.Model(data_shape=(3,), latent_dim=2, num_classes=3, output="linear")
  params = game.init(jax.random.key(0), game.latent(KEY, 2), jnp.zeros(2, jnp.int32), method="generate")["params"]
  built, of_game = experiment(shifted, *parts, model=game), TrainState(0, params, (), {}, {})
  generate = lambda key, n, y: game.apply({"params": params}, game.latent(key, n), y, method="generate")
  built.system = built.system._replace(sample=lambda state, key, n, y: generate(key, n, y))
  run = Measure(built, metrics=("nearest",), num_samples=30)
  assert 0 <= run(of_game, KEY)["samples_nearest_of_samples"] <= 1
  draws, classes = conditional(built)(of_game, KEY, 40)
  assert (draws.shape, set(classes.tolist())) == ((40, 3), {0, 1, 2})
  with pytest.raises(errors.UserError, match="need a class-conditional model"):
    measure(experiment(shifted, *parts, model=object()), metrics=("nearest",))


def test_samples_stream_in_batches_into_arrays_of_the_asked_size():
  seen = []

  def embed(x):
    seen.append(x.shape)
    return {"features": x, "low": x.min(1), "high": x.max(1)}

  sampler = embedding.Sampler(lambda state, key, n: shifted(key, n), embed, Features("f", embed), 32)
  found = sampler.embedded(state(), KEY, 100)
  assert found.features.shape == (100, 3)
  assert seen == [(32, 3)]  # compiled for one shape
  np.testing.assert_array_equal(sampler.again(state(), KEY, np.array([99, 0, 40])), found.features[[99, 0, 40]])


@pytest.mark.parametrize("options,named", [
  ({"metrics": ("fid",)}, "Unknown metric evaluate.samples.metrics 'fid'"),
  ({"num_samples": 1}, "num_samples = 1; it must be 2 or more"),
  ({"features": "inception"}, "Did you mean 'inception_"),
  ({"features": "runs/none"}, "'runs/none' is no folder of a run"),
  ({"against": "all"}, "value of evaluate.samples.against"),
  ({"neighbours": 0}, "neighbours = 0; it must be 1 or more"),
  ({"features": "mnist"}, r"takes x of shape \[28, 28, 1\]; here x is of shape \[3\]"),
  ({"features": "random"}, r"takes images \[H, W, C\]"),
  ({"metrics": ("modes",)}, "needs data with known modes"),
  ({"metrics": ("class_score",)}, "need a classifier; features = 'pixels' is none"),
  ({"metrics": ("parzen",)}, "these have none: set data.valid_size"),
  ({"metrics": ("memorisation",), "against": "train"}, "memorisation compares with held-out data"),
  ({"against": "valid"}, "have no validation part"),
  ({"metrics": ("manifold",), "num_samples": 5}, "neighbours = 5 of 5 samples"),
  ({"metrics": ("class_score",), "num_samples": 9}, "splits = 10 of 9 samples"),
  ({"metrics": ("memorisation",), "num_samples": 4}, "'memorisation' needs 5 or more"),
  ({"metrics": ("memorisation",), "cells": 701}, "cells = 701; there are only 700 training examples"),
])  # fmt: skip
def test_invalid_options_raise_one_sentence(options, named):
  with pytest.raises(errors.UserError, match=named):
    measure(made(), **options)


def test_models_and_data_that_cannot_be_measured_raise_one_sentence():
  with pytest.raises(errors.UserError, match="this one is a conditional model"):
    measure(made(None))
  with pytest.raises(errors.UserError, match="these data are text"):
    measure(made(about={"tokens": "letters"}))
  broken = lambda key, n: jnp.full((n, 3), jnp.nan)
  with pytest.raises(errors.UserError, match="300 of 300 samples hold NaN"):
    measure(made(broken))
  draw = lambda key, n: 3 * jnp.ones((n, 28, 28, 1))
  images = [numbered(np.full((9, 28, 28, 1), value, "f")) for value in (0, 1, 2)]
  with pytest.raises(errors.UserError, match=r"takes images in \[0, 1\]; the samples are in \[3, 3\]"):
    measure(experiment(draw, *images[:2]), features="mnist", metrics=("frechet",))
  with pytest.raises(errors.UserError, match=r"takes images in \[0, 1\]; x is in \[0, 2\]"):
    Measure(experiment(draw, images[0], images[2]), features="mnist")  # before anything is drawn


def test_a_folder_of_a_run_is_handed_down_as_what_is_loaded(tmp_path):
  (tmp_path / "config.json").write_text("{}")
  found = chosen.find("samples", {"features": str(tmp_path), "classifier": "mnist"})
  found.validate()
  handed = found.handed(lambda option, folder: (option, folder))
  assert handed.options == {"features": ("evaluate.samples.features", str(tmp_path)), "classifier": "mnist"}
  with pytest.raises(errors.UserError, match="is no folder of a run"):
    chosen.find("samples", {"features": str(tmp_path / "none")}).validate()
