"""Conversion of the lines of a data set to token ids, with the vocabulary of its training split; see tokens.py."""

from collections.abc import Mapping

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, take
from dgm_jax.data.files import derivations, selfies_text, tokens, windows
from dgm_jax.data.files.tokens import ATOM, END, KINDS, OF_LINES, SPECIAL, UNK
from dgm_jax.data.splits import Splits

_PRIVATE = 0xF0000  # private code points, which no text has: one for each token of SMILES of more than one character
_MOST_BYTES = 2**33


def _strings(text: np.ndarray) -> list[str]:
  """The strings of an array of UTF-8 bytes, as in the cache, or of objects."""
  return b"\n".join(text.tolist()).decode().split("\n") if text.dtype.kind == "S" else text.tolist()


def _codes(lines: list[str], kind: str, seen: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
  """(a code for each token of all lines, the number of tokens of each line).

  Args:
    lines: N strings without line breaks.
    kind: one of KINDS.
    seen: the index of each word, or atom of more than one character, so far; new ones are added.
  """
  if kind == "word":
    words = [line.split() for line in lines]
    codes = np.fromiter((seen.setdefault(w, len(seen)) for line in words for w in line), np.int32)
    return codes, np.fromiter(map(len, words), np.int64, len(words))
  if kind == "atom":
    stand_in = lambda match: chr(_PRIVATE + seen.setdefault(match[0], len(seen)))
    lines = ATOM.sub(stand_in, "\n".join(lines)).split("\n")
  if kind == "letter":
    lines = list(map(tokens.letters, lines))
  text = "".join(lines)
  codes = np.frombuffer(*((text.encode(), np.uint8) if text.isascii() else (text.encode("utf-32-le"), "<u4")))
  return codes, np.fromiter(map(len, lines), np.int64, len(lines))


def _vocabulary(codes: np.ndarray, kind: str, seen: dict[str, int], size: int) -> tuple[list[str], list[int]]:
  """(the tokens from the most frequent to the least, their codes)."""
  counts = np.bincount(codes)
  longer = list(seen)
  name = lambda c: longer[c] if kind == "word" else longer[c - _PRIVATE] if longer and c >= _PRIVATE else chr(c)
  names = {name(c): c for c in np.flatnonzero(counts).tolist()}
  if kind == "word":
    names.pop(SPECIAL[UNK], None)  # rare words may already be replaced by <unk> in the text
  ranked = sorted(names, key=lambda token: (-counts[names[token]], token))[: size or None]
  return ranked, [names[token] for token in ranked]


def _table(
  coded: Mapping[str, tuple[np.ndarray, np.ndarray]], kind: str, seen: dict[str, int], size: int
) -> tuple[list[str], np.ndarray]:
  """(the tokens of the training split without the special ones, the id of each code), of the codes of all parts."""
  names, codes_of_tokens = _vocabulary(coded["train"][0], kind, seen, size)
  ids = np.full(1 + max(int(codes.max(initial=0)) for codes, _ in coded.values()), UNK, np.int32)
  ids[codes_of_tokens] = len(SPECIAL) + np.arange(len(names))
  return names, ids


def _reading(parts: Mapping[str, Arrays], dropped: Mapping[str, int], width: int, size: int) -> list[str]:
  """What the sequences leave out: lines that are too long, and tokens that are not in the vocabulary."""
  found = []
  for part, arrays in parts.items():
    unknown = int((arrays["x"] == UNK).sum())
    if dropped[part]:
      found.append(f"{dropped[part]:,} lines of the {part} split have {width} tokens or more and are left out")
    if unknown:
      share = 100 * unknown / int(arrays["length"].sum())
      found.append(f"{share:.2f} % of the tokens of the {part} split are <unk>, outside the {size:,} of the vocabulary")
  return found


def _encode_rules(splits: Splits, grammar: str, max_length: int, data_dir: str | None) -> Splits:
  """`encode` of the kind "rule"."""
  errors.require(bool(grammar), "data.tokens = 'rule' needs data.grammar; this data set has none.")
  texts = {part: _strings(arrays["text"]) for part, arrays in splits.parts().items()}
  encoded, keep, about = derivations.encode(texts, derivations.grammar_text(grammar), max_length, data_dir)
  for part, arrays in splits.parts().items():
    encoded[part] |= take({k: v for k, v in arrays.items() if k != "text"}, keep[part])
  return splits._replace(**encoded, about=dict(splits.about) | about)


def _encode_selfies(splits: Splits, max_length: int, data_dir: str | None) -> Splits:
  """`encode` of the kind "selfies"."""
  parts, none = {}, {}
  for part, arrays in splits.parts().items():
    text = np.array(selfies_text.of_lines(_strings(arrays["text"]), data_dir), object)
    kept = np.array([bool(line) for line in text])
    errors.require(bool(kept.any()), f"No line of the {part} split has SELFIES.")
    parts[part], none[part] = take(arrays | {"text": text}, kept), int((~kept).sum())
  found = encode(splits._replace(**parts), "word", 0, max_length)
  lost = [f"{n:,} lines of the {part} split have no SELFIES and are left out" for part, n in none.items() if n]
  reading = [*lost, *found.about.get("reading", [])]
  about = dict(found.about) | {"tokens": "selfies", "versions": selfies_text.versions()}
  return found._replace(about=about | ({"reading": reading} if reading else {}))


def encode(
  splits: Splits,
  kind: str,
  vocabulary_size: int = 0,
  max_length: int = 0,
  grammar: str = "",
  data_dir: str | None = None,
) -> Splits:
  """Replaces `text` by x int32 [N, T], token ids, and `length` int32 [N], which counts <end>.

  about["vocabulary"] lists the tokens by id, about["tokens"] is `kind`, about["dropped"] has the number of lines
  in each split that are too long.  about["reading"] says it in words, with the share of <unk>, where there are any, and
  the size of the vocabulary and the greatest length where one of them is chosen.

  Args:
    splits: each part has the feature `text`, [N] strings; bytes in UTF-8 or objects.
    kind: "character"; "letter", see tokens.letters; "word", separated by white space; "atom", for SMILES: bracket
      atoms, Cl, Br, @@ and ring numbers %NN are one token each, and so is every other character; "rule", see
      derivations.py; "selfies", see selfies_text.py.
    vocabulary_size: number of tokens, the most frequent ones, in addition to the three special ones (0: all).
    max_length: T; lines with a greater length are dropped (0: the greatest length in all splits, so that none is).
    grammar: of the kind "rule": a name of core.grammars.PUBLISHED, or a file.
    data_dir: where what is made of long files is kept, see cache.data_dir.

  Raises:
    UserError: an invalid value, a split whose lines are all too long, or arrays too large for memory.
  """
  errors.choose("value of data.tokens", kind, KINDS)
  for name, value in (("vocabulary_size", vocabulary_size), ("max_length", max_length)):
    errors.require(value >= 0, f"data.{name} = {value}; it must be 0 or more.")
  if kind == "rule":
    return _encode_rules(splits, grammar, max_length, data_dir)
  if kind == "selfies":
    return _encode_selfies(splits, max_length, data_dir)
  seen: dict[str, int] = {}
  coded = {part: _codes(_strings(arrays["text"]), kind, seen) for part, arrays in splits.parts().items()}
  longest = 1 + max(int(counts.max()) for _, counts in coded.values())
  needed = 4 * longest * sum(len(counts) for _, counts in coded.values())
  errors.require(
    max_length > 0 or needed <= _MOST_BYTES,
    f"The longest line has {longest - 1} tokens; x would take {needed / 2**30:.0f} GiB; choose data.max_length.",
  )
  width = max_length or longest
  keep = {part: counts < width for part, (_, counts) in coded.items()}  # one is for <end>
  for part, kept in keep.items():
    errors.require(kept.any(), f"data.max_length = {max_length} leaves no line of the {part} split.")
    codes, counts = coded[part]
    coded[part] = (codes if kept.all() else codes[np.repeat(kept, counts)]), counts[kept]
  known, ids = _table(coded, kind, seen, vocabulary_size)
  encoded = {}
  for part, arrays in splits.parts().items():
    codes, counts = coded.pop(part)
    others = take({k: v for k, v in arrays.items() if k != "text"}, keep[part])
    encoded[part] = {"x": tokens.rows(ids[codes], counts, width), "length": (counts + 1).astype(np.int32)} | others
  dropped = {part: int((~kept).sum()) for part, kept in keep.items()}
  about = {"vocabulary": (*SPECIAL, *known), "tokens": kind, "dropped": dropped}
  most = [f"the vocabulary has {len(known):,} tokens, and lines at most {width - 1:,}"]
  if reading := [*(most if vocabulary_size or max_length else []), *_reading(encoded, dropped, width, len(known))]:
    about["reading"] = reading
  return splits._replace(**encoded, about=dict(splits.about) | about)


def encode_windows(splits: Splits, kind: str, seq_len: int, stride: int = 0, vocabulary_size: int = 0) -> Splits:
  """Windows x int32 [N, seq_len] of the text of each part, all its lines in their order, each followed by <end>.

  Args:
    splits, kind, vocabulary_size: see encode.
    seq_len, stride: see windows.cut.

  Raises:
    UserError: an invalid value, or a split shorter than a window.
  """
  errors.choose("value of data.tokens", kind, KINDS)
  errors.require(kind not in OF_LINES, f"data.tokens = {kind!r} is for lines, not for windows of a text.")
  errors.require(vocabulary_size >= 0, f"data.vocabulary_size = {vocabulary_size}; it must be 0 or more.")
  seen: dict[str, int] = {}
  coded = {part: _codes(_strings(arrays["text"]), kind, seen) for part, arrays in splits.parts().items()}
  known, ids = _table(coded, kind, seen, vocabulary_size)
  texts = {part: np.insert(ids[codes], np.cumsum(counts), END) for part, (codes, counts) in coded.items()}
  parts, cut = windows.cut(texts, seq_len, stride)
  about = {"vocabulary": (*SPECIAL, *known), "tokens": kind, "windows": cut}
  return Splits(parts["train"], parts.get("valid"), parts["test"], dict(splits.about) | about)
