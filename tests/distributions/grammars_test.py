"""Grammars by their laws: all derivations of a small one, draws, NLTK's parser, and mistakes in one sentence."""

import functools
import itertools

import jax
import jax.numpy as jnp
import nltk
import numpy as np
import pytest

from dgm_jax.core import errors, grammar_parser
from dgm_jax.core import grammars as texts
from dgm_jax.distributions import grammars

SMALL = "S -> 'a' S B 'c' | 'b' | B B\nB -> 'd' | 'e' S"
T = 4
GRAMMAR, ARRAYS = texts.parse(SMALL), grammars.compiled(SMALL)
V = 1 + len(GRAMMAR.rules)


def all_derivations():
  """Every sequence of T rules that the grammar allows, by a list of non-terminals, [N, T]."""
  found = []

  def extend(rules, left):
    if len(rules) == T or not left:
      found.append((*rules, *[0] * (T - len(rules))))
      return
    for i, rule in enumerate(GRAMMAR.rules):
      if rule.left == left[0]:
        extend((*rules, 1 + i), [s for s in rule.right if isinstance(s, int)] + left[1:])

  extend((), [0])
  return np.array(found)


ALL = all_derivations()
LOGITS = 1.5 * jax.random.normal(jax.random.key(0), (T, V))
log_prob, draw = jax.jit(grammars.log_prob), jax.jit(grammars.draw)


def string_or_none(row):
  """The string of a complete derivation."""
  pieces, left = grammar_parser.string_of([r - 1 for r in row if r], GRAMMAR)
  return None if left else "".join(pieces)


@functools.cache
def chart(text):
  return nltk.ChartParser(nltk.CFG.fromstring(text))


def nltk_rules(text, parser, grammar):
  """The derivations by NLTK, as numbers of rules."""
  tokens, _ = grammar_parser.tokens_of(text, grammar)
  index = {str(p): i for i, p in enumerate(parser.grammar().productions())}
  return [tuple(index[str(p)] for p in tree.productions()) for tree in parser.parse(tokens)]


def test_probabilities_of_all_derivations_with_the_incomplete_sum_to_one():
  log_p = log_prob(ARRAYS, jnp.broadcast_to(LOGITS, (len(ALL), T, V)), jnp.asarray(ALL))
  p = np.exp(np.asarray(log_p, np.float64))
  assert p.sum() == pytest.approx(1, abs=1e-5)
  complete = np.array([string_or_none(row) is not None for row in ALL])
  assert 0.1 < p[complete].sum() < 0.9
  np.testing.assert_array_equal(np.asarray(grammars.num_left(ARRAYS, jnp.asarray(ALL))) == 0, complete)
  others = np.array([row for row in itertools.product(range(V), repeat=T) if row not in set(map(tuple, ALL))][:500])
  assert (log_prob(ARRAYS, jnp.broadcast_to(LOGITS, (len(others), T, V)), jnp.asarray(others)) == -jnp.inf).all()


def test_draws_have_these_probabilities_and_break_no_rule():
  n = 20_000
  x = np.asarray(draw(ARRAYS, jax.random.key(1), jnp.broadcast_to(LOGITS, (n, T, V))))
  p = np.exp(log_prob(ARRAYS, jnp.broadcast_to(LOGITS, (len(ALL), T, V)), jnp.asarray(ALL)))
  counts = np.array([(x == row).all(1).sum() for row in ALL])
  assert counts.sum() == n  # none but those that are allowed
  z = (counts - n * p) / np.sqrt(np.maximum(n * p * (1 - p), 1))
  assert np.abs(z).max() < 4.5


def test_every_complete_draw_parses_with_nltk_to_the_same_rules():
  x = np.asarray(draw(ARRAYS, jax.random.key(2), jnp.zeros((300, T, V))))
  strings = {string_or_none(row): tuple(r - 1 for r in row if r) for row in x.tolist()}
  strings.pop(None)
  assert len(strings) > 4
  for text, rules in strings.items():
    assert rules in nltk_rules(text, chart(SMALL), GRAMMAR)


def test_incomplete_derivations_are_never_strings():
  for row in ALL:
    symbols = [0]  # of the grammar, by hand
    for r in row[row > 0]:
      symbols = [s for s in GRAMMAR.rules[r - 1].right if isinstance(s, int)] + symbols[1:]
    assert (string_or_none(row) is None) == bool(symbols)


