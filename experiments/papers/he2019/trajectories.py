"""Means of q(z|x) against those of p(z|x) on simulated sentences, with aggressive updates and without.

Both are computed for the same training sentences at several steps of the training; z has one dimension.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgm_jax.configs import sentence_vae_text
from dgm_jax.core.config_args import load
from dgm_jax.evaluate import quadrature
from dgm_jax.experiments.harness import computed, tables
from dgm_jax.training import build, programs
from dgm_jax.training.experiment import make_init

METHODS = ("plain", "aggressive")
_LINES = 8  # sentences whose trajectories are drawn
_CONFIG = "sentence_vae_text"


def _config(method: str, test: bool) -> Any:
  config = load(f"{_CONFIG}:{'test' if test else 'quick'},method={method}")
  with config.unlocked():
    config.data.latent_dim, config.model.args.latent_dim = 1, 1
  return config


def train(method: str, steps: int, every: int, shown: int, test: bool) -> dict[str, np.ndarray]:
  """{"steps" [S]; "updates" [S], of the decoder; "model", "inference" [S, shown]: the posterior means}.

  The run ends after `steps` updates of the decoder, or forty times as many training steps.
  """
  config = _config(method, test)
  experiment = build.build(config)
  arrays = jax.device_put(experiment.splits.train)
  some = {name: a[:shown] for name, a in arrays.items()}
  chunk = jax.jit(
    programs.make_train_chunk(experiment.system, experiment.transforms.train, experiment.batch_size, every)
  )

  @jax.jit
  def means(state):
    bound_model = experiment.model.bind({"params": state.params})
    exact = quadrature.posterior(bound_model, some, num_points=101, radius=5.0, chunk=20)
    return exact.mean[:, 0], bound_model.infer(some).mean()[:, 0]

  state, key, rows, updates = jax.jit(make_init(experiment, 0))(), jax.random.key(0), [], 0.0
  for step in range(0, sentence_vae_text.MOST_STEPS * steps + 1, every):
    rows.append((step, updates, *map(np.asarray, means(state))))
    if updates >= steps:
      break
    state, metrics = chunk(state, key, arrays)
    updates = float(metrics["decoder_updates"][-1]) if "decoder_updates" in metrics else float(state.step)
  step, updates, model, inference = (np.array(column) for column in zip(*rows, strict=True))
  return {"steps": step, "updates": updates, "model": model, "inference": inference}


def compute(folder: pathlib.Path, steps: int, every: int, shown: int, test: bool = False) -> None:
  """Trains both and saves the means in the budget's folder."""
  made: dict[str, Callable] = {m: (lambda m=m: train(m, steps, every, shown, test)) for m in METHODS}
  config = {"steps": steps, "every": every, "shown": shown, "test": test}
  computed.write(folder / "runs" / "computed", config, 0, steps, made, "trajectories")


def report(folder: pathlib.Path) -> dict[str, Any]:
  """Figures of both means at several steps, and how far they are apart."""
  figures, lag, rows = [], {}, []
  for method in METHODS:
    found = computed.read(folder, method)
    if found is None:
      continue
    count = len(found["steps"])
    lines = []
    for i in sorted({round(j * (count - 1) / 4) for j in range(5)}):
      points = sorted(zip(found["model"][i].tolist(), found["inference"][i].tolist(), strict=True))
      lines.append(tables.series(f"{found['updates'][i]:.0f} updates of the decoder", points, style="published"))
    limits = (float(found["model"].min()), float(found["model"].max()))
    lines.append(tables.series("equal", [(v, v) for v in limits], style="theory"))
    figures.append(tables.figure(f"{method}: posterior means", "mean of p(z|x)", "mean of q(z|x)", lines))
    of = range(min(_LINES, found["model"].shape[1]))
    pairs = lambda j, found=found: list(
      zip(found["model"][:, j].tolist(), found["inference"][:, j].tolist(), strict=True)
    )
    lines = [tables.series(f"sentence {j + 1}", pairs(j)) for j in of]
    lines.append(tables.series("equal", [(v, v) for v in limits], style="theory"))
    figures.append(
      tables.figure(f"{method}: the way of the means of a sentence", "mean of p(z|x)", "mean of q(z|x)", lines)
    )
    spread = {name: found[name].std(1) for name in ("model", "inference")}
    distance = np.sqrt(np.mean((found["model"] - found["inference"]) ** 2, 1))
    lag[method] = {"model": float(spread["model"][-1]), "inference": float(spread["inference"][-1])}
    lag[method] |= {"distance": float(distance[-1]), "largest_distance": float(distance.max())}
    rows.append([tables.cell(method), *(tables.cell(f"{v:.3f}") for v in lag[method].values())])
  columns = [
    "",
    "spread of E[z|x] under p at the end",
    "under q",
    "their distance (RMS)",
    "its greatest during training",
  ]
  made = [tables.table("Posterior means of simulated sentences", columns, rows)]
  return {"numbers": {"lag": lag}, "tables": made, "figures": figures, "sentences": []}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  each = [
    f"{m}: spread of the means of q {v['inference']:.2f}, of p {v['model']:.2f}" for m, v in numbers["lag"].items()
  ]
  return {
    "system": "means of q(z|x) against p(z|x)",
    "data": "simulated sentences",
    "published": "a figure",
    "ours": "; ".join(each),
  }
