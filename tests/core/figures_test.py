"""Figures: pixels of image grids, and complete files."""

import numpy as np
import pytest
from matplotlib import image

from dgm_jax.core import figures

pytestmark = pytest.mark.smoke


def test_image_grid_puts_images_row_by_row_in_a_white_frame():
  images = np.arange(6, dtype="f").reshape(6, 1, 1, 1) / 10
  grid = figures.image_grid(images, columns=3, scale=1)[..., 0]
  np.testing.assert_allclose(grid[1::3, 1::3], [[0, 0.1, 0.2], [0.3, 0.4, 0.5]], rtol=1e-6)
  assert grid.shape == (6, 9)
  assert (grid[0] == 1).all()


def test_image_grid_stacks_pairs():
  pairs = np.stack([np.zeros((4, 2, 2, 1)), np.full((4, 2, 2, 1), 0.5)], 1)
  grid = figures.image_grid(pairs, columns=2, scale=1)[..., 0]
  np.testing.assert_allclose(grid[1::4, 1::4], [[0, 0], [0.5, 0.5], [0, 0], [0.5, 0.5]])


def test_saved_figures_are_what_was_given_and_leave_no_temporary_file(tmp_path):
  x = np.random.default_rng(0).random((8, 9, 1))
  figures.save_image(tmp_path / "new" / "x.png", x)
  np.testing.assert_allclose(image.imread(tmp_path / "new" / "x.png")[..., :3], x.repeat(3, -1), atol=1 / 255)
  rows = [{"step": 0, "valid/elbo": -3.0}]
  rows += [{"step": s, "train/loss": 1.0 / s, "valid/loss": 2.0 / s} for s in range(1, 99)]
  figures.save_learning_curves(tmp_path / "curves.png", rows)
  assert image.imread(tmp_path / "curves.png").std() > 0
  assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "new"]


def test_a_failed_write_leaves_the_old_figure_and_no_temporary_file(tmp_path, monkeypatch):
  path = tmp_path / "x.png"
  figures.save_image(path, np.zeros((2, 2, 1)))
  before = path.read_bytes()

  def imsave(target, grid):
    target.write_bytes(b"half of it")
    raise OSError("the disk is full")

  monkeypatch.setattr(image, "imsave", imsave)
  with pytest.raises(OSError, match="full"):
    figures.save_image(path, np.ones((2, 2, 1)))
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