PUBLISHED = {name: texts.parse(text) for name, text in texts.PUBLISHED.items()}
STRINGS = {
  "equations": ("1/2+(x)+sin(x*x)", "x+1+2+exp(3/x)", "((x))", "1"),
  "smiles": ("C1CC1-c2ccc(Cl)cc2", "C[C@@H](N)C(=O)[O-]", "[13CH4]", "C1=CC-2=C1C2", r"F/C=C\Br", "c1cc[nH]c1"),
}


@pytest.mark.parametrize("name", STRINGS)
def test_the_published_grammars_have_one_derivation_which_is_nltk_s(name):
  grammar, parser = PUBLISHED[name], chart(texts.PUBLISHED[name])
  for text in STRINGS[name]:
    derived = grammar_parser.derive(text, grammar)
    assert [derived.rules] == nltk_rules(text, parser, grammar) and not derived.ambiguous
    pieces, left = grammar_parser.string_of(derived.rules, grammar)
    assert ("".join(pieces), left) == (text, 0)
  assert len(PUBLISHED["equations"].rules) == 11 and len(PUBLISHED["smiles"].rules) == 75
  assert [PUBLISHED["smiles"].shown(i) for i, ok in enumerate(PUBLISHED["smiles"].usable) if not ok] == [
    "BACH -> charge class", "BACH -> class"
  ]  # fmt: skip


def test_draws_of_the_published_grammars_parse():
  """Rules that lead nowhere are not drawn; logits prefer the short ones, so that many draws are complete."""
  for name, grammar in PUBLISHED.items():
    arrays = grammars.compiled(texts.PUBLISHED[name])
    prefer = jnp.asarray([0.0, *(-2.0 * sum(isinstance(s, int) for s in r.right) for r in grammar.rules)])
    x = np.asarray(draw(arrays, jax.random.key(3), jnp.broadcast_to(prefer, (64, 60, len(prefer)))))
    done = 0
    for row in x.tolist():
      assert all(grammar.usable[r - 1] for r in row if r)
      pieces, left = grammar_parser.string_of([r - 1 for r in row if r], grammar)  # raises where a rule does not fit
      if not left:
        done += 1
        assert grammar_parser.derive("".join(pieces), grammar).rules == tuple(r - 1 for r in row if r)
    assert done > 20


def test_an_ambiguous_string_is_noticed():
  grammar = texts.parse("E -> E '+' E | 'x'")
  assert grammar_parser.derive("x+x", grammar).ambiguous is False
  derived = grammar_parser.derive("x+x+x", grammar)
  assert derived.ambiguous and derived.rules in nltk_rules("x+x+x", chart(grammar.text), grammar)


@pytest.mark.parametrize("text,named", [
  ("C1CC(", "ends too early"),
  ("CCX", "'X' at character 3 of 'CCX' is no token"),
  ("CC.CC", "'.CC' at character 3"),
  ("C)C", "does not allow .* at character 2"),
  ("", "ends too early"),
])  # fmt: skip
def test_what_a_grammar_cannot_derive_is_said_where(text, named):
  with pytest.raises(grammar_parser.UnderivableError, match=named):
    grammar_parser.derive(text, PUBLISHED["smiles"])


@pytest.mark.parametrize("text,named", [
  ("", "no rules"),
  ("S -> A\nA -> S | 'a'", "cycle: 'S' can become itself"),
  ("S -> 'a'\nB -> 'b'", "does not reach the symbol 'B'"),
  ("S -> S 'a'", "derives no string from its start 'S'"),
  ("S -> 'a' |", "empty right side"),
  ("S -> ''", "empty terminal"),
  ("S -> 'a'\nS -> 'a'", "Line 2 of the grammar has a rule that stands above"),
  ("S 'a'", "Line 1 of the grammar has no rule"),
  ("S -> 'a' ?", "Line 1 of the grammar is not in the notation"),
  ("S -> 'a' -> 'b'", "two arrows"),
])  # fmt: skip
def test_grammars_that_cannot_be_used_get_one_sentence(text, named):
  with pytest.raises(errors.UserError, match=named) as raised:
    texts.parse(text)
  assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_thousand_published_strings_have_one_nltk_parse():
  from dgm_jax.data.sets import equations

  parser = chart(texts.EQUATIONS)
  for line in equations.lines()[::100]:
    text = "".join(line)
    assert [grammar_parser.derive(text, PUBLISHED["equations"]).rules] == nltk_rules(
      text, parser, PUBLISHED["equations"]
    )
