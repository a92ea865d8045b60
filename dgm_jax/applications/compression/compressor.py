"""Compressed files of integers and texts, by a trained run."""

import pathlib
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from dgm_jax.applications.compression import codec, container, inputs
from dgm_jax.core import errors
from dgm_jax.training import restore

_QUIET: Callable = lambda rows: None


class Encoded(NamedTuple):
  """A compressed file.

  Attributes:
    data: its bytes.
    bits: -log2 p of what it holds, under the model; the file is longer by its 32 bytes and what the coder rounds.
    count: number of examples, or of tokens of a text (lines, if the run is of lines).
  """

  data: bytes
  bits: float
  count: int


class Compressor:
  """Lossless compression by a discrete autoregressive model, p(x) = prod_d p(x_d | x_<d).

  A range coder takes -log2 p(x_d | x_<d) bits for an entry, so that the size of a file is the model's
  negative log-likelihood.  Files are decoded where they were encoded: with the same run, versions and processor, whose
  rounding the probabilities depend on.

  Args:
    model, state, about: the model, its trained state, and the metadata of its data set, with the vocabulary of a text.
    batch_size: examples coded at once.
    name: of the model, for messages.

  Raises:
    UserError: the model is not autoregressive, not discrete, conditional, or has several orders.
  """

  def __init__(self, model: Any, state: Any, about: Any = None, batch_size: int = 512, name: str = "model"):
    errors.require(
      1 <= batch_size <= container.MOST_AT_ONCE,
      f"batch_size = {batch_size}; it must be 1 to {container.MOST_AT_ONCE}.",
    )
    self._model, self._state, self._about, self._name = model, state, about or {}, name
    self._codecs: dict[int, codec.Codec] = {}
    self._batch_size = batch_size
    self._codec(batch_size)  # also validates the model
    self._run = codec.run_fingerprint(model, state, self._about)

  @classmethod
  def of_run(cls, workdir: str | pathlib.Path, checkpoint: str = "latest", batch_size: int = 512) -> Self:
    """The compressor of a run at a checkpoint: "latest", "best" or a step.  Raises UserError, see restore.restore."""
    config, experiment, state = restore.of_run(workdir, checkpoint)
    return cls(experiment.model, state, experiment.splits.about, batch_size, config["model"]["name"])

  @property
  def is_text(self) -> bool:
    """Whether the run is of text."""
    return "vocabulary" in self._about and "tokens" in self._about

  def _codec(self, batch_size: int) -> codec.Codec:
    if batch_size not in self._codecs:
      self._codecs[batch_size] = codec.Codec(self._model, self._state, batch_size, self._name)
    return self._codecs[batch_size]

  def _text(self) -> inputs.Text:
    return inputs.Text(self._about, self._model.dim)

  def encode(self, x: np.ndarray, *, progress: Callable = _QUIET, what: str = "x") -> Encoded:
    """Compresses integers [N, *shape] or [N, D]: the numbers 0 .. V - 1 of the values of the model's entries.

    Raises:
      UserError: other numbers or shapes; `what` names them.
    """
    kind = inputs.kind_of(np.asarray(x), what)
    symbols = codec.check_symbols(np.asarray(x), self._model.data_shape, self._model.num_levels, what)
    return self._encoded(symbols, kind, len(symbols), np.full(len(symbols), symbols.shape[1]), None, progress)

  def encode_text(self, text: str, *, progress: Callable = _QUIET, what: str = "the text") -> Encoded:
    """Compresses a text.  Raises UserError if it cannot be written in the run's tokens; `what` names it."""
    made = self._text()
    rows, count = made.encode(text, what)
    return self._encoded(rows, 0, count, made.lengths(count), made.end, progress)

  def _encoded(
    self, rows: np.ndarray, kind: int, count: int, lengths: np.ndarray, end: int | None, progress: Callable
  ) -> Encoded:
    errors.require(count <= container.MOST_EXAMPLES, f"{count:,} examples are too many for a file.")
    of = self._codec(self._batch_size)
    words, bits = of.encode(rows, lengths, end, progress)
    checksum = zlib.crc32(rows.astype("<i4").tobytes())
    place = of.place_fingerprint()
    made = container.Container(kind, self._batch_size, count, self._run, place, checksum, words)
    return Encoded(container.write(made), bits, count)

  def decode(self, data: bytes, *, progress: Callable = _QUIET, what: str = "the file") -> np.ndarray | str:
    """What `encode` or `encode_text` compressed, in its type: integers [N, *shape], or a text.

    Raises:
      UserError: a file of another run, machine or version, or one that is damaged; `what` names it.
    """
    found = container.read(data, what)
    errors.require(
      found.run == self._run,
      f"{what} was encoded with another run or another checkpoint than this one: its model has the fingerprint "
      f"{found.run.hex()}, this one {self._run.hex()}.",
    )
    of = self._codec(found.batch_size)
    errors.require(
      found.place == of.place_fingerprint(),
      f"{what} was encoded on another machine, or with another version of jax, jaxlib or constriction, where "
      f"probabilities are rounded differently; this is {codec.place()}: decode it where it was encoded.",
    )
    made = None if found.kind else self._text()
    lengths = made.lengths(found.count) if made else np.full(found.count, of.dim)
    rows = of.decode(found.words, lengths, made.end if made else None, progress)
    errors.require(
      zlib.crc32(rows.astype("<i4").tobytes()) == found.content,
      f"{what} does not decode to what was encoded: this machine rounded a probability differently from then, or "
      "the file was changed.",
    )
    if made:
      return made.decode(rows, found.count)
    return rows.reshape(-1, *self._model.data_shape).astype(inputs.KINDS[found.kind])
