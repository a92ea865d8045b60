"""Photographs: which files there are, how they are read, and the grey pictures that are all a model sees of them."""

import collections
import pathlib
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import colour_spaces, errors
from dgm_jax.data.files import readers

_ROWS = 2**20  # pixels at once


class Photograph(NamedTuple):
  """A photograph.

  Attributes:
    grey: levels of the grey picture of equal lightness, uint8 [H, W].
    rgb: its colours, uint8 [H, W, 3]; None if it is grey.
    notes: what was done to read it, in words.
  """

  grey: np.ndarray
  rgb: np.ndarray | None
  notes: tuple[str, ...] = ()


def strips(height: int, width: int) -> list[slice]:
  """Rows of an image, a million pixels at once."""
  rows = max(1, _ROWS // max(1, width))
  return [slice(i, i + rows) for i in range(0, height, rows)]


def of_array(x: np.ndarray, what: str = "The photograph", notes: tuple[str, ...] = ()) -> Photograph:
  """The photograph of levels uint8 [H, W], [H, W, 1] or [H, W, 3].  Raises UserError for others; `what` names them."""
  x = np.asarray(x)
  shaped = x.ndim == 2 or (x.ndim == 3 and x.shape[-1] in (1, 3))
  errors.require(
    x.dtype == np.uint8 and shaped and x.size > 0,
    f"{what} must be uint8 of shape [H, W], [H, W, 1] or [H, W, 3]; it is {x.dtype} of shape {list(x.shape)}.",
  )
  if x.ndim == 2 or x.shape[-1] == 1 or bool((x == x[..., :1]).all()):
    return Photograph(np.ascontiguousarray(x if x.ndim == 2 else x[..., 0]), None, notes)
  grey = np.concatenate([colour_spaces.grey_levels(x[rows], np) for rows in strips(*x.shape[:2])])
  return Photograph(grey, x, notes)


def _is_deep_colour(picture: Any) -> bool:
  """Whether Pillow reduces the colours of a file that is not yet decoded from 16 bits to 8, without a word."""
  raw = [str(part[3]) for part in getattr(picture, "tile", ())]
  return picture.mode in ("RGB", "RGBA") and any(";16" in text for text in raw)


def of_picture(picture: Any, what: str) -> Photograph:
  """The photograph of a picture of Pillow's, turned as a viewer shows it; its colour profile is ignored.

  Of an animation it is the first; 16 bits are reduced to 8, transparent pixels are laid on black, and other colours,
  such as CMYK, become RGB: the notes say so.
  """
  from PIL import Image, ImageOps

  notes = ["16 bits, reduced to 8"] if _is_deep_colour(picture) else []
  if getattr(picture, "n_frames", 1) > 1:
    notes.append(f"the first of {picture.n_frames} pictures")
  picture = ImageOps.exif_transpose(picture)
  if picture.mode.startswith("I"):
    levels = np.asarray(picture).astype(np.int64)
    errors.require(
      levels.size > 0 and levels.min() >= 0 and levels.max() < 2**16, f"{what} has more than 16 bits; save it with 8."
    )
    return of_array(((levels + 128) // 257).astype(np.uint8), what, (*notes, "16 bits, reduced to 8"))
  errors.require(picture.mode != "F", f"{what} has floating-point pixels; save it with 8 bits.")
  if picture.has_transparency_data:
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
    notes.append("transparent pixels on black")
  elif picture.mode not in ("1", "L", "P", "RGB"):
    notes.append(f"{picture.mode}, converted to RGB")
  return of_array(np.asarray(picture.convert("RGB"), np.uint8), what, tuple(notes))


def read(path: pathlib.Path) -> Photograph:
  """The photograph in a file.  Raises UserError if Pillow cannot decode it."""
  from PIL import Image

  readers.require_file(path)
  with readers.reading(path, "an image that Pillow can decode"), Image.open(path) as picture:
    return of_picture(picture, str(path))


def suffixes() -> set[str]:
  """Of the formats that Pillow decodes; others it knows by name alone, or can only write."""
  from PIL import Image, ImageFile

  known = Image.registered_extensions()
  names = {name for name, opens in Image.OPEN.items() if not _is_stub(opens[0], ImageFile.StubImageFile)}
  names = names - {"MPEG"} | {"MPO"}  # which is known by its header alone; which is opened as a JPEG
  return {suffix for suffix, name in known.items() if name in names}


def _is_stub(factory: Any, stub: type) -> bool:
  return isinstance(factory, type) and issubclass(factory, stub)


def listed(source: pathlib.Path) -> tuple[dict[pathlib.Path, pathlib.Path], int]:
  """({file: its name, relative to the folder}, other files) of a file, or of a folder and its sub-folders.

  Raises:
    UserError: there is no such file or folder, or no image in it.
  """
  errors.require(source.exists(), f"{source} does not exist.")
  readers.require_file(source)
  if source.is_file():
    return {source: pathlib.Path(source.name)}, 0
  known, files = suffixes(), [f for f in source.rglob("*") if f.is_file() and not f.name.startswith(".")]
  found = sorted(f for f in files if f.suffix.lower() in known)
  errors.require(bool(found), f"{source} holds no images (.png, .jpg, .tif and whatever else Pillow reads).")
  return {f: f.relative_to(source) for f in found}, len(files) - len(found)


def outputs(names: list[pathlib.Path], samples: int) -> list[list[pathlib.Path]]:
  """The PNGs of each photograph, relative to the output: NAME.png, or NAME_1.png to NAME_4.png.

  Where two photographs would share a result, their suffixes stay: a.jpg.png.
  """
  kept: list[pathlib.Path] = []
  longer = [name.with_suffix("") for name in names]
  while longer != kept:  # a suffix that stays can make another name equal: of a.jpg, a.png, a.jpg.tif all stay
    kept, count = longer, collections.Counter(str(stem).lower() for stem in longer)
    longer = [name if count[str(stem).lower()] > 1 else stem for name, stem in zip(names, kept, strict=True)]
  numbers = [f"_{i + 1}" for i in range(samples)] if samples > 1 else [""]
  return [[stem.with_name(f"{stem.name}{number}.png") for number in numbers] for stem in kept]


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
  """A map float32 [H, W] at another size, by bilinear interpolation that averages where it shrinks."""
  from PIL import Image

  return np.asarray(Image.fromarray(x.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
