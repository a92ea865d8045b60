"""Context-free grammars from text, and the two of Kusner et al. (2017): of equations and of SMILES.

The notation is NLTK's: a rule in each line, `S -> S '+' T | T`, terminals in quotes, `#` begins a comment, and the left
side of the first rule is the start.  A derivation is the list of its rules from left to right: each one replaces the
leftmost non-terminal.
"""

import functools
import re
from typing import NamedTuple

from dgm_jax.core import errors

EQUATIONS = """
S -> S '+' T | S '*' T | S '/' T | T
T -> '(' S ')' | 'sin(' S ')' | 'exp(' S ')' | 'x' | '1' | '2' | '3'
"""
# 75 rules, and the padding.  `class` has no rule, as published, so that two rules are never used.
SMILES = r"""
smiles -> chain
atom -> bracket_atom | aliphatic_organic | aromatic_organic
aliphatic_organic -> 'B' | 'C' | 'N' | 'O' | 'S' | 'P' | 'F' | 'I' | 'Cl' | 'Br'
aromatic_organic -> 'c' | 'n' | 'o' | 's'
bracket_atom -> '[' BAI ']'
BAI -> isotope symbol BAC | symbol BAC | isotope symbol | symbol
BAC -> chiral BAH | BAH | chiral
BAH -> hcount BACH | BACH | hcount
BACH -> charge class | charge | class
symbol -> aliphatic_organic | aromatic_organic
isotope -> DIGIT | DIGIT DIGIT | DIGIT DIGIT DIGIT
DIGIT -> '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8'
chiral -> '@' | '@@'
hcount -> 'H' | 'H' DIGIT
charge -> '-' | '-' DIGIT | '-' DIGIT DIGIT | '+' | '+' DIGIT | '+' DIGIT DIGIT
bond -> '-' | '=' | '#' | '/' | '\'
ringbond -> DIGIT | bond DIGIT
branched_atom -> atom | atom RB | atom BB | atom RB BB
RB -> RB ringbond | ringbond
BB -> BB branch | branch
branch -> '(' chain ')' | '(' bond chain ')'
chain -> branched_atom | chain branched_atom | chain bond branched_atom
"""
PUBLISHED = {"equations": EQUATIONS, "smiles": SMILES}
_PIECE = re.compile(r"""\s*(?:(?P<arrow>->)|(?P<bar>\|)|(?P<quote>'[^']*'|"[^"]*")|(?P<name>[\w/][\w/^<>-]*))""")


class Rule(NamedTuple):
  """left -> right; of the symbols on the right, non-terminals are numbers and terminals are strings."""

  left: int
  right: tuple[int | str, ...]


class Grammar(NamedTuple):
  """A grammar without empty right sides.

  Attributes:
    text: as it was given.
    names: of the non-terminals; the first is the start.
    rules: in the order of the text.
    usable: of each rule, whether some string has it in its derivation.
  """

  text: str
  names: tuple[str, ...]
  rules: tuple[Rule, ...]
  usable: tuple[bool, ...]

  @property
  def terminals(self) -> tuple[str, ...]:
    """In the order in which the rules have them."""
    return tuple(dict.fromkeys(s for rule in self.rules for s in rule.right if isinstance(s, str)))

  def shown(self, rule: int) -> str:
    """A rule as text."""
    left, right = self.rules[rule]
    return f"{self.names[left]} -> {' '.join(repr(s) if isinstance(s, str) else self.names[s] for s in right)}"


def _pieces(line: str, what: str) -> list[tuple[str, str]]:
  """(kind, text) of the pieces of a rule."""
  found, at = [], 0
  line = line.rstrip()
  while at < len(line):
    match = _PIECE.match(line, at)
    if match is None or match.end() == at:
      raise errors.UserError(
        f"{what} is not in the notation of a grammar: {line.strip()[:60]!r}, at {line[at:][:20]!r}."
      )
    kind = str(match.lastgroup)
    found.append((kind, match[kind]))
    at = match.end()
  return found


