"""The look of every figure: colours of splits and methods, units, sizes and fonts.

The colours are those of Okabe & Ito (2008), which people with any colour blindness can tell apart.  As some of them are
equally light, every style also has a line style and a marker of its own, so that figures can be printed in grey.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import errors, options

COLUMN, PAGE = 3.3, 6.9  # inches, the width of a column and of both columns of a paper
FORMATS = ("png", "pdf", "svg")
GREY = "#767676"  # what is not measured, and reference lines
_INCHES_PER_LETTER = 0.068  # at the size of a title
_SIZES = {"title": 8.5, "label": 8.0, "tick": 7.0, "legend": 7.0}  # points


class Style(NamedTuple):
  """How a line looks: its colour, line style and marker."""

  colour: str
  line: Any
  marker: str


SPLITS = {
  "train": Style("#0072B2", "-", "o"),
  "valid": Style("#E69F00", "--", "s"),
  "test": Style("#000000", "-.", "^"),
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", GREY)
_LINES = ("-", "--", "-.", ":", (0, (6, 1)), (0, (4, 1, 1, 1, 1, 1)), (0, (8, 3)))
_MARKERS = "os^DvPX*"

_NATS = {"elbo", "log_px", "log_py", "nll", "kl", "iwae", "rate", "distortion", "log_joint", "log_pz", "log_qz_x"}
_UNITS = dict.fromkeys(_NATS, "nats") | {
  "bpd": "bits per dimension",
  "accuracy": "share",
  "acceptance": "share",
  "entropy": "nats",
  "aic": "nats",
  "bic": "nats",
  "icl": "nats",
  "log_px_step": "nats per step",
  "active_units": "units",
  "batch_size": "examples",
  "num_steps": "steps",
  "num_epochs": "epochs",
  "steps_per_s": "1/s",
}
_PREFIXES = ("exact_", "posterior_", "collapse_", "gaps_", "ais_", "bdmc_", "train_")
_RATES = {"lr", "learning_rate", "weight_decay", "step_size", "eps"}  # numbers that are compared by their ratios


def methods(names: Iterable[str]) -> dict[str, Style]:
  """A style for each distinct name, by its place: the same names in the same order look the same in every figure."""
  found = {}
  for name in names:
    i = len(found)
    turn = i // len(COLOURS)  # a colour that is used again has another line style and marker
    found.setdefault(
      name, Style(COLOURS[i % 8], _LINES[(i + turn) % len(_LINES)], _MARKERS[(i + turn) % len(_MARKERS)])
    )
  return found


def unit(name: str, others: Sequence[str] = ()) -> str:
  """The unit of a metric or of a config path; "" if it has none or none is known.

  Args:
    name: such as "valid/log_px" or "batch_size".
    others: the metrics of the same run: a loss is in nats if they include a log-density.
  """
  last = _last(name)
  if last in ("loss", "objective"):
    return "nats" if any(_last(other) in _NATS for other in others) else ""
  for prefix in _PREFIXES:
    last = last.removeprefix(prefix)
  return _UNITS.get(last.removesuffix("_stderr").removesuffix("_error"), "")


def _last(name: str) -> str:
  return name.rpartition("/")[2].rpartition(".")[2]


def label(name: str, others: Sequence[str] = ()) -> str:
  """The label of an axis: the name and, in brackets, its unit."""
  found = unit(name, others)
  return f"{name} ({found})" if found else name


def is_rate(name: str) -> bool:
  """Whether numbers of this name are compared by their ratios, and so get a logarithmic axis: learning rates."""
  return _last(name) in _RATES


def wrapped(text: str, inches: float) -> str:
  """The text of a title in lines that fit into this width."""
  return textwrap.fill(text, max(12, int(inches / _INCHES_PER_LETTER)), break_long_words=False)


def check_formats(formats: Iterable[str], where: str) -> tuple[str, ...]:
  """The formats of figure files, without repetition.

  Args:
    formats: of FORMATS.
    where: the option that names them.

  Raises:
    UserError: an unknown format, or none.
  """
  found = tuple(dict.fromkeys(errors.choose(f"format of {where}", f, FORMATS) for f in options.words(formats)))
  errors.require(bool(found), f"{where} names no format. Choices: {', '.join(FORMATS)}.")
  return found


def parse_formats(text: str) -> tuple[str, ...]:
  """The formats in the text of --format, such as "pdf,svg"."""
  return check_formats([text], "--format")


def finish(figure: Any) -> None:
  """Gives all text its size, and every plot with axes a light grid below its lines; called once, before it is saved."""
  for axis in figure.axes:
    axis.title.set_fontsize(_SIZES["title"])
    for part in (axis.xaxis, axis.yaxis):
      part.label.set_fontsize(_SIZES["label"])
      part.get_offset_text().set_fontsize(_SIZES["tick"])
    axis.tick_params(which="both", labelsize=_SIZES["tick"], width=0.6, length=2.5)
    axis.set_axisbelow(True)
    for edge in axis.spines.values():
      edge.set_linewidth(0.6)
    if (axis.get_lines() or axis.collections) and axis.axison and not axis.get_label().startswith("<colorbar"):
      axis.grid(color="#d9d9d9", linewidth=0.5)
    _finish_legend(axis.get_legend())
  for found in figure.legends:
    _finish_legend(found)
  for text in figure.texts:  # the title above all panels
    text.set_fontsize(_SIZES["title"])


def _finish_legend(found: Any) -> None:
  if found is not None:
    for text in (*found.get_texts(), found.get_title()):
      text.set_fontsize(_SIZES["legend"])
    found.set_frame_on(False)
