"""Builds the notebooks of the course; see build_course.sh.

python scripts/build_course.py [--record] [--no_outputs] [--out=FOLDER] [NAME ...]
"""

import argparse
import ast
import base64
import json
import os
import pathlib
import re
import sys
import time

from dgm_jax.experiments.harness import notebooks

ROOT = pathlib.Path(__file__).parents[1]
# What pip installs where the package is missing, such as "dgm_jax[course] @ git+https://ADDRESS", or a wheel.
PACKAGE = ""
_INSTALL = """# Installs dgm_jax where it is missing
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("dgm_jax") is None:
  package = {package!r} or sys.exit("Install dgm_jax first, see the course's front page.")
  subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)"""
_SAVE = """import json, pathlib
pathlib.Path({path!r}).write_text(json.dumps({{k: float(v) for k, v in numbers.items()}}))"""


def install_cell() -> str:
  """The first cell; the environment variable DGM_JAX_PACKAGE takes precedence over PACKAGE."""
  return _INSTALL.format(package=os.environ.get("DGM_JAX_PACKAGE", PACKAGE))


def _quiet(source: str) -> str:
  """The code with a semicolon after a last call of matplotlib, whose value would be shown below the figure."""
  last = ast.parse(source).body[-1]
  drawn = isinstance(last, ast.Expr) and re.match(r"(ax|axes|fig)\b", ast.get_source_segment(source, last) or "")
  return f"{source};" if drawn else source


def notebook(name: str, solved: bool):
  """The notebook, with its gaps or solved, without outputs."""
  import nbformat

  v4 = nbformat.v4
  made, filled = v4.new_notebook(), notebooks.solutions(name)
  made.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
  made.cells.append(v4.new_code_cell(install_cell(), metadata={"install": True}))
  for cell in notebooks.read(notebooks.FOLDER / f"{name}.md"):
    source = filled[cell.exercise] if solved and cell.exercise else cell.source
    about = {"exercise": cell.exercise} if cell.exercise else {}
    made.cells.append(
      v4.new_code_cell(_quiet(source), metadata=about) if cell.is_code else v4.new_markdown_cell(source)
    )
  return made


def execute(name: str, out: pathlib.Path):
  """(the solved notebook with outputs, the numbers of its run)."""
  import nbclient
  import nbformat

  made, path = notebook(name, solved=True), out / f"{name}.numbers.json"
  made.cells.append(nbformat.v4.new_code_cell(_SAVE.format(path=str(path))))
  nbclient.NotebookClient(made, timeout=600, kernel_name="python3").execute(cwd=str(out))
  made.cells.pop()
  numbers = json.loads(path.read_text())
  path.unlink()
  return made, numbers


def _mathml(text: str) -> str:
  """The text with its formulas as MathML, which browsers show without a download; as they are without latex2mathml."""
  try:
    from latex2mathml.converter import convert
  except ImportError:
    return text
  parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)  # no formulas in code
  for i in range(0, len(parts), 2):
    block = lambda m: "\n" + convert(m[1].strip(), display="block") + "\n"
    parts[i] = re.sub(r"\$\$(.+?)\$\$", block, parts[i], flags=re.DOTALL)
    parts[i] = re.sub(r"\$([^$\n]+(?:\n[^$\n]+)?)\$", lambda m: convert(m[1]), parts[i])
  return "".join(parts)


def _outputs(cell, stem: str, folder: pathlib.Path) -> list[str]:
  """The outputs of a cell as Markdown; pictures are written to the folder."""
  found = []
  for i, output in enumerate(cell.outputs):
    data = output.get("data", {})
    if "image/png" in data:
      (folder / f"{stem}_{i}.png").write_bytes(base64.b64decode(data["image/png"]))
      found.append(f"![figure]({stem}_{i}.png)")
    elif "widget" in str(data.keys()):
      continue
    elif output.get("name") != "stderr" and (text := output.get("text") or data.get("text/plain")):
      found.append(f"```text\n{text.rstrip()}\n```")
  return found


def page(name: str, made, folder: pathlib.Path) -> None:
  """Writes a page of the documentation site: gaps, their solutions folded, and outputs."""
  gaps = {c.exercise: c.source for c in notebooks.read(notebooks.FOLDER / f"{name}.md") if c.exercise}
  blocks = []
  for i, cell in enumerate(made.cells):
    if cell.cell_type != "code":
      blocks.append(_mathml(cell.source))
    elif not cell.metadata.get("install"):
      exercise = cell.metadata.get("exercise")
      blocks.append(f"```python\n{gaps[exercise] if exercise else cell.source}\n```")
      if exercise:
        code = "\n".join(f"    {line}" for line in f"```python\n{cell.source}\n```".splitlines())
        blocks.append(f'??? tip "Solution"\n\n{code}')
      blocks += _outputs(cell, f"{name}_{i}", folder)
  (folder / f"{name}.md").write_text("\n\n".join(blocks) + "\n")


def _differences(name: str, numbers: dict[str, float]) -> list[str]:
  """Numbers of this run that are not those of the committed one; other versions and processors round otherwise."""
  old = notebooks.recorded(name)
  return [f"{k}: {old.get(k)} before, {v:.6g} now" for k, v in numbers.items() if f"{v:.3g}" != f"{old.get(k, 0):.3g}"]


def build(name: str, out: pathlib.Path, record: bool, outputs: bool) -> None:
  """Writes one notebook in all its forms."""
  import nbformat

  notebooks.check_form(name)
  for folder in ("notebooks", "with_outputs", "pages"):
    (out / folder).mkdir(parents=True, exist_ok=True)
  nbformat.write(notebook(name, solved=False), out / "notebooks" / f"{name}.ipynb")
  if not outputs:
    notebooks.check_text(name)
    return
  start = time.time()
  made, numbers = execute(name, out)
  if record:
    notebooks.record(name, numbers)
    for cell, new in zip(made.cells, notebook(name, solved=True).cells, strict=True):
      cell.source = new.source
  elif differences := _differences(name, numbers):
    print(f"  {name}: this run's numbers differ: {'; '.join(differences)}")
  nbformat.write(made, out / "with_outputs" / f"{name}.ipynb")
  page(name, made, out / "pages")
  notebooks.check_text(name)
  print(f"{name}: {time.time() - start:.0f} s", flush=True)


def main(words: list[str]) -> int:
  """Builds the notebooks that the words name; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("names", nargs="*")
  parser.add_argument("--record", action="store_true")
  parser.add_argument("--no_outputs", action="store_true")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache" / "course")
  args = parser.parse_args(words)
  for name in args.names or notebooks.names():
    try:
      build(name, args.out.resolve(), args.record, not args.no_outputs)
    except notebooks.NotebookError as error:
      print(f"error: {error}", file=sys.stderr)
      return 1
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
