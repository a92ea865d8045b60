"""Signal-to-noise ratio, variance and bias of inference-network gradients on the Gaussian toy of Tucker et al. (2019).

The model is that of shared/linear_gaussian_snr.py with D = 20.  As K grows, where the bound's gradient with respect to
b is of order 1/K:

  IWAE      variance ~ 1/K      SNR ~ 1/sqrt(K)
  DReG      variance ~ 1/K^3    SNR ~ sqrt(K)
  STL       variance ~ 1/K      SNR ~ sqrt(K), but the mean is not the bound's gradient
  RWS and its doubly reparameterised form   variance ~ 1/K   SNR ~ sqrt(K)
"""

import functools
import math
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.experiments.shared import linear_gaussian_snr as toy

TITLE = "SNR, variance and bias of inference-network gradients against K, Gaussian toy"
NOTES = (
  "No numbers were read from the paper's figure. The toy is that of Rainforth et al. (2018); its data points, repeats "
  "and perturbation, and the figure's number, are unverified. JVI, which the paper also has, and K = 1, where RWS-DReG "
  "is zero, are not drawn.",
  "The estimates of b's gradient are averaged over the data points, all from the same draws. RWS is the wake phase of "
  "reweighted wake-sleep, which maximises E_p(z|x)[log q(z|x)] and not the bound.",
  "For every draw STL is DReG plus RWS-DReG, and DReG is unbiased, so the bias of STL is the mean of RWS-DReG.",
  "The mean of IWAE's estimates is taken from DReG's, and that of RWS from RWS-DReG's, which have the same expectation "
  "and less noise. Slopes are fitted from K = 10 up; their standard errors are over ten parts of the repeats.",
)
_NAMES = {"b": "IWAE", "b_dreg": "IWAE-DReG", "b_stl": "IWAE-STL", "b_rws": "RWS", "b_rws_dreg": "RWS-DReG"}
_THEORY = {"b": (-0.5, -1), "b_dreg": (0.5, -3), "b_stl": (0.5, -1), "b_rws": (0.5, -1), "b_rws_dreg": (0.5, -1)}

