"""zinc250k: 250,000 drug-like molecules of ZINC as SMILES (Gomez-Bombarelli et al., 2018; Kusner et al., 2017).

Members: jtvae, the split of Jin et al. (2018), 220,011 / 24,445 / 5,000; small, which trains on their validation part
and tests on their test part, for quick experiments (not comparable with published results); properties, 249,455
molecules with logP, qed and SAS (synthetic accessibility), split at random.

Reconstruction, validity and likelihood depend on how a molecule is written (the published strings, with stereo marks)
and on the tokens: per-token results for "character" and "atom" are not comparable.
"""

import pathlib
import re

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers, tokenisation
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import TEXT, DataSet, File
from dgm_jax.data.splits import Splits, at_random

RESPONSES = ("logP", "qed", "SAS")
_JTVAE = "https://github.com/wengong-jin/icml18-jtnn/raw/master/data/zinc/"
_CSV = "250k_rndm_zinc_drugs_clean_3.csv"
_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$:/\\.%*~]+")


def smiles(lines: list[str], path: pathlib.Path) -> list[str]:
  """Returns the lines; raises UserError if one does not look like SMILES."""
  bad = next((i for i, line in enumerate(lines) if not _SMILES.fullmatch(line)), None)
  if bad is not None:
    raise errors.UserError(f"{path} must hold one SMILES per line, but number {bad + 1} is {lines[bad][:80]!r}.")
  return lines


def _read_split(files: dict[str, pathlib.Path]) -> dict:
  return {part: {"text": smiles(readers.lines(path), path)} for part, path in files.items()}


def _read_properties(files: dict[str, pathlib.Path]) -> dict:
  path = files["csv"]
  expected = f"a .csv table with columns smiles, {', '.join(RESPONSES)}"
  table = readers.table(path, expected)
  with readers.reading(path, expected):
    text = [str(s).strip() for s in table["smiles"]]  # in quotes, with a trailing line break
    table = table[list(RESPONSES)]
  y = readers.numbers(table, path).astype(np.float32)
  errors.require(bool(np.isfinite(y).all()), f"{path} is not {expected}: some values are missing.")
  return {"molecules": {"text": smiles(text, path), "y": y}}


_ZINC = DataSet(
  name="zinc250k/jtvae",
  description="SMILES of 250,000 molecules, in the split of the junction tree VAE.",
  homepage="https://github.com/wengong-jin/icml18-jtnn",
  license="MIT; ZINC is free to use, its redistribution in bulk by permission of its authors",
  citation="Jin, Barzilay and Jaakkola: Junction tree variational autoencoder, ICML 2018; "
  "Irwin, Sterling, Mysinger, Bolstad and Coleman: ZINC, 2012.",
  files={p: File(f"{_JTVAE}{p}.txt", f"jtvae_zinc250k_{p}.txt") for p in ("train", "valid", "test")},
  features={"text": ((), TEXT)},
  sizes={"train": 220_011, "valid": 24_445, "test": 5_000},
  read=_read_split,
)
DATA_SETS = (
  _ZINC,
  _ZINC._replace(
    name="zinc250k/small",
    description="The validation part of zinc250k/jtvae for training, and its test part.",
    files={"train": _ZINC.files["valid"], "test": _ZINC.files["test"]},
    sizes={"train": 24_445, "test": 5_000},
  ),
  _ZINC._replace(
    name="zinc250k/properties",
    description="SMILES of 249,455 molecules with logP, qed and synthetic accessibility.",
    homepage="https://github.com/aspuru-guzik-group/chemical_vae",
    license="Apache 2.0; ZINC is free to use, its redistribution in bulk by permission of its authors",
    citation="Gomez-Bombarelli et al.: Automatic chemical design using a data-driven continuous representation of "
    "molecules, ACS Central Science, 2018.",
    files={
      "csv": File(f"https://github.com/aspuru-guzik-group/chemical_vae/raw/main/models/zinc_properties/{_CSV}", _CSV)
    },
    features={"text": ((), TEXT), "y": ((len(RESPONSES),), "float32")},
    sizes={"molecules": 249_455},
    read=_read_properties,
  ),
)


def _split(member: str, parts: dict[str, Arrays], *fractions) -> Splits:
  if "molecules" in parts:
    return at_random(parts["molecules"], *fractions, about={"responses": RESPONSES})
  errors.require(
    fractions == (0.1, 0.1, 0),
    f"zinc250k/{member} has a published split: data.valid_fraction, data.test_fraction and data.split_seed are "
    "options of zinc250k/properties only.",
  )
  return Splits(parts["train"], parts.get("valid"), parts["test"])


def load(
  member: str,
  data_dir: str | None = None,
  manual_dir: str | None = None,
  tokens: str = "character",
  max_length: int = 0,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]; properties has y float32 [N, 3], named by about["responses"].

  Args:
    member: jtvae, small or properties.
    data_dir, manual_dir: see prepare.prepared.
    tokens, max_length: see tokenisation.encode.
    valid_fraction, test_fraction, split_seed: for properties only; see splits.at_random.
  """
  spec = next(s for s in DATA_SETS if s.name == f"zinc250k/{member}")
  parts = prepared(spec, data_dir, manual_dir)
  splits = _split(member, parts, valid_fraction, test_fraction, split_seed)
  return tokenisation.encode(splits, tokens, 0, max_length, "smiles", data_dir)
