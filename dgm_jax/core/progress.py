"""The one progress bar."""

import sys

import tqdm


def progress_bar(
  total: int, initial: int = 0, description: str = "", unit: str = "step", disable: bool = False
) -> tqdm.tqdm:
  """A bar with rate and time left: on a terminal redrawn in place, in a log file a line every half minute."""
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
