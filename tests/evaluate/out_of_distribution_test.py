"""AUROC by a double loop, its error by repeats; out-of-distribution scores of normals, whose AUROC is known."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import errors, system
from dgm_jax.data import pipeline
from dgm_jax.data.splits import Splits
from dgm_jax.evaluate import chosen, out_of_distribution
from dgm_jax.inference.predictions import auroc, delong

KEY, RNG = jax.random.key(0), np.random.default_rng(0)


def test_auroc_is_that_of_a_double_loop_with_ties():
  a, b = RNG.integers(0, 6, 23).astype("f"), RNG.integers(1, 8, 31).astype("f")
  pairs = [(x < y) + 0.5 * (x == y) for x in a for y in b]
  area, error = delong(a, b)
  assert float(area) == pytest.approx(np.mean(pairs), rel=1e-5) == pytest.approx(float(auroc(a, b)), rel=1e-5)
  each = np.reshape(pairs, (23, 31))
  by_hand = each.mean(1).var(ddof=1) / 23 + each.mean(0).var(ddof=1) / 31
  assert float(error) == pytest.approx(by_hand**0.5, rel=1e-5)


def test_its_error_is_the_spread_over_repeats():
  draw = jax.jit(
    jax.vmap(lambda k: delong(jax.random.normal(k, (60,)), 1 + 2 * jax.random.normal(jax.random.fold_in(k, 1), (40,))))
  )
  area, error = draw(jax.random.split(KEY, 2000))
  spread = float(jnp.std(area))
  assert float(jnp.sqrt(jnp.mean(error**2))) == pytest.approx(spread, rel=0.06)  # its own error is 1.6 %
  right = stats.norm.cdf(1 / 5**0.5)
  assert abs(float(area.mean()) - right) < 4 * spread / 2000**0.5


class Normal:
  """x_d ~ N(0, s^2)."""

  data_shape = (2,)

  def __init__(self, scale=1.0):
    self.scale = scale

  def bind(self, variables):
    return self

  def log_prob(self, batch):
    return jax.scipy.stats.norm.logpdf(batch["x"], 0.0, self.scale).sum(1)

  def generate(self, key, n, mean=False):
    raise NotImplementedError


def evaluate(tmp_path, other, scale=1.0, n=1500, **options):
  x = RNG.normal(size=(3 * n, 2)).astype("f")
  parts = [{"x": x[i * n : (i + 1) * n], "index": np.arange(n, dtype=np.int32)} for i in range(3)]
  made = types.SimpleNamespace(
    model=Normal(scale), system=None, splits=Splits(*parts, {}), transforms=pipeline.make((), parts[0])
  )
  np.savez(tmp_path / "other.npz", x=other)
  state = system.TrainState(0, {}, (), {}, {})
  options = {"other": str(tmp_path / "other.npz"), "num_examples": n} | options
  return out_of_distribution.evaluate(made, state, KEY, parts[2], **options)


def test_a_narrower_set_has_the_higher_likelihood_and_typicality_tells_it_apart(tmp_path):
  s = 0.1
  found = evaluate(tmp_path, s * RNG.normal(size=(1200, 2)).astype("f"))
  right = s**2 / (1 + s**2)  # |x|^2 / 2 is exponential with mean 1, of the other set s^2
  assert abs(found["ood_auroc"] - right) < 4 * found["ood_auroc_stderr"]
  # log p = c - e, typical at e = 1: the test's |e - 1| is the smaller
  e, f = np.abs(RNG.exponential(size=20000) - 1), np.abs(s**2 * RNG.exponential(size=20000) - 1)
  assert abs(found["ood_typicality_auroc"] - float(auroc(e, f))) < 4.5 * found["ood_typicality_auroc_stderr"] + 0.02
  assert found["ood_log_px"] == pytest.approx(-np.log(2 * np.pi) - s**2, abs=0.002)
  assert found["ood_log_px"] > found["ood_log_px_test"]
  assert (found["ood_examples"], found["ood_examples_test"], found["ood_kind"]) == (1200, 1500, "exact")
  assert "ood_ratio_auroc" not in found


def test_the_ratio_to_a_simpler_model_takes_out_what_both_explain(tmp_path):
  other = np.array([0.1, 4.0]) * RNG.normal(size=(1200, 2))
  simpler = lambda key, arrays: jax.scipy.stats.norm.logpdf(arrays["x"][:, 0])  # the first entry alone
  found = evaluate(tmp_path, other.astype("f"), simpler=simpler)
  right = 2 / np.pi * np.arctan(4.0)  # P(|a| < |4 b|), of the second entries
  assert abs(found["ood_ratio_auroc"] - right) < 4 * found["ood_ratio_auroc_stderr"]


def test_equal_sets_are_not_told_apart(tmp_path):
  found = evaluate(tmp_path, RNG.normal(size=(1500, 2)).astype("f"))
  for name in ("ood_auroc", "ood_typicality_auroc"):
    assert abs(found[name] - 0.5) < 4 * found[f"{name}_stderr"]


@pytest.mark.parametrize("options,named", [
  ({}, "other is missing: name a data set, or a file"),
  ({"other": "minst"}, "Did you mean 'mnist'"),
  ({"other": "mnist", "num_examples": 1}, "num_examples = 1; it must be 2 or more"),
  ({"other": "mnist", "simpler": "runs/none"}, "simpler = 'runs/none' is not the folder of a run"),
])  # fmt: skip
def test_mistakes_are_one_sentence(options, named):
  with pytest.raises(errors.UserError, match=named):
    chosen.find("out_of_distribution", options).validate()


def test_another_shape_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match=r"has shape \[3\], not that of the data, \[2\]"):
    evaluate(tmp_path, np.zeros((5, 3), "f"))
