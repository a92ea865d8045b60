"""Text and molecules: the published lines, in the published splits, decoded from their token ids."""

import collections
import gzip
import io
import itertools
import re
import tarfile

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.files import tokenisation, tokens
from dgm_jax.data.sets import moses, ptb, tiny_shakespeare, zinc250k
from dgm_jax.data.splits import Splits
from helpers.made import made


def _splits(train, test, **more):
  part = lambda lines: {"text": np.array(lines, object)} | {k: np.arange(len(lines)) for k in more}
  return Splits(part(train), None, part(test), {"kept": 1})


def test_letters_drop_case_and_other_characters():
  assert tokens.letters("  It's -- 2nd: Über, OK?\n") == "it s nd ber ok"
  encoded = tokenisation.encode(_splits(["A b!", "b-B"], ["?"]), "letter")
  assert encoded.about["vocabulary"][3:] == ("b", " ", "a")  # 3, 2, 1 times
  assert tokens.decode(encoded.train["x"], encoded.about) == ["a b", "b b"]
  np.testing.assert_array_equal(encoded.test["length"], [1])  # only <end>


def test_ids_are_ranked_by_frequency_in_the_training_split():
  encoded = tokenisation.encode(
    _splits(["to be or not to be", "be not"], ["or to  die", "die"], y=1), "word", max_length=5
  )
  assert encoded.about == {
    "kept": 1, "tokens": "word", "dropped": {"train": 1, "test": 0}, "vocabulary": (*tokens.SPECIAL, "be", "not"),
    "reading": [
      "the vocabulary has 2 tokens, and lines at most 4",
      "1 lines of the train split have 5 tokens or more and are left out",
      "66.67 % of the tokens of the test split are <unk>, outside the 2 of the vocabulary",
    ],
  }  # fmt: skip
  np.testing.assert_array_equal(encoded.train["x"], [[3, 4, 2, 0, 0]])
  np.testing.assert_array_equal(encoded.train["y"], [1])  # of the line that is kept
  np.testing.assert_array_equal(encoded.test["x"], [[1, 1, 1, 2, 0], [1, 2, 0, 0, 0]])
  np.testing.assert_array_equal(encoded.test["length"], [4, 2])
  everything = tokenisation.encode(_splits(["to be or not to be", "be not"], ["or to  die", "die"]), "word")
  assert everything.about["vocabulary"][3:] == ("be", "not", "to", "or")  # 3, 2, 2, 1 times
  np.testing.assert_array_equal(everything.train["x"][0], [5, 3, 6, 4, 5, 3, 2])
  np.testing.assert_array_equal(everything.test["x"][0], [6, 5, 1, 2, 0, 0, 0])
  assert {a.dtype for part in everything.parts().values() for a in part.values()} == {np.dtype(np.int32)}
  few = tokenisation.encode(_splits(["to be or not to be", "be not"], ["or"]), "word", vocabulary_size=2)
  np.testing.assert_array_equal(few.train["x"], [[1, 3, 1, 4, 1, 3, 2], [3, 4, 2, 0, 0, 0, 0]])


@pytest.mark.parametrize("kind,lines", [
  ("character", ["", "naïve café", "日本 語", "a b", "[]<unk>"]),
  ("character", ["ascii only", "~", ""]),
  ("word", ["in the beginning", "the end", "<end> of <pad> the"]),
  ("atom", ["C[C@@H](Br)Cl", "c1cc[nH]c1", "C%10CC%10", "[NH3+]CC(=O)[O-]", "C@@", "BrC[Si](Cl)Cl"]),
])  # fmt: skip
def test_lines_are_recovered_from_their_ids(kind, lines):
  encoded = tokenisation.encode(_splits(lines, lines[::-1]), kind)
  assert tokens.decode(encoded.train["x"], encoded.about) == lines
  assert tokens.decode(encoded.test["x"], encoded.about) == lines[::-1]
  stored = Splits({"text": np.array([s.encode() for s in lines])}, None, {"text": np.array([lines[0].encode()])})
  again = tokenisation.encode(stored, kind)  # as in the cache
  np.testing.assert_array_equal(again.train["x"], encoded.train["x"])


def test_tokens_not_in_the_training_split_are_unknown():
  encoded = tokenisation.encode(_splits(["CCO"], ["C[nH]é", "CC"]), "atom")
  assert tokens.decode(encoded.test["x"], encoded.about) == ["C<unk><unk>", "CC"]
  assert encoded.about["vocabulary"] == (*tokens.SPECIAL, "C", "O")


