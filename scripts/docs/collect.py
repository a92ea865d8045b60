"""Collects the pages of the documentation site: all pages of the repository, and one of docstrings per package.

  python scripts/docs/collect.py FOLDER

The pages keep their places relative to one another, so that their links hold.
"""

import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).parents[2]
_FILES = ("README.md", "CHANGELOG.md", "CITATION.cff", "configs/README.md", "experiments/*.md",
          "experiments/course/*.md", "experiments/results/*", "scripts/README.md", "dgm_jax/**/README.md")  # fmt: skip
_MOVED = {".github/CONTRIBUTING.md": "CONTRIBUTING.md"}  # sites leave out folders with a leading point
_PACKAGES = ("api", "core", "networks", "distributions", "inference", "models", "principles", "evaluate", "data",
             "training", "sweeps", "applications")  # fmt: skip


def _modules(package: str) -> list[str]:
  """The modules of a package that have public definitions."""
  folder = ROOT / "dgm_jax" / package
  found = []
  for path in sorted(folder.rglob("*.py")):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] != "__init__" and not parts[-1].startswith("_"):
      found.append(".".join(parts))
  return found


def _reference(package: str) -> str:
  blocks = [f"::: {name}" for name in _modules(package)]
  return f"# dgm_jax.{package}\n\n" + "\n\n".join(blocks) + "\n"


def _collect_course(folder: pathlib.Path) -> None:
  """Puts the pages with outputs, where build_course.sh has made them, in place of the notebooks' sources."""
  for path in folder.glob("*_solutions.md"):  # the pages with outputs have them, folded
    path.unlink()
  for path in folder.glob("[0-9]*.md"):
    path.write_text(re.sub(r"^```python .*$", "```python", path.read_text(), flags=re.MULTILINE))
  for path in (ROOT / ".cache" / "course" / "pages").glob("*"):
    shutil.copy(path, folder / path.name)


def collect(folder: pathlib.Path) -> None:
  """Writes all pages into a folder, which is emptied first."""
  shutil.rmtree(folder, ignore_errors=True)
  for pattern in _FILES:
    for path in ROOT.glob(pattern):
      to = folder / path.relative_to(ROOT)
      to.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(path, to)
  for source, to in _MOVED.items():
    shutil.copy(ROOT / source, folder / to)
    front = folder / "README.md"
    front.write_text(front.read_text().replace(f"]({source})", f"]({to})").replace(f"[{source}]", f"[{to}]"))
  _collect_course(folder / "experiments" / "course")
  (folder / "reference").mkdir()
  for package in _PACKAGES:
    (folder / "reference" / f"{package}.md").write_text(_reference(package))


if __name__ == "__main__":
  collect(pathlib.Path(sys.argv[1]))
