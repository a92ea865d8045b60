"""tiny_shakespeare: 1,115,394 characters of Shakespeare's plays, 65 distinct ones (Karpathy, 2015).

The first 90 % of the characters are for training, the next 5 % for validation and the last 5 % for testing, as in
TensorFlow Datasets.  nanoGPT and others take the last 10 % for validation and have no test set (split = "nanogpt").
Numbers are in nats or bits per character.  They depend on how much context a model sees: here only the window itself,
so longer windows (seq_len) give lower values.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import readers, tokens, windows
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import TEXT, DataSet, File
from dgm_jax.data.splits import Splits

SPLITS = ("tfds", "nanogpt")
_RECORD = 1000  # characters; TFDS would be slow with records of one character


def _parts(text: str) -> dict[str, str]:
  train, held_out = int(0.9 * len(text)), len(text) - int(0.9 * len(text))
  valid = train + held_out // 2
  return {"train": text[:train], "valid": text[train:valid], "test": text[valid:]}


def _records(text: str) -> Iterator[dict]:
  return ({"text": text[i : i + _RECORD]} for i in range(0, len(text), _RECORD))


def _read(files: dict[str, pathlib.Path]) -> dict:
  with readers.reading(files["text"], "ASCII text"):
    text = files["text"].read_bytes().decode("ascii")
  return {part: _records(characters) for part, characters in _parts(text).items()}


DATA_SETS = (
  DataSet(
    name="tiny_shakespeare",
    description="Shakespeare's plays, character by character; the records are runs of 1,000 characters.",
    homepage="https://github.com/karpathy/char-rnn",
    license="MIT; the text is in the public domain",
    citation="Karpathy: The unreasonable effectiveness of recurrent neural networks, 2015.",
    files={
      "text": File(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt", "input.txt"
      )
    },
    features={"text": ((), TEXT)},
    sizes={"train": 1004, "valid": 56, "test": 56},  # records of 1,003,854 / 55,770 / 55,770 characters
    read=_read,
  ),
)


def _characters(text: bytes, letters: bool) -> np.ndarray:
  return np.frombuffer(tokens.letters(text.decode()).encode() if letters else text, np.uint8)


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  seq_len: int = 128,
  stride: int = 0,
  split: str = "tfds",
  letters: bool = False,
) -> Splits:
  """x int32 [N, seq_len], ids of characters, indices into about["vocabulary"], which is in ASCII order.

  The remainder of a split behind its last window is in about["windows"]; see windows.cut.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    seq_len: characters per window.
    stride: characters from one window to the next; 0 for windows that do not overlap.
    split: "tfds", 90, 5 and 5 %, or "nanogpt", 90 % for training and the other 10 % as the test set, without a
      validation set.
    letters: whether to reduce the text to 27 characters, a to z and space; see tokens.letters.
  """
  errors.choose("value of data.split", split, SPLITS)
  texts = {
    part: b"".join(arrays["text"].tolist()) for part, arrays in prepared(DATA_SETS[0], data_dir, manual_dir).items()
  }
  if split == "nanogpt":
    texts = {"train": texts["train"], "test": texts["valid"] + texts["test"]}
  parts = {part: _characters(text, letters) for part, text in texts.items()}
  alphabet = np.unique(parts["train"])  # has all characters of the other splits
  ids = np.zeros(128, np.int32)
  ids[alphabet] = np.arange(len(alphabet))
  made, about = windows.cut({part: ids[characters] for part, characters in parts.items()}, seq_len, stride)
  about = {"vocabulary": tuple(map(chr, alphabet)), "tokens": "character", "windows": about}
  return Splits(made["train"], made.get("valid"), made["test"], about)
