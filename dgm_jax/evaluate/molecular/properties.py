"""Properties of single molecules by RDKit: canonical SMILES, fingerprints, scaffolds, fragments, logP, QED, SA."""

import functools
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dgm_jax.core import errors

NUM_BITS, RADIUS = 1024, 2  # of Morgan fingerprints, as in MOSES
DESCRIPTORS = ("logP", "QED", "SA", "weight")


def rdkit(what: str = "A measure of molecules") -> ModuleType:
  """The package, quiet.  Raises UserError: it is not installed."""
  errors.import_package("rdkit", what)
  log = errors.import_package("rdkit.RDLogger", what)
  log.DisableLog("rdApp.*")
  return errors.import_package("rdkit.Chem", what)


def version() -> str:
  """Of RDKit, on which every number of molecules depends."""
  return str(errors.import_package("rdkit", "A measure of molecules").__version__)


def molecule(smiles: str) -> Any:
  """The molecule of a SMILES; None if RDKit refuses it, or it is empty."""
  return (rdkit().MolFromSmiles(smiles) or None) if smiles.strip() else None


def molecules(smiles: Sequence[str]) -> list[Any]:
  """`molecule` of each."""
  return [molecule(s) for s in smiles]


def canonical(mols: Sequence[Any]) -> list[str | None]:
  """The canonical SMILES of each molecule; None where there is none."""
  chem = rdkit()
  return [None if mol is None else chem.MolToSmiles(mol) for mol in mols]


def check(lines: Sequence[str], what: str = "molecule") -> None:
  """Raises UserError, which names the line: an empty one, one of several molecules, or one that RDKit refuses."""
  for i, line in enumerate(lines, 1):
    errors.require(bool(line.strip()), f"{what} {i} is empty.")
    errors.require("." not in line, f"{what} {i} is a mixture of several molecules: {line[:80]!r}.")
    errors.require(molecule(line) is not None, f"{what} {i} is no SMILES that RDKit accepts: {line[:80]!r}.")


def fingerprints(mols: Sequence[Any]) -> np.ndarray:
  """Morgan fingerprints, float32 [N, 1024] of 0 and 1."""
  rdkit()
  from rdkit.Chem import rdFingerprintGenerator

  make = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=NUM_BITS)
  found = np.zeros((len(mols), NUM_BITS), np.float32)
  for row, mol in zip(found, mols, strict=True):
    row[list(make.GetFingerprint(mol).GetOnBits())] = 1
  return found


def fragments(mol: Any) -> list[str]:
  """SMILES of the parts between the bonds that BRICS breaks (Degen et al., 2008)."""
  chem = rdkit()
  from rdkit.Chem import BRICS

  return chem.MolToSmiles(BRICS.BreakBRICSBonds(mol)).split(".")


def scaffold(mol: Any) -> str | None:
  """SMILES of the Bemis-Murcko scaffold, if it has two rings or more."""
  chem = rdkit()
  from rdkit.Chem.Scaffolds import MurckoScaffold

  found = MurckoScaffold.GetScaffoldForMol(mol)
  return chem.MolToSmiles(found) if found.GetRingInfo().NumRings() >= 2 else None


@functools.cache
def _sa_scorer() -> Callable[[Any], float]:
  """The synthetic accessibility of Ertl & Schuffenhauer (2009), in the folder of contributions of RDKit's wheel."""
  rdkit()
  from rdkit.Chem import RDConfig

  path = pathlib.Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
  errors.require(path.is_file(), f"RDKit has no SA score here: {path} does not exist.")
  spec = importlib.util.spec_from_file_location("sascorer", path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.calculateScore


def synthetic_accessibility(mol: Any) -> float:
  """1 (easy) to 10 (hard)."""
  return float(_sa_scorer()(mol))


def descriptors(mols: Sequence[Any]) -> np.ndarray:
  """logP, QED, SA and weight (g/mol), float64 [N, 4]."""
  rdkit()
  from rdkit.Chem import QED, Crippen, Descriptors

  rows = [(Crippen.MolLogP(m), QED.qed(m), synthetic_accessibility(m), Descriptors.MolWt(m)) for m in mols]
  return np.array(rows, np.float64).reshape(len(mols), len(DESCRIPTORS))


def largest_ring(mol: Any) -> int:
  """Atoms of the largest ring; 0 without one."""
  return max(map(len, mol.GetRingInfo().AtomRings()), default=0)


def penalised_log_p_terms(mols: Sequence[Any]) -> np.ndarray:
  """logP, -SA and -max(0, largest ring - 6), float64 [N, 3], which Kusner et al. (2017) standardise and add up."""
  rdkit()
  from rdkit.Chem import Crippen

  rows = [(Crippen.MolLogP(m), -synthetic_accessibility(m), -max(0, largest_ring(m) - 6)) for m in mols]
  return np.array(rows, np.float64).reshape(len(mols), 3)
