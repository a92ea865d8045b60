"""A folder of images: decoded, cropped, resized and written as arrays, one at a time."""

import math
import pathlib
import shutil

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import readers
from dgm_jax.data.published import cache
from dgm_jax.data.splits import random_indices

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_LARGEST = 4096  # pixels: an image of this side takes 50 MB
_PARTS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder and its sub-folders, by name.

  Raises:
    UserError: there are none.
  """
  found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
  errors.require(bool(found), f"data.path {folder} holds no images ({', '.join(SUFFIXES)}).")
  return found


def _split(folder: pathlib.Path, names: list[tuple[str, ...]], fractions: tuple[float, float, int]) -> dict:
  """{part: indices}: by the folders train, valid (or val), test, else random; a missing test set is taken from train.

  Raises:
    UserError: there is a folder train and, next to it, something other than the other splits.
  """
  valid_fraction, test_fraction, seed = fractions
  tops = [name[0].lower() if len(name) > 1 else name[0] for name in names]
  if "train" not in tops:
    return random_indices(len(names), valid_fraction, test_fraction, seed)
  for name, top in zip(names, tops, strict=True):
    errors.require(
      top in _PARTS,
      f"{folder} has a folder train and, next to it, {name[0]!r}; a folder with its own splits may only hold train, "
      "valid (or val) and test.",
    )
  found = np.array([_PARTS[top] for top in tops])
  split = {part: np.flatnonzero(found == part) for part in dict.fromkeys(found.tolist())}
  if "test" in split:
    return split
  drawn = random_indices(len(split["train"]), 0.0 if "valid" in split else valid_fraction, test_fraction, seed)
  return split | {part: split["train"][indices] for part, indices in drawn.items()}


def _labels(names: list[tuple[str, ...]], depth: int) -> tuple[np.ndarray | None, list[str]]:
  """(y, classes) from the names of the sub-folders at a depth; (None, []) if not all images are in one."""
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
    folder, files: the folder of the images, and their paths.
    side: side in pixels to which the largest central square is resized; 0: keep the images, all of one size.
    grey: whether to convert the images to one channel.
    fractions: valid_fraction, test_fraction and seed of a random split.
  """
  errors.require(0 <= side <= _LARGEST, f"data.image_size = {side}; it must be 0 to {_LARGEST} pixels.")
  size, crop = ((side, side), 0) if side else (None, None)
  decode = lambda f: readers.image(f.read_bytes(), f, size, grey=grey, crop=crop)
  names = [f.relative_to(folder).parts for f in files]
  split = _split(folder, names, fractions)
  has_splits = any(len(name) > 1 and name[0].lower() == "train" for name in names)
  y, classes = _labels(names, depth=1 if has_splits else 0)
  shape = decode(files[0]).shape
  needed, free = len(files) * math.prod(shape), shutil.disk_usage(target).free
  errors.require(
    needed < free,
    f"{len(files)} images of {shape[0]} x {shape[1]} pixels take {needed / 2**30:.1f} GiB, but the disk of "
    f"{target.parent} has {free / 2**30:.1f} GiB left; set a smaller data.image_size.",
  )
  with progress_bar(len(files), description="Decoding", unit="image") as bar:
    for part, indices in split.items():
      x = cache.create(target / part / "x.npy", np.dtype(np.uint8), (len(indices), *shape))
      for row, i in enumerate(indices):
        pixels = decode(files[i])
        errors.require(
          pixels.shape == shape,
          f"{files[i]} is {pixels.shape[0]} x {pixels.shape[1]} pixels, but {files[0]} is {shape[0]} x {shape[1]}; set "
          "data.image_size to resize all images to one size.",
        )
        x[row] = pixels
        bar.update()
      x.flush()
      if y is not None:
        np.save(target / part / "y.npy", y[indices])
  cache.save_about(target, {"classes": classes} if classes else {})
