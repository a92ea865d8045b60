"""Tables, figures and sentences about planar flows fitted to energies in the plane."""

import itertools
import pathlib
from typing import Any

import numpy as np

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from dgm_jax.experiments.harness import computed, measured, tables
from dgm_jax.experiments.papers.rezende2015 import planar_energies


def _read(setting: planar_energies.Setting, folder: pathlib.Path) -> dict[str, dict[int, dict[str, np.ndarray]]]:
  """{energy: {length: arrays}} of the finished fits."""
  found: dict[str, dict[int, dict]] = {name: {} for name in planar_energies.ENERGIES}
  for file, name, length in planar_energies.pieces(setting):
    if (arrays := computed.read(folder, file)) is not None:
      found[name][length] = arrays
  return {name: parts for name, parts in found.items() if parts}


def _fall(short: dict[str, np.ndarray], long: dict[str, np.ndarray]) -> dict[str, Any]:
  """Mean over fits of KL(long) - KL(short), fits paired by their number, with a verdict."""
  by_seed = measured.mean((long["kl"] - short["kl"]).tolist())
  noise = float(np.sqrt(np.mean(long["kl_error"] ** 2 + short["kl_error"] ** 2) / len(by_seed.values)))
  verdict = measured.verdict(by_seed.mean, noise, by_seed.stderr, len(by_seed.values))
  return {"difference": by_seed.mean, "stderr": by_seed.stderr, "verdict": verdict}


def _draw(found: dict[str, dict[int, dict]], path: pathlib.Path) -> None:
  """The density of each energy, and of its flows beside it."""
  lengths = sorted({length for parts in found.values() for length in parts})
  side = min(1.8, style.PAGE / (1 + len(lengths)))
  picture = figures.new(side * (1 + len(lengths)), (side + 0.1) * len(found))
  side = np.linspace(-planar_energies.WINDOW, planar_energies.WINDOW, planar_energies.BINS)
  z = np.stack(np.meshgrid(side, side, indexing="ij"), -1)
  for row, (name, parts) in enumerate(found.items()):
    panels = {f"exp(−{name})": np.exp(-np.asarray(planar_energies.energy(name, z)))}
    panels |= {f"K = {length}": part["density"] for length, part in parts.items()}
    for column, (title, density) in enumerate(panels.items()):
      axis = picture.add_subplot(len(found), 1 + len(lengths), row * (1 + len(lengths)) + column + 1, title=title)
      axis.imshow(
        density.T, origin="lower", cmap="cividis", extent=[-planar_energies.WINDOW, planar_energies.WINDOW] * 2
      )
      axis.set(xticks=[], yticks=[])
  figures.save(path, picture)


def report(setting: planar_energies.Setting, folder: pathlib.Path) -> dict[str, Any]:
  """Divergences by energy and length, whether they fall, pictures of densities."""
  found, rows, lines = _read(setting, folder), [], []
  divergences: dict[str, dict[str, Any]] = {}
  falls: dict[str, dict[str, Any]] = {}
  for name, parts in found.items():
    means = {length: measured.mean(part["kl"].tolist()) for length, part in parts.items()}
    divergences[name] = {str(length): {"kl": m.mean, "stderr": m.stderr} for length, m in means.items()}
    row = [tables.cell(name)]
    for length in setting.lengths:
      m = means.get(length)
      row.append(tables.cell("not finished" if m is None else f"{m.mean:.3f} ± {m.stderr:.3f}", ["computed"]))
    for a, b in itertools.pairwise(setting.lengths):
      if a in parts and b in parts:
        falls[f"{name}, K = {b} − K = {a}"] = _fall(parts[a], parts[b])
        row.append(tables.cell(measured.named_words(falls[f"{name}, K = {b} − K = {a}"]["verdict"], "lower")))
      else:
        row.append(tables.cell(""))
    rows.append(row)
    lines.append(tables.series(name, [(length, m.mean) for length, m in means.items()], ["computed"]))
  columns = ["energy", *(f"KL, K = {k}" for k in setting.lengths)]
  columns += [f"K = {b} against K = {a}" for a, b in itertools.pairwise(setting.lengths)]
  note = "KL(q || p) in nats, mean ± standard error over fits. Lower: below zero at 95 % by Student's t over the fits."
  drawn = []
  if found:
    curve = tables.figure("Divergence of fitted flows", "planar layers K", "KL(q || p), nats", lines, log="xy")
    curve["file"] = "divergences.png"
    _draw(found, folder / "densities.png")
    caption = "Left: the density of each energy; beside it: its best fits. Longer flows find more modes and bends."
    drawn = [curve, tables.picture("Densities in the window", "densities.png", caption)]
  return {
    "numbers": {"divergences": divergences, "falls": falls},
    "tables": [tables.table("Divergence of planar flows from the energies", columns, rows, note)] if rows else [],
    "figures": drawn,
    "sentences": _sentences(falls),
  }


def _sentences(falls: dict[str, dict[str, Any]]) -> list[str]:
  """Whether longer flows fit better."""
  if not falls:
    return []
  shown = [name for name, fall in falls.items() if fall["verdict"] == "lower"]
  rest = [name for name in falls if name not in shown]
  if not rest:
    return ["Longer flows fit better: shown for every energy and every increase in length."]
  return [f"Longer flows fit better: shown in {len(shown)} of {len(falls)} comparisons; not in {'; '.join(rest)}."]


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  by_energy = numbers["divergences"].items()
  show = lambda parts: ", ".join(f"{part['kl']:.3f} ± {part['stderr']:.3f}" for part in parts.values())
  lengths = ", ".join(next(iter(numbers["divergences"].values())))
  return {
    "system": f"planar flows, K = {lengths}",
    "data": "four energies in the plane",
    "published": "pictures: longer flows fit better",
    "ours": f"KL(q ‖ p) for K = {lengths}: " + "; ".join(f"{name} {show(parts)}" for name, parts in by_energy),
  }
