"""Pages of molecules: their pictures and strings in one file of HTML without anything from outside."""

import html
import pathlib
from collections.abc import Callable, Sequence

from dgm_jax.applications.sentences.page import Part
from dgm_jax.core import files
from dgm_jax.evaluate.molecular import properties

_STYLE = """
body { font: 16px/1.5 Georgia, serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.4em; } h2 { font-size: 1.05em; margin-bottom: 0.2em; } p.about { color: #777; }
div.row { display: flex; flex-wrap: wrap; gap: 0.8em; } figure { margin: 0; width: 13em; border-top: 1px solid #ddd; }
figcaption { font: 12px/1.4 monospace; overflow-wrap: anywhere; }
figcaption b { font: 13px Georgia, serif; color: #777; }
"""


def picture(smiles: str, width: int = 200, height: int = 150) -> str:
  """A molecule as SVG; "" for a string that RDKit does not accept."""
  mol = properties.molecule(smiles)
  if mol is None:
    return ""
  from rdkit.Chem.Draw import rdMolDraw2D

  drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
  drawer.DrawMolecule(mol)
  drawer.FinishDrawing()
  svg = drawer.GetDrawingText()
  return svg[svg.index("<svg") :]  # without the declaration of XML, which a page cannot have within


def as_html(title: str, about: str, parts: Sequence[Part], draw: Callable[[str], str] = picture) -> str:
  """The parts as a page; each row is (label, string)."""
  blocks = []
  for part in parts:
    figures = [
      f"<figure>{draw(text)}<figcaption><b>{html.escape(label)}</b><br>{html.escape(text)}</figcaption></figure>"
      for label, text in part.rows
    ]
    heading = f"<h2>{html.escape(part.heading)}</h2>\n" if part.heading else ""
    blocks.append(f'{heading}<div class="row">\n' + "\n".join(figures) + "\n</div>")
  head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
  body = f'<h1>{html.escape(title)}</h1>\n<p class="about">{html.escape(about)}</p>\n' + "\n".join(blocks)
  return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def write(path: pathlib.Path, title: str, about: str, parts: Sequence[Part], draw: Callable[[str], str]) -> None:
  """Writes the page beside its name, then renames it."""
  files.write_text(path, as_html(title, about, parts, draw))
