"""Figures: pixels of image grids, and complete files."""

import numpy as np
import pytest
from matplotlib import image

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from helpers import drawn_text

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


def rows_of(steps=60):
  """Rows as in metrics.jsonl; the held-out metrics come at every fifth."""
  rows = [{"step": 0, "valid/elbo": -540.0, "valid/log_px": -530.0, "valid/active_units": 3.0}]
  for i in range(1, steps):
    row = {"step": 500 * i, "train/loss": 130 + 100 / i, "train/elbo": -130 - 100 / i, "train/lr": 1e-3 * 0.9**i}
    row |= (
      {"valid/elbo": -132 - 90 / i, "valid/log_px": -125 - 90 / i, "valid/active_units": 20.0} if i % 5 == 0 else {}
    )
    rows.append(row)
  return rows


@pytest.fixture
def saved(monkeypatch):
  """The figures that are saved, {name of the file: figure}."""
  found, save = {}, figures.save

  def keep(path, figure):
    found[path.name] = figure
    return save(path, figure)

  monkeypatch.setattr(figures, "save", keep)
  return found


def test_a_split_has_one_colour_in_all_panels_and_all_text_is_readable(tmp_path, saved):
  figures.save_learning_curves(tmp_path / "curves.png", rows_of())
  figure = saved["curves.png"]
  panels = {axis.get_title(): axis for axis in figure.axes}
  assert list(panels) == ["active_units", "elbo", "log_px", "loss", "lr"]
  colours = [line.get_color() for line in panels["elbo"].lines]
  assert colours == [style.SPLITS[split].colour for split in ("train", "valid")]
  assert [line.get_color() for line in panels["log_px"].lines] == [style.SPLITS["valid"].colour]
  assert [axis.get_ylabel() for axis in panels.values()] == ["units", "nats", "nats", "nats", ""]
  assert [axis.get_yscale() for axis in panels.values()] == [*["linear"] * 4, "log"]
  assert drawn_text.faults(figure) == []
  assert {"8000", "16k", "24k"} <= {text.get_text() for text in panels["loss"].get_xticklabels()}
  sizes = [text.get_fontsize() for axis in figure.axes for text in (axis.title, *axis.get_xticklabels())]
  assert min(sizes) >= 7 and figure.get_figwidth() <= style.PAGE  # readable without scaling


@pytest.mark.parametrize("metrics", [("train/loss",), ("train/loss", "valid/elbo")])
def test_few_panels_are_readable_too(tmp_path, saved, metrics):
  figures.save_learning_curves(
    tmp_path / "curves.png", [{k: row[k] for k in ("step", *metrics) if k in row} for row in rows_of(9)]
  )
  figures.save_histogram(tmp_path / "h.png", {"a_1": np.geomspace(1e-6, 1, 50), "a_2": np.ones(9)}, "log10 of A_u")
  assert [drawn_text.faults(figure) for figure in saved.values()] == [[], []]


def test_text_that_overlaps_or_is_cut_off_is_found():
  """The check itself can fail."""
  figure = figures.new(2, 2)
  axis = figure.add_subplot(title="a title that is much too long for a figure of this width")
  axis.text(0.5, 0.5, "one")
  axis.text(0.52, 0.5, "two")
  assert len(drawn_text.faults(figure)) == 2


def test_vector_files_have_text_and_fonts_that_printers_accept_and_the_same_bytes_each_time(tmp_path):
  contents = []
  for folder in ("a", "b"):
    with figures.writing(("pdf", "svg")):
      figures.save_learning_curves(tmp_path / folder / "curves.png", rows_of(9))
    contents.append({p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()})
  first, second = contents
  assert first == second and sorted(first) == ["curves.pdf", "curves.svg"]
  assert b"<text" in first["curves.svg"] and b">elbo</text>" in first["curves.svg"]
  assert b"/FontFile2" in first["curves.pdf"] and b"/Type3" not in first["curves.pdf"]  # TrueType


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
