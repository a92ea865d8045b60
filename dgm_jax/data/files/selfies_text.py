"""SELFIES of SMILES and back (Krenn et al., 2020): every string of their symbols is a molecule."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import derivations

WHAT = "data.tokens = 'selfies'"


def versions() -> dict[str, str]:
  """Of the packages that strings depend on."""
  errors.import_package("selfies", WHAT)
  return {"selfies": metadata.version("selfies")}  # that of the module is not kept up to date


def symbols(smiles: str) -> str:
  """The symbols of a molecule, with spaces between them.

  Raises:
    UserError: the package selfies does not accept the SMILES.
  """
  selfies = errors.import_package("selfies", WHAT)
  try:
    return " ".join(selfies.split_selfies(selfies.encoder(smiles)))
  except selfies.EncoderError as e:
    said = str(e).strip().splitlines()[-1].strip().rstrip(".")
    raise errors.UserError(f"{smiles[:80]!r} has no SELFIES: {said[:120]}") from e


def of_lines(lines: Sequence[str], data_dir: str | None = None) -> list[str]:
  """`symbols` of every line; "" for those without SELFIES."""

  def one(line: str) -> str:
    try:
      return symbols(line)
    except errors.UserError:
      return ""

  name = f"SELFIES\n{versions()['selfies']}"
  made = derivations.kept(name, lines, lambda: {"text": np.array([one(line).encode() for line in lines])}, data_dir)
  return [text.decode() for text in made["text"].tolist()]


def smiles(pieces: Sequence[str]) -> str:
  """The SMILES of symbols."""
  return str(errors.import_package("selfies", WHAT).decoder("".join(pieces)))


def check_versions(about: Mapping[str, Any]) -> None:
  """Raises UserError if the run's symbols are those of another version of the package."""
  was, now = about.get("versions", {}).get("selfies"), versions()["selfies"]
  errors.require(
    was in (None, now), f"The run's molecules were written by selfies {was}; this is {now}, whose symbols may differ."
  )
