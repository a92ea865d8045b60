"""Tables, figures and sentences on linear VAEs against probabilistic PCA, and on collapsed units."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.shared import linear_vae

EPSILON = 0.01  # nats: a unit with less KL is collapsed
EPSILONS = tuple(float(e) for e in np.geomspace(1e-3, 10, 33)) + (EPSILON,)
Found = Mapping[str, Sequence[dict[str, np.ndarray]]]  # {cell: the arrays of its measured runs}


def _mean(runs: Sequence[dict[str, np.ndarray]], name: str) -> measured.Mean:
  return measured.mean([float(run[name]) for run in runs])


def bounds(found: Found, names: Mapping[str, list[str]]) -> dict[str, Any]:
  """ELBO, log p(x) and the optimum of probabilistic PCA, by latent dimension."""
  numbers, rows = {}, []
  for cell, runs in found.items():
    if not runs:
      rows.append([tables.cell(cell), tables.cell("not finished"), *[tables.cell("")] * 3])
      continue
    best, log_px, elbo = (_mean(runs, name) for name in ("best", "log_px", "elbo"))
    gap = measured.mean([float(run["best"] - run["elbo"]) for run in runs])
    numbers[cell] = {"best": best.mean, "log_px": log_px.mean, "elbo": elbo.mean, "stderr": elbo.stderr}
    numbers[cell] |= {"gap": gap.mean, "gap_stderr": gap.stderr}
    texts = [f"{best.mean:.2f}", *(tables.plus_minus(m.mean, m.stderr) for m in (log_px, elbo, gap))]
    rows.append([tables.cell(cell)] + [tables.cell(text, names[cell]) for text in texts])
  columns = ["L", "best log p(x), PCA", "log p(x) of the VAE", "its ELBO", "best − ELBO"]
  note = "Log-density in nats per training image, ± standard error over seeds."
  drawn = []
  if numbers:
    all_runs = [name for cell in numbers for name in names[cell]]
    lines = [
      tables.series("ELBO, linear VAE", [(int(c), n["elbo"]) for c, n in numbers.items()], all_runs),
      tables.series("best log p(x), PCA", [(int(c), n["best"]) for c, n in numbers.items()], style="theory"),
    ]
    figure = tables.figure("Linear VAE and PCA", "latent dimension", "nats per image", lines)
    drawn.append(figure | {"file": "bounds.png"})
  made = [tables.table("Linear VAE against probabilistic PCA", columns, rows, note)]
  return {"numbers": {"bounds": numbers}, "tables": made, "figures": drawn, "sentences": _match(numbers)}


def _match(numbers: Mapping[str, dict[str, Any]]) -> list[str]:
  """The gap between the bounds and the optimum, relative to what the latent dimensions gain."""
  if len(numbers) < 2:
    return []
  gaps, best = [n["gap"] for n in numbers.values()], [n["best"] for n in numbers.values()]
  share = 100 * max(gaps) / (max(best) - min(best))
  above = "" if min(gaps) >= 0 else " One is above it, which is impossible: the measurement is wrong."
  span = f"{max(best) - min(best):.1f} nats from L = {min(numbers, key=int)} to {max(numbers, key=int)}"
  return [
    f"The ELBO ends {min(gaps):.2f} to {max(gaps):.2f} nats below the optimum of probabilistic PCA, which gains "
    f"{span}: at most {share:.1f} % of that is missing.{above}"
  ]


def collapse(found: Found, names: Mapping[str, list[str]]) -> dict[str, Any]:
  """Shares of collapsed units by variance; for linear nets also the share that the spectrum predicts."""
  cells, rows = {}, []
  for cell, runs in found.items():
    if not runs:
      rows.append([tables.cell(cell), tables.cell("not finished"), *[tables.cell("")] * 2])
      continue
    share = measured.mean([float(run["inactive"][-1]) for run in runs])
    variance, units = _mean(runs, "variance").mean, int(runs[0]["units"])
    cells[cell] = {"inactive": share.mean, "stderr": share.stderr, "variance": variance, "units": units}
    cells[cell]["by_seed"] = list(share.values)
    if cell.startswith("linear"):
      cells[cell]["theory"] = 1 - linear_vae.active(runs[0]["spectrum"], units, variance) / units
    theory = f"{cells[cell]['theory']:.2f}" if "theory" in cells[cell] else ""
    texts = (f"{variance:.3g}", tables.plus_minus(share.mean, share.stderr), theory)
    rows.append([tables.cell(cell)] + [tables.cell(text, names[cell]) for text in texts])
  columns = ["net, variance", "variance", "collapsed units", "by the eigenvalues"]
  note = f"Shares of units with KL < {EPSILON} nats for 99 % of the images, ± standard error over seeds."
  made = [tables.table("Collapsed units", columns, rows, note)]
  return {
    "numbers": {"collapse": cells},
    "tables": made,
    "figures": _figures(found, cells, names) if cells else [],
    "sentences": _sentences(cells),
  }


def _figures(found: Found, cells: Mapping[str, dict], names: Mapping[str, list[str]]) -> list:
  lines = []
  for net in ("linear", "deep"):
    fixed = {c: n for c, n in cells.items() if c.startswith(net) and not c.endswith("learned")}
    points = sorted((n["variance"], n["inactive"]) for n in fixed.values())
    if points:
      lines.append(tables.series(f"{net}, fixed", points, [run for c in fixed for run in names[c]]))
    if (learned := cells.get(f"{net} learned")) is not None:
      point = [(learned["variance"], learned["inactive"])]
      lines.append(tables.series(f"{net}, learned", point, names[f"{net} learned"], style="published"))
  one = next(runs[0] for runs in found.values() if runs)
  spectrum, units = one["spectrum"], int(one["units"])
  grid = np.geomspace(0.01, 30, 200)
  theory = [(v, 1 - linear_vae.active(spectrum, units, v) / units) for v in grid]
  lines.append(tables.series("linear, by the eigenvalues", theory, style="theory"))
  first = tables.figure("Collapsed units by variance", "variance of p(x|z)", "share of units", lines, log="x")
  epsilons = []
  for cell, runs in found.items():
    if runs and not cell.endswith("learned"):
      shares = np.mean([run["inactive"][:-1] for run in runs], 0)
      epsilons.append(tables.series(cell, list(zip(EPSILONS[:-1], shares, strict=True)), names[cell]))
  second = tables.figure("Collapsed units by threshold", "epsilon, nats", "share of units", epsilons, log="x")
  drawn = [first | {"file": "collapse_by_variance.png"}]
  return [*drawn, second | {"file": "collapse_by_epsilon.png"}] if epsilons else drawn


def _sentences(cells: Mapping[str, dict[str, Any]]) -> list[str]:
  found = []
  off = [(n["units"] * abs(n["inactive"] - n["theory"]), n["units"]) for n in cells.values() if "theory" in n]
  if off:
    most, units = max(off)
    found.append(f"The linear VAE's collapsed units match the eigenvalues' prediction to within {most:.1f} of {units}.")
  for net in ("linear", "deep"):
    learned = cells.get(f"{net} learned")
    fixed = [n for c, n in cells.items() if c.startswith(net) and not c.endswith("learned")]
    if learned is None or not fixed:
      continue
    worst = max(fixed, key=lambda n: n["inactive"])
    gaps = measured.mean([a - b for a, b in zip(learned["by_seed"], worst["by_seed"], strict=False)])
    verdict = measured.words(measured.verdict(gaps.mean, 0.0, gaps.stderr, len(gaps.values)), "lower")
    ours, theirs = (f"{100 * n['inactive']:.0f} % of the units collapse" for n in (learned, worst))
    found.append(
      f"{net.capitalize()}: {ours} with a learned variance (in the end {learned['variance']:.3g}), {theirs} with one "
      f"fixed at {worst['variance']:.3g}; claim that a learned one collapses fewer: {verdict}."
    )
  return found


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  if "bounds" in numbers:
    parts = numbers["bounds"].items()
    show = lambda n: f"{n['elbo']:.1f} of {n['best']:.1f}"
    return {
      "system": "linear VAE against probabilistic PCA",
      "data": "grey MNIST digits, training set",
      "published": "the maximum ELBO is the log-likelihood of PCA",
      "ours": "ELBO of the maximum log p(x), nats: " + ", ".join(f"L = {cell}: {show(n)}" for cell, n in parts),
    }
  parts = numbers["collapse"].items()
  show = lambda net: ", ".join(f"{c.split()[1]}: {n['inactive']:.2f}" for c, n in parts if c.startswith(net))
  return {
    "system": "collapsed units by the variance of p(x|z)",
    "data": "grey MNIST digits, training set",
    "published": "large fixed variances collapse units, a learned one does not",
    "ours": f"share of units; linear: {show('linear')}; deep: {show('deep')}",
  }