_COUNTS = (2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_toy = functools.partial(toy.Setting, ms=(), estimators=tuple(_NAMES))
SETTINGS = {
  "quick": _toy(4, 10_000, _COUNTS[:8]),
  "short": _toy(64, 10_000, _COUNTS[:9]),
  "paper": _toy(1024, 10_000, _COUNTS),
  "test": _toy(4, 1000, (10, 40, 160), dim=5, perturbation=0.1),
}
_MINUTES = {"quick": 1.5, "short": 25.0, "paper": 900.0, "test": 0.1}
BUDGETS = {
  name: Budget(
    f"{s.points:,} data points, {s.repeats:,} gradient estimates, K up to {s.ks[-1]}",
    minutes=_MINUTES[name],
    full=name == "paper",
    caveat="In theory the slopes do not depend on the number of data points; the height of the lines does.",
    compute=lambda folder, s=s: toy.compute(folder, s),
  )
  for name, s in SETTINGS.items()
}


def _slopes(parts: dict[int, dict], repeats: int) -> dict[str, dict[str, Any]]:
  """{estimator: {"snr", "variance": slope, stderr, theory}}, {} with fewer than two points to fit."""
  counts = [c for c in parts if c >= 10]
  if len(counts) < 2:
    return {}
  chosen, found = [parts[c] for c in counts], {}
  for name, theory in _THEORY.items():
    found[name] = {}
    for (what, of), rate in zip({"snr": toy.snr, "variance": toy.variance}.items(), theory, strict=True):
      value, error = toy.slope_and_error(chosen, counts, name, repeats, of)
      found[name][what] = {"slope": value, "stderr": error, "theory": rate}
  return found


def _bias(parts: dict[int, dict], repeats: int) -> dict[int, tuple[float, float]]:
  """{K: (|E[STL] - gradient of the bound| / |gradient of the bound|, its standard error)}."""

  def ratio(found, kept):
    bias, gradient = (toy.signal(found, name, kept, repeats) for name in ("b_rws_dreg", "b_dreg"))
    return math.sqrt(max(bias, 0.0) / max(gradient, 1e-300))

  return {k: toy.jackknife(functools.partial(ratio, found)) for k, found in parts.items()}


def _row(name: str, found: dict[str, Any]) -> list[dict]:
  signed = functools.partial(tables.plus_minus, sign=True)
  row = [tables.cell(_NAMES[name])]
  for n in found.values():
    row += [tables.published(signed(n["theory"], None)), tables.cell(signed(n["slope"], n["stderr"]), ["computed"])]
  return row


def _figures(parts: dict[int, dict], bias: dict[int, tuple], repeats: int) -> list[dict]:
  ours = functools.partial(tables.series, runs=["computed"])
  line = lambda of, name: [(k, of(p, name, toy.WHOLE, repeats)) for k, p in parts.items()]
  drawn = {
    "snr": ("SNR of b's gradient estimates", "|E[g]| / sd(g)", [ours(n, line(toy.snr, k)) for k, n in _NAMES.items()])
  }
  variances = [ours(n, line(toy.variance, k)) for k, n in _NAMES.items()]
  drawn["variance"] = ("Variance of b's gradient estimates", "sum of variances", variances)
  if bias:
    points = [(k, value) for k, (value, _) in bias.items()]
    drawn["bias"] = ("Bias of IWAE-STL for b", "|bias| / |gradient|", [ours("IWAE-STL", points)])
  found = []
  for file, (title, y, lines) in drawn.items():
    figure = tables.figure(title, "K", y, lines, log="xy") | {"file": f"{file}.png"}
    found.append(figure)
  return found


def _verdict(value: float, error: float, sign: int) -> str:
  """Whether a value has the claimed sign, at 95 %."""
  return measured.words(measured.verdict(value, error, None, 1), "higher" if sign > 0 else "lower")


def _sentences(slopes: dict[str, dict[str, Any]], bias: dict[int, tuple[float, float]]) -> list[str]:
  found = []
  for name, sign, way in (("b", -1, "falls"), ("b_dreg", 1, "rises")):
    n = slopes[name]["snr"]
    value = tables.plus_minus(n["slope"], n["stderr"], sign=True)
    verdict = _verdict(n["slope"], n["stderr"], sign)
    found.append(f"Claim that the SNR of {_NAMES[name]} {way} with K: {verdict} (slope {value}).")
  k, (value, error) = max(bias.items())
  verdict = _verdict(value, error, 1)
  return [
    *found,
    f"Claim that IWAE-STL is biased: {verdict} (at K = {k} by {value:.1f} ± {error:.1f} of the gradient's norm).",
  ]


def report(budget: str, folder: pathlib.Path) -> dict[str, Any]:
  """Slopes and figures of the estimates drawn so far."""
  setting = SETTINGS[budget]
  parts = toy.read(setting, folder / "runs" / "computed")["k"]
  slopes, bias = _slopes(parts, setting.repeats), _bias(parts, setting.repeats)
  columns = ["", "SNR slope, theory", "ours ± over parts of the repeats", "variance slope, theory", "ours"]
  rows = [_row(name, found) for name, found in slopes.items()]
  return {
    "numbers": {"slopes": slopes, "bias_of_stl": {str(k): list(v) for k, v in bias.items()}},
    "tables": [tables.table("Fitted slopes, K from 10 up", columns, rows)] if rows else [],
    "figures": _figures(parts, bias, setting.repeats) if parts else [],
    "sentences": _sentences(slopes, bias) if slopes else [],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  slopes = {_NAMES[name]: found["snr"] for name, found in numbers["slopes"].items()}
  k, (bias, _) = list(numbers["bias_of_stl"].items())[-1]
  signed = functools.partial(tables.plus_minus, sign=True)
  return {
    "system": "slopes in K of the SNR of inference-network gradients",
    "data": "linear-Gaussian model, D = 20",
    "published": ", ".join(f"{name} {signed(n['theory'], None)}" for name, n in slopes.items()) + " in theory",
    "ours": ", ".join(f"{name} {signed(n['slope'], n['stderr'])}" for name, n in slopes.items())
    + f"; bias of STL at K = {k}: {bias:.0f} times the gradient",
  }
