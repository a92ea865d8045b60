"""The .h5ad file that the command writes: the input's cells with their latent space, library and normalised counts."""

import json
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import cell_files

KEY = "X_scVI"


def _as_anndata(path: pathlib.Path) -> Any:
  """The cells of a file of another format, with sparse counts."""
  import scipy.sparse

  anndata, pandas = (errors.import_package(name, str(path)) for name in ("anndata", "pandas"))
  with cell_files.opened(path) as file:
    blocks = [scipy.sparse.csr_matrix(x) for _, x in file.blocks()]
    obs = pandas.DataFrame({c: np.asarray(file.column(c)) for c in file.columns}, index=file.cells)
    return anndata.AnnData(scipy.sparse.vstack(blocks).tocsr(), obs, pandas.DataFrame(index=file.genes))


def write(
  out: pathlib.Path,
  source: pathlib.Path,
  z: np.ndarray,
  library: np.ndarray,
  normalised: Any,
  about: dict[str, Any],
) -> None:
  """Writes a copy of the source with obsm["X_scVI"], obs["library"], uns["dgm_jax_scvi"], and obsm["X_normalized"].

  Args:
    out: an .h5ad, which is complete or absent.
    source: the input, which is not changed.
    z: E_q[z|x], [N, L].
    library: l, [N].
    normalised: a DataFrame [N, G] of rho, or None.
    about: settings and scores, as JSON.
  """
  anndata, h5py = (errors.import_package(name, str(out)) for name in ("anndata", "h5py"))
  with files.whole(out) as temporary:
    if source.suffix.lower() == ".h5ad":
      shutil.copyfile(source, temporary)
    else:
      with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder, "cells.h5ad")
        _as_anndata(source).write_h5ad(made)
        shutil.copyfile(made, temporary)
    with h5py.File(temporary, "r+", locking=False) as file:  # `whole` has locked it
      write_elem = anndata.io.write_elem
      for name in ("obsm", "uns"):
        if name not in file:
          write_elem(file, name, {})
      write_elem(file, f"obsm/{KEY}", z.astype(np.float32))
      obs = anndata.io.read_elem(file["obs"])
      obs["library"] = library.astype(np.float32)
      write_elem(file, "obs", obs)
      if normalised is not None:
        normalised.index = obs.index
        write_elem(file, "obsm/X_normalized", normalised)
      write_elem(file, "uns/dgm_jax_scvi", json.dumps(about, default=str))
