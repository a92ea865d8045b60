"""A folder of images: decoded, cropped, resized and written as arrays, one at a time."""

import pathlib

import numpy as np

from dgm_jax import errors
from dgm_jax.data import cache, readers
from dgm_jax.data.splits import random_indices
from dgm_jax.progress import progress_bar

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_PARTS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder and its sub-folders, by name.

  Raises:
    UserError: there are none.
  """
  found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
  errors.require(bool(found), f"data.path {folder} holds no images ({', '.join(SUFFIXES)}).")
  return found


def _split(names: list[tuple[str, ...]], fractions: tuple[float, float, int]) -> dict[str, np.ndarray]:
  """{part: indices}: by the folders train, valid (or val) and test if they are what there is, else at random."""
  valid_fraction, test_fraction, seed = fractions
  tops = {name[0] for name in names if len(name) > 1}
  if all(len(name) > 1 for name in names) and {"train", "test"} <= tops <= _PARTS.keys():
    parts = np.array([_PARTS[name[0]] for name in names])
    return {part: np.flatnonzero(parts == part) for part in dict.fromkeys(parts.tolist())}
  return random_indices(len(names), valid_fraction, test_fraction, seed)


def _labels(names: list[tuple[str, ...]], own_split: bool) -> tuple[np.ndarray | None, list[str]]:
  """(y, classes) from the names of the sub-folders, below those of the splits; (None, []) if not all have one."""
  depth = 1 if own_split else 0
  if any(len(name) < depth + 2 for name in names):
    return None, []
  classes, y = np.unique([name[depth] for name in names], return_inverse=True)
  return y.astype(np.int32), classes.tolist()


def write(
  target: pathlib.Path,
  folder: pathlib.Path,
  files: list[pathlib.Path],
  side: int,
  grey: bool,
  fractions: tuple[float, float, int],
) -> None:
  """Writes the splits of a folder of images as arrays x [N, H, W, C] and, from the sub-folders' names, y [N].

  Args:
    target: an empty folder.
    folder, files: where the images lie, and which.
    side: crop the largest square and resize it to so many pixels; 0: leave as they are, all of one size.
    grey: to one channel.
    fractions: valid_fraction, test_fraction and seed of a random split.
  """
  errors.require(side >= 0, f"data.image_size = {side}; it must be 0 or more.")
  size, crop = ((side, side), 0) if side else (None, None)
  decode = lambda f: readers.image(f.read_bytes(), f, size, grey=grey, crop=crop)
  names = [f.relative_to(folder).parts for f in files]
  split = _split(names, fractions)
  own_split = {name[0] for name in names} <= _PARTS.keys() and len(split) > 1 and all(len(n) > 1 for n in names)
  y, classes = _labels(names, own_split)
  shape = decode(files[0]).shape
  with progress_bar(len(files), description="Decoding", unit="image") as bar:
    for part, indices in split.items():
      x = cache.create(target / part / "x.npy", np.dtype(np.uint8), (len(indices), *shape))
      for row, i in enumerate(indices):
        pixels = decode(files[i])
        errors.require(
          pixels.shape == shape,
          f"{files[i]} is {pixels.shape[0]} x {pixels.shape[1]} pixels, {files[0]} {shape[0]} x {shape[1]}; give "
          "data.image_size to bring them to one size.",
        )
        x[row] = pixels
        bar.update()
      x.flush()
      if y is not None:
        np.save(target / part / "y.npy", y[indices])
  cache.save_about(target, {"classes": classes} if classes else {})
