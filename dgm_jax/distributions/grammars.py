"""Derivations of a context-free grammar as sequences of rules: allowed rules, draws and probabilities inside scan.

x_t is 1 + the number of the rule that replaces the leftmost non-terminal, and 0, the padding, once none is left.  With
logits l_t that may depend on x_<t,

  p(x_t = r | x_<t) = exp(l_tr) / sum_{r' allowed} exp(l_tr'),

where the allowed rules are those of the non-terminal on the top of a stack, on which each rule puts the non-terminals
of its right side (Kusner et al., 2017).  A complete derivation's padding has probability 1.  This is a probability over
derivations: over strings, where the grammar is unambiguous.  A derivation that is cut at the greatest length is
incomplete, and stands for no string.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, grammars
from dgm_jax.core.grammars import Grammar

PAD = 0
_NEVER = -1e9  # the logit of a rule that is not allowed; finite, so that 0 times it is no NaN


class Compiled(NamedTuple):
  """A grammar as arrays, with V = 1 + the number of rules, and symbols 1, 2, ... (0 for none).

  Attributes:
    allowed: [S + 1, V], 1 where a rule may replace a symbol; without a symbol, only the padding.
    left: [V], the symbol that a rule replaces; 0 for the padding.
    pushed: [V, M], the non-terminals of the right side, the leftmost first, then 0.
    counts: [V], how many these are.
  """

  allowed: jax.Array
  left: jax.Array
  pushed: jax.Array
  counts: jax.Array

  @property
  def of_rule(self) -> jax.Array:
    """[V, V], 1 where a rule of the second index replaces the same symbol as that of the first."""
    return self.allowed[self.left]


class Stack(NamedTuple):
  """Non-terminals to be replaced: symbols [B, D], of which the first `size` [B] count; the last is next."""

  symbols: jax.Array
  size: jax.Array

  def top(self) -> jax.Array:
    """The next symbol of each row, [B]; 0 where none is left."""
    last = jnp.arange(self.symbols.shape[1]) == self.size[:, None] - 1
    return jnp.sum(jnp.where(last, self.symbols, 0), 1)


@functools.cache
def _tuples(text: str) -> tuple[tuple, ...]:
  grammar: Grammar = grammars.parse(text)
  children = [tuple(1 + s for s in rule.right if isinstance(s, int)) for rule in grammar.rules]
  widest = max(1, *map(len, children))
  left = (0, *(1 + rule.left for rule in grammar.rules))
  usable = (True, *grammar.usable)
  allowed = tuple(
    tuple(float(of == symbol and ok) for of, ok in zip(left, usable, strict=True))
    for symbol in range(1 + len(grammar.names))
  )
  pushed = tuple((*c, *[0] * (widest - len(c))) for c in [(), *children])
  return allowed, left, pushed, (0, *map(len, children))


def compiled(text: str) -> Compiled:
  """The arrays of a grammar.  Raises UserError, see core.grammars.parse."""
  allowed, left, pushed, counts = _tuples(text)
  return Compiled(jnp.asarray(allowed), jnp.asarray(left), jnp.asarray(pushed), jnp.asarray(counts))


def start(grammar: Compiled, n: int, length: int) -> Stack:
  """The stacks of n derivations of at most `length` rules: the start symbol alone.

  A symbol deeper than `length` is never reached, but has a place, so that no symbol is lost.
  """
  depth = 1 + length * max(0, grammar.pushed.shape[1] - 1)
  symbols = jnp.zeros((n, depth), jnp.int32).at[:, 0].set(1)
  return Stack(symbols, jnp.ones(n, jnp.int32))


def push(grammar: Compiled, stack: Stack, rules: jax.Array) -> Stack:
  """The stacks after the rules [B] have replaced their last symbols; the padding changes nothing."""
  counts = grammar.counts[rules]
  below = stack.size - (rules != PAD)
  size = below + counts
  place = jnp.arange(stack.symbols.shape[1])
  symbols = stack.symbols
  for i in range(grammar.pushed.shape[1]):  # the leftmost symbol comes to the top
    here = (place == (size - 1 - i)[:, None]) & (i < counts)[:, None]
    symbols = jnp.where(here, grammar.pushed[rules, i][:, None], symbols)
  return Stack(symbols, size)


def masked(grammar: Compiled, stack: Stack, logits: jax.Array) -> jax.Array:
  """Logits [B, V] with those of the rules that are not allowed at -1e9."""
  return jnp.where(grammar.allowed[stack.top()] > 0, logits, _NEVER)


def num_left(grammar: Compiled, x: jax.Array) -> jax.Array:
  """The non-terminals that derivations x [..., T] leave, [...]: 0 of a complete derivation."""
  return 1 + jnp.sum(grammar.counts[x] - (x != PAD), -1)


def log_prob(grammar: Compiled, logits: jax.Array, x: jax.Array) -> jax.Array:
  """log p(x) [B] of derivations x [B, T] with logits [B, T, V]; -inf where a rule is not allowed."""

  def one(stack, now):
    logits, rules = now
    found = jnp.take_along_axis(jax.nn.log_softmax(masked(grammar, stack, logits)), rules[:, None], 1)[:, 0]
    fits = jnp.take_along_axis(grammar.allowed[stack.top()], rules[:, None], 1)[:, 0] > 0
    return push(grammar, stack, rules), jnp.where(fits, found, -jnp.inf)

  _check(grammar, logits)
  steps = (jnp.swapaxes(logits, 0, 1), x.T)
  return jax.lax.scan(one, start(grammar, *x.shape), steps)[1].sum(0)


def draw(grammar: Compiled, key: jax.Array, logits: jax.Array) -> jax.Array:
  """Derivations int32 [B, T] from logits [B, T, V]."""

  def one(stack, now):
    key, logits = now
    rules = jax.random.categorical(key, masked(grammar, stack, logits))
    return push(grammar, stack, rules), rules

  _check(grammar, logits)
  b, t, _ = logits.shape
  steps = (jax.random.split(key, t), jnp.swapaxes(logits, 0, 1))
  return jax.lax.scan(one, start(grammar, b, t), steps)[1].T


def _check(grammar: Compiled, logits: jax.Array) -> None:
  v = grammar.left.shape[0]
  errors.require(
    logits.shape[-1] == v, f"logits have {logits.shape[-1]} classes; the grammar has {v}, with the padding"
  )
