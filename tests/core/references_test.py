"""A module of the user's own: one file and its copies are one module, a changed file is another; mistakes are named."""

import sys

import pytest

from dgm_jax.core import errors, references

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("name,parts", [
  ("mine.py", ("mine.py", "")),
  ("a/b-c/mine.py:Net", ("a/b-c/mine.py", "Net")),
  ("pkg.mine", ("pkg.mine", "")),
  ("pkg.mine:Net", ("pkg.mine", "Net")),
  ("mine:Net", ("mine", "Net")),
])  # fmt: skip
def test_files_and_dotted_names_are_references(name, parts):
  assert references.parse(name) == parts
  assert str(references.parse(name)) == name


@pytest.mark.parametrize("name", ["vae", "uci/concrete", "omniglot_resized/small", "binarize:", "", None, 3, "a b.c"])
def test_other_names_are_not(name):
  assert references.parse(name) is None and not references.is_own(name)


def test_a_file_and_its_copy_are_one_module_and_a_changed_file_is_another(tmp_path):
  first, copy = tmp_path / "mine.py", tmp_path / "elsewhere" / "other.py"
  copy.parent.mkdir()
  first.write_text("class Model:\n  depth = 1\n")
  (tmp_path / "elsewhere" / "mine.py").write_text(first.read_text())
  one = references.load(f"{first}:Model", "make")
  assert references.load(str(tmp_path / "elsewhere" / "mine.py"), "Model") is one
  assert sys.modules[one.__module__].Model is one
  first.write_text("class Model:\n  depth = 2\n")
  other = references.load(str(first), "Model")
  assert (one.depth, other.depth) == (1, 2)
  assert references.imported(first.absolute()) == first.read_bytes()


def test_a_dotted_name_is_found_in_the_current_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
  (tmp_path / "planted_package").mkdir()
  (tmp_path / "planted_package" / "__init__.py").write_text("")
  (tmp_path / "planted_package" / "mine.py").write_text("from planted_package import __name__ as parent\n\nlaw = 7\n")
  assert references.load("planted_package.mine", "law") == 7
  assert references.find("planted_package.mine") == tmp_path / "planted_package" / "mine.py"
  copy = tmp_path / "planted_package.mine.py"  # a copy of a run, whose relative imports still work
  copy.write_text("from . import __name__ as parent\n")
  assert references.load(str(copy), "parent") == "planted_package"


@pytest.mark.parametrize("text,name,words", [
  (None, "none.py", ["'none.py' does not exist", "looked for from"]),
  (None, "no_such.module", ["no module 'no_such.module'", "mine.py:Model"]),
  ("class Net: pass\n", "mine.py:Nett", ["'mine.py' has no 'Nett'", "it defines Net"]),
  ("x = 1\n", "mine.py", ["has no 'Model'", "no class or function"]),
  ("import numpy\nx = nump.ones(3)\n", "mine.py", ["cannot be imported: NameError", "line 2"]),
  ("def f(:\n", "mine.py", ["cannot be imported: SyntaxError", "line 1"]),
])  # fmt: skip
def test_mistakes_get_one_sentence(text, name, words, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  if text is not None:
    (tmp_path / "mine.py").write_text(text)
  with pytest.raises(errors.UserError) as raised:
    references.load(name, "Model")
  for word in words:
    assert word in str(raised.value)
