"""Prepares a published data set through TFDS, and maps its arrays into memory."""

from pathlib import Path

from dgm_jax.data.published import cache
from dgm_jax.data.published.spec import DataSet


def prepared(spec: DataSet, data_dir: str | None = None, manual_dir: str | None = None) -> cache.Parts:
  """The arrays of every part of a data set (and its `about`), prepared through TFDS once and mapped into memory.

  Args:
    spec: the data set.
    data_dir: the folder of all data sets; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    manual_dir: a folder with the published files, directly or in a sub-folder with the set's name, to be used instead
      of a download.

  Raises:
    UserError: no network and no manual_dir; a missing, damaged or wrong file; a full disk.
  """
  root = cache.data_dir(data_dir)

  def write(folder: Path) -> None:
    from dgm_jax.data.published import tfds_builder  # imports TFDS

    tfds_builder.write_arrays(spec, root, manual_dir, folder)

  return cache.cached(root / "dgm_arrays" / spec.folder, tuple(spec.sizes), write, spec.name, spec.features)
