"""TensorBoard's files in WORKDIR/tensorboard: scalars, images, texts, and hyper-parameters with the final metrics."""

import pathlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

from dgm_jax.training.loggers import hub


def check() -> None:
  """tensorboardX is always installed."""


class Logger:
  """See dgm_jax.training.loggers; rows later than the step that the run continues from are purged."""

  rewinds = True

  def __init__(self, about: hub.About):
    import tensorboardX

    folder = about.workdir / "tensorboard"
    self.resumed = folder.is_dir() and any(folder.iterdir())
    suffix = f".from_{about.step:08d}"  # the time in the name has only seconds
    self._board = tensorboardX.SummaryWriter(str(folder), purge_step=about.step + 1, filename_suffix=suffix)
    self._about, self._error = about, None
    records = self._board.file_writer.event_writer._ev_writer
    records.write_event, records.flush = map(self._outlasting, (records.write_event, records.flush))

  def _outlasting(self, write: Callable[..., Any]) -> Callable[..., None]:
    """`write` of tensorboardX's thread, whose errors are kept: a thread that ends lets its full queue wait for ever."""

    def kept(*args: Any) -> None:
      try:
        write(*args)
      except OSError as e:
        self._error = e

    return kept

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes numbers."""
    if self._error:
      raise self._error
    for name, value in values.items():
      self._board.add_scalar(name, value, step)

  def pictures(self, step: int, paths: Mapping[str, pathlib.Path]) -> None:
    """Writes PNG files as they are."""
    from tensorboardX.proto.summary_pb2 import Summary

    for name, path in paths.items():
      data = path.read_bytes()
      width, height = struct.unpack(">II", data[16:24])  # of the PNG's header
      image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
      self._board.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)

  def texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes texts, verbatim: TensorBoard would read them as Markdown."""
    for name, text in texts.items():
      self._board.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes the config and the final metrics for the tab HPARAMS."""
    from tensorboardX.summary import hparams

    final = hub.numbers(results)
    for summary in hparams(self._about.parameters(), final):
      self._board.file_writer.add_summary(summary)
    self.scalars(int(results["step"]), final)

  def close(self) -> None:
    """Writes what is buffered."""
    self._board.close()
