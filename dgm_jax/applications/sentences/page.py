"""Pages of sentences: text for the terminal, and one file of HTML without anything from outside."""

import html
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from dgm_jax.core import files

_STYLE = """
body { font: 16px/1.5 Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.4em; } h2 { font-size: 1.05em; margin-bottom: 0.2em; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid #ddd; padding: 0.3em 0.6em; }
td:first-child { color: #777; white-space: nowrap; width: 6em; } p.about { color: #777; }
"""


class Part(NamedTuple):
  """A heading, and rows of (label, text)."""

  heading: str
  rows: Sequence[tuple[str, str]]


def as_text(parts: Sequence[Part]) -> str:
  """The parts for a terminal."""
  blocks = []
  for part in parts:
    width = max((len(label) for label, _ in part.rows), default=0)
    lines = [f"  {label:<{width}}  {text}".rstrip() for label, text in part.rows]
    blocks.append("\n".join(([part.heading] if part.heading else []) + lines))
  return "\n\n".join(blocks)


def as_html(title: str, about: str, parts: Sequence[Part]) -> str:
  """The parts as a page."""
  cell = lambda text: f"<td>{html.escape(text)}</td>"
  tables = [
    (f"<h2>{html.escape(part.heading)}</h2>\n" if part.heading else "")
    + "<table>\n"
    + "\n".join(f"<tr>{cell(label)}{cell(text)}</tr>" for label, text in part.rows)
    + "\n</table>"
    for part in parts
  ]
  head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
  body = f'<h1>{html.escape(title)}</h1>\n<p class="about">{html.escape(about)}</p>\n' + "\n".join(tables)
  return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def write(path: pathlib.Path, title: str, about: str, parts: Sequence[Part]) -> None:
  """Writes the page beside its name, then renames it."""
  files.write_text(path, as_html(title, about, parts))
