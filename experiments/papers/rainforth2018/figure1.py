"""Figure 1 of Rainforth et al. (2018): histograms of gradient estimates, one parameter of each network.

The model is that of shared/linear_gaussian_snr.py, D = 20.  As K grows the estimates of mu's gradient gather around a
value that is not zero; those of b's gradient gather around zero, and their mean shrinks faster than their spread.
"""

import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core.files import load_arrays
from dgm_jax.experiments.harness import computed, measured, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.shared import linear_gaussian_snr as toy

TITLE = "Histograms of gradient estimates for K = 1, 10, 100, 1000, linear-Gaussian model"
NOTES = (
  "The paper's figure gives no numbers. Its claim: with more importance samples the estimates for the inference "
  "network become increasingly symmetric about zero, those for the generative network increasingly of one sign.",
  "Shown is one parameter of each network, the furthest from its optimum. The paper's data points, repeats and choice "
  "of parameters were not read in the source and are unverified.",
  "The ratio is mean over standard deviation of one estimate, averaged over the data points; its standard error is "
  "sqrt((1 + ratio^2 / 2) / repeats). Whether it falls or rises is decided at 95 % by these errors, first K against "
  "last.",
)


class Setting(NamedTuple):
  """Data points N, gradient estimates R, numbers of samples K; the rest as in toy.Setting."""

  points: int
  repeats: int
  ks: tuple[int, ...] = (1, 10, 100, 1000)
  dim: int = 20


SETTINGS = {
  "quick": Setting(64, 2000),
  "short": Setting(1024, 1000),
  "paper": Setting(1024, 10_000),
  "test": Setting(4, 200, (1, 10), dim=3),
}
_MINUTES = {"quick": 4.0, "short": 30.0, "paper": 300.0, "test": 0.1}
BUDGETS = {
  name: Budget(
    f"{s.points:,} data points, {s.repeats:,} gradient estimates of each K",
    minutes=_MINUTES[name],
    full=name == "paper",
    caveat="The spread of the histograms depends on the number of data points, their order does not.",
    compute=lambda folder, s=s: compute(folder, s),
  )
  for name, s in SETTINGS.items()
}
_NETWORKS = {"b": "inference network", "mu": "generative network"}
_BINS = 40


def furthest(model: toy.Model) -> dict[str, int]:
  """{network: the dimension of its parameter that is furthest from where the expected gradient is zero}."""
  best = jnp.mean(model.x, 0)
  return {"mu": int(jnp.argmax(jnp.abs(model.mu - best))), "b": int(jnp.argmax(jnp.abs(model.b - model.mu / 2)))}


