"""molecules: your own, SMILES in the lines of a .smi file or in a column of a .csv file, with a property or not.

Every line is checked by RDKit, and the first that it refuses is named.  The splits are drawn at random by line.
"""

import csv
import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import readers, tokenisation
from dgm_jax.data.splits import Splits, at_random

TOKENS = ("selfies", "rule", "character", "atom")


def _smi(path: pathlib.Path) -> tuple[list[str], list[int]]:
  """(SMILES, numbers of their lines); a name may follow a SMILES."""
  lines = path.read_text("utf-8").splitlines()
  for i, line in enumerate(lines, 1):
    errors.require(bool(line.strip()), f"{path}, line {i} is empty.")
  return [line.split()[0] for line in lines], list(range(1, 1 + len(lines)))


def _csv(path: pathlib.Path, column: str, target: str) -> tuple[list[str], list[int], np.ndarray | None]:
  """(SMILES, numbers of their lines, the property [N, 1] or None)."""
  with open(path, newline="", encoding="utf-8") as f:
    reader = csv.DictReader(f)
    header = list(reader.fieldnames or [])
    errors.choose(f"column of {path} for data.column", column, header)
    if target:
      errors.choose(f"column of {path} for data.target", target, header)
    rows = [(reader.line_num, row) for row in reader]
  found, values = [], []
  for number, row in rows:
    errors.require(bool((row[column] or "").strip()), f"{path}, line {number} has no SMILES.")
    found.append(row[column].strip())
    if target:
      try:
        values.append(float(row[target]))
      except (TypeError, ValueError) as e:
        raise errors.UserError(f"{path}, line {number}: {target} = {row[target]!r} is no number.") from e
      errors.require(bool(np.isfinite(values[-1])), f"{path}, line {number}: {target} is not finite.")
  return found, [number for number, _ in rows], np.array(values, np.float32)[:, None] if target else None


def _check(lines: list[str], numbers: list[int], path: pathlib.Path) -> None:
  chem = errors.import_package("rdkit.Chem", "A file of molecules")
  errors.import_package("rdkit.RDLogger", "A file of molecules").DisableLog("rdApp.*")
  for line, number in zip(lines, numbers, strict=True):
    errors.require("." not in line, f"{path}, line {number} is a mixture of several molecules: {line[:80]!r}.")
    errors.require(
      chem.MolFromSmiles(line) is not None, f"{path}, line {number} is no SMILES that RDKit accepts: {line[:80]!r}."
    )


def load(
  path: str,
  tokens: str = "selfies",
  column: str = "smiles",
  target: str = "",
  max_length: int = 0,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  data_dir: str | None = None,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]; with a target, y float32 [N, 1].

  Args:
    path: a .smi or .txt file, a SMILES at the beginning of each line; or a .csv file with a header.
    tokens: selfies, rule (of the SMILES grammar), character or atom.
    column, target: of a .csv file, the columns of the SMILES and of the property; "" for none.
    max_length: see tokenisation.encode.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
    data_dir: where SELFIES and derivations are kept, see cache.data_dir.
  """
  errors.choose("value of data.tokens", tokens, TOKENS)
  file = pathlib.Path(path).expanduser()
  errors.require(file.is_file(), f"{path} does not exist, or is a folder; molecules are a .smi or .csv file.")
  with readers.reading(file, "a text in UTF-8"):
    if file.suffix == ".csv":
      lines, numbers, y = _csv(file, column, target)
    else:
      errors.require(not target, f"data.target = {target!r} is a column of a .csv file; {path} has none.")
      (lines, numbers), y = _smi(file), None
  errors.require(bool(lines), f"{path} has no molecules.")
  _check(lines, numbers, file)
  arrays = {"text": np.array(lines, object)} | ({} if y is None else {"y": y})
  about = {} if y is None else {"responses": (target,)}
  splits = at_random(arrays, valid_fraction, test_fraction, split_seed, about)
  return tokenisation.encode(splits, tokens, 0, max_length, "smiles", data_dir)
