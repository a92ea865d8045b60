"""The picture of a density on the plane: what its panels show of a model whose density is known, and bad input."""

import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

from dgm_jax.core import config_args, errors, figures, system
from dgm_jax.data import pipeline
from dgm_jax.evaluate import plane_figure


class Normal(nn.Module):
  """x_d ~ N(0, 4), the flow z = x / 2; its draws are all (1, -1)."""

  data_shape: tuple[int, ...] = (2,)

  def log_prob(self, batch):
    return -0.5 * jnp.sum(jnp.square(batch["x"] / 2), -1) - jnp.log(2 * jnp.pi * 4)

  def generate(self, key, n, mean=False):
    return jnp.broadcast_to(jnp.asarray([1.0, -1.0]), (n, 2))

  def bijectors(self):
    return [("half", distrax.Block(distrax.ScalarAffine(0.0, 0.5), 1))]


def experiment(model, x):
  arrays = {"x": x, "index": np.arange(len(x), dtype=np.int32)}
  return types.SimpleNamespace(model=model, transforms=pipeline.make(("standardize",), arrays)), arrays


def test_the_panels_show_data_density_draws_and_the_bent_grid(tmp_path, monkeypatch):
  x = (np.random.default_rng(0).normal(size=(400, 2)) * [1, 5] + [3, -2]).astype("f")
  made, arrays = experiment(Normal(), x)
  state = system.TrainState(0, {}, (), {}, {})
  found = plane_figure.evaluate(made, state, jax.random.key(0), arrays, bins=10, num_samples=50)
  kept = []
  monkeypatch.setattr(figures, "save", lambda path, picture: kept.append(picture) or [path])
  found["figures"]["plane"](tmp_path / "plane.png")
  data, density, draws, grid = kept[0].axes
  standard = (x - x.mean(0)) / x.std(0)
  np.testing.assert_allclose(np.stack(data.lines[0].get_data(), 1), standard, atol=1e-4)
  (image,) = density.images
  low, high = np.array([data.get_xlim(), data.get_ylim()]).T
  centres = low + (high - low) * (np.arange(10)[:, None] + 0.5) / 10
  expected = np.prod([scipy.stats.norm.pdf(c, 0, 2) for c in np.meshgrid(*centres.T)], 0)  # rows: the second one
  np.testing.assert_allclose(image.get_array(), expected, rtol=1e-4)
  assert (image.origin, list(image.get_extent())) == ("lower", [low[0], high[0], low[1], high[1]])
  assert {tuple(p) for p in np.stack(draws.lines[0].get_data(), 1)} == {(1.0, -1.0)}
  lines = [np.stack(line.get_data(), 1) for line in grid.lines]
  assert len(lines) == 26 and {len(line) for line in lines} == {61}
  np.testing.assert_allclose(lines[0], np.stack([np.full(61, -6), np.linspace(-6, 6, 61)], 1), atol=1e-5)
  monkeypatch.undo()
  found["figures"]["plane"](tmp_path / "plane.png")
  assert (tmp_path / "plane.png").stat().st_size > 1000


def test_runs_on_planes_end_with_the_picture_and_others_are_refused():
  evaluations = config_args.load("flow_plane:net=maf,test").evaluate
  assert evaluations.plane_figure.bins == 20
  assert "plane_figure" not in config_args.load("flow_plane:net=maf,energy=U1,test").evaluate
  made, arrays = experiment(Normal((3,)), np.zeros((4, 3), "f"))
  with pytest.raises(errors.UserError, match="shows densities of the plane; x has 3 entries"):
    plane_figure.evaluate(made, None, None, arrays)
  with pytest.raises(errors.UserError, match=r"plane_figure\.bins = 1; it must be 2 or more"):
    plane_figure.check(bins=1)
