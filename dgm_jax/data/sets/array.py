"""array: the user's own data, from a file of arrays, a table, single cells, or a folder of images.

dgm_jax/data/README.md has a command for each.  The arrays of the splits are cached until the file or an option changes.
"""

import hashlib
import json
import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.cells import described_if_counts
from dgm_jax.data.files import images, readers, user_files, user_tables
from dgm_jax.data.files.table_options import Options, listed
from dgm_jax.data.published import cache
from dgm_jax.data.splits import Splits, random_indices

_TABLES = (".csv", ".tsv", ".parquet")
_VERSION = 4  # of the cached arrays
FORMATS = ".npz, .npy, .csv, .tsv, .parquet, .h5ad, or a folder of images"


def _kind(path: pathlib.Path) -> str:
  """The suffix, without .gz; "" for a folder."""
  errors.require(path.exists(), f"data.path {str(path)!r} does not exist.")
  readers.require_file(path)
  if path.is_dir():
    return ""
  kind = path.suffix.lower()
  if kind == ".gz" and (inner := pathlib.Path(path.stem).suffix.lower()) in (".csv", ".tsv"):
    return inner
  if kind in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
    raise errors.UserError(
      f"{path} is a pickle; pickles are never loaded, because they can run any code. If you trust it, save its arrays "
      "once with numpy.savez('data.npz', x=..., y=...) and use that file."
    )
  errors.require(
    kind in (".npz", ".npy", ".h5ad", *_TABLES), f"data.path {path} has an unknown format; supported: {FORMATS}."
  )
  return kind


def _read(path: pathlib.Path, kind: str, options: Options, layer: str, batch: str) -> tuple[dict, dict]:
  """({part: arrays}, about); the part is "all" if the file defines no splits."""
  if kind == ".npz":
    return user_files.archive(path, options)
  if kind == ".h5ad":
    arrays, about = user_files.cells(path, options, layer, batch)
  elif kind == ".npy":
    arrays, about = user_files.array(path, options)
  else:
    arrays, about = user_tables.table(path, options)
  return {"all": arrays}, about


def examples(path: pathlib.Path, options: Options | None = None) -> dict:
  """x [N, ...] of a file, and mask where entries are missing, and y if the file has it.

  Args:
    path: the file.
    options: how it is read; None for the defaults.

  Raises:
    UserError: the file cannot be read, or it has several parts.
  """
  kind = _kind(path)
  errors.require(
    kind not in ("", ".h5ad"), f"{path} is no table and no array; supported: .npz, .npy, .csv, .tsv, .parquet."
  )
  parts, _ = _read(path, kind, options or Options(), "", "")
  errors.require(list(parts) == ["all"], f"{path} has the parts {', '.join(parts)}; save the examples as one array x.")
  return parts["all"]


def _write(folder: pathlib.Path, parts: dict, about: dict, fractions: tuple[float, float, int]) -> None:
  """Writes the splits: the file's own, with a missing validation set held out of train, or random ones."""
  valid_fraction, test_fraction, seed = fractions
  for part, arrays in parts.items():
    n = size(arrays)
    split = {part: np.arange(n)}
    if part == "all":
      split = random_indices(n, valid_fraction, test_fraction, seed)
    elif part == "train" and "valid" not in parts and valid_fraction:
      held_out = random_indices(n, 0.0, valid_fraction, seed)
      split = {"train": held_out["train"], "valid": held_out["test"]}
    for name, array in arrays.items():
      for target, indices in split.items():
        cache.save_rows(folder / target / f"{name}.npy", array, indices)
  cache.save_about(folder, about)


def _check(path: pathlib.Path, kind: str, options: Options) -> None:
  """Raises UserError if an option is given that does not apply to this kind of file."""
  given = {k for k, v in options._asdict().items() if v != Options._field_defaults[k]}
  texts = {"separator", "decimal", "header"} if kind not in (".csv", ".tsv") else set()
  tables = {"columns", "missing", "target"} if not kind else set()
  for name in sorted(given & (texts | tables)):
    kinds = "a text file (.csv, .tsv)" if name in texts else "tables and arrays, not a folder of images"
    errors.require(False, f"The option data.{name} is for {kinds}; {path} is none.")


def load(
  path: str,
  target: str | None = None,
  columns: str | None = None,
  missing: str | None = None,
  separator: str | None = None,
  decimal: str = ".",
  header: bool | None = None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  image_size: int = 0,
  grey: bool = False,
  layer: str | None = None,
  batch: str | None = None,
  data_dir: str | None = None,
) -> Splits:
  """x [N, ...] and, if the file has them, y, mask, batch.

  Args:
    path: a file or a folder; see FORMATS.
    target: the column (table, obs) or the array (.npz; default y) that becomes y.
    columns: names or indices of the columns of x to use, "A,B"; all if it is not given.
    missing: texts or numbers that mark a missing entry, "A,B", in addition to empty cells, NA, NaN, null and the like.
    separator, decimal, header: of a text file; see table_options.Options, which has them all.
    valid_fraction, test_fraction, split_seed: for random splits, if the file defines none.
    image_size: side in pixels to which the largest central square is resized; 0: images are not resized.
    grey: whether to convert images to one channel.
    layer, batch: for .h5ad: the layer that holds the counts, and the column of obs with the batches.
    data_dir: where the result is kept; see cache.data_dir.
  """
  file = pathlib.Path(path).expanduser().absolute()
  kind = _kind(file)
  table = Options(separator or "", decimal, listed(missing), listed(columns), target or "", header)
  _check(file, kind, table)
  fractions = (valid_fraction, test_fraction, split_seed)
  used = [file] if kind else images.listed(file)
  stats = [(str(f), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for f in used for s in (f.stat(),)]
  options = [_VERSION, stats, table, fractions, image_size, grey, layer, batch]
  key = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]
  folder = cache.data_dir(data_dir) / "dgm_arrays" / f"own-{key}"

  def write(target: pathlib.Path) -> None:
    if kind:
      parts, about = _read(file, kind, table, layer or "", batch or "")
      _write(target, parts, about, fractions)
    else:
      images.write(target, file, used, image_size, grey, fractions)

  found = cache.cached(folder, ("train", "test"), write, what=path)
  return described_if_counts(Splits(found["train"], found.get("valid"), found["test"], found.about))
