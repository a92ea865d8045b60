"""Reads the reports of a root folder for its page.  They may be others': nothing of them is trusted.

A link goes to http or https, a picture is a PNG of the report's own folder, and a report that cannot be shown is left
out with a sentence, so that the page of the others is made.
"""

import base64
import pathlib
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

from dgm_jax.core import errors, files
from dgm_jax.core.figure_style import FORMATS


def link(path: pathlib.Path, root: pathlib.Path) -> str:
  """The address of a file, relative to the page; no name in it can be read as a scheme."""
  return urllib.parse.quote(path.relative_to(root).as_posix(), safe="/=,+()")


def web_address(text: Any) -> str:
  """An address of http or https; "" for anything else."""
  try:
    found = isinstance(text, str) and urllib.parse.urlsplit(text.strip()).scheme in ("http", "https")
  except ValueError:
    found = False
  return text.strip() if found else ""


def _inside(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """The file of a folder that a name means; None if there is none, or it lies elsewhere, by .. or by a link."""
  path = folder / name
  return path if name and path.is_file() and path.resolve().is_relative_to(folder.resolve()) else None


def _figure(figure: dict[str, Any], folder: pathlib.Path, root: pathlib.Path) -> dict[str, Any]:
  found = {k: v for k, v in figure.items() if k not in ("data", "files")}
  name = pathlib.PurePath(figure["file"])
  picture = _inside(folder, str(name)) if name.suffix == ".png" else None
  if picture and not figure["series"]:
    found["data"] = base64.b64encode(picture.read_bytes()).decode()
  drawn = [(kind, _inside(folder, str(name.with_suffix(f".{kind}")))) for kind in FORMATS] if name.name else []
  return found | {"files": [(kind.upper(), link(path, root)) for kind, path in drawn if path]}


def _run(run: dict[str, Any], name: str, folder: pathlib.Path, root: pathlib.Path) -> dict[str, Any]:
  of_run = [(word, _inside(folder, f"runs/{name}/{file}.json")) for word, file in _OF_RUN]
  return run | {"files": [(word, link(path, root)) for word, path in of_run if path]}


_OF_RUN = (("config", "config"), ("record", "run"), ("results", "results"))


def _report(path: pathlib.Path, root: pathlib.Path) -> dict[str, Any]:
  report, folder = files.read_json(path), path.parent
  place = folder.relative_to(root).as_posix()
  tables = [link(p, root) for p in folder.glob("curves.*") if p.suffix in (".parquet", ".csv")]
  return report | {
    "figures": [_figure(figure, folder, root) for figure in report["figures"]],
    "runs": {name: _run(run, name, folder, root) for name, run in report["runs"].items()},
    "folder": place,
    "id": place.replace("/", "-"),
    "curves": next(iter(tables), ""),
  }


def read(
  root: pathlib.Path, show: Callable[[list[dict[str, Any]]], Any] = lambda reports: None
) -> list[dict[str, Any]]:
  """The reports of a root, sorted by paper, item and budget; each with its folder and files, relative to the root.

  A figure that is a picture has its PNG in "data", base64-encoded.

  Args:
    root: the folder.
    show: makes the page of some reports; one whose page cannot be made is left out.
  """
  found = []
  for path in sorted(root.glob("*/*/*/report.json")):
    try:
      report = _report(path, root)
      show([report])
      found.append(report)
    except errors.UserError as e:
      _leave_out(path, str(e))
    except Exception as e:  # whatever a report that is not ours lacks
      _leave_out(path, f"it is no report of this version ({type(e).__name__}: {e})")
  return found


def _leave_out(path: pathlib.Path, why: str) -> None:
  print(f"! {path} is left out of the page: {' '.join(why.split())[:300].rstrip('.')}.", file=sys.stderr, flush=True)