def test_atoms_match_the_usual_pattern(raw_data):
  pattern = re.compile(r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|[()=#\-+\\/:~@?>*$.]|%[0-9]{2}|[0-9]")
  lines = (raw_data / "zinc" / "jtvae_zinc250k_test.txt").read_text().split()
  encoded = tokenisation.encode(_splits(lines, lines[:1]), "atom")
  for line, row, length in zip(lines, encoded.train["x"], encoded.train["length"], strict=True):
    assert [encoded.about["vocabulary"][i] for i in row[: length - 1]] == pattern.findall(line)
    assert row[length - 1] == tokens.END
    assert not row[length:].any()


@pytest.mark.parametrize("options,named", [
  ({"kind": "wrod"}, "Unknown value of data.tokens 'wrod'. Did you mean 'word'"),
  ({"kind": "word", "vocabulary_size": -1}, "data.vocabulary_size = -1; it must be 0 or more"),
  ({"kind": "word", "max_length": 3}, "data.max_length = 3 leaves no line of the test split"),
])  # fmt: skip
def test_invalid_options_raise(options, named):
  with pytest.raises(errors.UserError, match=re.escape(named)):
    tokenisation.encode(_splits(["a b"], ["a b c d e"]), **options)


def test_lines_too_long_for_memory_ask_for_a_length(monkeypatch):
  monkeypatch.setattr(tokenisation, "_MOST_BYTES", 1000)
  lines = ["a"] * 10 + ["a" * 99]
  with pytest.raises(errors.UserError, match=r"longest line has 99 tokens.*choose data\.max_length"):
    tokenisation.encode(_splits(lines, ["a"]), "character")
  assert tokenisation.encode(_splits(lines, ["a"]), "character", max_length=9).about["dropped"]["train"] == 1


def test_tiny_shakespeare_equals_the_published_text(raw_data, tmp_path):
  folder = raw_data / "text" / "tinyshakespeare"
  text = (folder / "input.txt").read_text()
  loaded = data.load("tiny_shakespeare", data_dir=str(tmp_path), manual_dir=str(folder))
  assert {part: arrays["x"].shape for part, arrays in loaded.parts().items()} == {
    "train": (7842, 128), "valid": (435, 128), "test": (435, 128),
  }  # fmt: skip
  assert loaded.about["vocabulary"] == tuple(sorted(set(text)))
  assert len(loaded.about["vocabulary"]) == 65
  for arrays, start in zip(loaded[:3], (0, 1_003_854, 1_059_624), strict=True):  # 90 %, 5 %, 5 %
    joined = "".join(tokens.decode(arrays["x"], loaded.about))
    assert joined == text[start : start + arrays["x"].size]
  exact = data.load("tiny_shakespeare", data_dir=str(tmp_path), seq_len=55_770)  # no remainder
  assert tokens.decode(exact.test["x"], exact.about) == [text[-55_770:]]
  for seq_len in (0, 55_771):
    with pytest.raises(errors.UserError, match=rf"data\.seq_len = {seq_len}"):
      data.load("tiny_shakespeare", data_dir=str(tmp_path), seq_len=seq_len)


def test_shakespeare_must_be_ascii(tmp_path, monkeypatch):
  monkeypatch.setattr(tiny_shakespeare, "DATA_SETS", (made(tiny_shakespeare.DATA_SETS[0], train=1, valid=1, test=1),))
  (tmp_path / "input.txt").write_bytes("Où sont les neiges".encode())
  with pytest.raises(errors.UserError, match=r"input\.txt is not ASCII text"):
    data.load("tiny_shakespeare", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


def _archive(path, members):
  with tarfile.open(path, "w:gz") as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))


_PTB = {
  "train": " no it was n't black monday \n but <unk> N stocks was \n was \n",
  "valid": " it was <unk> \n",
  "test": " n't <unk> thursday \n no \n",
}


def test_ptb_is_read_as_it_is_published(tmp_path, monkeypatch):
  monkeypatch.setattr(ptb, "DATA_SETS", (made(ptb.DATA_SETS[0], train=3, valid=1, test=2),))
  names = {part: f"./simple-examples/data/ptb.{part}.txt" for part in _PTB}
  path = tmp_path / "simple-examples.tgz"
  _archive(path, {names[part]: text.encode() for part, text in _PTB.items()})
  loaded = data.load("ptb", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))
  vocabulary = (*tokens.SPECIAL, "was", "N", "black", "but", "it", "monday", "n't", "no", "stocks")
  assert loaded.about["vocabulary"] == vocabulary  # <unk> has the id 1
  assert tokens.decode(loaded.train["x"], loaded.about) == [s.strip() for s in _PTB["train"].split("\n")][:3]
  np.testing.assert_array_equal(loaded.valid["x"], [[7, 3, 1, 2, 0, 0, 0]])
  np.testing.assert_array_equal(loaded.test["x"], [[9, 1, 1, 2, 0, 0, 0], [10, 2, 0, 0, 0, 0, 0]])
  np.testing.assert_array_equal(loaded.train["length"], [7, 6, 2])
  short = data.load("ptb", data_dir=str(tmp_path / "data"), max_length=4, vocabulary_size=1)
  assert short.about["dropped"] == {"train": 2, "valid": 0, "test": 0}
  assert short.about["vocabulary"] == (*tokens.SPECIAL, "was")


