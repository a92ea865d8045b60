"""log p(x), its kind and bits per dimension against closed forms; the sum or integral of p over all x."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from dgm_jax.core import errors, system
from dgm_jax.data import pipeline, splits
from dgm_jax.evaluate import exact_likelihood, normalisation
from dgm_jax.models.autoregressive import made, nade

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


class Independent(nn.Module):
  """x_d ~ N(m, s^2); with classes, the mean is m + y."""

  data_shape: tuple[int, ...] = (2,)
  scale: float = 1.0
  num_classes: int = 0

  def __call__(self, batch):
    return self.log_prob(batch)

  @nn.compact
  def log_prob(self, batch):
    loc = self.param("loc", nn.initializers.zeros, ())
    if "context" in batch:
      loc = loc + batch["context"] @ jnp.arange(batch["context"].shape[-1], dtype=jnp.float32)[:, None]
    return jax.scipy.stats.norm.logpdf(batch["x"].reshape(len(batch["x"]), -1), loc, self.scale).sum(1)


class Estimated(Independent):
  """log p(x) plus noise of a known size."""

  def log_prob_estimate(self, key, batch):
    log_px = self.log_prob(batch)
    return log_px + 0.1 * jax.random.normal(key, log_px.shape), jnp.full(log_px.shape, 0.1)


def experiment(model, names, x, **arrays):
  numbered = {"x": x, "index": np.arange(len(x), dtype=np.int32), **arrays}
  parts = splits.Splits(numbered, None, numbered, {})
  return types.SimpleNamespace(model=model, splits=parts, transforms=pipeline.make(names, numbered))


def state(loc=0.0):
  return system.TrainState(0, {"loc": jnp.float32(loc)}, (), {}, {})


def evaluate(made, st=None, **options):
  return exact_likelihood.evaluate(made, st or state(), KEY, made.splits.test, batch_size=64, **options)


def test_log_px_is_that_of_x_before_the_transforms():
  x = (3 + 2 * RNG.normal(size=(100, 2))).astype("f")
  found = evaluate(experiment(Independent(), ("standardize",), x))
  mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
  each = stats.norm(mean, std).logpdf(x).sum(1)
  assert found["log_px"] == -found["nll"] == pytest.approx(each.mean(), rel=1e-5)
  assert found["log_px_stderr"] == pytest.approx(each.std(ddof=1) / 10, rel=1e-4)
  assert found["log_px_transformed"] == pytest.approx(stats.norm.logpdf((x - mean) / std).sum(1).mean(), rel=1e-5)
  np.testing.assert_allclose(found["values"]["log_px"], each, rtol=1e-5)
  assert found["likelihood_kind"] == "exact"
  assert not {"bits_per_dim", "num_draws"} & found.keys()


LEVELS = RNG.integers(0, 256, (60, 2, 2, 1)).astype(np.uint8)


def test_bits_per_dim_of_a_uniform_density_are_those_of_the_levels():
  uniform = Independent((2, 2, 1), scale=1e4)  # constant over [0, 1]
  found = evaluate(experiment(uniform, ("dequantize",), LEVELS))
  constant = stats.norm.logpdf(0, 0, 1e4)
  assert found["bits_per_dim"] == pytest.approx(8 - constant / math.log(2), rel=1e-5)
  assert (found["likelihood_kind"], found["num_draws"]) == ("bound", 1)


@pytest.mark.parametrize(
  "names,has_bits",
  [
    ((), True),
    (("binarize:static",), True),
    (("dequantize", "logit:alpha=0.05", "standardize"), True),
    (("scale",), False),
    (("standardize",), False),
  ],
)
def test_bits_per_dim_are_reported_where_the_levels_have_probabilities(names, has_bits):
  assert ("bits_per_dim" in evaluate(experiment(Independent((2, 2, 1)), names, LEVELS))) == has_bits


def test_a_density_of_raw_integers_has_no_bits():
  class Density(Independent):
    takes_real_numbers = True

  assert "bits_per_dim" not in evaluate(experiment(Density((2, 2, 1)), (), LEVELS))
  assert "bits_per_dim" in evaluate(experiment(Density((2, 2, 1)), ("dequantize",), LEVELS))
  with pytest.raises(errors.UserError, match="bits per dimension are those of integers"):
    evaluate(experiment(Density((2, 2, 1)), (), LEVELS), bits=True)


def test_counts_without_end_are_not_summed():
  model = nade.Model((2,), num_hidden=3, likelihood="poisson")
  with pytest.raises(errors.UserError, match="counts have no end"):
    normal_sum(model, (), np.ones((4, 2), "f"))


def test_more_draws_of_the_noise_tighten_the_bound_up_to_the_integral():
  """E log 1/K sum_k p(x + u_k) grows with K to log int p(x + u) du, here that of N(0, 0.3^2) over [x, x + 1] / 4."""
  x = RNG.integers(0, 4, (300, 1)).astype(np.uint8)
  of = experiment(Independent((1,), scale=0.3), ("dequantize:levels=4",), x)
  one, few, many = (evaluate(of, num_draws=k)["log_px"] for k in (1, 20, 3000))
  limit = np.log(np.diff(stats.norm(0, 0.3).cdf(np.arange(5) / 4)))[x[:, 0]].mean()
  assert one < few < limit + 1e-3
  assert many == pytest.approx(limit, abs=1e-3)
  assert one < limit - 0.05


def test_draws_without_dequantisation_are_refused():
  with pytest.raises(errors.UserError, match=r"num_draws = 5 averages over draws of the transform 'dequantize'"):
    evaluate(experiment(Independent((2, 2, 1)), ("scale",), LEVELS), num_draws=5)


def test_noise_that_is_drawn_once_bounds_log_px_and_has_no_further_draws():
  once = experiment(Independent((2, 2, 1), scale=0.3), ("dequantize:once",), LEVELS)
  found = evaluate(once)
  assert (found["likelihood_kind"], found["num_draws"]) == ("bound", 1)
  assert evaluate(once)["log_px"] == found["log_px"]
  with pytest.raises(errors.UserError, match=r"num_draws = 5 .* draws its noise once for each example here"):
    evaluate(once, num_draws=5)


@pytest.mark.parametrize("names,x", [(("standardize",), LEVELS[:, 0, 0]), ((), LEVELS[:, :, 0, 0].astype("f"))])
def test_bits_per_dim_of_numbers_that_are_no_integers_are_refused(names, x):
  with pytest.raises(errors.UserError, match="bits per dimension are those of integers"):
    evaluate(experiment(Independent(x.shape[1:]), names, x), bits=True)


@pytest.mark.parametrize("classes", ["uniform", "empirical"])
def test_classes_are_summed_over_with_their_probabilities(classes):
  y = np.array([0] * 30 + [1] * 50 + [2] * 20, np.int32)
  x = (y[:, None] + RNG.normal(size=(100, 2))).astype("f")
  found = evaluate(experiment(Independent(num_classes=3), ("condition",), x, y=y), classes=classes)
  prior = np.full(3, 1 / 3) if classes == "uniform" else np.array([0.3, 0.5, 0.2])
  joint = np.stack([stats.norm(c, 1).logpdf(x).sum(1) for c in range(3)], 1) + np.log(prior)
  assert found["log_px"] == pytest.approx(np.logaddexp.reduce(joint, 1).mean(), rel=1e-5)
  assert found["accuracy"] == pytest.approx((joint.argmax(1) == y).mean())


def test_classes_of_an_unconditional_model_or_of_data_without_any_are_refused():
  with pytest.raises(errors.UserError, match="has none"):
    evaluate(experiment(Independent(num_classes=3), (), np.zeros((4, 2), "f")), classes="uniform")
  y = np.zeros(4, np.int32)
  with pytest.raises(errors.UserError, match="add 'condition'"):
    evaluate(experiment(Independent(num_classes=3), (), np.zeros((4, 2), "f"), y=y), classes="uniform")
  with pytest.raises(errors.UserError, match="this one has num_classes = 0"):
    evaluate(experiment(Independent(), ("condition",), np.zeros((4, 2), "f"), y=y), classes="uniform")
  with pytest.raises(errors.UserError, match="of which this model has only estimates"):
    evaluate(experiment(Estimated(num_classes=3), ("condition",), np.zeros((4, 2), "f"), y=y), classes="uniform")
  with pytest.raises(errors.UserError, match="'uniform', 'empirical' or"):
    exact_likelihood.check(classes="all")


def test_an_estimate_is_called_one_and_comes_with_its_error():
  found = evaluate(experiment(Estimated(), (), RNG.normal(size=(400, 2)).astype("f")))
  exact = evaluate(experiment(Independent(), (), RNG.normal(size=(4, 2)).astype("f")))
  assert (found["likelihood_kind"], exact["likelihood_kind"]) == ("estimate", "exact")
  assert found["log_px_error"] == pytest.approx(0.1)
  assert "log_px_error" not in exact


def test_missing_entries_do_not_count_as_dimensions():
  mask = np.ones((60, 2, 2, 1), "f")
  mask[:, 0] = 0
  full, half = (experiment(Independent((2, 2, 1)), (), LEVELS, **m) for m in ({}, {"mask": mask}))
  x = LEVELS.reshape(60, 4).astype("f")
  bits = lambda log_px, d: np.mean(-log_px / (d * math.log(2)))
  assert evaluate(full)["bits_per_dim"] == pytest.approx(bits(stats.norm.logpdf(x).sum(1), 4), rel=1e-5)
  seen = stats.norm.logpdf(np.where(mask.reshape(60, 4) > 0, x, 0)).sum(1)
  assert evaluate(half)["bits_per_dim"] == pytest.approx(bits(seen, 2), rel=1e-5)


def test_entries_that_crop_leaves_out_do_not_count_as_dimensions():
  x = LEVELS.reshape(60, 4).astype(np.int32)
  found = evaluate(experiment(Independent((2,)), ("crop:length=2",), x))
  bits = np.mean(-stats.norm.logpdf(x[:, :2]).sum(1) / (2 * math.log(2)))
  assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-5)


# the sum or the integral of p


def normal_sum(model, names, x, params=None, **options):
  of = experiment(model, names, x)
  variables = model.init(KEY, {"x": jnp.asarray(x[:2], jnp.float32)})
  params = jax.tree.map(lambda a: a + 0.3, variables["params"]) if params is None else params
  rest = {k: v for k, v in variables.items() if k != "params"}
  return normalisation.evaluate(of, system.TrainState(0, params, (), rest, {}), KEY, of.splits.test, **options)


@pytest.mark.parametrize("d", [3, 18])
def test_a_binary_net_sums_to_one_over_all_states_or_those_of_its_first_entries(d):
  x = (RNG.random((20, d)) < 0.5).astype("f")
  found = normal_sum(made.Model((d,), hidden=(8,), ordering="reversed"), (), x)
  assert found["normalisation"] == pytest.approx(1, abs=1e-4)
  assert found["normalisation_states"] == 2**d
  large = normal_sum(made.Model((30,), hidden=(8,), ordering="random"), (), (RNG.random((20, 30)) < 0.5).astype("f"))
  assert large["normalisation"] == pytest.approx(1, abs=1e-4)
  assert large["normalisation_states"] == 2**16


@pytest.mark.parametrize("likelihood,top", [("discretised_logistic", 1.0), ("logistic_levels", 3.0)])
def test_the_levels_of_a_net_sum_to_one_whatever_numbers_they_are(likelihood, top):
  """4 levels of 3 entries: k / 3, or the integers k."""
  args = {"num_components": 2, "num_levels": 4}
  model = made.Model((3,), hidden=(8,), likelihood=likelihood, likelihood_args=args)
  found = normal_sum(model, (), (top * RNG.integers(0, 4, (20, 3)) / 3).astype("f"))
  assert found["normalisation"] == pytest.approx(1, abs=1e-4)
  assert found["normalisation_states"] == 4**3


@pytest.mark.parametrize("d,how", [(1, "points"), (2, "points"), (5, "samples")])
def test_a_density_integrates_to_one_and_a_wrong_one_does_not(d, how):
  x = RNG.normal(1, 2, (200, d)).astype("f")
  found = normal_sum(Independent((d,), scale=2.0), (), x, {"loc": jnp.float32(1.0)})
  assert found["normalisation"] == pytest.approx(1, abs=5 * found.get("normalisation_stderr", 1e-5))
  assert f"normalisation_{how}" in found

  class Wrong(Independent):
    def log_prob(self, batch):
      return super().log_prob(batch) + 0.1

  wrong = normal_sum(Wrong((d,), scale=2.0), (), x, {"loc": jnp.float32(1.0)})
  assert wrong["normalisation"] == pytest.approx(math.exp(0.1), abs=5 * wrong.get("normalisation_stderr", 1e-5))


@pytest.mark.parametrize("masks,fault", [(1, 0.0), (2, 0.0), (2, 0.05)])
def test_conditional_densities_of_every_order_integrate_to_one_and_a_wrong_one_does_not(masks, fault):
  class Net(made.Model):
    def log_prob_of_entries(self, batch, which=0):
      return super().log_prob_of_entries(batch, which) + fault * (which == 1) * jax.nn.one_hot(3, 4)

  net = Net(
    (4,),
    hidden=(8,),
    num_masks=masks,
    ordering="random",
    likelihood="gaussian_mixture",
    likelihood_args={"num_components": 3},
  )
  x = np.random.default_rng(1).normal(1, 2, (50, 4)).astype("f")
  params = jax.tree.map(lambda a: a + 0.05, net.init(KEY, {"x": jnp.asarray(x)})["params"])
  found = normal_sum(net, (), x, params, num_points=5000, radius=40.0)
  assert found["normalisation"] == pytest.approx(math.exp(fault), abs=1e-3)
  assert found["normalisation_integrals"] == 8 * 4 * masks


def test_the_standard_error_of_a_sampled_integral_is_its_spread_over_keys():
  shape, zeros = (3,), jnp.zeros(3)
  bound = Independent(shape).bind({"params": {"loc": jnp.float32(0.0)}})
  run = jax.vmap(lambda key: normalisation._weighed(bound, key, shape, zeros, 1 + zeros, 1024, 256))
  found = jax.jit(run)(jax.random.split(KEY, 200))
  spread = float(np.std(found["normalisation"], ddof=1))
  assert float(found["normalisation_stderr"].mean()) == pytest.approx(
    spread, rel=0.15
  )  # three standard errors of the spread


def test_too_many_states_of_a_model_without_an_order_are_refused():
  class Discrete(Independent):
    num_levels = 256

  with pytest.raises(errors.UserError, match="at most 2 entries with 256 values"):
    normal_sum(Discrete((3,)), (), np.zeros((4, 3), "f"), {"loc": jnp.float32(0.0)})
