"""Figure 2 of Rainforth et al. (2018): the signal-to-noise ratio of gradient estimates against K and M.

The model is that of shared/linear_gaussian_snr.py with D = 20.  Theory: SNR(mu) ~ sqrt(M K), SNR(b) ~ sqrt(M / K).
"""

import math
import pathlib
from typing import Any

from dgm_jax.experiments.harness import tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.shared import linear_gaussian_snr as toy

TITLE = "Signal-to-noise ratio of gradient estimates against K and M, linear-Gaussian model"
NOTES = (
  "The paper's figure gives no numbers but the rates of its theorem: slopes +1/2 for the generative network, and for "
  "the inference network -1/2 in K, +1/2 in M. The details of its setting (1,024 data points, 10,000 estimates, which "
  "parameters are perturbed) were not read in the source and are unverified.",
  "A gradient estimate is the mean over the data points. Draws are independent between points, so its variance is the "
  "sum of the points' variances divided by N^2.",
  "The noise is that of the reparameterised estimator. For b the mean is estimated with the doubly reparameterised one "
  "(Tucker et al., 2019), which has the same expectation and less noise; its variance is subtracted from its square.",
  "A slope is fitted to logarithms, from 10 samples up, of the SNR over all dimensions, |E[g]| / sqrt(sum of "
  "variances); its standard error is over ten independent parts of the repeats.",
)

_COUNTS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
SETTINGS = {
  "quick": toy.Setting(4, 10_000, _COUNTS, _COUNTS[:8]),
  "short": toy.Setting(64, 10_000, _COUNTS, _COUNTS),
  "paper": toy.Setting(1024, 10_000, _COUNTS, _COUNTS),
  "test": toy.Setting(4, 1000, (10, 40, 160), (10, 40), dim=5, perturbation=0.1),
}
_MINUTES = {"quick": 3.0, "short": 40.0, "paper": 600.0, "test": 0.1}
BUDGETS = {
  name: Budget(
    f"{s.points:,} data points, {s.repeats:,} gradient estimates, K up to {s.ks[-1]}, M up to {s.ms[-1]}",
    minutes=_MINUTES[name],
    full=name == "paper",
    caveat="In theory the slopes do not depend on the number of data points; the height of the lines does.",
    compute=lambda folder, s=s: toy.compute(folder, s),
  )
  for name, s in SETTINGS.items()
}
_NETWORKS = {"b": "inference network", "mu": "generative network"}
_THEORY = {("b", "k"): -0.5, ("b", "m"): 0.5, ("mu", "k"): 0.5, ("mu", "m"): 0.5}


def _lines(parts: dict[int, dict], name: str, axis: str, repeats: int) -> list[dict]:
  """Lines of one network and axis: each dimension (faint), all together, and the theoretical slope at the end."""
  title = {"k": "K (M = 1)", "m": "M (K = 1)"}[axis]
  values = {c: toy.snr(p, name, toy.WHOLE, repeats) for c, p in parts.items()}
  each = {c: toy.snr_by_dimension(p, name) for c, p in parts.items()}
  last = max(values)
  drawn = [tables.series(title, [(c, v[d]) for c, v in each.items()], style="faint") for d in range(len(each[last]))]
  rate = _THEORY[name, axis]
  theory = [(c, values[last] * (c / last) ** rate) for c in values]
  drawn.append(tables.series(title, list(values.items()), ["computed"]))
  return [*drawn, tables.series(f"slope {rate:+.1f}".replace("-", "−"), theory, style="theory")]


def _slope(parts: dict[int, dict], network: str, axis: str, repeats: int) -> dict[str, Any]:
  """The fitted slope of a line, {} if it has fewer than two points to fit."""
  counts = [c for c in parts if c >= 10]
  if len(counts) < 2:
    return {}
  value, error = toy.slope_and_error([parts[c] for c in counts], counts, network, repeats)
  return {"slope": value, "stderr": error, "theory": _THEORY[network, axis], "counts": counts}


def _row(label: str, n: dict[str, Any]) -> list[dict]:
  signed = lambda value, error: tables.plus_minus(value, error, sign=True)
  ours = (signed(n["slope"], n["stderr"]), signed(n["slope"] - n["theory"], n["stderr"]))
  published = tables.published(signed(n["theory"], None))
  return [tables.cell(label), published, *[tables.cell(text, ["computed"]) for text in ours]]


def _figure(network: str, lines: list[dict]) -> dict[str, Any]:
  note = "Thick: over all dimensions; faint: each dimension."
  title = f"SNR of the {_NETWORKS[network]}"
  drawn = tables.figure(title, "K or M", "signal-to-noise ratio", lines, log="xy", note=note)
  drawn["file"] = f"snr_{network}.png"
  return drawn


def report(budget: str, folder: pathlib.Path) -> dict[str, Any]:
  """Slopes and figures of the estimates drawn so far."""
  setting, slopes, drawn, sentences = SETTINGS[budget], {}, [], []
  found = toy.read(setting, folder / "runs" / "computed")
  for network in _NETWORKS:
    lines = []
    for axis, parts in found.items():
      if parts:
        lines += _lines(parts, network, axis, setting.repeats)
      if fitted := _slope(parts, network, axis, setting.repeats):
        slopes[f"{network}_{axis}"] = fitted
    if lines:
      drawn.append(_figure(network, lines))
  rows = [_row(_name(key), n) for key, n in slopes.items()]
  if rows:
    worst = max(abs(n["slope"] - n["theory"]) for n in slopes.values())
    sentences.append(f"Every fitted slope is within {math.ceil(worst * 100) / 100:.2f} of the theorem's.")
  columns = ["", "theory (published)", "ours ± over parts of the repeats", "ours − theory"]
  made = [tables.table("Fitted slopes, K or M from 10 up", columns, rows)] if rows else []
  return {"numbers": {"slopes": slopes}, "tables": made, "figures": drawn, "sentences": sentences}


def _name(key: str) -> str:
  """b_k -> inference network, K."""
  network, axis = key.split("_")
  return f"{_NETWORKS[network]}, {axis.upper()}"


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  slopes = numbers["slopes"].items()
  return {
    "system": "slopes of the gradient's SNR",
    "data": "linear-Gaussian model, D = 20",
    "published": ", ".join(f"{_name(k)} {tables.plus_minus(n['theory'], None, True)}" for k, n in slopes),
    "ours": ", ".join(f"{_name(k)} {tables.plus_minus(n['slope'], n['stderr'], True)}" for k, n in slopes),
  }
