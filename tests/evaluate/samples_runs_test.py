"""evaluate.samples of whole runs: on the command line and from Python, with a classifier of one's own, in `compare`."""

import json

import numpy as np
import pytest

import dgm_jax
from dgm_jax.core import config_args, errors
from dgm_jax.evaluate import compare, compare_samples
from dgm_jax.training import build, classifiers

OPTIONS = {"num_samples": 120, "batch_size": 60, "metrics": ("frechet,manifold,memorisation,class_score,modes",)}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
  """The folder of a run of a small classifier of digits."""
  folder = tmp_path_factory.mktemp("classifier") / "run"
  dgm_jax.train("classifier_mnist:net=conv,test", workdir=folder)
  return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory, classifier):
  """A VAE measured by that classifier at the end of training."""
  values = {f"evaluate.samples.{name}": value for name, value in OPTIONS.items()}
  folder = tmp_path_factory.mktemp("vae") / "run"
  return dgm_jax.train("vae_mnist:test", workdir=folder, **values, **{"evaluate.samples.features": str(classifier)})


def test_a_run_is_measured_at_its_end_by_a_classifier_of_ones_own(measured, classifier):
  results = json.loads((measured.source / "results.json").read_text())
  assert results["test/samples_features"].startswith("run, 4,000 examples, step 40")
  assert results["test/samples_frechet"] > results["test/samples_frechet_floor"] >= 0
  assert 1 <= results["test/samples_class_score"] <= 10
  assert results["test/samples_modes_total"] == 10
  assert results["test/samples_floor"] == "train"
  assert (measured.source / "figures" / "samples_nearest.png").exists()


def test_python_gives_the_numbers_of_the_run(measured, classifier):
  test = measured.experiment.splits.test
  found = measured.evaluate("samples", test, transform=True, features=str(classifier), **OPTIONS)
  names = [name for name, value in found.items() if isinstance(value, float) and not name.endswith("stderr")]
  assert len(names) > 10
  for name in names:
    assert found[name] == pytest.approx(measured.results[f"test/{name}"], rel=1e-4, abs=1e-4)
  with pytest.raises(errors.UserError, match="give transform=True"):
    measured.evaluate("samples", test["x"] / 255.0, **OPTIONS)


def test_a_path_that_asks_for_an_evaluation_adds_its_section():
  config = build.with_evaluations(config_args.load("vae_mnist:test").lock(), ["evaluate.samples.seed", "evaluate.no.x"])
  assert config.evaluate.samples.num_samples == 10_000
  assert config.evaluate.samples.metrics == ("frechet", "kernel", "manifold", "memorisation")
  assert config.is_locked
  assert set(config.evaluate) == {"active_units", "importance_sampling", "samples"}
  asked = ["main", "--config=vae_mnist:test", "--config.evaluate.samples.seed=3"]
  load = lambda text: build.with_evaluations(config_args.load(text), config_args.overrides(asked))
  assert config_args.checked_arguments(asked, load)[1:] == asked[1:]
  with pytest.raises(errors.UserError, match=r"key of config\.evaluate 'samples'"):
    config_args.checked_arguments(asked)


def test_a_run_that_is_no_classifier_is_refused(measured):
  with pytest.raises(errors.UserError, match=r"features = .* is a run of 'vae', which is no classifier"):
    classifiers.load("evaluate.samples.features", str(measured.source))


def test_compare_has_the_numbers_of_samples(measured, tmp_path, capsys):
  """Also of runs without values of single examples; and not of different features."""
  results = json.loads((measured.source / "results.json").read_text())
  other = {name: value for name, value in results.items() if "log_px" not in name}
  other |= {"test/samples_frechet": results["test/samples_frechet"] + 2.0, "test/samples_frechet_stderr": 0.3}
  (tmp_path / "results.json").write_text(json.dumps(other))
  assert compare.main([str(measured.source), str(tmp_path)]) == 0
  lines = [line.split() for line in capsys.readouterr().out.splitlines()]
  [row] = [line for line in lines if line[:1] == ["samples_frechet"]]
  assert float(row[3]) == pytest.approx(2.0, abs=1e-3)
  assert {"samples_precision", "samples_coverage", "samples_modes"} <= {line[0] for line in lines if line}
  (tmp_path / "results.json").write_text(json.dumps(other | {"test/samples_features": "pixels"}))
  with pytest.raises(errors.UserError, match="no values of the same examples in common"):
    compare.main([str(measured.source), str(tmp_path)])


@pytest.mark.slow
def test_a_vae_and_a_gan_stand_in_one_table(tmp_path, capsys):
  """Also a model without a density: they have no value of an example in common."""
  for model in ("gan", "vae"):
    dgm_jax.train(f"samples_mnist:test,model={model}", workdir=tmp_path / model)
  assert compare.main([str(tmp_path / "gan"), str(tmp_path / "vae")]) == 0
  lines = [line.split() for line in capsys.readouterr().out.splitlines()]
  rows = {line[0]: line for line in lines if line and line[0].startswith("samples_")}
  results = [json.loads((tmp_path / model / "results.json").read_text()) for model in ("gan", "vae")]
  for name in ("frechet", "kernel", "precision", "coverage", "memorisation_z", "parzen"):
    values = [found[f"test/samples_{name}"] for found in results]
    assert [float(v) for v in rows[f"samples_{name}"][1:3]] == pytest.approx(values, abs=1e-4)
  assert results[0]["test/samples_parzen_floor"] == results[1]["test/samples_parzen_floor"]


def test_differences_of_several_seeds_have_their_errors():
  setting = {"test/samples_features": "pixels", "test/samples_num": 100}
  runs = [
    setting | {"test/samples_kernel": v, "test/samples_kernel_stderr": s}
    for v, s in ((1.0, 0.3), (2.0, 0.4), (5.0, 1.2))
  ]
  [found] = compare_samples.numbers(runs[:2], runs[2:])
  assert found[:3] == ("samples_kernel", 1.5, 5.0)
  assert found.stderr == pytest.approx(np.sqrt((0.09 + 0.16) / 4 + 1.44))
  assert (found.first_spread, found.second_spread, found.num_samples) == (pytest.approx(0.5**0.5), None, 100)
  assert "samples_num differs (100, 50)" in compare_samples.caveat([runs[0], runs[1] | {"test/samples_num": 50}])
  assert "not all runs have them" in compare_samples.caveat([runs[0], {}])