def _rules_of(text: str) -> list[tuple[str, list[tuple[str, str]], int]]:
  """(left, right as (kind, text), number of the line) of every rule."""
  found = []
  for number, line in enumerate(text.splitlines(), 1):
    what = f"Line {number} of the grammar"
    if not line.strip() or line.lstrip().startswith("#"):
      continue
    pieces = _pieces(line, what)
    errors.require(
      len(pieces) > 2 and [kind for kind, _ in pieces[:2]] == ["name", "arrow"],
      f"{what} has no rule, left -> right: {line.strip()[:60]!r}.",
    )
    right: list[tuple[str, str]] = []
    for kind, piece in [*pieces[2:], ("bar", "|")]:
      if kind != "bar":
        errors.require(kind != "arrow", f"{what} has two arrows: {line.strip()[:60]!r}.")
        right.append((kind, piece[1:-1] if kind == "quote" else piece))
        errors.require(bool(right[-1][1]), f"{what} has an empty terminal; strings of no token are not supported.")
        continue
      errors.require(bool(right), f"{what} has an empty right side, which is not supported: {line.strip()[:60]!r}.")
      found.append((pieces[0][1], right, number))
      right = []
  return found


@functools.cache
def parse(text: str) -> Grammar:
  """The grammar of a text.

  Raises:
    UserError: another notation, an empty right side, a rule twice, a symbol that the start does not reach, rules by
      which a symbol becomes itself, or a start from which no string comes.
  """
  read = _rules_of(text)
  errors.require(bool(read), "The grammar has no rules.")
  lefts = list(dict.fromkeys(left for left, _, _ in read))
  # symbols without rules are the last ones
  more = dict.fromkeys(name for _, right, _ in read for kind, name in right if kind == "name" and name not in lefts)
  names = (*lefts, *more)
  index = {name: i for i, name in enumerate(names)}
  rules = [Rule(index[left], tuple(s if k == "quote" else index[s] for k, s in right)) for left, right, _ in read]
  for i, rule in enumerate(rules):
    errors.require(rule not in rules[:i], f"Line {read[i][2]} of the grammar has a rule that stands above.")
  _check_reachable(names, rules)
  _check_cycles(names, rules)
  usable = _usable(rules)
  errors.require(any(ok and rule.left == 0 for ok, rule in zip(usable, rules, strict=True)),
                 f"The grammar derives no string from its start {names[0]!r}.")  # fmt: skip
  return Grammar(text, names, tuple(rules), usable)


def _reached(rules: list[Rule]) -> set[int]:
  reached, more = {0}, [0]
  while more:
    symbol = more.pop()
    new = {s for rule in rules if rule.left == symbol for s in rule.right if isinstance(s, int)} - reached
    reached |= new
    more += new
  return reached


def _check_reachable(names: tuple[str, ...], rules: list[Rule]) -> None:
  lost = [name for i, name in enumerate(names) if i not in _reached(rules)]
  errors.require(not lost, f"The grammar's start {names[0]!r} does not reach the symbol {', '.join(map(repr, lost))}.")


def _check_cycles(names: tuple[str, ...], rules: list[Rule]) -> None:
  """Without empty right sides, A =>+ A needs rules with one non-terminal alone on the right."""
  after = {i: {r.right[0] for r in rules if r.left == i and len(r.right) == 1} for i in range(len(names))}
  for first in range(len(names)):
    seen: set[int] = set()
    more = [first]
    while more:
      for symbol in after.get(more.pop(), ()):
        errors.require(symbol != first, f"The grammar has a cycle: {names[first]!r} can become itself.")
        if isinstance(symbol, int) and symbol not in seen:
          seen.add(symbol)
          more.append(symbol)


def _usable(rules: list[Rule]) -> tuple[bool, ...]:
  """Of each rule, whether all of its symbols derive strings, and the start reaches it by such rules."""
  derives: set[int] = set()
  while new := {
    r.left for r in rules if r.left not in derives and all(isinstance(s, str) or s in derives for s in r.right)
  }:
    derives |= new
  kept = [r for r in rules if all(isinstance(s, str) or s in derives for s in r.right)]
  reached = _reached(kept)
  return tuple(r in kept and r.left in reached for r in rules)
