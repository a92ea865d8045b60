"""Strings as derivations and as SELFIES, and your own files of molecules: inverses, what is left out, and mistakes."""

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors, grammars
from dgm_jax.data.files import derivations, selfies_text, tokenisation, tokens
from dgm_jax.data.splits import Splits

MOLECULES = [
  "CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)O", "O=C1CCCN1", "c1ccc2[nH]ccc2c1", "CC[NH2+]C", "FC(F)(F)c1ccncc1",
  "Clc1ccccc1Br", r"C/C=C\C", "N#CC1CC1", "CS(=O)(=O)N", "c1ccsc1", "C1CC2CC1CC2",
]  # fmt: skip


def splits(lines=MOLECULES):
  part = {"text": np.array(lines, object)}
  return Splits(part, None, {"text": np.array(lines[:3], object)})


@pytest.mark.parametrize("kind", ["rule", "selfies", "character", "atom"])
def test_encode_then_decode_is_the_identity(kind):
  found = tokenisation.encode(splits(), kind, grammar="smiles")
  texts = tokens.decode(found.train["x"], found.about)
  if kind == "selfies":  # which writes a molecule in its own way
    rdkit = pytest.importorskip("rdkit.Chem")
    same = lambda s: rdkit.MolToSmiles(rdkit.MolFromSmiles(s))
    assert list(map(same, texts)) == list(map(same, MOLECULES))
    assert found.about["versions"] == selfies_text.versions()
  else:
    assert texts == MOLECULES
  rows = tokens.rows_of(MOLECULES, found.about, found.train["x"].shape[1])
  np.testing.assert_array_equal(rows["x"], found.train["x"])
  np.testing.assert_array_equal(rows["length"], found.train["length"])


def test_what_cannot_be_derived_or_is_too_long_is_said():
  found = tokenisation.encode(splits([*MOLECULES, "C.C", "[Si]", "C" * 60]), "rule", 0, 150, "smiles")
  assert len(found.train["x"]) == len(MOLECULES) and found.about["dropped"] == {"train": 3, "test": 0}
  first, second = found.about["reading"]
  assert first.startswith("2 lines of the train split have no derivation") and "'.C' at character 2" in first
  assert second == "1 lines of the train split have more than 150 rules and are left out"
  with pytest.raises(errors.UserError, match=r"derives no line of the train split: .*'X'"):
    tokenisation.encode(splits(["X", "XX", "XXX"]), "rule", grammar="smiles")


def test_a_derivation_that_is_cut_or_broken_is_no_string():
  about = {"grammar": grammars.EQUATIONS, "tokens": "rule", "vocabulary": derivations.vocabulary(grammars.EQUATIONS)}
  x = derivations.rows_of(["1+x"], about, 8)["x"]
  assert tokens.decode(x, about) == ["1+x"]
  cut = np.where(np.arange(8) < x.astype(bool).sum() - 1, x, 0)
  broken = np.where(np.arange(8) == 0, 8, x)
  assert tokens.decode(np.concatenate([cut, broken]), about) == [derivations.INCOMPLETE] * 2


def test_ambiguous_grammars_are_said(tmp_path):
  (tmp_path / "g.txt").write_text("E -> E '+' E | 'x'")
  (tmp_path / "lines.txt").write_text("\n".join(["x+x+x", "x", "x+x", "x+x+x+x"] * 5))
  found = data.load("text", path=str(tmp_path / "lines.txt"), tokens="rule", grammar=str(tmp_path / "g.txt"))
  assert any("the grammar is ambiguous" in said for said in found.about["reading"])
  for grammar, named in (("none.txt", "neither equations nor smiles nor a file"), ("", "needs data.grammar")):
    with pytest.raises(errors.UserError, match=named):
      data.load("text", path=str(tmp_path / "lines.txt"), tokens="rule", grammar=grammar)


def test_long_files_are_derived_once(tmp_path, monkeypatch):
  lines = ["1+x", "x*x"] * 1500
  first = derivations.rows(lines, grammars.EQUATIONS, str(tmp_path))
  monkeypatch.setattr("dgm_jax.core.grammar_parser.derive", lambda *_: 1 / 0)
  again = derivations.rows(lines, grammars.EQUATIONS, str(tmp_path))
  np.testing.assert_array_equal(first[0], again[0])
  assert len(list((tmp_path / "dgm_arrays").glob("own-*"))) >= 1


def test_rows_of_another_s_lines_are_refused_with_the_place():
  about = {"grammar": grammars.SMILES, "tokens": "rule", "vocabulary": derivations.vocabulary(grammars.SMILES)}
  for line, named in (("CCQ", "Line 2: 'Q' at character 3"), ("C" * 40, "Line 2 has a derivation of 161 rules")):
    with pytest.raises(errors.UserError, match=named):
      tokens.rows_of(["C", line], about, 30)


@pytest.fixture
def own(tmp_path):
  pytest.importorskip("rdkit")
  (tmp_path / "mine.smi").write_text("".join(f"{s} name {i}\n" for i, s in enumerate(MOLECULES)))
  rows = "".join(f"{i},{s},{0.5 * i}\n" for i, s in enumerate(MOLECULES))
  (tmp_path / "mine.csv").write_text(f"id,smiles,logP\n{rows}")
  return tmp_path


def test_your_own_molecules(own):
  found = data.load("molecules", path=str(own / "mine.smi"), tokens="rule")
  assert sorted(t for p in found.parts().values() for t in tokens.decode(p["x"], found.about)) == sorted(MOLECULES)
  found = data.load("molecules", path=str(own / "mine.csv"), tokens="rule", target="logP")
  for part in found.parts().values():
    for text, y in zip(tokens.decode(part["x"], found.about), part["y"][:, 0], strict=True):
      assert y == 0.5 * MOLECULES.index(text)
  assert found.about["responses"] == ("logP",)


@pytest.mark.parametrize("name,text,options,named", [
  ("a.smi", "CC\nC1CC\n", {}, "a.smi, line 2 is no SMILES that RDKit accepts: 'C1CC'"),
  ("a.smi", "CC\n\nCC\n", {}, "a.smi, line 2 is empty"),
  ("a.smi", "CC\nCC.O\n", {}, "a.smi, line 2 is a mixture"),
  ("a.smi", "CC\n", {"target": "y"}, "column of a .csv file"),
  ("a.csv", "smiles,y\nCC,1\nCO,none\n", {"target": "y"}, "a.csv, line 3: y = 'none' is no number"),
  ("a.csv", "smile,y\nCC,1\n", {}, "smile, y"),
  ("a.smi", "", {}, "has no molecules"),
])  # fmt: skip
def test_mistakes_in_files_name_the_line(own, name, text, options, named):
  (own / name).write_text(text)
  with pytest.raises(errors.UserError, match=named):
    data.load("molecules", path=str(own / name), **options)


def test_without_rdkit_or_selfies_one_sentence_says_how_to_get_them(own, monkeypatch):
  import sys

  monkeypatch.setitem(sys.modules, "selfies", None)
  with pytest.raises(errors.UserError, match=r"needs the package selfies, .*pip install '.\[molecules\]'"):
    tokenisation.encode(splits(), "selfies")
  monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
  monkeypatch.setitem(sys.modules, "rdkit", None)
  with pytest.raises(errors.UserError, match=r"needs the package rdkit, .*pip install '.\[molecules\]'"):
    data.load("molecules", path=str(own / "mine.smi"))
