"""dgm_jax: deep generative models in JAX, log p(x) first."""

import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any

import jaxlib

# jaxlib 0.10.2 compiles some sums over the last axis for the CPU to wrong code: of jit(lambda z, w, b: (w * z).sum(-1)
# + b) all results after the first 32,768 or so are off by whole units (compare jax-ml/jax#39103; 0.12 is right).
# Without its fusion they are right.  The flag counts if it is set before JAX is first used; other versions do not
# know it.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type="
if jaxlib.__version__ == "0.10.2" and _FLAG not in os.environ.get("XLA_FLAGS", ""):
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()


if TYPE_CHECKING:
  from dgm_jax.api import load, pack, sweep, train
  from dgm_jax.applications.colour.colouriser import Colouriser
  from dgm_jax.applications.imputation.table_imputer import TableImputer
  from dgm_jax.applications.imputation.transformer import MIWAEImputer
  from dgm_jax.applications.molecules.molecule_vae import MoleculeVAE
  from dgm_jax.applications.sentences.sentence_vae import SentenceVAE
  from dgm_jax.applications.single_cell.annotated import SCANVI
  from dgm_jax.applications.single_cell.model import SCVI
  from dgm_jax.applications.world_models.world_model import WorldModel

  __version__: str

# Imported when they are first used: JAX's flags may be set after `import dgm_jax`, which takes no time.
_LAZY = dict.fromkeys(("load", "pack", "sweep", "train"), "dgm_jax.api")
_LAZY["Colouriser"] = "dgm_jax.applications.colour.colouriser"
_LAZY["MIWAEImputer"] = "dgm_jax.applications.imputation.transformer"
_LAZY["MoleculeVAE"] = "dgm_jax.applications.molecules.molecule_vae"
_LAZY["SCANVI"] = "dgm_jax.applications.single_cell.annotated"
_LAZY["SCVI"] = "dgm_jax.applications.single_cell.model"
_LAZY["SentenceVAE"] = "dgm_jax.applications.sentences.sentence_vae"
_LAZY["TableImputer"] = "dgm_jax.applications.imputation.table_imputer"
_LAZY["WorldModel"] = "dgm_jax.applications.world_models.world_model"

__all__ = [
  "SCANVI",
  "SCVI",
  "Colouriser",
  "MIWAEImputer",
  "MoleculeVAE",
  "SentenceVAE",
  "TableImputer",
  "WorldModel",
  "__version__",
  "load",
  "pack",
  "sweep",
  "train",
]


def _version() -> str:
  """The version of the installed package; in a folder that was never installed, the one that setup.cfg says."""
  import configparser
  import pathlib
  from importlib import metadata

  with contextlib.suppress(metadata.PackageNotFoundError):
    return metadata.version("dgm_jax")
  found = configparser.ConfigParser()
  found.read(pathlib.Path(__file__).parents[1] / "setup.cfg")
  return found.get("metadata", "version", fallback="unknown")


def __getattr__(name: str) -> Any:
  """The names of _LAZY, and __version__, at their first use."""
  if name == "__version__":
    value = _version()
  elif name in _LAZY:
    try:
      value = getattr(importlib.import_module(_LAZY[name]), name)
    except ModuleNotFoundError as e:
      from dgm_jax.core import errors

      raise ImportError(errors.missing_package(e) or str(e), name=e.name) from e
  else:
    raise AttributeError(f"module 'dgm_jax' has no attribute {name!r}")
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  """All names, also those that are imported at their first use."""
  return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
