"""Notebooks of the course: their cells, exercises with solutions, reduced sizes, and the numbers that the text quotes.

A notebook is `experiments/course/NN_topic.md`, Markdown whose blocks of Python are its cells (the format of jupytext).

- A block ```` ```python exercise="name" ```` has a gap; the block of that name in `NN_topic_solutions.md` fills it, and
  the block `check="name"` raises an error unless the answer is right.
- A line `steps = 3000  # quick: 100` has the value 100 at reduced size.
- The cells put into the dictionary `numbers` what the text quotes as `12.3<!-- name -->`; `NN_topic.json` keeps them.
"""

import io
import json
import pathlib
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, NamedTuple

FOLDER = pathlib.Path(__file__).parents[1] / "course"
_QUICK = re.compile(r"^(\s*[\w, ]+ = ).+?  # quick: (.+)$", re.MULTILINE)
_QUOTED = re.compile(r"(-?\d+(?:\.(\d+))?)(<!-- (\w+) -->)")
_NOT_PROSE = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|-?\d+(?:\.\d+)?<!-- \w+ -->", re.DOTALL)


class NotebookError(Exception):
  """A notebook that does not run, whose gaps pass, or whose text disagrees with its numbers."""


class Cell(NamedTuple):
  """A cell: its source, whether it is code, and the exercise that it poses or checks, None if it does not."""

  source: str
  is_code: bool
  exercise: str | None
  check: str | None


def names() -> list[str]:
  """The notebooks, in order."""
  return sorted(p.stem for p in FOLDER.glob("[0-9][0-9]_*.md") if not p.stem.endswith("_solutions"))


def read(path: pathlib.Path) -> list[Cell]:
  """The cells of a page."""
  import jupytext

  cells = jupytext.read(path, fmt="md").cells
  return [
    Cell(c.source, c.cell_type == "code", c.metadata.get("exercise"), c.metadata.get("check"))
    for c in cells
    if c.source.strip()
  ]


def solutions(name: str) -> dict[str, str]:
  """{exercise: the code that fills its gap}."""
  return {c.exercise: c.source for c in read(FOLDER / f"{name}_solutions.md") if c.exercise}


def reduced(source: str) -> str:
  """The code with the values of its comments `# quick: value`."""
  return _QUICK.sub(r"\1\2", source)


def check_form(name: str) -> None:
  """Raises NotebookError unless each exercise has a gap, a check right after it, and a solution."""
  code = [c for c in read(FOLDER / f"{name}.md") if c.is_code]
  posed = [c.exercise for c in code if c.exercise]
  for cell, following in zip(code, [*code[1:], code[-1]], strict=True):
    if cell.exercise and ("# your code" not in cell.source or following.check != cell.exercise):
      raise NotebookError(f"{name}: exercise {cell.exercise!r} needs a gap '# your code' and, next, its check")
  if not 3 <= len(posed) <= 5 or len(set(posed)) < len(posed):
    raise NotebookError(f"{name} has the exercises {posed}; it must have three to five, with different names")
  if set(posed) != set(solutions(name)):
    raise NotebookError(f"{name} has the exercises {posed}, but solutions of {sorted(solutions(name))}")


def _execute(name: str, source: str, namespace: dict[str, Any]) -> None:
  try:
    exec(compile(source, f"{name}.md", "exec"), namespace)
  except Exception as error:
    first = next((line for line in source.splitlines() if line.strip()), "")
    what = f"{type(error).__name__}: {error}"
    raise NotebookError(f"{name}: the cell that starts with {first!r} raised {what}") from error


def _must_fail(name: str, exercise: str, check: str, namespace: dict[str, Any]) -> None:
  try:
    exec(compile(check, f"{name}.md", "exec"), namespace)
  except Exception:
    return
  raise NotebookError(f"{name}: the check of exercise {exercise!r} passes although its gap is open")


def run(name: str, quick: bool, gaps: bool = True) -> dict[str, float]:
  """Runs all cells with their solutions, in this process, and returns the numbers.

  Args:
    name: the notebook.
    quick: whether to use the reduced sizes.
    gaps: whether to verify first, at each exercise, that its check fails while the gap is open.

  Raises:
    NotebookError: a cell raised an error, or a check passed with an open gap.
  """
  import matplotlib

  matplotlib.use("agg")
  import matplotlib.pyplot as plt

  filled = solutions(name)
  cells = [c for c in read(FOLDER / f"{name}.md") if c.is_code]
  checks = {c.check: c.source for c in cells if c.check}
  namespace: dict[str, Any] = {"__name__": "notebook"}
  fit = reduced if quick else (lambda source: source)
  with redirect_stdout(io.StringIO()):
    for cell in cells:
      if cell.exercise and gaps:
        _execute(name, fit(cell.source), namespace)
        _must_fail(name, cell.exercise, fit(checks[cell.exercise]), namespace)
      _execute(name, fit(filled[cell.exercise] if cell.exercise else cell.source), namespace)
      plt.close("all")
  return {key: float(value) for key, value in namespace["numbers"].items()}


def recorded(name: str) -> dict[str, float]:
  """The numbers of the committed run."""
  path = FOLDER / f"{name}.json"
  return json.loads(path.read_text()) if path.exists() else {}


def record(name: str, numbers: dict[str, float]) -> None:
  """Writes the numbers to `NN_topic.json`, and into the text, which keeps its number of decimals."""
  rounded = {key: float(f"{value:.6g}") for key, value in numbers.items()}
  (FOLDER / f"{name}.json").write_text(json.dumps(rounded, indent=2) + "\n")
  for path in (FOLDER / f"{name}.md", FOLDER / f"{name}_solutions.md"):
    text = path.read_text()
    path.write_text(_QUOTED.sub(lambda m: _shown(rounded.get(m[4]), m) + m[3], text))


def _shown(value: float | None, match: re.Match) -> str:
  if value is None:
    return match[1]
  text = f"{value:.{len(match[2] or '')}f}"
  return text if float(text) else text.removeprefix("-")  # no minus zero


def quotations(name: str) -> Iterator[tuple[str, str]]:
  """(what the text says, what it should say) of each number that differs, and of each that no run has written."""
  numbers = recorded(name)
  for path in (FOLDER / f"{name}.md", FOLDER / f"{name}_solutions.md"):
    for match in _QUOTED.finditer(path.read_text()):
      if match[4] not in numbers:
        yield match[1], f"{match[4]}, which {name}.json does not have"
      elif _shown(numbers[match[4]], match) != match[1]:
        yield match[1], _shown(numbers[match[4]], match)
    for cell in read(path):
      for number in [] if cell.is_code else re.findall(r"\d+\.\d+", _NOT_PROSE.sub(" ", cell.source)):
        yield number, "a number of the run, NUMBER<!-- name -->, or code or mathematics"


def check_text(name: str) -> None:
  """Raises NotebookError where the text and `NN_topic.json` differ."""
  wrong = [f"{said} should be {true}" for said, true in quotations(name)]
  if wrong:
    raise NotebookError(f"{name}: {'; '.join(wrong)}")