@pytest.mark.parametrize("damage,named", [
  (lambda p: p.write_bytes(p.read_bytes()[:100]), r"is not a \.tgz archive with \./simple-examples/data/ptb\.train"),
  (lambda p: p.write_text("no archive"), r"is not a \.tgz archive with \./simple-examples"),
  (lambda p: _archive(p, {"data/ptb.train.txt": b"a"}), r"is not a \.tgz archive.*not found"),
  (lambda p: _archive(p, dict.fromkeys(map("./simple-examples/data/ptb.{}.txt".format, _PTB), b"\xff")),
   r"is not an archive with sentences in UTF-8"),
  (lambda p: _archive(p, dict.fromkeys(map("./simple-examples/data/ptb.{}.txt".format, _PTB), b" a \n")),
   r"1 train examples were read, 3 are published"),
])  # fmt: skip
def test_damaged_ptb_raises_one_sentence(damage, named, tmp_path, monkeypatch):
  monkeypatch.setattr(ptb, "DATA_SETS", (made(ptb.DATA_SETS[0], train=3, valid=1, test=2),))
  path = tmp_path / "simple-examples.tgz"
  _archive(path, {f"./simple-examples/data/ptb.{part}.txt": text.encode() for part, text in _PTB.items()})
  damage(path)
  with pytest.raises(errors.UserError, match=named):
    data.load("ptb", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


def test_text_of_the_user_is_complete(raw_data):
  path = raw_data / "text" / "kjv.txt"
  lines = [" ".join(line.split()) for line in path.read_text().splitlines()]
  assert len(lines) == 31_102
  loaded = data.load("text", path=str(path))
  assert [size(part) for part in loaded.parts().values()] == [24_882, 3_110, 3_110]
  decoded = {part: tokens.decode(arrays["x"], loaded.about) for part, arrays in loaded.parts().items()}
  order = np.random.RandomState(0).permutation(31_102)
  assert decoded["train"] == [lines[i] for i in order[6_220:]]
  count = collections.Counter(itertools.chain.from_iterable(line.split() for line in decoded["train"]))
  ranked = [count[w] for w in loaded.about["vocabulary"][3:]]
  assert ranked == sorted(count.values(), reverse=True)
  known = set(count)
  for i, line in zip(order[:3_110], decoded["test"], strict=True):
    assert line == " ".join(w if w in known else "<unk>" for w in lines[i].split())
  letters = data.load("text", path=str(path), tokens="character", max_length=200)
  assert letters.about["dropped"]["test"] == sum(len(lines[i]) > 199 for i in order[:3_110])
  assert letters.test["length"].max() == 200


def test_text_may_be_gzipped(tmp_path):
  lines = [f"line {i} ünï" for i in range(20)]
  (tmp_path / "a.txt").write_text("\n\n".join(lines))
  (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
  plain, packed = (data.load("text", path=str(tmp_path / name)) for name in ("a.txt", "a.txt.gz"))
  np.testing.assert_array_equal(plain.train["x"], packed.train["x"])
  other = data.load("text", path=str(tmp_path / "a.txt"), split_seed=1, valid_fraction=0.0)
  assert other.valid is None
  assert size(other.train) == 18


@pytest.mark.parametrize("content,named", [
  (b"", "is empty: it has no lines of text"),
  (b"\n \n", "is empty: it has no lines of text"),
  (b"\x89PNG\xff\xfe", "is not lines of text in UTF-8"),
  (b"a\0\0\0b\0\n", "is not lines of text in UTF-8: it holds NUL bytes"),
  (b"one line", "split is empty"),
])  # fmt: skip
def test_files_that_are_not_text_raise(content, named, tmp_path):
  (tmp_path / "a.txt").write_bytes(content)
  with pytest.raises(errors.UserError, match=named):
    data.load("text", path=str(tmp_path / "a.txt"))


def test_text_needs_a_path_that_exists(tmp_path):
  with pytest.raises(errors.UserError, match=r"Data set 'text' needs data\.path"):
    data.load("text")
  with pytest.raises(errors.UserError, match=r"b\.txt' does not exist"):
    data.load("text", path=str(tmp_path / "b.txt"))


@pytest.mark.slow
def test_zinc_small_equals_the_published_parts(raw_data, tmp_path):
  options = {"data_dir": str(tmp_path), "manual_dir": str(raw_data / "zinc")}
  loaded = data.load("zinc250k/small", **options)
  assert loaded.valid is None
  for arrays, part in ((loaded.train, "valid"), (loaded.test, "test")):
    lines = (raw_data / "zinc" / f"jtvae_zinc250k_{part}.txt").read_text().split()
    assert tokens.decode(arrays["x"], loaded.about) == [re.sub("[67]", _unknown(loaded), s) for s in lines]
    np.testing.assert_array_equal(arrays["length"], [len(s) + 1 for s in lines])
  assert (size(loaded.train), size(loaded.test)) == (24_445, 5_000)
  assert loaded.train["x"].shape[1] == 106  # the longest has 105 characters
  assert size(data.load("zinc250k/small", tokens="atom", max_length=40, **options).test) < 5_000
  with pytest.raises(errors.UserError, match="zinc250k/small has a published split"):
    data.load("zinc250k/small", valid_fraction=0.2, **options)
  with pytest.raises(errors.UserError, match=r"lacks 'jtvae_zinc250k_train\.txt'"):
    data.load("zinc250k/jtvae", **options)


def _unknown(loaded):
  return lambda match: match[0] if match[0] in loaded.about["vocabulary"] else "<unk>"


def test_zinc_jtvae_has_its_three_parts(tmp_path, monkeypatch):
  monkeypatch.setattr(zinc250k, "DATA_SETS", (made(zinc250k.DATA_SETS[0], train=3, valid=1, test=1),))
  lines = {"train": ["CCO", "c1ccccc1Cl", "C"], "valid": ["OCC"], "test": ["ClC"]}
  for part, found in lines.items():
    (tmp_path / f"jtvae_zinc250k_{part}.txt").write_text("\n".join(found) + "\n")
  loaded = data.load("zinc250k/jtvae", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path), tokens="atom")
  assert {p: tokens.decode(a["x"], loaded.about) for p, a in loaded.parts().items()} == lines
  assert loaded.train["x"].shape == (3, 10)  # Cl is one token
  (tmp_path / "jtvae_zinc250k_test.txt").write_text("smiles,logP\nC,1.0\n")
  with pytest.raises(
    errors.UserError, match=r"_test\.txt must hold one SMILES per line, but number 1 is 'smiles,logP'"
  ):
    data.load("zinc250k/jtvae", data_dir=str(tmp_path / "other"), manual_dir=str(tmp_path))


_TABLE = 'smiles,logP,qed,SAS\n"CCO\n",5.0506,0.702012232801,2.0840945720726807\n"[NH3+]C\n",-1.5,0.9,3.25\n'


def test_zinc_properties_belong_to_their_molecules(tmp_path, monkeypatch):
  monkeypatch.setattr(zinc250k, "DATA_SETS", (made(zinc250k.DATA_SETS[2], molecules=20),))
  body = _TABLE + "".join(f'"{"C" * i}\n",{i},{i / 10},{-i}\n' for i in range(1, 19))
  (tmp_path / "250k_rndm_zinc_drugs_clean_3.csv").write_text(body)
  loaded = data.load("zinc250k/properties", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path), split_seed=1)
  assert [size(part) for part in loaded.parts().values()] == [16, 2, 2]
  assert loaded.about["responses"] == ("logP", "qed", "SAS")
  found = {}
  for arrays in loaded.parts().values():
    assert arrays["y"].dtype == np.float32
    found |= dict(zip(tokens.decode(arrays["x"], loaded.about), arrays["y"].tolist(), strict=True))
  assert len(found) == 20
  assert found["CCC"] == pytest.approx([3, 0.3, -3])
  assert found["CCO"] == pytest.approx([5.0506, 0.70201223, 2.08409457])


