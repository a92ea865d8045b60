"""Uncertainty bands on y = x^3 + noise: predictions of trained nets, with and without data nearby."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.inference.predictions import mixture, predictive

GRID = np.linspace(-6, 6, 241)
WIDTH = 3.0  # standard deviations of a band


def predictions(run: Any) -> dict[str, Any]:
  """{"mean", "variance" [G] on GRID; "train_x", "train_y"}: of y in its own units."""
  experiment, draws = run.experiment, run.config.evaluate.predictive.num_samples

  def step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    found = predictive(experiment.model, variables, key, batch, draws)
    return {name: found[name][:, 0] for name in ("mean", "variance")}

  n = len(GRID)
  arrays = {"x": GRID[:, None].astype("f"), "y": np.zeros(n, "f"), "index": np.arange(n, dtype=np.int32)}
  found = make_evaluate_examples(step, experiment.transforms.evaluate, n)(run.state, jax.random.key(0), arrays)
  train = experiment.splits.train
  return {**found, "train_x": train["x"][:, 0], "train_y": train["y"]}


_PANELS = {
  "mse": "ensemble, squared errors",
  "one": "one net, NLL",
  "net": "ensemble, NLL",
  "dropout": "MC dropout",
  "bayes": "Bayes by backprop",
}


def _bands(found: Mapping[str, Sequence[dict[str, np.ndarray]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """{panel: (mean, standard deviation) [G]}."""
  bands = {}
  for cell, runs in found.items():
    if not runs:
      continue
    mean, variance = (np.stack([run[name] for run in runs]).astype(np.float64) for name in ("mean", "variance"))
    if cell == "mse":  # its members have no noise variance
      bands[cell] = (mean.mean(0), mean.std(0))
      continue
    if cell == "net":
      bands["one"] = (mean[0], np.sqrt(variance[0]))
    parts = {"log_py": jnp.zeros(mean.shape), "mean": mean[..., None], "variance": variance[..., None]}
    mixed = mixture(parts)
    bands[cell] = (np.asarray(mixed["mean"])[:, 0], np.sqrt(np.asarray(mixed["variance"])[:, 0]))
  return {cell: bands[cell] for cell in _PANELS if cell in bands}


def _draw(bands: Mapping[str, Any], train: dict[str, np.ndarray], path: pathlib.Path) -> None:
  columns = min(3, len(bands))
  lines = -(-len(bands) // columns)
  picture = figures.new(max(style.COLUMN, style.PAGE / 3 * columns), 2.0 * lines + 0.3)
  ours, data = style.COLOURS[0], style.COLOURS[1]
  for i, (cell, (mean, scale)) in enumerate(bands.items()):
    axis = picture.add_subplot(lines, columns, i + 1, title=_PANELS[cell], xlabel="x", ylim=(-250, 250))
    axis.set_ylabel("y" if i % columns == 0 else "")
    axis.fill_between(GRID, mean - WIDTH * scale, mean + WIDTH * scale, color=ours, alpha=0.2, linewidth=0)
    axis.plot(GRID, mean, color=ours, linewidth=1.2, label="mean ± 3 sd")
    axis.plot(GRID, GRID**3, color="#000000", linewidth=1.0, linestyle="--", label="x³")
    axis.plot(train["train_x"], train["train_y"], ".", color=data, markersize=3.5, label="data")
  picture.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
  figures.save(path, picture)


def report(names: Mapping[str, list[str]], folder: pathlib.Path) -> dict[str, Any]:
  """The picture, and for each panel the width of the band inside and outside the data, and whether it contains x^3."""
  found = {cell: measured.arrays(folder, runs) for cell, runs in names.items()}
  bands, inside = _bands(found), np.abs(GRID) <= 4
  numbers, rows = {}, []
  for cell, (mean, scale) in bands.items():
    covered = np.abs(GRID**3 - mean) <= WIDTH * scale
    n = {"sd_inside": scale[inside].mean(), "sd_outside": scale[~inside].mean()}
    n |= {"covered_inside": covered[inside].mean(), "covered_outside": covered[~inside].mean()}
    n["rmse_inside"] = np.sqrt(np.mean(np.square(mean - GRID**3)[inside]))
    numbers[cell] = {name: float(v) for name, v in n.items()}
    texts = [f"{n['sd_inside']:.2f}", f"{n['sd_outside']:.2f}", f"{n['covered_inside']:.0%}"]
    texts += [f"{n['covered_outside']:.0%}", f"{n['rmse_inside']:.2f}"]
    runs = names["net" if cell == "one" else cell]
    rows.append([tables.cell(_PANELS[cell])] + [tables.cell(text, runs) for text in texts])
  columns = [
    "",
    "sd, |x| ≤ 4",
    "sd, |x| > 4",
    "x³ within 3 sd, |x| ≤ 4",
    "x³ within 3 sd, |x| > 4",
    "RMSE to x³, |x| ≤ 4",
  ]
  note = "Standard deviations in units of y, means over the grid; the noise has standard deviation 3."
  drawn, sentences = [], []
  if bands:
    train = next(run for runs in found.values() for run in runs)
    _draw(bands, train, folder / "bands.png")
    caption = "Dots: the 20 training points, all between -4 and 4."
    drawn = [tables.picture("Bands of uncertainty", "bands.png", caption)]
  if {"mse", "one", "net"} <= numbers.keys():
    wider = all(numbers["net"]["sd_outside"] > numbers[other]["sd_outside"] for other in ("mse", "one"))
    words = "has" if wider else "does not have"
    sentences = [
      f"The ensemble trained by NLL {words} a wider band outside the data than one net and the ensemble trained by "
      "squared errors."
    ]
  made = [tables.table("Bands", columns, rows, note)] if rows else []
  return {"numbers": {"bands": numbers}, "tables": made, "figures": drawn, "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda n: f"{n['sd_inside']:.1f}, {n['sd_outside']:.1f} ({n['covered_outside']:.0%})"
  return {
    "system": "uncertainty bands of five kinds of nets",
    "data": "y = x³ + N(0, 9), 20 points",
    "published": "a picture: the ensemble trained by NLL is uncertain outside the data",
    "ours": "sd for |x| ≤ 4 and beyond (share of x³ within 3 sd there): "
    + "; ".join(f"{_PANELS[cell]} {show(n)}" for cell, n in numbers["bands"].items()),
  }
