"""Figures of the whole of a run, at its end: a film of the samples, spectral norms of layers over time."""

import pathlib
from collections.abc import Sequence

from dgm_jax.core import figure_style, figures
from dgm_jax.core.files import write_with

_FILMED = ("classes", "samples")  # pictures of which there is a film, the first that there are
_FRAMES = 200  # at most, evenly spaced
_MILLISECONDS = 400  # of a frame
_OF_LAYER = "train/sigma_of_"


def write(workdir: pathlib.Path, rows: list[dict], formats: Sequence[str]) -> None:
  """Writes figures/samples_film.png, an animated PNG, and figures/sigmas, where the run has what they show.

  Args:
    workdir: the run's folder.
    rows: of metrics.jsonl.
    formats: of figures.
  """
  folder = workdir / "figures"
  for name in _FILMED:
    if film(sorted(folder.glob(f"{name}_????????.png")), folder / f"{name}_film.png"):
      break
  if any(key.startswith(_OF_LAYER) for row in rows for key in row):
    with figures.writing(formats):
      _draw_sigmas(folder / "sigmas.png", rows)


def film(pictures: Sequence[pathlib.Path], path: pathlib.Path) -> bool:
  """Writes pictures of one size as an animated PNG, if there are two or more; whether there are."""
  from PIL import Image

  step = max(1, -(-len(pictures) // _FRAMES))
  frames = [Image.open(p).convert("RGB") for p in pictures[::-1][::step][::-1]]  # the last one is among them
  frames = [frame for frame in frames if frame.size == frames[-1].size]
  if len(frames) < 2:
    return False
  more = {"save_all": True, "append_images": frames[1:], "duration": _MILLISECONDS, "loop": 0}
  write_with(path, lambda p: frames[0].save(p, format="PNG", **more))
  return True


def _draw_sigmas(path: pathlib.Path, rows: list[dict]) -> None:
  """A line for each layer, a panel for each player."""
  layers = sorted({key for row in rows for key in row if key.startswith(_OF_LAYER)})
  players = list(dict.fromkeys(key.removeprefix(_OF_LAYER).partition(".")[0] for key in layers))
  figure = figures.new(figure_style.PAGE, 2.6)
  for i, player in enumerate(players):
    own = [key for key in layers if key.startswith(f"{_OF_LAYER}{player}.")]
    axis = figure.add_subplot(1, len(players), i + 1, title=f"{player}, {len(own)} layers", xlabel="step", yscale="log")
    axis.set_ylabel("spectral norm" if i == 0 else "")
    for key in own:
      axis.plot(*zip(*[(row["step"], row[key]) for row in rows if key in row], strict=True), linewidth=0.7)
  figures.save(path, figure)
