"""Checksums of files whose publisher gives none: recorded when a file is first used, and compared ever after.

DATA_DIR/checksums/NAME.json has, for each such file of a data set, its size, sha256 and the day of its first use.  It
outlives the prepared arrays, so that a file which changes at its source, or in another folder, does not go unnoticed.
"""

import datetime
import pathlib

from absl import logging
from tensorflow_datasets.core.download import checksums

from dgm_jax.core import errors, files
from dgm_jax.data.published.raw_files import registered
from dgm_jax.data.published.spec import DataSet


def record(spec: DataSet, data_dir: pathlib.Path) -> pathlib.Path:
  """Where the checksums of a data set are recorded."""
  return data_dir / "checksums" / f"{spec.name.replace('/', '-')}.json"


def check(spec: DataSet, found: dict[str, pathlib.Path], data_dir: pathlib.Path) -> dict[str, dict]:
  """Compares files without a published checksum with those of their first use.

  Args:
    spec: the data set.
    found: {key: path} of its files.
    data_dir: the folder of all data sets.

  Returns:
    {file: what is to be recorded}, for `keep`, of those that are used for the first time.

  Raises:
    UserError: a file is not the one that was first used, or the record is damaged.
  """
  place, new = record(spec, data_dir), {}
  known = files.read_json(place) or {}
  errors.require(
    isinstance(known, dict) and all(isinstance(entry, dict) and "sha256" in entry for entry in known.values()),
    f"{place} is damaged; remove it, and the checksums of the files are recorded anew.",
  )
  for key, path in found.items():
    file = spec.files[key]
    if file.git_blob or file.url in registered():
      continue
    info = checksums.compute_url_info(path)
    if file.name not in known:
      day = datetime.date.today().isoformat()
      new[file.name] = {"size": int(info.size), "sha256": info.checksum, "first_used": day, "from": file.url}
      continue
    first = known[file.name]
    errors.require(
      first["sha256"] == info.checksum,
      f"{path} is not the file {file.name} that {spec.name} first used here: its sha256 is {info.checksum}, that of "
      f"{first.get('first_used', 'then')} was {first['sha256']}. No checksum of it is published; if it may have "
      f"changed, remove {place}.",
    )
  return new


def keep(spec: DataSet, data_dir: pathlib.Path, new: dict[str, dict]) -> None:
  """Records what `check` returned, once the data set could be made of these files, and says so."""
  if not new:
    return
  place = record(spec, data_dir)
  place.parent.mkdir(parents=True, exist_ok=True)
  files.write_json(place, (files.read_json(place) or {}) | new)
  for name, entry in new.items():
    logging.warning(
      "%s: no checksum of %s is published; its sha256 %s is recorded in %s, and compared from now on.",
      spec.name, name, entry["sha256"], place,
    )  # fmt: skip
