"""Scores of predictions against scikit-learn and by hand, calibration, and ensembles of runs."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
import sklearn.metrics

from dgm_jax.core import errors, files
from dgm_jax.evaluate import compare, ensemble, predictive
from dgm_jax.inference import predictions

RNG = np.random.default_rng(0)


def classes(n=400, c=4, members=None):
  """(predictions of `members` nets, y)."""
  y = RNG.integers(0, c, n)
  logits = 2 * RNG.normal(size=(*(() if members is None else (members,)), n, c)) + 2 * np.eye(c)[y]
  probs = scipy.special.softmax(logits, -1)
  return {"probs": probs.astype("f"), "log_py": np.log(probs[..., np.arange(n), y]).astype("f")}, y


def test_scores_of_classes_agree_with_scikit_learn():
  prediction, y = classes()
  found = {name: np.asarray(v, np.float64) for name, v in predictions.of_examples(prediction, y).items()}
  assert -found["log_py"].mean() == pytest.approx(sklearn.metrics.log_loss(y, prediction["probs"]), rel=1e-5)
  assert found["accuracy"].mean() == sklearn.metrics.accuracy_score(y, prediction["probs"].argmax(-1))
  brier = sklearn.metrics.brier_score_loss(y, prediction["probs"], scale_by_half=False)
  assert found["brier"].mean() == pytest.approx(brier, rel=1e-5)
  np.testing.assert_allclose(found["entropy"], scipy.stats.entropy(prediction["probs"], axis=-1), rtol=1e-4)
  np.testing.assert_array_equal(found["confidence"], prediction["probs"].max(-1))


def test_brier_of_two_classes_is_twice_the_score_of_one_probability():
  p, y = RNG.random(50).astype("f"), RNG.integers(0, 2, 50)
  found = predictions.of_examples({"probs": np.stack([1 - p, p], -1), "log_py": p}, y)["brier"]
  assert float(found.mean()) == pytest.approx(2 * sklearn.metrics.brier_score_loss(y, p), rel=1e-5)


def test_auroc_is_the_probability_of_the_right_order():
  a, b = RNG.normal(0, 1, 80).round(1).astype("f"), RNG.normal(0.5, 1, 60).round(1).astype("f")
  pairs = (a[:, None] < b).mean() + 0.5 * (a[:, None] == b).mean()
  theirs = sklearn.metrics.roc_auc_score(np.r_[np.zeros(80), np.ones(60)], np.r_[a, b])
  assert float(predictions.auroc(a, b)) == pytest.approx(pairs, abs=1e-6) == pytest.approx(theirs, abs=1e-6)
  assert float(predictions.auroc(a, b)) + float(predictions.auroc(b, a)) == pytest.approx(1, abs=1e-6)
  assert float(predictions.auroc(a, a)) == pytest.approx(0.5, abs=1e-6)
  assert float(predictions.auroc(a, a + 10)) == 1.0


def test_calibration_error_by_hand_and_for_calibrated_predictions():
  confidence, right = np.array([0.95, 0.92, 0.55, 0.5, 1.0], "f"), np.array([1, 0, 1, 0, 1], "f")
  # ten bins: accuracy 2/3 of three examples in (0.9, 1], 1 of one in (0.5, 0.6], 0 of one in (0.4, 0.5]
  by_hand = (abs(2 - 2.87) + abs(1 - 0.55) + abs(0 - 0.5)) / 5
  assert float(predictions.calibration_error(confidence, right, 10)) == pytest.approx(by_hand, rel=1e-5)
  p = (0.5 + 0.5 * RNG.random(200_000)).astype("f")
  drawn = (RNG.random(200_000) < p).astype("f")
  assert float(predictions.calibration_error(p, drawn)) < 0.005
  assert float(predictions.calibration_error(np.full(1000, 0.9, "f"), drawn[:1000])) == pytest.approx(
    abs(drawn[:1000].mean() - 0.9), abs=1e-5
  )


def test_a_mixture_has_the_density_and_moments_of_its_members():
  y, mean, scale = RNG.normal(size=(30, 1)), RNG.normal(size=(5, 30, 1)), 0.3 + RNG.random((5, 30, 1))
  log_p = scipy.stats.norm.logpdf(y, mean, scale)
  found = predictions.mixture({"log_py": log_p[..., 0], "mean": mean, "variance": scale**2})
  grid = np.linspace(-9, 9, 4001)
  density = scipy.stats.norm.pdf(grid, mean, scale).mean(0)  # [N, grid]
  moment = lambda f: np.trapezoid(density * f, grid, axis=-1)
  np.testing.assert_allclose(found["mean"][:, 0], moment(grid), atol=1e-5)
  np.testing.assert_allclose(found["variance"][:, 0], moment(grid**2) - moment(grid) ** 2, rtol=1e-4)
  at_y = [np.interp(v, grid, d) for v, d in zip(y[:, 0], density, strict=True)]
  np.testing.assert_allclose(np.exp(found["log_py"]), at_y, rtol=1e-3)


def test_a_mixture_is_at_least_as_good_as_its_members_are_on_average():
  prediction, y = classes(members=6)
  of = lambda p: {name: np.asarray(v).mean() for name, v in predictions.of_examples(p, y).items()}
  mixed = of(predictions.mixture(prediction))
  each = [of({name: v[i] for name, v in prediction.items()}) for i in range(6)]
  assert mixed["log_py"] > np.mean([e["log_py"] for e in each])
  assert mixed["brier"] < np.mean([e["brier"] for e in each])
  assert mixed["entropy"] > np.mean([e["entropy"] for e in each])
  probs = prediction["probs"].mean(0)
  np.testing.assert_allclose(predictions.mixture(prediction)["log_py"], np.log(probs[np.arange(400), y]), rtol=1e-4)


def test_images_are_rotated_as_by_scipy():
  x = RNG.integers(0, 256, (3, 9, 9, 1)).astype(np.uint8)
  np.testing.assert_array_equal(predictive.rotated(jnp.asarray(x), 90.0), np.rot90(x, axes=(1, 2)))
  real = x.astype("f")
  expected = scipy.ndimage.rotate(real, 33.0, axes=(2, 1), reshape=False, order=1)
  inside = np.hypot(*np.meshgrid(np.arange(9) - 4, np.arange(9) - 4)) < 3.5  # scipy treats edges differently
  found = np.asarray(predictive.rotated(jnp.asarray(real), 33.0))
  np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=0.05)


def _member(folder, prediction, y, digest="d"):
  about = {"data": "toy", "data_digest": digest, "transforms": [], "split_sizes": {"test": len(y)}}
  folder.mkdir()
  files.write_json(folder / "results.json", about)
  kept = {f"test/predictive/{name}": a for name, a in (prediction | {"y": y}).items() if name != "log_py"}
  files.save_arrays(folder / "values.npz", **kept | {"test/log_py": prediction["log_py"]})


def test_an_ensemble_is_read_from_its_runs(tmp_path, capsys):
  prediction, y = classes(members=3)
  for i in range(3):
    _member(tmp_path / f"{i}", {name: a[i] for name, a in prediction.items()}, y)
  found = ensemble.scored(ensemble.members([tmp_path / "0", tmp_path / "1", tmp_path / "2"]))
  probs = prediction["probs"].mean(0)
  assert found["nll"] == pytest.approx(sklearn.metrics.log_loss(y, probs), rel=1e-4)
  assert found["accuracy"] == pytest.approx((probs.argmax(-1) == y).mean(), rel=1e-6)
  assert ensemble.main([str(tmp_path / "0"), str(tmp_path / "1")]) == 0
  assert "brier" in capsys.readouterr().out
  assert set(compare.read(str(tmp_path / "0")).values) == {"log_py"}  # predictions are not compared
  _member(tmp_path / "other", {name: a[0] for name, a in prediction.items()}, y, digest="e")
  with pytest.raises(errors.UserError, match="cannot be compared: data_digest"):
    ensemble.members([tmp_path / "0", tmp_path / "other"])


def test_invalid_options_raise_user_errors():
  with pytest.raises(errors.UserError, match="num_samples = 0"):
    predictive.check(num_samples=0)
  with pytest.raises(errors.UserError, match="Did you mean 'fashion_mnist'"):
    predictive.check(shifted="fashion_mnst")
