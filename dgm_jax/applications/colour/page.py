"""The page of pairs: each grey photograph beside its colours, and its own where it had some."""

import base64
import html
import io
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import files

_SIDE = 480  # pixels of the pictures that are kept in the page
_STYLE = (
  "body{font:16px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}figure{display:inline-block;margin:0 "
  "1em 1em 0;vertical-align:top}img{max-width:320px;max-height:320px;min-width:64px;image-rendering:auto}figcaption{"
  "font-size:14px;color:#555}h2{font-size:18px;overflow-wrap:anywhere}"
)


class Entry(NamedTuple):
  """A photograph on the page.

  Attributes:
    name: of its file.
    grey: a reduced picture of it, PNG.
    own: the same of its own colours; None if it is grey.
    results: files of its colours, relative to the page.
    about: what report.json says of it.
  """

  name: str
  grey: bytes
  own: bytes | None
  results: Sequence[pathlib.Path]
  about: dict[str, Any]


def reduced(x: np.ndarray) -> bytes:
  """A PNG of levels uint8, at most 480 pixels wide and high."""
  from PIL import Image

  picture, stream = Image.fromarray(x), io.BytesIO()
  picture.thumbnail((_SIDE, _SIDE))
  picture.save(stream, "PNG")
  return stream.getvalue()


def _figure(source: str, caption: str) -> str:
  return f'<figure><img src="{source}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'


def _inline(png: bytes) -> str:
  return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _section(entry: Entry) -> str:
  shown = [_figure(_inline(entry.grey), "grey")]
  numbers = zip(entry.results, entry.about["colourfulness"], entry.about["clipped"], strict=True)
  for path, colourful, clipped in numbers:
    caption = f"colourfulness {colourful:.1f}, {clipped:.1f} % clipped"
    shown.append(_figure(urllib.parse.quote(path.as_posix()), caption))
  numbers = entry.about["against_its_colours"]
  if entry.own is not None and numbers:
    caption = f"its own colours: {numbers['colourfulness_truth']:.1f}; MAE {numbers['mae']:.2f} %, of grey "
    shown.append(_figure(_inline(entry.own), f"{caption}{numbers['mae_grey']:.2f} %"))
  notes = "".join(f"<p>{html.escape(note)}</p>" for note in entry.about["notes"])
  return f"<section><h2>{html.escape(entry.name)}</h2>{''.join(shown)}{notes}</section>"


def write(path: pathlib.Path, entries: Sequence[Entry], failed: Sequence[tuple[str, str]], about: str) -> None:
  """Writes the page.

  Args:
    path: of the file.
    entries: the photographs that were done.
    failed: (name, sentence) of the others.
    about: a sentence on how they were done.
  """
  lost = "".join(f"<li>{html.escape(sentence)}</li>" for _, sentence in failed)
  body = "".join(map(_section, entries)) + (f"<h2>Not done</h2><ul>{lost}</ul>" if lost else "")
  head = f'<meta charset="utf-8"><title>Colours</title><style>{_STYLE}</style>'
  caveat = "The colours are a model's guess, not those of the scene."
  text = f"<!doctype html><html lang=en><head>{head}</head><body><h1>Colours</h1><p>{html.escape(about)} {caveat}</p>"
  files.write_text(path, f"{text}{body}</body></html>\n")
