"""Derivations of strings under a grammar: LR parsing that follows every choice (Knuth, 1965; Tomita, 1985).

The choices that one token of look-ahead leaves are all followed; for both published grammars all but one end at the
next token, so that time is linear in the number of tokens.  Strings with several derivations are noticed.
"""

import functools
import re
from typing import Any, NamedTuple

from dgm_jax.core import errors, grammars
from dgm_jax.core.grammars import Grammar, Rule

_END = ""  # behind the last token; no terminal is empty
_MOST = 2000  # choices followed at once


class UnderivableError(errors.UserError):
  """The grammar does not derive a string.  `position` is that of the first character that does not fit."""

  def __init__(self, sentence: str, position: int):
    super().__init__(sentence)
    self.position = position


class Derivation(NamedTuple):
  """The rules of a string from left to right, and whether it has further derivations."""

  rules: tuple[int, ...]
  ambiguous: bool


class _Tables(NamedTuple):
  """Of each state: {token: next state}, {token: rules that end here}, {non-terminal: next state}."""

  shift: list[dict[str, int]]
  reduce: list[dict[str, list[int]]]
  goto: list[dict[int, int]]


def _follow(grammar: Grammar) -> list[set[str]]:
  """The tokens that may follow each non-terminal."""
  first: list[set[str]] = [set() for _ in grammar.names]
  follow: list[set[str]] = [set() for _ in grammar.names]
  follow[0].add(_END)
  begins = lambda s: {s} if isinstance(s, str) else first[s]
  changed = True
  while changed:
    before = sum(map(len, first)) + sum(map(len, follow))
    for left, right in grammar.rules:
      first[left] |= begins(right[0])
      for i, symbol in enumerate(right):
        if isinstance(symbol, int):
          follow[symbol] |= begins(right[i + 1]) if i + 1 < len(right) else follow[left]
    changed = sum(map(len, first)) + sum(map(len, follow)) != before
  return follow


@functools.cache
def _tables(text: str) -> _Tables:
  """The SLR automaton; a state is a set of (rule, number of its symbols that are read); rule -1 is () -> start."""
  grammar = grammars.parse(text)
  rules: dict[int, Rule] = {i: r for i, r in enumerate(grammar.rules) if grammar.usable[i]}
  rules[-1] = Rule(-1, (0,))
  by_left: dict[Any, list[int]] = {}
  for i, rule in rules.items():
    by_left.setdefault(rule.left, []).append(i)
  follow = _follow(grammar)

  def closed(items: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    more = list(items)
    while more:
      rule, dot = more.pop()
      right = rules[rule].right
      if dot < len(right) and isinstance(right[dot], int):
        new = {(i, 0) for i in by_left.get(right[dot], ())} - items
        items |= new
        more += new
    return frozenset(items)

  states = [closed({(-1, 0)})]
  index, made = {states[0]: 0}, _Tables([], [], [])
  for state in states:  # which grows
    after: dict[Any, set[tuple[int, int]]] = {}
    ends: dict[str, list[int]] = {}
    for i, dot in sorted(state):
      left, right = rules[i]
      if dot < len(right):
        after.setdefault(right[dot], set()).add((i, dot + 1))
      else:
        for token in (_END,) if i < 0 else follow[left]:
          ends.setdefault(token, []).append(i)
    shift, goto = {}, {}
    for symbol, items in after.items():
      following = closed(items)
      if following not in index:
        index[following] = len(states)
        states.append(following)
      (shift if isinstance(symbol, str) else goto)[symbol] = index[following]
    made.shift.append(shift)
    made.reduce.append(ends)
    made.goto.append(goto)
  return made


@functools.cache
def _lexer(text: str) -> re.Pattern[str]:
  grammar = grammars.parse(text)
  longest_first = sorted(grammar.terminals, key=len, reverse=True)
  return re.compile("|".join(map(re.escape, longest_first)))


def tokens_of(text: str, grammar: Grammar) -> tuple[list[str], list[int]]:
  """(the terminals of a text, their positions): always the longest that fits; white space between them is ignored.

  Raises:
    UnderivableError: no terminal fits.
  """
  lexer, found, places, at = _lexer(grammar.text), [], [], 0
  while at < len(text):
    match = lexer.match(text, at)
    if match is None and text[at].isspace():
      at += 1
      continue
    if match is None:
      raise UnderivableError(f"{_at(text, at)} is no token of the grammar", at)
    found.append(match[0])
    places.append(at)
    at = match.end()
  return found, places


def _at(text: str, at: int) -> str:
  return f"{text[at : at + 8]!r} at character {at + 1} of {text[:80]!r}"


def _preorder(tree: Any) -> tuple[int, ...]:
  found, more = [], [tree]
  while more:
    node = more.pop()
    found.append(node[0])
    more += node[:0:-1]  # the first child last, so that it is next
  return tuple(found)


def derive(text: str, grammar: Grammar) -> Derivation:
  """The derivation of a string.

  Raises:
    UnderivableError: there is none; the message says where it fails.
    UserError: the string has too many beginnings of derivations.
  """
  shift, ends, goto = _tables(grammar.text)
  tokens, places = tokens_of(text, grammar)
  rules, trees = grammar.rules, []
  active: list[Any] = [(0, None, None)]  # stacks: (state, tree, the stack below)
  for i, token in enumerate([*tokens, _END]):
    following: list[Any] = []
    while active:
      stack = active.pop()
      state = stack[0]
      for rule in ends[state].get(token, ()):
        if rule < 0:
          trees.append(stack[1])
          continue
        node, below = [], stack
        left, right = rules[rule]
        for _ in right:
          if below[1] is not None:
            node.append(below[1])
          below = below[2]
        node.append(rule)
        active.append((goto[below[0]][left], tuple(node[::-1]), below))
      if token in shift[state]:
        following.append((shift[state][token], None, stack))
      errors.require(len(active) + len(following) <= _MOST, f"{text[:80]!r} has too many derivations to follow.")
    if not following and not trees:
      if i == len(tokens):
        raise UnderivableError(f"{text[:80]!r} ends too early for the grammar", len(text))
      raise UnderivableError(f"the grammar does not allow {_at(text, places[i])}", places[i])
    active = following
  return Derivation(_preorder(trees[0]), len(trees) > 1)


def string_of(rules: Any, grammar: Grammar) -> tuple[list[str], int]:
  """(the terminals of a derivation, the number of non-terminals that are left): 0 for a complete derivation.

  Args:
    rules: numbers of rules from left to right.
    grammar: the grammar.

  Raises:
    ValueError: a rule is not of the leftmost non-terminal.
  """
  stack: list[int | str] = [0]
  found: list[str] = []
  for rule in rules:
    while stack and isinstance(stack[-1], str):
      found.append(str(stack.pop()))
    left, right = grammar.rules[rule]
    if not stack or stack.pop() != left:
      raise ValueError(f"rule {rule} does not fit")
    stack += right[::-1]
  while stack and isinstance(stack[-1], str):
    found.append(str(stack.pop()))
  return found, sum(isinstance(s, int) for s in stack)
