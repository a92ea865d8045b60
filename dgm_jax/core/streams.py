"""Standard output and error of a command.

They may lose their reader (`| head -1`, a terminal that is closed), and may have no more than ASCII: ± becomes +/-.
"""

import codecs
import errno
import io
import os
import sys

_READERLESS = (errno.EPIPE, errno.EIO)  # of a pipe, and of a terminal
_PLAIN = {"±": "+/-", "−": "-", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "…": "...", "·": "-"}


class _Lasting(io.FileIO):
  """A descriptor; once nobody reads it any more, what is written goes to the null device."""

  def write(self, data, /) -> int:
    try:
      return super().write(data)
    except OSError as e:
      if e.errno not in _READERLESS:
        raise
      null = os.open(os.devnull, os.O_WRONLY)
      os.dup2(null, self.fileno())  # for libraries in C, too
      os.close(null)
      return super().write(data)


def outlast_readers() -> None:
  """Lets this process go on when nobody reads its standard output or error: its results are in files.

  Streams that are not this process's own, such as those of a notebook, are left as they are.
  """
  for number, name in ((1, "stdout"), (2, "stderr")):
    stream = getattr(sys, name)
    if stream is None:  # it was closed when Python started; else the next file would get its number
      stream = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif stream is getattr(sys, f"__{name}__") and not isinstance(getattr(stream.buffer, "raw", None), _Lasting):
      stream.flush()
      raw = _Lasting(number, "w", closefd=False)
      at_once = stream.line_buffering or stream.write_through or number == 2
      stream = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=at_once)
    else:
      continue
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)  # which Python flushes at its exit


def _plain(error: UnicodeError) -> tuple[str, int]:
  """Replaces characters that an encoding lacks."""
  if not isinstance(error, UnicodeEncodeError):
    raise error
  return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def replace_characters() -> None:
  """Makes the standard streams replace characters that their encoding lacks, instead of raising an error."""
  codecs.register_error("dgm_jax.plain", _plain)
  for stream in (sys.stdout, sys.stderr):
    if reconfigure := getattr(stream, "reconfigure", None):
      reconfigure(errors="dgm_jax.plain")


def prepare() -> None:
  """Both, at the start of a command."""
  outlast_readers()
  replace_characters()
