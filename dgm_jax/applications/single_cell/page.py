"""The page about a model of single cells: one HTML file with its pictures inside."""

import base64
import html
import pathlib
from typing import Any

import numpy as np

from dgm_jax.applications.single_cell import painting
from dgm_jax.applications.single_cell.fitted import FittedCells
from dgm_jax.core import errors, files
from dgm_jax.core.batches import take
from dgm_jax.training.workdir import metrics

_MOST_CELLS = 3_000  # of t-SNE and of the posterior predictive
_STYLE = (
  "body{font:15px sans-serif;max-width:1150px;margin:2em auto;padding:0 1em}td,th{padding:2px 12px;text-align:left}"
)
_NOTE_OBSERVED = (
  "The library is observed: log p(x) is log p(x | l = sum of x), given each cell's own total. It is no density of x "
  "and never compares with that of a latent library."
)


def _names(found: FittedCells, key: str, names: str) -> list[str] | None:
  values = (found.arrays or {}).get(key)
  known = list(found.about.get(names, ()))
  if values is None or not known:
    return None
  return [known[i] if i >= 0 else "unlabelled" for i in np.asarray(values).tolist()]


def pictures(found: FittedCells, z: np.ndarray, rows: list[dict], seed: int = 0) -> dict[str, bytes]:
  """{title: PNG}."""
  manifold = errors.import_package("sklearn.manifold", "The page")
  chosen = np.random.default_rng(seed).permutation(len(z))[:_MOST_CELLS]
  made = {"Learning curves": painting.curves(rows, ("train/elbo", "test/elbo", "test/log_px"), "Bounds on log p(x)")}
  if len(chosen) > 10:
    plane = manifold.TSNE(random_state=seed, perplexity=min(30, len(chosen) / 4)).fit_transform(z[chosen])
    for title, key, names in (("type", "y", "classes"), ("batch", "batch", "batches")):
      if (groups := _names(found, key, names)) is not None:
        made[f"t-SNE by {title}"] = painting.scatter(plane, [groups[i] for i in chosen], f"t-SNE of E[z|x] by {title}")
  arrays = take(found.arrays or {}, chosen)
  x, drawn = np.asarray(arrays["x"], np.float64), found.predictive(arrays, seed)
  zeros = ((x == 0).mean(0), (drawn == 0).mean(0))
  made["Zeros"] = painting.against(*zeros, "Share of zeros of each gene", ("data", "posterior predictive"))
  spread = (x.var(0) + 1e-6, drawn.var(0) + 1e-6)
  made["Variance"] = painting.against(*spread, "Variance of each gene", ("data", "posterior predictive"), True)
  mean, variance = found.posterior(arrays)
  units = list(getattr(found.model, "warmed", (True,) * mean.shape[1]))
  mean, variance = mean[:, units], variance[:, units]
  kl = 0.5 * (variance + mean**2 - 1 - np.log(variance)).mean(0)
  made["Collapse"] = painting.bars(kl, f"Information in each unit: {int((kl > 0.01).sum())} of {len(kl)} above 0.01")
  return made


def write(
  path: pathlib.Path, title: str, found: FittedCells, z: np.ndarray, settings: dict, scores: dict, run: Any
) -> None:
  """Writes the page, atomically."""
  rows = metrics.read(run)
  shown = pictures(found, z, rows, int(settings.get("seed", 0)))
  notes = [_NOTE_OBSERVED] if settings.get("library") == "observed" else []
  row = lambda k, v: f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>"
  number = lambda v: f"{v:.5g}" if isinstance(v, float) else v
  tables = [f"<h2>{head}</h2><table>{''.join(row(k, number(v)) for k, v in values.items())}</table>"
            for head, values in (("Scores", scores), ("Settings", settings))]  # fmt: skip
  images = [
    f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    for name, data in shown.items()
  ]
  text = [
    f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
  ]
  text += [f"<h1>{html.escape(title)}</h1>", *(f"<p>{n}</p>" for n in notes), *images, *tables, "</html>"]
  files.write_text(path, "\n".join(text) + "\n")
