"""Imputation of missing pixels by the Markov chain of Rezende et al. (2014), appendix F, with a trained model."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dgm_jax
from dgm_jax.core import figures, files, rng
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.inference import gibbs_imputation
from dgm_jax.sweeps import states

_SHOWN = 8  # images in the picture


class Setting(NamedTuple):
  """Shares of missing pixels, steps of the chain, test images, importance samples of the comparison."""

  missing: tuple[float, ...] = (0.6, 0.8)
  num_steps: int = 50
  images: int = 200
  num_samples: int = 500


def squared_error(mean: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
  """The mean over the missing entries of (x - mean)^2; x and mask [..., D] -> [...]."""
  hidden = 1 - mask
  return jnp.sum(hidden * jnp.square(x - mean), -1) / jnp.maximum(jnp.sum(hidden, -1), 1)


def impute(run: Any, x: jax.Array, share: float, setting: Setting) -> dict[str, np.ndarray]:
  """The chain's errors and first images, and the errors of two other imputations, for binary x [N, D].

  Missing pixels start as flips of a fair coin.

  Returns:
    "chain" [T, N], squared_error of E[x|z] after each step; "importance" [N], of E[x_missing | x_observed] by
    self-normalised importance sampling; "mean" [N], of the training images' mean; "mask" and "x" [8, D], "shown"
    [T, 8, D].
  """
  key = rng.stream(jax.random.key(0), f"missing {share}")
  key_mask, key_start, key_chain = jax.random.split(key, 3)
  mask = jax.random.bernoulli(key_mask, 1 - share, x.shape).astype(jnp.float32)
  start = jnp.where(mask > 0, x, jax.random.bernoulli(key_start, 0.5, x.shape))
  model = run.experiment.model.bind({"params": run.params, **run.state.variables})
  keep = lambda drawn, mean: (squared_error(mean, x, mask), mean[:_SHOWN])

  @jax.jit
  def chain(key, start):
    infer = lambda x: model.infer({"x": x})
    return gibbs_imputation.pseudo_gibbs(key, start, mask, infer, model.decode, setting.num_steps, keep)[1]

  errors, shown = chain(key_chain, start)
  filled = run.impute(x, mask, k=setting.num_samples)
  train_mean = jnp.asarray(run.experiment.transforms.statistics.mean, jnp.float32).reshape(-1)
  found = {
    "chain": errors,
    "importance": squared_error(filled.reshape(x.shape), x, mask),
    "mean": squared_error(train_mean, x, mask),
    "mask": mask[:_SHOWN],
    "x": x[:_SHOWN],
    "shown": jnp.where(mask[:_SHOWN] > 0, x[:_SHOWN], shown),
  }
  return jax.device_get(found)


def measure(folder: pathlib.Path, names: Mapping[str, list[str]], setting: Setting) -> None:
  """Writes a file and a picture for each share of missing pixels, once the model is trained."""
  [[name]] = names.values()
  todo = [s for s in setting.missing if not (folder / "measured" / f"missing_{s}.npz").exists()]
  if not todo or not states.is_finished(folder, name):
    return
  run = dgm_jax.load(states.folder(folder, name))
  test = {name: jnp.asarray(a[: setting.images]) for name, a in run.experiment.splits.test.items()}
  x = run.experiment.transforms.evaluate(jax.random.key(0), test)["x"].astype(jnp.float32)
  shape = run.experiment.model.data_shape
  for share in todo:
    found = impute(run, x.reshape(len(x), -1), share, setting)
    figures.save_image(folder / "measured" / f"missing_{share}.png", figures.image_grid(_rows(found, shape), _SHOWN))
    files.save_arrays(folder / "measured" / f"missing_{share}.npz", **found)
    print(f"  {share:.0%} of the pixels missing", flush=True)


def columns(num_steps: int) -> list[int]:
  """Steps of the chain that a picture shows."""
  return [t for t in (1, 2, 5, 10, 20, 50, 100) if t <= num_steps]


def _rows(found: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
  """[8, R, H, W, C]: the image, its observed part (grey where missing), and the chain's imputations."""
  seen = np.where(found["mask"] > 0, found["x"], 0.5)
  rows = [found["x"], seen, *(found["shown"][t - 1] for t in columns(len(found["shown"])))]
  return np.stack(rows, 1).reshape(_SHOWN, len(rows), *shape)


