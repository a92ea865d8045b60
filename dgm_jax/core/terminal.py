"""Printing where the terminal, or the locale, has no more than ASCII: ± becomes +/-."""

import codecs
import sys

_PLAIN = {"±": "+/-", "−": "-", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "…": "...", "·": "-"}


def _plain(error: UnicodeError) -> tuple[str, int]:
  """Replaces characters that an encoding lacks."""
  if not isinstance(error, UnicodeEncodeError):
    raise error
  return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def accept_all() -> None:
  """Makes the standard streams replace characters that their encoding lacks, instead of raising an error."""
  codecs.register_error("dgm_jax.plain", _plain)
  for stream in (sys.stdout, sys.stderr):
    if reconfigure := getattr(stream, "reconfigure", None):
      reconfigure(errors="dgm_jax.plain")
