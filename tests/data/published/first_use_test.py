"""Files without a published checksum: the first is recorded, another one refused; none comes unverified by http."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data.published import first_use, raw_files
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File


def _read(found):
  return {"rows": {"x": np.loadtxt(found["numbers"], dtype=np.float32, ndmin=2)}}


SPEC = DataSet(
  "pairs", "Pairs.", "https://example.org", "none", "none", {"numbers": File("https://example.org/n.txt", "n.txt")},
  {"x": ((2,), "float32")}, {"rows": 3}, _read,
)  # fmt: skip


def _forget(folder: pathlib.Path) -> None:
  """Removes what was prepared, as a user does to prepare a set again."""
  shutil.rmtree(folder / "dgm_arrays")
  shutil.rmtree(folder / "dgm_pairs")


def test_a_file_without_a_checksum_is_compared_with_the_first(tmp_path, caplog):
  folder, raw = tmp_path / "data", tmp_path / "n.txt"
  raw.write_text("1 2\n3 4\n")
  with pytest.raises(errors.UserError, match="2 rows examples were read, 3 are published"):
    prepared(SPEC, str(folder), str(tmp_path))
  place = first_use.record(SPEC, folder)
  assert not place.exists()  # of a file that did not serve nothing is recorded
  raw.write_text("1 2\n3 4\n5 6\n")
  prepared(SPEC, str(folder), str(tmp_path))
  assert "no checksum of n.txt is published" in caplog.text and str(place) in caplog.text
  [entry] = json.loads(place.read_text()).values()
  assert entry["size"] == 12 and len(entry["sha256"]) == 64
  _forget(folder)
  caplog.clear()
  prepared(SPEC, str(folder), str(tmp_path))  # the same file
  assert "n.txt" not in caplog.text
  _forget(folder)
  raw.write_text("1 2\n3 4\n5 7\n")
  with pytest.raises(errors.UserError, match=rf"n.txt that pairs first used here.*{entry['sha256']}.*remove {place}"):
    prepared(SPEC, str(folder), str(tmp_path))
  place.write_text("[1]")
  with pytest.raises(errors.UserError, match="is damaged; remove it"):
    prepared(SPEC, str(folder), str(tmp_path))


def test_damaged_metadata_of_a_prepared_set_are_named(tmp_path):
  folder = tmp_path / "data"
  (tmp_path / "n.txt").write_text("1 2\n3 4\n5 6\n")
  prepared(SPEC, str(folder), str(tmp_path))
  shutil.rmtree(folder / "dgm_arrays")
  [info] = (folder / "dgm_pairs").rglob("dataset_info.json")
  for content in (b"{", b"[]", bytes(range(128, 256)), b'{"splits": 3}'):
    info.write_bytes(content)
    with pytest.raises(errors.UserError, match=f"about pairs is damaged; remove the folder {folder / 'dgm_pairs'}"):
      prepared(SPEC, str(folder), str(tmp_path))


def test_no_file_comes_by_http_without_a_registered_checksum():
  every = [file for spec in data.published().values() for file in spec.files.values() if file.url]
  assert [f.url for f in every if not f.url.startswith("https://") and f.url not in raw_files.registered()] == []