def _numbers(found: dict[str, np.ndarray]) -> dict[str, Any]:
  """Mean errors, and the change of the chain's from the first step to the last, paired by image."""
  chain = found["chain"].astype(np.float64)
  fall, fall_error = compare.paired(chain[0], chain[-1])  # last - first
  means = {"first": chain[0], "last": chain[-1], "importance": found["importance"], "mean": found["mean"]}
  numbers = {name: float(a.mean()) for name, a in means.items()}
  numbers |= {f"{name}_stderr": float(a.std(ddof=1) / len(a) ** 0.5) for name, a in means.items()}
  numbers |= {"fall": float(fall), "fall_stderr": float(fall_error), "steps": len(chain), "images": chain.shape[1]}
  return numbers | {"verdict": measured.verdict(float(fall), float(fall_error), None, 1)}


def _line(found: dict[str, np.ndarray], share: str, runs: list[str]) -> list[dict]:
  chain, last = found["chain"].mean(1), len(found["chain"])
  level = lambda name: [(1, found[name].mean()), (last, found[name].mean())]
  return [
    tables.series(f"chain, {share} missing", list(enumerate(chain, 1)), runs),
    tables.series(f"importance sampling, {share} missing", level("importance"), runs, style="theory"),
    tables.series(f"mean of the training images, {share} missing", level("mean"), runs, style="theory"),
  ]


def report(budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """Errors against the chain's steps, pictures, and whether the error falls."""
  [[name]] = stages.run_names(budget).values()
  cells, lines, pictures = {}, [], []
  for file in sorted(folder.glob("measured/missing_*.npz")):
    share, found = f"{float(file.stem.partition('_')[2]):.0%}", files.load_arrays(file)
    cells[share] = _numbers(found)
    lines += _line(found, share, [name])
    steps = ", ".join(map(str, columns(len(found["chain"]))))
    note = f"Rows: the image, its observed part, E[x|z] in the missing pixels after {steps} steps."
    pictures.append(tables.picture(f"{share} of the pixels missing", f"measured/{file.stem}.png", note))
  data = dict.fromkeys(run.results["data"] for run in measured.read(folder, [name]).values())
  show = lambda n, key: f"{n[key]:.4f} ± {n[f'{key}_stderr']:.4f}"
  rows = [
    [tables.cell(share), tables.published("picture")]
    + [tables.cell(show(n, key), [name]) for key in ("mean", "first", "last", "importance")]
    for share, n in cells.items()
  ]
  columns_ = ["missing", "published", "training mean", "chain, 1 step", "chain, last step", "importance sampling"]
  note = "Mean squared error of the missing pixels, ± over images."
  sentences = [
    f"The chain's error falls from the first to step {n['steps']}, {share} missing: "
    f"{measured.words(n['verdict'], 'lower')} ({n['fall']:+.4f} ± {n['fall_stderr']:.4f}).".replace("-", "−")
    for share, n in cells.items()
  ]
  axes_ = ("step of the chain", "mean squared error of missing pixels")
  drawn = [tables.figure("Error of the imputation", *axes_, lines, log="x")] if lines else []
  return {
    "numbers": {"item": "imputation", "data": ", ".join(data), "cells": cells},
    "tables": [tables.table("Error of the imputation", columns_, rows, note)] if rows else [],
    "figures": drawn + pictures,
    "sentences": sentences,
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  return {
    "system": "DLGM, imputation by the Markov chain",
    "data": numbers["data"],
    "published": "pictures",
    "ours": "; ".join(
      f"{share} missing: squared error {n['first']:.4f} after 1 step, {n['last']:.4f} after {n['steps']}; importance "
      f"sampling {n['importance']:.4f}, mean image {n['mean']:.4f}"
      for share, n in numbers["cells"].items()
    ),
  }
