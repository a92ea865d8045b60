"""F1 scores of missing pixels, imputed by pseudo-Gibbs and by Metropolis-within-Gibbs sampling from the same model."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import figures, rng
from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.inference import gibbs_imputation
from dgm_jax.training.experiment import evaluation_key

SETTINGS = ("40 %", "50 %", "60 %", "70 %", "80 %", "top half", "bottom half")
SAMPLERS = ("pseudo-Gibbs", "Metropolis-within-Gibbs")
_WARM_UP, _BATCH, _SHOWN = 10, 50, 8


def observed(setting: str, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """1 where a pixel of images [N, H, W, C] is observed."""
  if setting.endswith("%"):
    return jax.random.bernoulli(key, 1 - float(setting.removesuffix(" %")) / 100, shape).astype(jnp.float32)
  upper = jnp.arange(shape[1]) < shape[1] // 2
  rows = ~upper if setting == "top half" else upper
  return jnp.broadcast_to(rows.astype(jnp.float32)[:, None, None], shape)


def impute(model: Any, key: jax.Array, x: jax.Array, mask: jax.Array, num_steps: int) -> tuple[jax.Array, jax.Array]:
  """(mean E[x|z] over the second half of both chains [2, B, D], acceptance rate of Metropolis [B]); x, mask [B, D]."""
  infer = lambda x: model.infer({"x": x})
  log_joint = lambda x, z: sum(model.log_joint({"x": x}, z))
  key_start, key_warm, key_a, key_b = jax.random.split(key, 4)
  x = jnp.where(mask > 0, x, jax.random.bernoulli(key_start, 0.5, x.shape))
  args = (mask, infer, model.decode)
  x, _ = gibbs_imputation.pseudo_gibbs(key_warm, x, *args, _WARM_UP, keep=lambda x, mean: None)
  mean = lambda x, mean: mean
  _, pseudo = gibbs_imputation.pseudo_gibbs(key_a, x, *args, num_steps, keep=mean)
  _, exact, taken = gibbs_imputation.metropolis_within_gibbs(
    key_b, x, mask, infer, log_joint, model.decode, num_steps, keep=mean
  )
  return jnp.stack([p[num_steps // 2 :].mean(0) for p in (pseudo, exact)]), taken.astype(jnp.float32)


def score(run: Any, num_images: int, num_steps: int) -> dict[str, Any]:
  """Counts for each setting over the first test images.

  Returns:
    {"counts" [S, 2, N, 3]: true positives, false positives, false negatives of white missing pixels by setting and
    sampler; "taken" [S]: the acceptance rate of Metropolis; "shown" [S, n, 4, H, W, C]: image, its observed part, both
    imputations}.
  """
  test = {name: a[:num_images] for name, a in run.experiment.splits.test.items()}
  transformed = make_evaluate_examples(lambda s, k, batch: {"x": batch["x"]}, run.experiment.transforms.evaluate, 500)
  key = rng.stream(jax.random.key(0), "impute")
  images = jnp.asarray(transformed(run.state, evaluation_key(), test)["x"])
  x = images.reshape(len(images), -1)

  @jax.jit
  def both(state, key, x, mask):
    model = run.experiment.model.bind({"params": state.params})
    pad = lambda a: a[jnp.arange(-(-len(x) // _BATCH) * _BATCH) % len(x)].reshape(-1, _BATCH, x.shape[1])
    keys = jax.random.split(key, len(pad(x)))
    means, taken = jax.lax.map(lambda one: impute(model, *one, num_steps), (keys, pad(x), pad(mask)))
    return jnp.moveaxis(means, 1, 0).reshape(2, -1, x.shape[1])[:, : len(x)], taken.mean()

  found: dict[str, list] = {"counts": [], "taken": [], "shown": []}
  for i, setting in enumerate(SETTINGS):
    mask = observed(setting, jax.random.fold_in(key, i), images.shape).reshape(x.shape)
    means, taken = both(run.state, jax.random.fold_in(key, 100 + i), x, mask)
    missing, white, guess = mask == 0, x > 0, means > 0.5
    kinds = (guess & white & missing, guess & ~white & missing, ~guess & white & missing)
    found["counts"].append(np.asarray(jnp.stack([k.sum(-1) for k in kinds], -1)))
    found["taken"].append(float(taken))
    rows = [x, jnp.where(missing, 0.5, x), *(jnp.where(missing, m, x) for m in means)]
    found["shown"].append(np.asarray(jnp.stack(rows, 1)[:_SHOWN].reshape(-1, 4, *images.shape[1:]), np.float32))
  return {name: np.stack(a) for name, a in found.items()}


def f1(counts: np.ndarray) -> np.ndarray:
  """2 TP / (2 TP + FP + FN) of counts [..., 3]."""
  return 2 * counts[..., 0] / np.maximum(2 * counts[..., 0] + counts[..., 1] + counts[..., 2], 1)


def difference(counts: Sequence[np.ndarray]) -> tuple[float, float, list[float]]:
  """(F1 of the second sampler minus that of the first, its error over images, by seed) from each seed's [2, N, 3].

  The error is a jackknife error: an image is left out for all seeds and both samplers at once.
  """
  of = lambda c: f1(c)[..., 1] - f1(c)[..., 0]
  by_seed = [of(c.sum(1)) for c in counts]
  without = np.mean([of(np.moveaxis(c.sum(1, keepdims=True) - c, 0, 1)) for c in counts], 0)  # [N]
  n = len(without)
  return (
    float(np.mean(by_seed)),
    float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())),
    [float(d) for d in by_seed],
  )


def _setting(counts: Sequence[np.ndarray]) -> dict[str, Any]:
  scores = np.mean([f1(c.sum(1)) for c in counts], 0)
  mean, error, by_seed = difference(counts)
  stderr = measured.mean(by_seed).stderr
  found = {"pseudo": float(scores[0]), "metropolis": float(scores[1]), "difference": mean, "stderr_images": error}
  return found | {"stderr_seeds": stderr, "verdict": measured.verdict(mean, error, stderr, len(by_seed))}


def report(names: Mapping[str, list[str]], folder: pathlib.Path) -> dict[str, Any]:
  """Scores by data set and setting, whether the second sampler's are higher, pictures."""
  numbers, made, drawn, sentences = {}, [], [], []
  for data, runs in names.items():
    found = measured.arrays(folder, runs)
    if not found:
      continue
    cells = {s: _setting([f["counts"][i] for f in found]) for i, s in enumerate(SETTINGS)}
    taken = np.mean([f["taken"] for f in found], 0)
    numbers[data] = {s: n | {"taken": float(t)} for (s, n), t in zip(cells.items(), taken, strict=True)}
    rows = []
    for s, n in numbers[data].items():
      gap = f"{n['difference']:+.4f} ± {n['stderr_images']:.4f}".replace("-", "−")
      texts = (
        f"{n['pseudo']:.4f}",
        f"{n['metropolis']:.4f}",
        gap,
        measured.named_words(n["verdict"], "higher"),
        f"{n['taken']:.2f}",
      )
      rows.append([tables.cell(s), *[tables.cell(text, runs) for text in texts]])
    columns = ["missing", *SAMPLERS, "difference ± over images", "the second is", "steps taken"]
    made.append(tables.table(f"F1 score of missing pixels, {data}", columns, rows))
    shown = [s for s, n in cells.items() if n["verdict"] == "higher"]
    sentences.append(
      f"{data}: a higher F1 of Metropolis-within-Gibbs is shown in {len(shown)} of {len(cells)} settings."
    )
    drawn += _figures(data, numbers[data], found[0]["shown"], runs, folder)
  return {"numbers": {"scores": numbers}, "tables": made, "figures": drawn, "sentences": sentences}


