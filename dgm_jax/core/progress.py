"""The progress bar."""

import sys

import tqdm


def progress_bar(
  total: int, initial: int = 0, description: str = "", unit: str = "step", disable: bool = False
) -> tqdm.tqdm:
  """A bar with rate and remaining time: redrawn in place on a terminal, one line every 30 s in a log file."""
  terminal = sys.stderr.isatty()
  return tqdm.tqdm(
    total=total,
    initial=initial,
    desc=description,
    unit=f" {unit}s",
    dynamic_ncols=terminal,
    mininterval=0.2 if terminal else 30.0,
    file=sys.stderr,
    disable=disable,
  )
