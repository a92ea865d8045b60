"""Normalising flows as models: densities, draws, norms, conditioning, evaluations, bad input."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import config_args, errors, system
from dgm_jax.data import pipeline, splits
from dgm_jax.evaluate import exact_likelihood, invertibility
from dgm_jax.models.flows import flow
from dgm_jax.principles import maximum_likelihood
from dgm_jax.training import restore, train

KEY = jax.random.key(0)
NET = {"hidden": (8,), "activation": "tanh"}
SPLINE = NET | {"transform": "spline", "transform_args": {"num_bins": 3}}


def variables_of(model, x, scale=0.5, **arrays):
  found = jax.jit(model.init)(KEY, {"x": x, **arrays})
  g = np.random.default_rng(1)
  params = jax.tree.map(lambda a: a + jnp.asarray(scale * g.normal(size=a.shape), a.dtype), found["params"])
  return {**found, "params": params}


MODELS = {
  "coupling": flow.Model((2,), "coupling", 2, SPLINE, permutation="lu"),
  "maf": flow.Model((2,), "autoregressive", 2, NET, norm="act"),
  "iaf on a mixture": flow.Model((2,), "autoregressive", 1, NET, base="mixture", direction="sampling"),
  "radial": flow.Model((2,), "radial", 3, base="learned"),
  "residual": flow.Model((2,), "residual", 2, {"hidden": (8,)}, base="logistic"),
}


@pytest.mark.parametrize("name", MODELS)
def test_densities_integrate_to_1_and_agree_with_their_draws(name):
  model = MODELS[name]
  variables = variables_of(model, jax.random.normal(KEY, (20, 2)), scale=0.2)
  axis, step = np.linspace(-15, 15, 601, retstep=True)
  grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), jnp.float32)

  @jax.jit
  def run(variables, key):
    bound = model.bind(variables)
    total = jnp.sum(jnp.exp(bound.log_prob({"x": grid}))) * step**2
    x, log_px = bound.sample_and_log_prob(key, 4000)
    return total, x, log_px, bound.log_prob({"x": x})

  total, x, log_px, again = run(variables, jax.random.key(3))
  assert total == pytest.approx(1, abs=5e-3)
  inner = jax.scipy.stats.norm.logpdf(x, jnp.median(x, 0), 0.3 * x.std(0)).sum(1)  # a density inside p
  weights = jnp.exp(inner - log_px)
  assert abs(weights.mean() - 1) < 5 * weights.std() / math.sqrt(4000)
  np.testing.assert_allclose(log_px, again, atol=2e-3, rtol=1e-4)


def test_a_linear_maf_is_the_closed_form_gaussian():
  g = np.random.default_rng(0)
  root = g.normal(size=(3, 3))
  draw = lambda n: jnp.asarray(g.normal(size=(n, 3)) @ root + 1, jnp.float32)
  x = draw(2000)
  model = flow.Model((3,), "autoregressive", 1, {"hidden": ()})
  made = maximum_likelihood.make(model, optax.adam(3e-2))
  state = made.init(KEY, {"x": x}, {})
  train = jax.jit(lambda state: jax.lax.scan(lambda s, _: made.train_step(s, KEY, {"x": x}), state, None, length=600))
  state, metrics = train(state)
  gaussian = -0.5 * (3 * math.log(2 * math.pi) + np.linalg.slogdet(np.cov(x.T, bias=True))[1] + 3)
  assert metrics["log_px"][-1] == pytest.approx(gaussian, abs=5e-3)
  of_fresh = jax.jit(made.eval_step)(state, KEY, {"x": draw(20_000)})["log_px"]
  entropy = 1.5 * (1 + math.log(2 * math.pi)) + np.log(abs(np.linalg.det(root)))
  assert of_fresh.mean() < -entropy + 4 * of_fresh.std() / math.sqrt(20_000)


def test_evaluation_does_not_depend_on_the_batch_and_uses_the_training_set():
  g = np.random.default_rng(0)
  x = (2 + 3 * g.normal(size=(90, 3))).astype("f")
  model = flow.Model((3,), "autoregressive", 2, NET, norm="batch")
  variables = variables_of(model, x[:5])
  arrays = {"x": x, "index": np.arange(90, dtype=np.int32)}
  parts = splits.Splits(arrays, None, {"x": x[:7], "index": np.arange(7, dtype=np.int32)}, {})
  experiment = types.SimpleNamespace(model=model, splits=parts, transforms=pipeline.make((), arrays))
  params = variables.pop("params")
  state = system.TrainState(jnp.int32(3), params, (), variables, {})
  fitted = exact_likelihood.with_training_statistics(experiment, state, KEY, 40)
  stats = [fitted.variables["batch_stats"]["flow"][f"parts_{i}"] for i in (1, 3)]
  after = {"params": params, **fitted.variables}
  inputs = lambda i: jax.jit(lambda v: model.apply(v, x, i, method=lambda m, x, i: m.flow.inputs(x, i)))(after)
  for i, found in zip((1, 3), stats, strict=True):
    np.testing.assert_allclose(found["mean"], np.mean(inputs(i), 0), atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(found["var"], np.var(inputs(i), 0), rtol=1e-4)
  objective = jax.jit(lambda v: model.apply(v, KEY, {"x": x}, method="objective", mutable=["batch_stats"])[0][0])
  in_training = objective(after)
  alone = jax.jit(lambda v: model.apply(v, {"x": x}, method="log_prob"))(after)
  np.testing.assert_allclose(in_training, alone, rtol=1e-3, atol=1e-3)
  run = lambda **options: exact_likelihood.evaluate(experiment, state, KEY, parts.test, **options)
  one, many = run(statistics="train", batch_size=2), run(statistics="train", batch_size=7)
  assert one["log_px"] == pytest.approx(many["log_px"], rel=1e-5)
  assert one["log_px"] != pytest.approx(run()["log_px"], rel=1e-5)
  assert one["log_px"] == pytest.approx(float(alone[:7].mean()), rel=1e-4)


def experiment_of(model, variables, x):
  arrays = {"x": x, "index": np.arange(len(x), dtype=np.int32)}
  made = types.SimpleNamespace(
    model=model, splits=splits.Splits(arrays, None, arrays, {}), transforms=pipeline.make((), arrays)
  )
  rest = {k: v for k, v in variables.items() if k != "params"}
  return made, system.TrainState(jnp.int32(8), variables["params"], (), rest, {}), arrays


def test_invertibility_is_measured_layer_by_layer_and_names_the_layer_that_fails():
  x = np.random.default_rng(0).normal(size=(30, 3)).astype("f")
  model = flow.Model((3,), "autoregressive", 1, SPLINE, norm="act")
  variables = variables_of(model, x)
  made, state, arrays = experiment_of(model, variables, x)
  found = invertibility.evaluate(made, state, KEY, arrays, num_examples=20)
  assert 0 < found["invertibility"] < 1e-3
  assert found["invertibility"] == max(
    found[f"invertibility/{n}"] for n in ("data/y_max", "draws/y_max", "data/log_px_max")
  )
  assert found["invertibility/layers/ActNorm 1/data_y_max"] < 1e-5
  assert 1 <= found["invertibility/layers/AutoregressiveLayer 0/data_passes"] <= 3
  assert found["invertibility/data/y_median"] <= found["invertibility/data/y_99"] <= found["invertibility/data/y_max"]
  params = jax.tree.map(lambda a: a, state.params)
  params["flow"]["parts_1"]["log_scale"] = params["flow"]["parts_1"]["log_scale"].at[0].set(jnp.nan)
  with pytest.raises(errors.DivergenceError, match=r"The layer 'ActNorm 1' of the flow gives NaN .* at step 8"):
    invertibility.evaluate(made, state.replace(params=params), KEY, arrays, num_examples=20)


@pytest.mark.slow
def test_actnorm_does_not_start_again_from_data_where_a_run_starts_from_another(tmp_path):
  config = config_args.load("realnvp_mnist:test,norm=act")
  with config.unlocked():
    config.num_steps, config.eval_every, config.figures_every, config.log_every = 10, 10, 10, 10
    del config.evaluate["invertibility"]
  train.train_and_evaluate(config, tmp_path / "first")
  with config.unlocked():
    config.init_from, config.seed, config.optim.lr, config.optim.l2 = str(tmp_path / "first"), 1, 1e-12, 0.0
  train.train_and_evaluate(config, tmp_path / "second")
  first, second = (restore.of_run(tmp_path / name)[2].params["flow"] for name in ("first", "second"))
  for name in ("parts_1", "parts_3"):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), first[name], second[name])
  assert float(jnp.abs(first["parts_1"]["loc"]).max()) > 0.1


def test_classes_are_given_to_every_layer_and_the_base():
  model = flow.Model((2,), "coupling", 2, NET, base="made", base_args={"hidden": (8,)}, num_classes=3)
  x, context = jax.random.normal(KEY, (6, 2)), jnp.eye(3)[jnp.array([0, 1, 2, 0, 1, 2])]
  variables = variables_of(model, x, context=context)
  log_px = jax.jit(lambda c: model.apply(variables, {"x": x, "context": c}, method="log_prob"))
  assert (jnp.abs(log_px(context) - log_px(context[::-1])) > 1e-4)[jnp.array([0, 2, 3, 5])].all()
  drawn = jax.jit(lambda key: model.apply(variables, key, 4, method="generate"))(KEY)
  assert drawn.shape == (4, 2) and jnp.isfinite(drawn).all()
  with pytest.raises(errors.UserError, match="num_classes = 3, but the context of the data has 0 entries"):
    model.apply(variables, {"x": x}, method="log_prob")


@pytest.mark.parametrize(
  "args,sentence",
  [
    ({"layer": "planar"}, "layer = 'planar' has no inverse"),
    ({"direction": "both"}, "direction = 'both'; it must be one of density, sampling"),
    ({"base": "cauchy"}, "base = 'cauchy'; it must be one of normal, logistic, learned, mixture, made"),
    ({"base": "made", "base_args": {"foo": 1}}, "option of base 'made' 'foo'"),
    ({"base": "made", "base_args": {"num_classes": 3}}, "option of base 'made' 'num_classes'"),
    ({"base": "made", "base_args": {"hidden": 8}}, "hidden = 8 of base 'made' must be of type"),
    (
      {"base": "made", "base_args": {"likelihood": "bernoulli"}},
      "likelihood = 'bernoulli' of base 'made' is no",
    ),
    ({"base": "made", "base_args": {"likelihood": "beta"}}, "likelihood = 'beta' of base 'made' is no density"),
    ({"layer_args": {"tol": 0.0}}, r"tol = 0\.0 of an inverse; it must be positive"),
    ({"num_layers": 0}, "num_layers = 0 of a flow must be 1 or more"),
    (
      {"direction": "sampling", "norm": "act"},
      "norm = 'act' is not supported with direction = 'sampling'",
    ),
  ],
)
def test_bad_options_get_one_sentence(args, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    jax.eval_shape(lambda: flow.Model((2,), **args).init(KEY, {"x": jnp.zeros((3, 2))}))


def test_missing_entries_are_refused():
  with pytest.raises(errors.UserError, match="A flow does not support missing entries"):
    jax.eval_shape(lambda: flow.Model((2,)).init(KEY, {"x": jnp.zeros((3, 2)), "mask": jnp.ones((3, 2))}))
