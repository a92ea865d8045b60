"""Counts of words and of genes: the published numbers, with the names of columns and classes."""

import collections
import io
import shutil
import tarfile

import h5py
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.sets import newsgroups, scrna
from helpers.made import made

_WORDS = ("the", "a", "x", "god", "atheism", *(f"word{i}" for i in range(5_100)))


def _triples(seed, num_documents, num_words):
  """Lines 'document word count', indices from 1, sorted as published; the last document has stop words only."""
  rng = np.random.RandomState(seed)
  lines = []
  for document in range(1, num_documents):
    words = 1 + np.unique(np.r_[rng.permutation(num_words)[:400], [0, 3]])
    lines += [(document, w, rng.randint(1, 9)) for w in words]
  return lines + [(num_documents, 1, 5)]


def _write(folder, parts, vocabulary=_WORDS, **replaced):
  (folder / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n")
  with tarfile.open(folder / "20news-bydate-matlab.tgz", "w:gz") as archive:
    for part, (triples, labels) in parts.items():
      for kind, rows in (("data", triples), ("label", [(y,) for y in labels])):
        raw = "".join(f"{' '.join(map(str, r))}\n" for r in rows).encode()
        raw = replaced.get(f"{part}_{kind}", raw)
        info = tarfile.TarInfo(f"20news-bydate/matlab/{part}.{kind}")
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))


