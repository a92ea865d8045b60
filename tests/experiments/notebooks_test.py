"""The course: notebooks run with their solutions, open gaps fail their checks, quoted numbers are those of the run."""

import json
import re

import pytest

from dgm_jax.experiments.harness import notebooks
from helpers import tables

FAST = ("01_coins_and_pixels", "03_mixtures_and_em", "04_linear_latent_variables")
TEXT = """# A page

The answer is 4.20<!-- answer -->.

```python
import numpy as np

numbers = {"answer": 4.2}
size = 1000  # quick: 3
```

```python exercise="double"
def double(x):
  return ...  # your code
```

```python check="double"
assert double(size) == 2 * size
numbers["size"] = size
```
"""
SOLUTION = '# Solutions\n\n```python exercise="double"\ndef double(x):\n  return 2 * x\n```\n'


def test_some_notebooks_are_fast():
  assert set(FAST) <= set(notebooks.names()) and len(FAST) == 3


@pytest.mark.parametrize(
  "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in notebooks.names()]
)
def test_a_notebook_runs_and_its_gaps_fail(name):
  """At reduced size, gaps first; the run has every number that the text quotes."""
  numbers = notebooks.run(name, quick=True)
  assert numbers.keys() == notebooks.recorded(name).keys()


@pytest.mark.parametrize("name", notebooks.names())
def test_a_notebook_has_its_parts(name):
  notebooks.check_form(name)
  notebooks.check_text(name)
  text = (notebooks.FOLDER / f"{name}.md").read_text()
  for part in ("**What you will see.**", "## To think about", "**Try next.**", "title"):
    assert part in text, f"{name} lacks {part!r}"
  assert re.search(r"\*\*Papers?\.\*\*", text)
  assert f"]({name}.md)" in (notebooks.FOLDER / "README.md").read_text()


@pytest.mark.parametrize("name", notebooks.names())
def test_figures_have_titles_and_labels(name):
  """Every figure with axes has a title; axes without ticks or pictures need no labels."""
  for cell in notebooks.read(notebooks.FOLDER / f"{name}.md"):
    if cell.is_code and "plt.subplots" in cell.source:
      assert "title" in cell.source, cell.source[:200]
      assert "xlabel" in cell.source or "imshow" in cell.source, cell.source[:200]


@pytest.fixture
def page(tmp_path, monkeypatch):
  """A small notebook of its own, in an empty folder; the function writes it and returns its name."""
  monkeypatch.setattr(notebooks, "FOLDER", tmp_path)

  def write(text=TEXT, solution=SOLUTION, numbers=None):
    (tmp_path / "01_page.md").write_text(text)
    (tmp_path / "01_page_solutions.md").write_text(solution)
    (tmp_path / "01_page.json").write_text(json.dumps(numbers or {"answer": 4.2}))
    return "01_page"

  return write


def test_reduced_sizes_and_numbers(page):
  name = page()
  assert notebooks.run(name, quick=True) == {"answer": 4.2, "size": 3}
  assert notebooks.run(name, quick=False) == {"answer": 4.2, "size": 1000}


def test_a_check_that_an_open_gap_passes_is_an_error(page):
  name = page(TEXT.replace("assert double(size) == 2 * size", "assert double"))
  with pytest.raises(notebooks.NotebookError, match="'double' passes although its gap is open"):
    notebooks.run(name, quick=True)


def test_a_wrong_solution_is_an_error(page):
  name = page(solution=SOLUTION.replace("2 * x", "3 * x"))
  with pytest.raises(notebooks.NotebookError, match="raised AssertionError"):
    notebooks.run(name, quick=True)


def test_a_number_of_the_text_must_be_that_of_the_run(page):
  notebooks.check_text(page())
  with pytest.raises(notebooks.NotebookError, match=re.escape("4.20 should be 4.31")):
    notebooks.check_text(page(numbers={"answer": 4.31}))
  with pytest.raises(notebooks.NotebookError, match=re.escape("7.5 should be a number of the run")):
    notebooks.check_text(page(TEXT + "\nAnother is 7.5.\n"))
  with pytest.raises(notebooks.NotebookError, match="does not have"):
    notebooks.check_text(page(numbers={"other": 1.0}))


def test_recording_writes_the_text(page, tmp_path):
  name = page()
  notebooks.record(name, {"answer": 5.0})
  assert "The answer is 5.00<!-- answer -->." in (tmp_path / "01_page.md").read_text()
  notebooks.check_text(name)


def test_an_exercise_needs_its_solution_and_its_check(page):
  with pytest.raises(notebooks.NotebookError, match="three to five"):
    notebooks.check_form(page())
  with pytest.raises(notebooks.NotebookError, match="next, its check"):
    notebooks.check_form(page(TEXT.replace('check="double"', "")))


def test_the_build_writes_a_notebook_with_gaps(tmp_path, monkeypatch):
  """The first cell installs the package that the environment names; gaps are open."""
  pytest.importorskip("nbformat")
  build = _script()
  monkeypatch.setenv("DGM_JAX_PACKAGE", "somewhere/dgm_jax.whl")
  assert build.main(["01_coins_and_pixels", "--no_outputs", f"--out={tmp_path}"]) == 0
  made = json.loads((tmp_path / "notebooks" / "01_coins_and_pixels.ipynb").read_text())
  code = ["".join(c["source"]) for c in made["cells"] if c["cell_type"] == "code"]
  assert "somewhere/dgm_jax.whl" in code[0]
  assert sum("# your code" in source for source in code) == 4
  assert not any(c.get("outputs") for c in made["cells"])


def _script():
  import importlib.util

  spec = importlib.util.spec_from_file_location("build_course", tables.ROOT / "scripts" / "build_course.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_formulas_and_outputs_of_a_page(tmp_path):
  """Formulas become MathML outside code; text and pictures are shown, solutions folded."""
  pytest.importorskip("latex2mathml")
  v4 = pytest.importorskip("nbformat").v4
  build = _script()
  made = v4.new_notebook()
  made.cells.append(v4.new_markdown_cell("So $x^2$ and `$y$`."))
  made.cells.append(v4.new_code_cell("print(1)", outputs=[v4.new_output("stream", name="stdout", text="1\n")]))
  build.page("01_coins_and_pixels", made, tmp_path)
  text = (tmp_path / "01_coins_and_pixels.md").read_text()
  assert "<msup>" in text and "`$y$`" in text and "```text\n1\n```" in text
