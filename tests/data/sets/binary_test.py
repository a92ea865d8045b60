"""The binary sets: parts, columns and values of both formats; damaged files; the two divisions of dna."""

import gzip

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data.published import fingerprints
from dgm_jax.data.published.prepare import prepared
from helpers.made import made

_SPECS = {s.name.partition("/")[2]: s for s in data.published().values() if s.name.startswith("binary/")}
_PARTS = ("train", "valid", "test")
_SIZES = {"train": 5, "valid": 3, "test": 4}
RNG = np.random.default_rng(0)


def _rows(columns):
  return {part: (RNG.random((n, columns)) < 0.5).astype(np.float32) for part, n in _SIZES.items()}


def _write(folder, member, rows):
  """In the published format, the last text file gzipped."""
  if member in ("dna", "nips"):
    np.savez(folder / f"{member}.npz", **{f"{part}_data": x for part, x in rows.items()})
    return
  for part, x in rows.items():
    text = "".join(",".join(f"{v:g}" for v in row) + "\n" for row in x).encode()
    name = f"{member.removesuffix('_debd')}.{part}.data"
    (folder / (name + ".gz" * (part == "test"))).write_bytes(gzip.compress(text) if part == "test" else text)


@pytest.mark.parametrize("member,columns", [("dna", 180), ("dna_debd", 180), ("nltcs", 16)])
def test_rows_in_both_published_formats(tmp_path, member, columns):
  rows = _rows(columns)
  _write(tmp_path, member, rows)
  found = prepared(made(_SPECS[member], **_SIZES), str(tmp_path / "data"), str(tmp_path))
  for part in _PARTS:
    assert found[part]["x"].dtype == bool
    np.testing.assert_array_equal(found[part]["x"], rows[part])


@pytest.mark.parametrize("member,change,named", [
  ("nltcs", lambda x: x[:, :15], r"16 numbers 0 or 1.*the train part has shape \[5, 15\]"),
  ("nltcs", lambda x: 2 * x, "the train part has values other than 0 and 1"),
  ("nips", lambda x: x[:, :10], r"the train part has shape \[5, 10\]"),
  ("nips", lambda x: x - 1, "the train part has values other than 0 and 1"),
])  # fmt: skip
def test_damaged_files_are_named(tmp_path, member, change, named):
  rows = _rows({"nltcs": 16, "nips": 500}[member])
  _write(tmp_path, member, rows | {"train": change(rows["train"])})
  with pytest.raises(errors.UserError, match=named):
    prepared(made(_SPECS[member], **_SIZES), str(tmp_path / "data"), str(tmp_path))


def test_both_divisions_of_dna_have_the_same_rows(raw_data, tmp_path):
  load = lambda name, folder: data.load(f"binary/{name}", data_dir=str(tmp_path), manual_dir=str(raw_data / folder))
  ours, other = load("dna", "nade_uci"), load("dna_debd", "debd")
  np.testing.assert_array_equal(ours.test["x"], other.test["x"])
  rows = lambda s: np.concatenate([s.train["x"], s.valid["x"]])
  in_order = lambda x: x[np.lexsort(x.T)]
  np.testing.assert_array_equal(in_order(rows(ours)), in_order(rows(other)))
  assert (len(ours.train["x"]), len(other.train["x"])) == (1400, 1600)


def test_fingerprints_of_all_sets_are_registered():
  for spec in _SPECS.values():
    known = fingerprints.registered()[spec.folder]
    assert {part: (f.dtype, f.shape) for (part, _), f in known.items()} == {
      part: ("b1", f"{n}x{spec.features['x'][0][0]}") for part, n in spec.sizes.items()
    }