def estimates(model: toy.Model, key: jax.Array, repeats: int, k: int) -> dict[str, np.ndarray]:
  """Gradient estimates of one parameter of each network, means over the data points, {network: [R]}."""
  n, dim = model.x.shape
  largest = max(1, 2_000_000 // (n * k * dim))  # most repeats at once
  size, chosen = max(d for d in range(1, repeats + 1) if repeats % d == 0 and d <= largest), furthest(model)

  @jax.jit
  def run(keys):
    def block(key):
      found = toy.gradients(model, key, size, k, tuple(chosen))
      return {name: g.mean(1)[:, chosen[name]] for name, g in found.items()}

    return jax.lax.map(block, keys)

  return {name: np.asarray(g).ravel() for name, g in run(jax.random.split(key, repeats // size)).items()}


def compute(folder: pathlib.Path, setting: Setting) -> None:
  """Draws the missing estimates of every K."""
  base = toy.Setting(setting.points, setting.repeats, setting.ks, (), setting.dim)
  model = toy.make_model(base)
  key = lambda k: jax.random.fold_in(jax.random.key(base.seed + 1), k)
  made = {_file(k): functools.partial(estimates, model, key(k), setting.repeats, k) for k in setting.ks}
  computed.write(folder, {"model": "linear-Gaussian", **setting._asdict()}, base.seed, setting.repeats, made)


def _file(k: int) -> str:
  return f"k{k:05d}"


def _moments(g: np.ndarray) -> dict[str, float]:
  mean, sd = float(g.mean(dtype=np.float64)), float(g.std(ddof=1, dtype=np.float64))
  ratio = abs(mean) / sd
  share = float((g > 0).mean())
  return {
    "mean": mean,
    "mean_stderr": sd / math.sqrt(len(g)),
    "sd": sd,
    "ratio": ratio,
    "ratio_stderr": math.sqrt((1 + ratio**2 / 2) / len(g)),
    "positive": share,
  }


def _figure(network: str, drawn: dict[int, np.ndarray]) -> dict[str, Any]:
  lines = []
  for k, g in drawn.items():
    density, edges = np.histogram(g, _BINS, density=True)
    lines.append(tables.series(f"K = {k}", list(zip(edges, [*density, 0], strict=True)), ["computed"], "bars"))
  title = f"Gradient estimates of the {_NETWORKS[network]}"
  return tables.figure(title, "gradient estimate", "density", lines) | {"file": f"histograms_{network}.png"}


def _sentence(network: str, found: dict[int, dict[str, float]]) -> str:
  """Whether the ratio changes as claimed from the first K to the last."""
  (k0, first), *_, (k1, last) = found.items()
  change = last["ratio"] - first["ratio"]
  error = math.hypot(first["ratio_stderr"], last["ratio_stderr"])
  claimed = {"b": "lower", "mu": "higher"}[network]
  verdict = measured.words(measured.verdict(change, error, None, 1), claimed)
  way = {"b": "falls", "mu": "rises"}[network]
  ratio = lambda n: f"{n['ratio']:.3f} ± {n['ratio_stderr']:.3f}"
  return (
    f"Claim that |mean| / sd of the {_NETWORKS[network]}'s estimates {way} from K = {k0} to {k1}: {verdict} "
    f"({ratio(first)}, {ratio(last)})."
  )


def report(budget: str, folder: pathlib.Path) -> dict[str, Any]:
  """Histograms and moments of the estimates drawn so far."""
  place = folder / "runs" / "computed"
  files = {k: place / f"{_file(k)}.npz" for k in SETTINGS[budget].ks}
  drawn = {k: load_arrays(path) for k, path in files.items() if path.exists()}
  moments = {network: {k: _moments(g[network]) for k, g in drawn.items()} for network in _NETWORKS}
  rows = []
  for network, found in moments.items():
    for k, n in found.items():
      texts = (f"{n['mean']:+.4f} ± {n['mean_stderr']:.4f}", f"{n['sd']:.4f}")
      texts += (f"{n['ratio']:.3f} ± {n['ratio_stderr']:.3f}", f"{100 * n['positive']:.1f} %")
      label = tables.cell(f"{_NETWORKS[network]}, K = {k}")
      rows.append([label, *[tables.cell(text.replace("-", "−"), ["computed"]) for text in texts]])
  columns = ["", "mean", "sd", "|mean| / sd", "positive"]
  whole = [network for network, found in moments.items() if len(found) > 1]
  return {
    "numbers": {"moments": {network: {str(k): n for k, n in found.items()} for network, found in moments.items()}},
    "tables": [tables.table("Gradient estimates", columns, rows)] if rows else [],
    "figures": [_figure(n, {k: g[n] for k, g in drawn.items()}) for n in _NETWORKS] if drawn else [],
    "sentences": [_sentence(network, moments[network]) for network in whole],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  ratios = lambda found: ", ".join(f"{n['ratio']:.2f}" for n in found.values())
  ks = ", ".join(numbers["moments"]["b"])
  return {
    "system": f"|mean| / sd of gradient estimates, K = {ks}",
    "data": "linear-Gaussian model, D = 20",
    "published": "no numbers: falls for the inference network, rises for the generative network",
    "ours": "; ".join(f"{_NETWORKS[name]} {ratios(found)}" for name, found in numbers["moments"].items()),
  }
