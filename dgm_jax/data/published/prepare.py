"""What is known of a published data set: where it comes from, what it holds, how its files are read."""

from pathlib import Path

from dgm_jax.data.published import cache
from dgm_jax.data.published.spec import DataSet


def prepared(spec: DataSet, data_dir: str | None = None, manual_dir: str | None = None) -> cache.Parts:
  """The arrays of every part of a data set (and its `about`), prepared through TFDS once and mapped into memory.

  Args:
    spec: the data set.
    data_dir: where data sets live; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    manual_dir: a folder with the published files (or with a folder of the set's name that has them), instead of a
      download.

  Raises:
    UserError: no network and no manual_dir; a file that is missing, damaged or not what it should be; no space.
  """
  root = cache.data_dir(data_dir)

  def write(folder: Path) -> None:
    from dgm_jax.data.published import tfds_builder  # imports TFDS

    tfds_builder.write_arrays(spec, root, manual_dir, folder)

  return cache.cached(root / "dgm_arrays" / spec.folder, tuple(spec.sizes), write, spec.name, spec.features)