@pytest.mark.parametrize("text,named", [
  (_TABLE.replace("0.9", "high"), r"column 'qed' holds 'high' in row 2"),
  (_TABLE.replace("0.9", ""), r"clean_3\.csv is not a \.csv table with columns smiles, logP.*missing"),
  (_TABLE.replace("qed", "QED"), r"clean_3\.csv is not a \.csv table with columns smiles, logP, qed, SAS"),
  (_TABLE.replace("CCO", "a molecule"), r"must hold one SMILES per line, but number 1 is 'a molecule'"),
  (_TABLE, r"2 molecules examples were read, 20 are published"),
  ("", r"clean_3\.csv is not a \.csv table"),
])  # fmt: skip
def test_damaged_properties_raise_one_sentence(text, named, tmp_path, monkeypatch):
  monkeypatch.setattr(zinc250k, "DATA_SETS", (made(zinc250k.DATA_SETS[2], molecules=20),))
  (tmp_path / "250k_rndm_zinc_drugs_clean_3.csv").write_text(text)
  with pytest.raises(errors.UserError, match=named):
    data.load("zinc250k/properties", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


def _prefixes(raw_data, folder, lines):
  """The first lines of the real files of MOSES."""
  head = {}
  for part in moses._SIZES:
    with gzip.open(raw_data / "moses" / f"{part}.csv.gz", "rt") as f:
      head[part] = list(itertools.islice(f, lines + 1))
    (folder / f"{part}.csv.gz").write_bytes(gzip.compress("".join(head[part]).encode()))
  return {part: [s.strip() for s in found[1:]] for part, found in head.items()}


def test_moses_has_two_test_sets(raw_data, tmp_path, monkeypatch):
  lines = _prefixes(raw_data, tmp_path, 500)
  sizes = dict.fromkeys(moses._SIZES, 500)
  monkeypatch.setattr(moses, "DATA_SETS", (made(moses.DATA_SETS[0], **sizes),))
  options = {"data_dir": str(tmp_path / "data"), "manual_dir": str(tmp_path)}
  for scaffolds, test in ((False, "test"), (True, "test_scaffolds")):
    loaded = data.load("moses", scaffolds=scaffolds, tokens="atom", **options)
    assert loaded.valid is None
    assert tokens.decode(loaded.train["x"], loaded.about) == lines["train"]
    assert tokens.decode(loaded.test["x"], loaded.about) == [re.sub("[56]", _unknown(loaded), s) for s in lines[test]]
  assert lines["train"][:2] == ["CCCS(=O)c1ccc2[nH]c(=NC(=O)OC)[nH]c2c1", "CC(C)(C)C(=O)C(Oc1ccc(Cl)cc1)n1ccnc1"]


@pytest.mark.parametrize("content,named", [
  (b"SMILES\nCC\n", "test.csv.gz is not a gzipped .csv file with one column, SMILES"),
  (gzip.compress(b"CC\nCO\n", mtime=0), "its first line is 'CC'"),
  (gzip.compress(b"SMILES,SPLIT\nCC,test\n", mtime=0), "its first line is 'SMILES,SPLIT'"),
  (gzip.compress(b"SMILES\nCC\nC;O\n", mtime=0), "test.csv.gz must hold one SMILES per line, but number 2 is 'C;O'"),
  (gzip.compress(b"", mtime=0), "test.csv.gz is not a gzipped .csv file"),
  (gzip.compress(b"SMILES\nCC\n", mtime=0)[:-6], "test.csv.gz is not a gzipped .csv file"),
])  # fmt: skip
def test_damaged_moses_raises_one_sentence(content, named, tmp_path, monkeypatch):
  monkeypatch.setattr(moses, "DATA_SETS", (made(moses.DATA_SETS[0], train=1, test=1, test_scaffolds=1),))
  for part in moses._SIZES:
    (tmp_path / f"{part}.csv.gz").write_bytes(gzip.compress(b"SMILES\nC\n"))
  (tmp_path / "test.csv.gz").write_bytes(content)
  with pytest.raises(errors.UserError, match=re.escape(named)):
    data.load("moses", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


@pytest.mark.slow
def test_moses_is_complete(raw_data, tmp_path):
  loaded = data.load("moses", data_dir=str(tmp_path), manual_dir=str(raw_data / "moses"))
  scaffolds = data.load("moses", data_dir=str(tmp_path), scaffolds=True, tokens="atom")
  for arrays, about, part, n in (
    (loaded.train, loaded.about, "train", 1_584_663),
    (loaded.test, loaded.about, "test", 176_074),
    (scaffolds.test, scaffolds.about, "test_scaffolds", 176_225),
  ):
    with gzip.open(raw_data / "moses" / f"{part}.csv.gz", "rt") as f:
      lines = f.read().split("\n")[1:-1]
    assert len(lines) == size(arrays) == n
    assert tokens.decode(arrays["x"], about) == lines
  assert loaded.train["x"].shape[1] == 58  # the longest has 57 characters
