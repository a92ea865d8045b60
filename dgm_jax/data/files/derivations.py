"""Strings as derivations of a grammar, token ids 1 + the number of a rule, and 0, the padding; and as SELFIES.

What a long file becomes is kept in the data folder, because a derivation takes some 0.5 ms.
"""

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors, grammar_parser, grammars
from dgm_jax.core.batches import Arrays
from dgm_jax.data.published import cache

INCOMPLETE = "<incomplete>"  # what a derivation that is cut is shown as: it stands for no string
PAD = 0
_VERSION = 1  # of what is kept
_FEW = 2000  # lines that are converted every time


def grammar_text(name: str) -> str:
  """The text of a published grammar, or of a file.  Raises UserError: neither, or an invalid grammar."""
  if name in grammars.PUBLISHED:
    return grammars.PUBLISHED[name]
  path = pathlib.Path(name).expanduser()
  errors.require(
    path.is_file(), f"data.grammar = {name!r} is neither {' nor '.join(grammars.PUBLISHED)} nor a file of rules."
  )
  try:
    text = path.read_text("utf-8")
  except UnicodeDecodeError as e:
    raise errors.UserError(f"{path} is not a text in UTF-8: {e}.") from e
  grammars.parse(text)
  return text


def vocabulary(text: str) -> tuple[str, ...]:
  """The tokens by id: the padding and the rules of a grammar."""
  grammar = grammars.parse(text)
  return ("<pad>", *map(grammar.shown, range(len(grammar.rules))))


def kept(name: str, texts: Sequence[str], make: Callable[[], Arrays], data_dir: str | None = None) -> Arrays:
  """make(), or what is kept of it for the same texts; `name` says what it is, with all that it depends on."""
  if len(texts) < _FEW:
    return make()
  digest = hashlib.sha256("\n".join((name, str(_VERSION), *texts)).encode()).hexdigest()
  folder = cache.data_dir(data_dir) / "dgm_arrays" / f"own-{digest[:24]}"
  write = lambda folder: cache.save(folder, {"all": make()})
  return cache.cached(folder, ("all",), write, what=name.split("\n", 1)[0])["all"]


def rows(lines: Sequence[str], text: str, data_dir: str | None = None) -> tuple[np.ndarray, np.ndarray, str, int]:
  """Derivations of lines.

  Returns:
    x uint16 [N, T]; the number of rules [N], 0 of lines without a derivation; what is wrong with the first of these,
    or ""; how many lines have several derivations.
  """
  grammar, wrong = grammars.parse(text), ""

  def make() -> Arrays:
    found, ambiguous = [], []
    for line in lines:
      try:
        derived = grammar_parser.derive(line, grammar)
      except grammar_parser.UnderivableError:
        derived = grammar_parser.Derivation((), False)
      found.append(derived.rules)
      ambiguous.append(derived.ambiguous)
    counts = np.array([len(rules) for rules in found], np.int32)
    x = np.zeros((len(lines), max(1, counts.max(initial=0))), np.uint16)
    x[np.arange(x.shape[1]) < counts[:, None]] = 1 + np.array([r for rules in found for r in rules], np.uint16)
    return {"x": x, "counts": counts, "ambiguous": np.array(ambiguous)}

  made = kept(f"derivations\n{text}", lines, make, data_dir)
  first = next((line for line, n in zip(lines, made["counts"].tolist(), strict=True) if not n), None)
  if first is not None:
    try:
      grammar_parser.derive(first, grammar)
    except grammar_parser.UnderivableError as e:
      wrong = str(e)
  return np.asarray(made["x"]), np.asarray(made["counts"]), wrong, int(made["ambiguous"].sum())


def encode(
  parts: Mapping[str, Sequence[str]], text: str, max_length: int, data_dir: str | None = None
) -> tuple[dict[str, Arrays], dict[str, np.ndarray], dict[str, Any]]:
  """({part: x int32 [N, T] and length int32 [N]}, {part: which lines are kept}, metadata).

  Lines without a derivation, or with one of more than `max_length` rules (0: no limit), are left out; the metadata's
  `reading` says how many.

  Raises:
    UserError: no line of a part is left.
  """
  made = {part: rows(lines, text, data_dir) for part, lines in parts.items()}
  width = max_length or max(int(counts.max()) for _, counts, _, _ in made.values())
  arrays, keep, reading = {}, {}, []
  for part, (x, counts, wrong, ambiguous) in made.items():
    keep[part] = (counts > 0) & (counts <= width)
    none, long = int((counts == 0).sum()), int((counts > width).sum())
    errors.require(
      bool(keep[part].any()), f"The grammar derives no line of the {part} split{': ' * bool(wrong)}{wrong}."
    )
    if none:
      reading.append(f"{none:,} lines of the {part} split have no derivation and are left out; of the first, {wrong}")
    if long:
      reading.append(f"{long:,} lines of the {part} split have more than {width} rules and are left out")
    if ambiguous:
      reading.append(
        f"the grammar is ambiguous: {ambiguous:,} lines of the {part} split have several derivations, of which one is "
        "taken, and log p is that of the derivation, not of the string"
      )
    some = np.zeros((int(keep[part].sum()), width), np.int32)
    some[:, : min(width, x.shape[1])] = x[keep[part], :width]
    arrays[part] = {"x": some, "length": counts[keep[part]].astype(np.int32)}
  dropped = {part: int((~kept_lines).sum()) for part, kept_lines in keep.items()}
  about = {"vocabulary": vocabulary(text), "tokens": "rule", "grammar": text, "dropped": dropped}
  return arrays, keep, about | ({"reading": reading} if reading else {})


def rows_of(lines: Sequence[str], about: Mapping[str, Any], width: int) -> Arrays:
  """{x int32 [N, T], length int32 [N]} of lines that a user gives.

  Raises:
    UserError: a line that the grammar does not derive, or whose derivation is too long; names it, and says where.
  """
  grammar = grammars.parse(about["grammar"])
  x, counts = np.zeros((len(lines), width), np.int32), np.zeros(len(lines), np.int32)
  for i, line in enumerate(lines):
    try:
      rules = grammar_parser.derive(line, grammar).rules
    except grammar_parser.UnderivableError as e:
      raise errors.UserError(f"Line {i + 1}: {e}.") from e
    errors.require(
      len(rules) <= width, f"Line {i + 1} has a derivation of {len(rules)} rules; the model's have at most {width}."
    )
    x[i, : len(rules)], counts[i] = 1 + np.array(rules), len(rules)
  return {"x": x, "length": counts}


def strings(x: np.ndarray, about: Mapping[str, Any]) -> list[str]:
  """The strings of derivations [N, T]; INCOMPLETE for one that leaves a non-terminal, or breaks the grammar."""
  grammar, found = grammars.parse(about["grammar"]), []
  for row in np.asarray(x):
    try:
      pieces, left = grammar_parser.string_of((row[row != PAD] - 1).tolist(), grammar)
    except ValueError:
      left = 1
    found.append(INCOMPLETE if left else "".join(pieces))
  return found
