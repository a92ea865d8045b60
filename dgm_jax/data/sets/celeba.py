"""celeba: 202,599 aligned photographs of celebrities' faces with 40 attributes (Liu et al., 2015), published split.

Members: 32, 64 and 128, the side in pixels.  The 178 x 218 pictures are cropped to the central 148 x 148 (Larsen
et al., 2016, and many VAEs since), then averaged down.  Papers that crop 108 or 140, or resize with another filter,
have other images: bits per dimension and FID are comparable only for the same preprocessing.
"""

import functools
import io
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np

from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits

_NAMES = (
  "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
  "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
  "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
  "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
  "Wearing_Necktie Young"
)
ATTRIBUTES = tuple(_NAMES.split())
_CROP = 148
_PARTS = {"0": "train", "1": "valid", "2": "test"}


def _partition(path: pathlib.Path) -> dict[str, list[str]]:
  """{part: names of its pictures}."""
  with readers.reading(path, "lines of NAME.jpg and 0, 1 or 2"):
    found = {part: [] for part in _PARTS.values()}
    for number, line in enumerate(readers.lines(path), 1):
      name, _, part = line.partition(" ")
      if part not in _PARTS:
        raise ValueError(f"line {number} is {line!r}")
      found[_PARTS[part]].append(name)
    return found


def _attributes(path: pathlib.Path) -> dict[str, np.ndarray]:
  """{name of a picture: bool [40]}."""
  with readers.reading(path, "CelebA's attributes: a count, 40 names, then lines of NAME.jpg and 40 times -1 or 1"):
    lines = readers.lines(path)
    if len(lines) < 2 or tuple(lines[1].split()) != ATTRIBUTES:
      raise ValueError("the second line has other names")
    found = {}
    for number, line in enumerate(lines[2:], 3):
      name, *values = line.split()
      if len(values) != len(ATTRIBUTES) or not {"-1", "1"}.issuperset(values):
        raise ValueError(f"line {number} is {line!r}")
      found[name] = np.array([v == "1" for v in values])
    return found


def _picture(raw: bytes, name: str, side: int) -> np.ndarray:
  from PIL import Image

  with readers.reading(name, "a JPEG of 178 x 218 pixels"):
    if (size := Image.open(io.BytesIO(raw)).size) != (178, 218):
      raise ValueError(f"it has {size[0]} x {size[1]}")
  return readers.image(raw, name, (side, side), crop=_CROP)


def _examples(path: pathlib.Path, names: list[str], attributes: dict, side: int) -> Iterator[dict]:
  with readers.reading(path, "a zip of img_align_celeba/*.jpg"), zipfile.ZipFile(path) as archive:
    for name in names:
      raw = archive.read(f"img_align_celeba/{name}")
      yield {"x": _picture(raw, f"{path}: {name}", side), "attributes": attributes[name]}


def _read(files: dict, side: int) -> dict:
  partition, attributes = _partition(files["partition"]), _attributes(files["attributes"])
  with readers.reading(files["attributes"], f"a list of all pictures in {files['partition'].name}"):
    if missing := [name for names in partition.values() for name in names if name not in attributes]:
      raise ValueError(f"{missing[0]!r} is missing")
  return {part: _examples(files["images"], names, attributes, side) for part, names in partition.items()}


def _file(name: str, key: str) -> File:
  return File(f"https://drive.google.com/uc?export=download&id={key}", name)


DATA_SETS = tuple(
  DataSet(
    name=f"celeba/{side}",
    description=f"CelebA, aligned faces cropped to {_CROP} and resized to {side} x {side}.",
    homepage="http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    license="for non-commercial research only",
    citation="Liu, Luo, Wang and Tang: Deep learning face attributes in the wild, ICCV 2015.",
    files={
      "images": _file("img_align_celeba.zip", "0B7EVK8r0v71pZjFTYXZWM3FlRnM"),
      "partition": _file("list_eval_partition.txt", "0B7EVK8r0v71pY0NSMzRuSXJEVkk"),
      "attributes": _file("list_attr_celeba.txt", "0B7EVK8r0v71pblRyaVFSWGxPY0U"),
    },
    features={"x": ((side, side, 3), "uint8"), "attributes": ((len(ATTRIBUTES),), "bool")},
    sizes={"train": 162_770, "valid": 19_867, "test": 19_962},
    read=functools.partial(_read, side=side),
  )
  for side in (32, 64, 128)
)


def load(member: str, data_dir: str | None = None, manual_dir: str | None = None) -> Splits:
  """x uint8 [N, side, side, 3], attributes bool [N, 40], named by about["attributes"].

  Args:
    member: 32, 64 or 128, the side in pixels.
    data_dir, manual_dir: see prepare.prepared.
  """
  spec = next(s for s in DATA_SETS if s.name == f"celeba/{member}")
  return Splits(**prepared(spec, data_dir, manual_dir), about={"attributes": ATTRIBUTES})
