"""omniglot_resized: Lake's own Omniglot images, averaged down from 105 x 105 to 28 x 28, ink white on black.

Members: full, 30 alphabets to train on and 20 other ones to test on; small, the two small background sets of 5
alphabets each, which the authors made for 5-alphabet learning.  The latter overlap: all 1,000 images of Greek and
Latin in the test set of small are also in its training set, and are left out unless unseen_only = False.

Results are NOT comparable with those on omniglot, whose images are resized differently and whose training and test sets
share the alphabets.
"""

import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np

from dgm_jax.core.batches import take
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.sets.omniglot import hold_out_permuted
from dgm_jax.data.splits import Splits

_NAMES = (
  "Alphabet_of_the_Magi Angelic Anglo-Saxon_Futhorc Arcadian Armenian Asomtavruli_(Georgian) Atemayar_Qelisayer "
  "Atlantean Aurek-Besh Avesta Balinese Bengali Blackfoot_(Canadian_Aboriginal_Syllabics) Braille Burmese_(Myanmar) "
  "Cyrillic Early_Aramaic Futurama Ge_ez Glagolitic Grantha Greek Gujarati Gurmukhi Hebrew "
  "Inuktitut_(Canadian_Aboriginal_Syllabics) Japanese_(hiragana) Japanese_(katakana) Kannada Keble Korean Latin "
  "Malay_(Jawi_-_Arabic) Malayalam Manipuri Mkhedruli_(Georgian) Mongolian N_Ko "
  "Ojibwe_(Canadian_Aboriginal_Syllabics) Old_Church_Slavonic_(Cyrillic) Oriya Sanskrit Sylheti Syriac_(Estrangelo) "
  "Syriac_(Serto) Tagalog Tengwar Tibetan Tifinagh ULOG"
)
ALPHABETS = tuple(_NAMES.split())
_URL = "https://github.com/brendenlake/omniglot/raw/master/python/"


def _examples(path: pathlib.Path) -> Iterator[dict]:
  """Yields the images in the order of alphabets, characters and file names."""
  expected = "a zip of Omniglot's SET/ALPHABET/CHARACTER/*.png"
  with readers.reading(path, expected), zipfile.ZipFile(path) as archive:
    names = sorted(n.split("/") for n in archive.namelist() if n.endswith(".png") and not n.startswith("__MACOSX"))
    characters = sorted({tuple(name[:-1]) for name in names})
    indices = {character: i for i, character in enumerate(characters)}
    for *folders, file in names:
      if len(folders) != 3 or folders[1] not in ALPHABETS:
        raise ValueError(f"it holds {'/'.join((*folders, file))!r}")
      name = "/".join((*folders, file))
      grey = readers.image(archive.read(name), f"{path}: {name}", (28, 28), grey=True)
      yield {"x": 255 - grey, "y": indices[tuple(folders)], "alphabet": ALPHABETS.index(folders[1])}


def _read(files: dict) -> dict:
  return {part: _examples(path) for part, path in files.items()}


def _spec(member: str, zips: dict[str, str], sizes: dict[str, int]) -> DataSet:
  return DataSet(
    name=f"omniglot_resized/{member}",
    description="Omniglot as published by Lake, resized to 28 x 28.",
    homepage="https://github.com/brendenlake/omniglot",
    license="MIT, (c) 2015 Brenden Lake",
    citation="Lake, Salakhutdinov and Tenenbaum: Human-level concept learning through probabilistic program induction, "
    "Science 350, 2015.",
    files={part: File(f"{_URL}{name}", name) for part, name in zips.items()},
    features={"x": ((28, 28, 1), "uint8"), "y": ((), "int32"), "alphabet": ((), "int32")},
    sizes=sizes,
    read=_read,
  )


DATA_SETS = (
  _spec("full", {"train": "images_background.zip", "test": "images_evaluation.zip"}, {"train": 19_280, "test": 13_180}),
  _spec(
    "small",
    {"train": "images_background_small1.zip", "test": "images_background_small2.zip"},
    {"train": 2_720, "test": 3_120},
  ),
)


def load(
  member: str,
  data_dir: str | None = None,
  manual_dir: str | None = None,
  valid_size: int = 0,
  unseen_only: bool = True,
) -> Splits:
  """x uint8 [N, 28, 28, 1], y int32 [N] the character within its part, alphabet int32 [N] into about["alphabets"].

  Args:
    member: full or small.
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out, by a fixed random draw (0: none).
    unseen_only: leaves the alphabets of the training set out of the test set: of small's 3,120 examples 2,120 remain.
  """
  spec = next(s for s in DATA_SETS if s.name == f"omniglot_resized/{member}")
  parts = prepared(spec, data_dir, manual_dir)
  test = parts["test"]
  if unseen_only:
    test = take(test, ~np.isin(test["alphabet"], parts["train"]["alphabet"]))
  train, valid = hold_out_permuted(parts["train"], valid_size)
  return Splits(train, valid, test, {"alphabets": ALPHABETS})
