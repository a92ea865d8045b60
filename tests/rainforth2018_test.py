"""The signal-to-noise ratios of Rainforth et al. (2018): gradients by automatic differentiation, slopes by theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import linear_gaussian_snr as toy
from experiments import rainforth2018, rainforth2018_figure2, reproduce

SETTING = toy.Setting(points=3, repeats=1000, ks=(10,), ms=(10,), dim=4)


def test_gradients_are_those_of_the_bound():
  model, key, k = toy.make_model(SETTING), jax.random.key(5), 7
  found = toy.gradients(model, key, 1, k)
  noise = jnp.sqrt(2 / 3) * jax.random.normal(key, (k, 3, 4))

  def bound(mu, b):
    z = model.x @ model.a.T + b + noise
    log_w = jnp.sum(-0.5 * (z - mu) ** 2 - 0.5 * (model.x - z) ** 2 + 0.75 * (z - model.x @ model.a.T - b) ** 2, -1)
    return jax.nn.logsumexp(log_w, 0)  # [N]

  by_mu, by_b = jax.jacobian(bound, (0, 1))(model.mu, model.b)
  np.testing.assert_allclose(found["mu"][0], by_mu, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["b"][0], by_b, rtol=1e-4, atol=1e-5)


def test_moments_of_averages_over_data_points_and_samples():
  """M averaged samples have the mean of one, and a variance M times less."""
  model = toy.make_model(SETTING)
  one, ten = (toy.moments(model, jax.random.key(m), SETTING, 1, m) for m in (1, 10))
  assert one["mu_mean"].shape == (toy.PARTS, 4)
  ratio = one["mu_variance"].mean(0) / ten["mu_variance"].mean(0)
  np.testing.assert_allclose(ratio, 10, rtol=0.15)
  error = np.sqrt(one["mu_variance"].mean(0) / SETTING.repeats)
  assert np.all(np.abs(one["mu_mean"].mean(0) - ten["mu_mean"].mean(0)) < 5 * error)
  drawn = toy.gradients(model, jax.random.key(1), 1000, 1)["mu"].mean(1)
  np.testing.assert_allclose(one["mu_variance"].mean(0), drawn.var(0), rtol=0.2)


def test_the_error_of_the_mean_is_taken_out_of_the_signal():
  rng = np.random.default_rng(0)
  repeats, dim = 1000, 2000
  per_part = repeats // toy.PARTS
  means = 0.01 + rng.normal(size=(toy.PARTS, dim)) / np.sqrt(per_part)
  found = {"mu_mean": means, "mu_variance": np.ones((toy.PARTS, dim))}
  whole = np.ones(toy.PARTS, bool)
  assert np.sqrt((means.mean(0) ** 2).sum() / dim) > 0.03
  assert toy.snr(found, "mu", whole, repeats) == pytest.approx(0.01, abs=0.005)
  half = np.arange(toy.PARTS) < 5
  assert toy.snr(found, "mu", half, repeats) < 0.02


def test_a_slope_and_its_error():
  assert toy.slope([10, 100], [3.0, 0.3]) == pytest.approx(-1)
  parts = [{"mu_mean": np.full((toy.PARTS, 1), c**0.5), "mu_variance": np.ones((toy.PARTS, 1))} for c in (10, 40, 160)]
  value, error = toy.slope_and_error(parts, [10, 40, 160], "mu", 10**9)
  assert (value, error) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_slopes_drawn_are_those_of_the_theorem_and_what_is_drawn_is_not_repeated(tmp_path, capsys, monkeypatch):
  command = ["rainforth2018", "--figure=2", "--budget=test", f"--root={tmp_path}"]
  moments, calls = toy.moments, []

  def interrupted(model, key, setting, k, m):
    calls.append((k, m))
    if len(calls) == 3:
      raise KeyboardInterrupt
    return moments(model, key, setting, k, m)

  monkeypatch.setattr(toy, "moments", interrupted)
  with pytest.raises(KeyboardInterrupt):
    reproduce.main(command)
  assert reproduce.main(command) == 0
  assert reproduce.main(command) == 0
  assert len(set(calls)) == len(calls) - 1 == len(toy.pieces(rainforth2018_figure2.SETTINGS["test"]))
  folder = tmp_path / "rainforth2018/figure2/test"
  numbers = rainforth2018.report("figure=2", "test", folder)["numbers"]["slopes"]
  for key, n in numbers.items():
    assert abs(n["slope"] - n["theory"]) < 0.15, (key, n)
    assert n["stderr"] < 0.1
  assert (folder / "snr_b.png").stat().st_size > 10_000
  assert "slope −0.5" in (tmp_path / "index.html").read_text()