_PARTS = {
  "train": (_triples(0, 40, len(_WORDS) - 50), [1 + i // 2 for i in range(40)]),
  "test": (_triples(1, 21, len(_WORDS)), [1 + i % 20 for i in range(21)]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(newsgroups, "DATA_SETS", (made(newsgroups.DATA_SETS[0], train=40, test=21),))
  _write(tmp_path, _PARTS)
  return tmp_path


def _load(folder, **options):
  return data.load("newsgroups", data_dir=str(folder / "data"), manual_dir=str(folder), **options)


def test_newsgroups_counts_equal_the_files(folder):
  loaded = _load(folder, vocabulary_size=300)
  total = collections.Counter()
  for _, word, count in _PARTS["train"][0]:
    total[_WORDS[word - 1]] += count
  for left_out in ("the", "a", "x"):
    del total[left_out]
  words = loaded.about["vocabulary"]
  assert words[0] == "god"
  assert [total[w] for w in words] == sorted(total.values(), reverse=True)[:300]
  assert not {"the", "a", "x"} & set(words)
  for part, (triples, labels) in _PARTS.items():
    arrays = getattr(loaded, part)
    expected = np.zeros((len(labels), 300), int)
    for document, word, count in triples:
      if _WORDS[word - 1] in words:
        expected[document - 1, words.index(_WORDS[word - 1])] = count
    np.testing.assert_array_equal(arrays["x"], expected[:-1])  # the last document has no words left
    np.testing.assert_array_equal(arrays["y"], np.array(labels[:-1]) - 1)
    assert (arrays["x"].dtype, arrays["y"].dtype) == (np.int32, np.int32)
  assert loaded.about["dropped"] == {"train": 1, "test": 1}
  assert loaded.about["classes"][0] == "alt.atheism"
  assert loaded.about["classes"][19] == "talk.religion.misc"
  assert sorted(loaded.about["classes"]) == list(loaded.about["classes"])  # labels index them in this order


def test_newsgroups_hold_out_documents_of_many_groups(folder):
  whole, loaded = _load(folder, vocabulary_size=50), _load(folder, vocabulary_size=50, valid_size=12)
  assert size(loaded.train) + size(loaded.valid) == 39  # one document has no words left
  assert len(set(loaded.valid["y"].tolist())) > 6  # the last 12 are in 6 groups
  rows = lambda *parts: sorted(tuple(r) for p in parts for r in np.c_[p["x"], p["y"]].tolist())
  assert rows(loaded.train, loaded.valid) == rows(whole.train)
  other = _load(folder, vocabulary_size=50, valid_size=12, split_seed=1)
  assert rows(other.valid) != rows(loaded.valid)


@pytest.mark.parametrize("options,named", [
  ({"vocabulary_size": 5_001}, r"data\.vocabulary_size = 5001; it must be between 1 and 5000"),
  ({"valid_size": 40}, r"data\.valid_size = 40 leaves nothing"),
])  # fmt: skip
def test_invalid_newsgroups_options_raise(folder, options, named):
  with pytest.raises(errors.UserError, match=named):
    _load(folder, **options)


@pytest.mark.parametrize("replaced,named", [
  ({"train_data": b"1 2\n"}, r"matlab\.tgz is not an archive with lines 'document word count'"),
  ({"train_data": b"1 2 3 4\n"}, r"matlab\.tgz is not an archive with lines 'document word count'"),
  ({"train_data": b"1 word 3\n"}, r"matlab\.tgz is not an archive with lines 'document word count'"),
  ({"test_data": b"1 99999 3\n"}, "a word is not within 1 .. 5105"),
  ({"test_data": b"22 1 3\n"}, "a document is not within 1 .. 21"),
  ({"test_data": b"2 1 -3\n"}, "a count is not within"),
  ({"test_label": b"0\n" * 21}, "a label is not within 1 .. 20"),
  ({"test_label": b"1\n" * 20, "test_data": b"2 4 3\n"}, "20 test examples were read, 21 are published"),
  ({"vocabulary": _WORDS[:4000]}, "a word is not within 1 .. 4000"),
  ({"vocabulary": ("the",) * 5105}, r"vocabulary\.txt has 0 words to keep; expected 5000"),
])  # fmt: skip
def test_damaged_newsgroups_raise_one_sentence(folder, replaced, named):
  _write(folder, _PARTS, **replaced)
  with pytest.raises(errors.UserError, match=named):
    _load(folder)


def test_newsgroups_without_an_archive_or_a_part_of_it(folder):
  _write(folder, {"test": _PARTS["test"]})
  with pytest.raises(errors.UserError, match=r"is not a \.tgz archive with 20news-bydate/matlab/train\.data"):
    _load(folder)
  (folder / "20news-bydate-matlab.tgz").unlink()
  with pytest.raises(errors.UserError, match=r"lacks '20news-bydate-matlab\.tgz'"):
    _load(folder)


def test_osmfish_equals_the_published_matrix(raw_data, tmp_path):
  loaded = data.load("scrna/smfish", data_dir=str(tmp_path), manual_dir=str(raw_data), split_seed=3)
  assert [size(part) for part in loaded.parts().values()] == [3_624, 453, 453]
  assert loaded.about["classes"][5] == "Pyramidals"
  import anndata

  cells = anndata.read_h5ad(raw_data / "scrna" / "smfish.h5ad")
  assert loaded.about["genes"] == tuple(cells.var_names)
  order = np.random.RandomState(3).permutation(4_530)
  for part, rows in (("test", order[:453]), ("valid", order[453:906]), ("train", order[906:])):
    arrays = getattr(loaded, part)
    np.testing.assert_array_equal(arrays["x"], cells.X[rows])
    assert [loaded.about["classes"][i] for i in arrays["y"]] == cells.obs["str_labels"].iloc[rows].tolist()
    assert arrays["x"].dtype == arrays["y"].dtype == np.int32
  labels = np.concatenate([part["y"] for part in loaded.parts().values()])
  np.testing.assert_array_equal(np.bincount(labels), [218, 357, 779, 127, 957, 2092])
  assert sum(part["x"].sum() for part in loaded.parts().values()) == 847_624


def test_starmap_has_batches_and_clusters(raw_data, tmp_path):
  loaded = data.load("scrna/starmap", data_dir=str(tmp_path), manual_dir=str(raw_data), valid_fraction=0.0)
  assert loaded.valid is None
  whole = {k: np.concatenate([part[k] for part in (loaded.test, loaded.train)]) for k in loaded.train}
  np.testing.assert_array_equal(np.bincount(whole["batch"]), [1_123, 1_367, 1_214])
  assert len(loaded.about["classes"]) == 16
  assert (whole["y"] == loaded.about["classes"].index("NA")).sum() == 526
  order = np.random.RandomState(0).permutation(3_704)
  with h5py.File(raw_data / "scrna" / "mpfc-starmap.loom") as file:
    assert list(loaded.about["genes"]) == file["row_attrs/Gene"].asstr()[:].tolist()
    names, matrix, batch = file["col_attrs/Clusters"].asstr()[:], file["matrix"][:], file["col_attrs/BatchID"][:, 0]
  for cell, i in enumerate(order):
    np.testing.assert_array_equal(whole["x"][cell], matrix[:, i])
    assert loaded.about["classes"][whole["y"][cell]] == names[i]
    assert whole["batch"][cell] == batch[i]
  assert {a.dtype for a in whole.values()} == {np.dtype(np.int32)}


def test_pbmc_counts_are_recovered(raw_data, tmp_path):
  loaded = data.load("scrna/pbmc68k", data_dir=str(tmp_path), manual_dir=str(raw_data))
  known = np.load(raw_data / "scrna" / "pbmc68k_reduced_counts_700x765.npz")
  order = np.random.RandomState(0).permutation(700)
  whole = {k: np.concatenate([p[k] for p in (loaded.test, loaded.valid, loaded.train)]) for k in loaded.train}
  np.testing.assert_array_equal(whole["x"], known["counts"][order])
  np.testing.assert_array_equal(whole["y"], known["cell_type_code"][order])
  assert loaded.about["genes"] == tuple(known["genes"])
  assert loaded.about["classes"] == tuple(known["cell_type_names"])
  assert (loaded.about["cells"]["num_batches"], loaded.about["cells"]["num_labels"]) == (1, 10)
  np.testing.assert_array_equal(np.bincount(whole["y"]), [68, 8, 19, 54, 43, 129, 95, 13, 31, 240])


def test_names_outlive_the_cache_and_the_raw_file(raw_data, tmp_path):
  first = data.load("scrna/smfish", data_dir=str(tmp_path), manual_dir=str(raw_data))
  shutil.rmtree(tmp_path / "dgm_arrays")
  again = data.load("scrna/smfish", data_dir=str(tmp_path))
  assert again.about == first.about
  assert len(again.about["genes"]) == 33
  np.testing.assert_array_equal(again.test["x"], first.test["x"])


def _replace(name, change):
  def how(file):
    values = change(file[name][:])
    del file[name]
    file[name] = values

  return how


@pytest.mark.parametrize("how,named", [
  (_replace("X", lambda x: x + 0.5),
   r"smfish\.h5ad is not an \.h5ad file with counts.*the counts are not non-negative integers"),
  (_replace("X", lambda x: x - 1), "the counts are not non-negative integers"),
  (_replace("X", lambda x: x[:, :30]), r"smfish\.h5ad has \[30, 33\] genes; 33 are published"),
  (_replace("X", lambda x: x[:90]), r"smfish\.h5ad has \[90, 4530\] cells; 4530 are published"),
  (_replace("X", lambda x: np.full(x.shape, b"many")), r"smfish\.h5ad is not an \.h5ad file"),
  (_replace("obs/str_labels/codes", lambda y: y - 1), "a cell has no type"),
  (lambda file: file.pop("obs"), r"smfish\.h5ad is not an \.h5ad file with counts in X and types in obs/str_labels"),
])  # fmt: skip
def test_damaged_cells_raise_one_sentence(how, named, raw_data, tmp_path, monkeypatch):
  monkeypatch.setattr(scrna, "DATA_SETS", (made(scrna.DATA_SETS[0], cells=4_530),))
  shutil.copy(raw_data / "scrna" / "smfish.h5ad", tmp_path)
  with h5py.File(tmp_path / "smfish.h5ad", "a") as file:
    how(file)
  with pytest.raises(errors.UserError, match=named):
    data.load("scrna/smfish", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


@pytest.mark.parametrize("member,name", [("smfish", "smfish.h5ad"), ("starmap", "mpfc-starmap.loom"),
                                         ("pbmc68k", "10x_pbmc68k_reduced.h5ad")])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_files_that_are_not_hdf5_raise(member, name, content, tmp_path, monkeypatch):
  spec = next(s for s in scrna.DATA_SETS if s.name == f"scrna/{member}")
  monkeypatch.setattr(scrna, "DATA_SETS", (made(spec, cells=10),))
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.UserError, match=rf"{name} is not "):
    data.load(f"scrna/{member}", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))
