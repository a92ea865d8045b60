"""The progress bar."""

import sys
import warnings
from typing import Any

with warnings.catch_warnings():
  warnings.simplefilter("ignore")  # in a notebook without ipywidgets, tqdm falls back to a line of text by itself
  from tqdm.auto import tqdm

_DRAWN_EVERY = 1.0  # seconds, in a terminal or notebook
_LOGGED_EVERY = 30.0  # seconds between the lines in a log file


def is_watched() -> bool:
  """Whether the bar appears in a terminal or in a notebook, and not in a log file."""
  return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def progress_bar(total: int, initial: int = 0, description: str = "", unit: str = "step", disable: bool = False) -> Any:
  """A bar with the rate, the time left and what its `set_postfix_str` adds, such as the running loss.

  It is redrawn every second in a terminal or notebook; a log file gets a line every 30 s.
  """
  watched = is_watched()
  return tqdm(
    total=total,
    initial=initial,
    desc=description,
    unit=f" {unit}s",
    dynamic_ncols=watched,
    mininterval=_DRAWN_EVERY if watched else _LOGGED_EVERY,
    bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]",
    miniters=1,  # look at the clock at every update: they come by the chunk, some of which are long
    file=sys.stderr,
    disable=disable,
  )