def _figures(
  data: str, cells: Mapping[str, dict], shown: np.ndarray, runs: Sequence[str], folder: pathlib.Path
) -> list[dict[str, Any]]:
  rates = [s for s in SETTINGS if s.endswith("%")]
  points = lambda name: [(float(s.removesuffix(" %")), cells[s][name]) for s in rates]
  pairs = zip(SAMPLERS, ("pseudo", "metropolis"), strict=True)
  lines = [tables.series(sampler, points(name), runs) for sampler, name in pairs]
  curve = tables.figure(f"F1 score of missing pixels, {data}", "pixels missing, %", "F1", lines)
  curve["file"] = f"f1_{data}.png"
  grids = []
  for setting in ("80 %", "top half"):
    file = f"imputed_{data}_{setting.split()[0]}.png"
    images = jnp.asarray(shown[SETTINGS.index(setting)])
    figures.save_image(folder / file, figures.image_grid(images, columns=len(images)))
    note = f"Rows from the top: images, their observed parts, {SAMPLERS[0]}, {SAMPLERS[1]} (means)."
    grids.append(tables.picture(f"{data}, {setting} missing", file, note))
  return [curve, *grids]


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  (data, cells), *_ = numbers["scores"].items()
  show = lambda s: f"{s}: {cells[s]['pseudo']:.3f}, {cells[s]['metropolis']:.3f} ({cells[s]['verdict']})"
  return {
    "system": "imputation by pseudo-Gibbs and Metropolis-within-Gibbs",
    "data": f"{data}, pixels missing",
    "published": "Metropolis-within-Gibbs has the higher F1",
    "ours": "F1 of both; " + "; ".join(show(s) for s in ("40 %", "60 %", "80 %", "top half", "bottom half")),
  }
