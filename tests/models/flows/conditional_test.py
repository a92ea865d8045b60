"""Conditional densities p(x | columns of a table): least squares in closed form, runs, draws and scores."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.api import score_command
from dgm_jax.configs import flow_uci
from dgm_jax.core import config_args, errors, files
from dgm_jax.models.autoregressive import made
from dgm_jax.models.flows import flow
from dgm_jax.training import build, restore, sampling, train

KEY = jax.random.key(0)


def least_squares(x, c):
  """Regressions of x_d on c and the entries before it: (coefficients of c, of x, constants, standard deviations)."""
  n, dim = x.shape
  of_c, of_x, constants, deviations = np.zeros((dim, c.shape[1])), np.zeros((dim, dim)), np.zeros(dim), np.zeros(dim)
  for d in range(dim):
    design = np.concatenate([c, x[:, :d], np.ones((n, 1))], 1)
    found = np.linalg.lstsq(design, x[:, d], rcond=None)[0]
    of_c[d], of_x[d, :d], constants[d] = found[: c.shape[1]], found[c.shape[1] : -1], found[-1]
    deviations[d] = np.sqrt(np.mean((x[:, d] - design @ found) ** 2))
  return of_c, of_x, constants, deviations


def test_a_conditional_gaussian_by_a_flow_is_least_squares():
  """Its log p is that of the regression of x on c, whose coefficients are where the likelihood has no slope."""
  g = np.random.default_rng(0)
  c = g.normal(size=(300, 2))
  x = c @ g.normal(size=(2, 3)) + g.normal(size=(300, 3)) @ g.normal(size=(3, 3)) + 1
  with jax.enable_x64(True):
    model = flow.Model((3,), "autoregressive", 1, {"hidden": ()}, context_dim=2)
    batch = {"x": jnp.asarray(x), "context": jnp.asarray(c)}
    variables = jax.tree.map(lambda a: a.astype(float) if a.dtype.kind == "f" else a, model.init(KEY, batch))
    of_c, of_x, constants, deviations = least_squares(x, c)
    s = -np.log(deviations)  # z_d = (x_d - mean) exp(s_d)
    net = {  # h = (a, t), s = 7 tanh(a / 7); rows of `out` are x, columns (a, t) of the entries
      "out": np.concatenate([np.zeros((3, 3)), -(of_x.T * np.exp(s))], 1),
      "out_context": np.concatenate([np.zeros((2, 3)), -(of_c.T * np.exp(s))], 1),
      "out_bias": np.concatenate([7 * np.arctanh(s / 7), -constants * np.exp(s)]),
    }
    assert jax.tree.structure(variables["params"]["flow"]["parts_0"]["net"]) == jax.tree.structure(net)
    params = {"flow": {"parts_0": {"net": jax.tree.map(jnp.asarray, net)}}}
    log_px = jax.jit(lambda params: model.apply({**variables, "params": params}, batch, method="log_prob"))
    residual = x - c @ _reduced(of_c, of_x) - _reduced(constants[:, None], of_x)
    of_residual = np.cov(residual.T, bias=True)
    assert abs(residual.mean(0)).max() < 1e-10
    square = np.einsum("ni,ij,nj->n", residual, np.linalg.inv(of_residual), residual)
    expected = -0.5 * (3 * math.log(2 * math.pi) + np.linalg.slogdet(of_residual)[1] + square)
    np.testing.assert_allclose(log_px(params), expected, atol=1e-9)
    slope = jax.jit(jax.grad(lambda params: log_px(params).mean()))(params)["flow"]["parts_0"]["net"]
    np.testing.assert_allclose(slope["out_bias"], 0, atol=1e-9)
    np.testing.assert_allclose(slope["out_context"][:, 3:], 0, atol=1e-9)
    np.testing.assert_allclose(slope["out"][:, 3:], 0, atol=1e-9)


def _reduced(a, of_x):
  """Coefficients [C, D] of c alone, from those of c [D, C] beside the entries before: (I - B)^-1 A."""
  return np.linalg.solve(np.eye(len(of_x)) - of_x, a).T


@pytest.mark.parametrize("model", [
  flow.Model((1,), "autoregressive", 2, {"hidden": (8,), "transform": "spline"}, context_dim=2),
  made.Model((2,), hidden=(8,), likelihood="gaussian_mixture", likelihood_args={"num_components": 2}, context_dim=2),
], ids=["flow", "made"])  # fmt: skip
def test_densities_integrate_to_1_for_each_context(model):
  """A flow of one entry is possible, too: its parameters are functions of the context alone."""
  dim = model.data_shape[0]
  axis, step = np.linspace(-25, 25, 8001 if dim == 1 else 801, retstep=True)
  grid = jnp.asarray(np.stack(np.meshgrid(*[axis] * dim), -1).reshape(-1, dim), jnp.float32)
  contexts = jnp.array([[0.3, -1.0], [-2.0, 0.5]])
  batch = {"x": grid[:2], "context": contexts}
  variables = jax.jit(model.init)(KEY, batch)
  g = np.random.default_rng(1)
  shift = lambda a: a + jnp.asarray((0.3 if dim == 1 else 0.1) * g.normal(size=a.shape), a.dtype)
  variables = {**variables, "params": jax.tree.map(shift, variables["params"])}

  @jax.jit
  def run(c):
    given = jnp.broadcast_to(c, (len(grid), 2))
    return model.apply(variables, {"x": grid, "context": given}, method="log_prob")

  first, second = (np.asarray(run(c), np.float64) for c in contexts)
  for log_p in (first, second):
    assert np.exp(log_p).sum() * step**dim == pytest.approx(1, abs=5e-3)
  assert abs(first - second).max() > 0.1
  with pytest.raises(errors.UserError, match="p\\(x given 2 columns\\): its draws need them"):
    jax.eval_shape(lambda: model.apply(variables, KEY, 3, method="generate"))
  with pytest.raises(errors.UserError, match="The model is given 2 columns; the batch has 0"):
    jax.eval_shape(lambda: model.apply(variables, {"x": grid[:2]}, method="log_prob"))


def _config(path):
  config = flow_uci.get_config("test,data=array,transform=affine,kind=autoregressive,condition=a+2")
  with config.unlocked():
    config.data.path, config.data.columns = str(path), "a,b,c,d"
    config.num_steps, config.eval_every, config.figures_every = 20, 20, 20
  return config


@pytest.mark.slow
def test_a_run_is_scored_by_rows_of_its_table_and_draws_what_is_left_empty(tmp_path):
  g = np.random.default_rng(0)
  x = g.normal(size=(130, 4))
  header, row = "a,b,c,d\n", lambda values: ",".join(f"{v!r}" for v in values) + "\n"
  (tmp_path / "table.csv").write_text(header + "".join(map(row, x.tolist())))
  results = train.train_and_evaluate(_config(tmp_path / "table.csv"), tmp_path / "run")
  assert results["transforms"] == ["condition:columns=a+2", "standardize"]
  _, experiment, state = restore.of_run(tmp_path / "run")
  assert experiment.model.data_shape == (2,) and experiment.model.context_dim == 2
  assert experiment.system.sample is None

  (tmp_path / "test.csv").write_text(header + "".join(map(row, experiment.splits.test["x"].tolist())))
  scored = score_command.score_file(tmp_path / "run", tmp_path / "test.csv")
  values = files.load_arrays(tmp_path / "run" / "values.npz")["test/log_px"]
  np.testing.assert_allclose(scored.log_p, values, rtol=1e-4, atol=1e-4)

  (tmp_path / "given.csv").write_text(header + "0.5,,1.0,\n-1.0,,2.0,\n")
  arrays = sampling.read(str(tmp_path / "given.csv"), experiment, tuple(results["transforms"]))
  drawn = sampling.complete(experiment, state, KEY, arrays, "flow", {})
  assert drawn.shape == (2, 2) and np.isfinite(drawn).all()
  (tmp_path / "partly.csv").write_text(header + "0.5,1.0,1.0,\n-1.0,,2.0,\n")
  arrays = sampling.read(str(tmp_path / "partly.csv"), experiment, tuple(results["transforms"]))
  with pytest.raises(errors.UserError, match="A flow draws all entries of x at once"):
    sampling.complete(experiment, state, KEY, arrays, "flow", {})
  (tmp_path / "lacks.csv").write_text(header + ",,1.0,\n")
  with pytest.raises(
    errors.UserError, match="Column 'a', which the transform 'condition' gives to the model, has missing"
  ):
    sampling.read(str(tmp_path / "lacks.csv"), experiment, tuple(results["transforms"]))


def test_models_without_a_context_and_labels_beside_columns_are_refused(tmp_path):
  np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(90, 3)))
  config = config_args.load("mixture_uci:test,data=array,c=2")
  with config.unlocked():
    config.data.path, config.data.transforms = str(tmp_path / "x.npz"), ("condition:columns=0", "standardize")
  with pytest.raises(errors.UserError, match="Model 'gaussian_mixture' is not given columns of a table"):
    build.build(config)
  config = _config(tmp_path / "x.npz")
  with config.unlocked():
    config.data.columns, config.data.transforms = None, ("condition:columns=0",)
    config.model.args.num_classes = 3
  with pytest.raises(
    errors.UserError, match="num_classes = 3, but the transform 'condition' gives the model 1 columns"
  ):
    build.build(config)
