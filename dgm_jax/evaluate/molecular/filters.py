"""The filters of medicinal chemistry of MOSES (Polykovskiy et al., 2020)."""

import csv
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors
from dgm_jax.evaluate.molecular import properties

FILES = ("mcf.csv", "wehi_pains.csv")
_ALLOWED = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}


def folder() -> pathlib.Path | None:
  """That of the files in the package molsets, if it is installed; it is not imported, because it needs much."""
  spec = importlib.util.find_spec("moses") if errors.is_installed("moses") else None
  places = list(spec.submodule_search_locations or ()) if spec else []
  return next((p for p in (pathlib.Path(place) / "metrics" for place in places) if (p / FILES[0]).is_file()), None)


def read(given: str = "") -> list[Any]:
  """The patterns of a folder with mcf.csv and wehi_pains.csv, of a .csv file, or of the package molsets.

  Raises:
    UserError: there is no such file, or a pattern that RDKit does not accept; without `given` and molsets, how to get
      them.
  """
  place = pathlib.Path(given).expanduser() if given else folder()
  errors.require(
    place is not None,
    "The filters of MOSES are files of the package molsets: pip install --no-deps molsets, or name a folder with "
    f"{' and '.join(FILES)}, or a .csv file with a column `smarts`.",
  )
  assert place is not None
  paths = [place / name for name in FILES] if place.is_dir() else [place]
  return [pattern for path in paths for pattern in _patterns(path)]


def _patterns(path: pathlib.Path) -> list[Any]:
  errors.require(path.is_file(), f"{path} does not exist.")
  chem = properties.rdkit()
  with open(path, newline="", encoding="utf-8") as f:
    rows = list(csv.reader(f))
  errors.require(bool(rows), f"{path} has no patterns.")
  named = "smarts" in rows[0]  # wehi_pains.csv has no names of columns; its first one has the patterns
  column = rows[0].index("smarts") if named else 0
  found = [chem.MolFromSmarts(row[column]) if len(row) > column else None for row in rows[named:]]
  bad = next((i for i, pattern in enumerate(found) if pattern is None), None)
  errors.require(bad is None, f"{path}, line {(bad or 0) + 1 + named}: RDKit does not accept the pattern.")
  return found


def passes(mol: Any, patterns: Sequence[Any]) -> bool:
  """Whether a molecule has no ring of eight atoms or more, no charge, only usual elements, and none of the patterns."""
  if properties.largest_ring(mol) >= 8:
    return False
  whole = properties.rdkit().AddHs(mol)
  if any(a.GetFormalCharge() or a.GetSymbol() not in _ALLOWED for a in whole.GetAtoms()):
    return False
  return not any(whole.HasSubstructMatch(pattern) for pattern in patterns)
