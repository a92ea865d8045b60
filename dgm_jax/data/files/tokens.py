"""Conversion of lines of text to token ids and back.

Ids are 0 <pad>, 1 <unk>, 2 <end>, then the tokens of the training split, the most frequent first (ties in the order of
the tokens themselves).  Tokens that do not occur in the training split are <unk>.  A line ends with <end>, and <pad>
fills its row.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, take
from dgm_jax.data.files import derivations, readers, selfies_text, sentences, windows
from dgm_jax.data.splits import Splits

SPECIAL = ("<pad>", "<unk>", "<end>")
PAD, UNK, END = range(3)
KINDS = ("character", "letter", "word", "atom", "rule", "selfies")
_OF_LINES = ("rule", "selfies")
BETWEEN = 20 * "-"  # the line between texts of several lines

_ATOM = re.compile(r"\[[^\]\n]*\]|Br|Cl|@@|%\d\d")  # tokens of SMILES with more than one character
_PRIVATE = 0xF0000  # private code points, which no text has: one for each such token
_MOST_BYTES = 2**33


def letters(text: str) -> str:
  """The text in the 27 symbols of Shannon (1951): a to z, and one space for each run of other characters."""
  return re.sub("[^a-z]+", " ", text.lower()).strip()


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
    lines = _ATOM.sub(stand_in, "\n".join(lines)).split("\n")
  if kind == "letter":
    lines = list(map(letters, lines))
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


def _rows(ids: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
  """Ids of all lines as int32 [N, width], each line followed by <end> and <pad>."""
  x = np.full((len(counts), width), PAD, np.int32)
  x[np.arange(width) < counts[:, None]] = ids
  x[np.arange(len(counts)), counts] = END
  return x


def _table(
  coded: Mapping[str, tuple[np.ndarray, np.ndarray]], kind: str, seen: dict[str, int], size: int
) -> tuple[list[str], np.ndarray]:
  """(the tokens of the training split without the special ones, the id of each code), of the codes of all parts."""
  tokens, codes_of_tokens = _vocabulary(coded["train"][0], kind, seen, size)
  ids = np.full(1 + max(int(codes.max(initial=0)) for codes, _ in coded.values()), UNK, np.int32)
  ids[codes_of_tokens] = len(SPECIAL) + np.arange(len(tokens))
  return tokens, ids


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


def token_counts(train: Arrays, size: int) -> np.ndarray:
  """How often each of `size` tokens occurs in x of the training set, int64 [size]; without <pad> behind a line."""
  x = train["x"]
  inside = np.ones(x.shape, bool) if "length" not in train else np.arange(x.shape[1]) < train["length"][:, None]
  return np.bincount(x[inside].astype(np.int64).ravel(), minlength=size)


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
    kind: "character"; "letter", see letters; "word", separated by white space; "atom", for SMILES: bracket atoms, Cl,
      Br, @@ and ring numbers %NN are one token each, and so is every other character; "rule", see derivations.py;
      "selfies", see selfies_text.py.
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
  tokens, ids = _table(coded, kind, seen, vocabulary_size)
  encoded = {}
  for part, arrays in splits.parts().items():
    codes, counts = coded.pop(part)
    others = take({k: v for k, v in arrays.items() if k != "text"}, keep[part])
    encoded[part] = {"x": _rows(ids[codes], counts, width), "length": (counts + 1).astype(np.int32)} | others
  dropped = {part: int((~kept).sum()) for part, kept in keep.items()}
  about = {"vocabulary": (*SPECIAL, *tokens), "tokens": kind, "dropped": dropped}
  chosen = [f"the vocabulary has {len(tokens):,} tokens, and lines at most {width - 1:,}"]
  chosen = chosen if vocabulary_size or max_length else []
  if reading := [*chosen, *_reading(encoded, dropped, width, len(tokens))]:
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
  errors.require(kind not in _OF_LINES, f"data.tokens = {kind!r} is for lines, not for windows of a text.")
  errors.require(vocabulary_size >= 0, f"data.vocabulary_size = {vocabulary_size}; it must be 0 or more.")
  seen: dict[str, int] = {}
  coded = {part: _codes(_strings(arrays["text"]), kind, seen) for part, arrays in splits.parts().items()}
  tokens, ids = _table(coded, kind, seen, vocabulary_size)
  texts = {part: np.insert(ids[codes], np.cumsum(counts), END) for part, (codes, counts) in coded.items()}
  parts, cut = windows.cut(texts, seq_len, stride)
  about = {"vocabulary": (*SPECIAL, *tokens), "tokens": kind, "windows": cut}
  return Splits(parts["train"], parts.get("valid"), parts["test"], dict(splits.about) | about)


def _pieces(text: str, kind: str) -> list[str]:
  """The tokens of a text without line breaks."""
  if kind == "word":
    return text.split()
  if kind == "atom":
    return re.findall(f"{_ATOM.pattern}|.", text)
  if kind == "selfies":
    return selfies_text.symbols(text).split()
  return list(letters(text) if kind == "letter" else text)


def ids_of(text: str, about: Mapping[str, Any]) -> np.ndarray:
  """The token ids of a text [T], int32: the inverse of `decode`.

  Args:
    text: what a sequence begins with.
    about: as in decode.

  Raises:
    UserError: the text has no token, or tokens that are not in the vocabulary.
  """
  vocabulary, kind = about["vocabulary"], about["tokens"]
  errors.require(kind not in _OF_LINES, f"Sequences of the tokens {kind!r} cannot be begun by a text.")
  known = {token: i for i, token in enumerate(vocabulary)}
  ends = tuple(vocabulary[: len(SPECIAL)]) == SPECIAL
  text = "\n".join(map(sentences.separated, text.split("\n"))) if about.get("separated") else text
  lines = [_pieces(line, kind) for line in text.split("\n")] if ends else [list(text)]
  pieces = lines[0] + [token for line in lines[1:] for token in (SPECIAL[END], *line)]
  errors.require(bool(pieces), "The text to begin with is empty; give at least one token.")
  unknown = [*dict.fromkeys(token for token in pieces if token not in known)]
  some = " ".join(repr(token)[1:-1] for token in vocabulary[len(SPECIAL) * ends :][:100])
  errors.require(
    not unknown,
    f"The text to begin with has {kind}s that are not in the vocabulary of the model: "
    f"{', '.join(map(repr, unknown[:10]))}. Choose from: {some}{' ...' if len(vocabulary) > 103 else ''}",
  )
  return np.array([known[token] for token in pieces], np.int32)


def ids_of_lines(lines: Sequence[str], about: Mapping[str, Any]) -> list[list[int]]:
  """The token ids of lines as `encode` has them, without <end>; those outside the vocabulary are <unk>.

  In a line <pad> and <end> are words as others: they are no marks.
  """
  vocabulary = about["vocabulary"]
  marks = (PAD, END) if tuple(vocabulary[: len(SPECIAL)]) == SPECIAL else ()
  known = {token: i for i, token in enumerate(vocabulary) if i not in marks}
  lines = [readers.composed(line) for line in lines]
  lines = [sentences.separated(line) for line in lines] if about.get("separated") else lines
  return [[known.get(token, UNK) for token in _pieces(line, about["tokens"])] for line in lines]


def rows_of(lines: Sequence[str], about: Mapping[str, Any], width: int) -> dict[str, np.ndarray]:
  """{x int32 [N, T], length int32 [N]}: lines of text by a vocabulary that exists, as `encode` has them.

  Args:
    lines: N strings without line breaks; tokens outside the vocabulary are <unk>.
    about: as in decode, of lines rather than of windows.
    width: T.

  Raises:
    UserError: no lines, or a line that is too long.
  """
  errors.require(len(lines) > 0, "There is no line of text.")
  if about["tokens"] == "rule":
    return derivations.rows_of(lines, about, width)
  ids = ids_of_lines(lines, about)
  for i, line in enumerate(ids):
    errors.require(
      len(line) < width, f"Line {i + 1} has {len(line)} tokens; the model's lines have at most {width - 1}."
    )
  counts = np.array([len(line) for line in ids], np.int64)
  joined = np.array([token for line in ids for token in line], np.int32)
  return {"x": _rows(joined, counts, width), "length": (counts + 1).astype(np.int32)}


def decode(x: np.ndarray, about: Mapping[str, Any]) -> list[str]:
  """The strings of token ids [N, T], up to the first <end> or <pad>; words are joined by a space.

  In windows of a text, <end> is the end of a line, after which the next one follows.  A derivation that is not
  complete is <incomplete>; SELFIES become SMILES.

  Args:
    x: token ids.
    about: `about` of the splits that they come from, with the vocabulary.
  """
  vocabulary = about["vocabulary"]
  if about["tokens"] == "rule":
    return derivations.strings(x, about)
  if "windows" in about:
    return [_text(row, vocabulary, about["tokens"]) for row in np.asarray(x)]
  stops = (PAD, END) if tuple(vocabulary[: len(SPECIAL)]) == SPECIAL else ()
  ends = np.concatenate([np.isin(x, stops), np.ones((len(x), 1), bool)], 1).argmax(1)
  joint = " " if about["tokens"] == "word" else ""
  rows = [[vocabulary[i] for i in row[:end].tolist()] for row, end in zip(np.asarray(x), ends, strict=True)]
  if about["tokens"] == "selfies":
    return [selfies_text.smiles([piece for piece in row if piece not in SPECIAL]) for row in rows]
  return [joint.join(row) for row in rows]


def listed(texts: Sequence[str]) -> str:
  """Texts below each other: a line for each, or several lines with BETWEEN between the texts."""
  return (f"\n{BETWEEN}\n" if any("\n" in text for text in texts) else "\n").join(texts)


def _text(row: np.ndarray, vocabulary: Sequence[str], kind: str) -> str:
  """The text of token ids [T]."""
  joint = " " if kind == "word" else ""
  if tuple(vocabulary[: len(SPECIAL)]) != SPECIAL:
    return joint.join(vocabulary[i] for i in row.tolist())
  lines = np.split(row, np.flatnonzero(row == END))
  names = ([vocabulary[i] for i in line.tolist() if i not in (PAD, END)] for line in lines)
  return "\n".join(joint.join(line) for line in names)
