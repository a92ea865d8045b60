"""The tables of lin2018: modes reached, share of samples at a mode, KL of the modes' shares, seconds."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.sweeps import states

_DIGITS = {"modes": 1, "share": 1, "reverse_kl": 3}
_TITLES = {"modes": "modes", "share": "% within 3 sd", "reverse_kl": "reverse KL"}


def _label(item: str, cell: str) -> str:
  if item == "table=losses":
    loss, penalty = cell.split()
    return loss if penalty == "none" else f"{loss} + {penalty}"
  data, m, *b1 = cell.split("-")
  return f"{data}, {'GAN' if m == '1' else f'PacGAN{m}'}" + "".join(f", beta1 {b}" for b in b1)


def _published(cell: str) -> str:
  """The published row that a cell stands beside: grid-1-0.2 -> grid-1."""
  return "-".join(cell.split("-")[:2])


def _numbers(folder: pathlib.Path, runs: list[str]) -> dict[str, Any] | None:
  """{"averaged modes": mean, error, by seed, ...; "seconds"} of a cell's measured runs; None if there are none."""
  done = [name for name in runs if measured.file(folder, name).exists()]
  if not done:
    return None
  arrays = measured.arrays(folder, done)
  found: dict[str, Any] = {}
  for kind in ("averaged", "raw"):
    values = np.stack([a[kind] for a in arrays]) * np.array([1, 100, 1])
    for name, column in zip(_DIGITS, values.T, strict=True):
      found[f"{kind} {name}"] = measured.mean(list(column))._asdict() | {"values": list(map(float, column))}
  spent = [measured.provenance(states.folder(folder, name)) for name in done]
  found["seconds"] = float(np.mean([p.get("seconds", 0.0) for p in spent]))
  return found


def _texts(found: dict[str, Any], kind: str) -> list[str]:
  texts = []
  for name, digits in _DIGITS.items():
    number = found[f"{kind} {name}"]
    texts.append(tables.plus_minus(number["mean"], number["stderr"], digits=digits))
  return texts


def _row(item: str, cell: str, found: dict[str, Any], runs: list[str], published: Mapping[str, Value]) -> list[dict]:
  row = [tables.cell(_label(item, cell))]
  if item == "table=1":
    for name, digits in _DIGITS.items():
      value = published[f"{_published(cell)} {name}"]
      row.append(tables.published(tables.plus_minus(value.value, value.stderr, digits=min(digits, 2))))
  kinds = ("raw",) if item == "table=1" else ("averaged", "raw")
  texts = [text for kind in kinds for text in _texts(found, kind)]
  return row + [tables.cell(text, runs) for text in [*texts, f"{found['seconds']:.0f}"]]


def _sentences(item: str, cells: Mapping[str, Any]) -> list[str]:
  """What a smaller budget may be asked: whether two samples cover as many modes as one, more evenly."""
  if item == "table=losses":
    full = [_label(item, c) for c, f in cells.items() if min(f["averaged modes"]["values"]) == 25]
    return [f"All 25 modes in every seed, with the averaged generator: {', '.join(full) or 'none'}."]
  found = []
  for data in ("ring", "grid"):
    if {f"{data}-1", f"{data}-2"} <= cells.keys():
      one, two = cells[f"{data}-1"], cells[f"{data}-2"]
      more = two["raw modes"]["mean"] >= one["raw modes"]["mean"]
      even = two["raw reverse_kl"]["mean"] < one["raw reverse_kl"]["mean"]
      found.append(
        f"On the {data} PacGAN2 {'covers' if more else 'does not cover'} at least as many modes as the GAN, and its "
        f"mean reverse KL is {'lower' if even else 'not lower'}."
      )
  return found


def report(item: str, budget: Budget, published: Mapping[str, Value], folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  names = stages.run_names(budget)
  cells = {cell: found for cell, runs in names.items() if (found := _numbers(folder, runs))}
  of = lambda kind: [f"{title}{kind}" for title in _TITLES.values()]
  columns = [""] + (of(", published") + of("") if item == "table=1" else of(", averaged") + of(", raw"))
  rows = [_row(item, cell, found, names[cell], published) for cell, found in cells.items()]
  for cell in [c for c in names if cells and c not in cells]:  # not run yet, or ended by NaN
    rows.append([tables.cell(_label(item, cell)), tables.cell("no result"), *[tables.cell("")] * len(columns[1:])])
  made = [tables.table("Means over seeds ± standard error", [*columns, "seconds, all lanes"], rows)] if rows else []
  numbers = {"item": item, "cells": cells}
  return {"numbers": numbers, "tables": made, "figures": [], "sentences": _sentences(item, cells) if cells else []}


def summary(numbers: dict[str, Any], published: Mapping[str, Value]) -> dict[str, str]:
  """A row of README's table."""
  item, cells = numbers["item"], numbers["cells"]
  kind = "raw" if item == "table=1" else "averaged"
  ours = [f"{_label(item, cell)} {', '.join(_texts(found, kind))}" for cell, found in cells.items()]
  values = lambda cell: ", ".join(f"{published[f'{_published(cell)} {name}'].value:g}" for name in _DIGITS)
  known = [f"{_label(item, cell)} {values(cell)}" for cell in (cells if item == "table=1" else ())]
  losses = item == "table=losses"
  return {
    "system": "GANs: modes, % of samples within 3 sd, reverse KL" + (", every loss" if losses else ", packing"),
    "data": "25 normals on a grid" if losses else "ring and grid of normals",
    "published": "none" if losses else "; ".join(known),
    "ours": "; ".join(ours),
  }
