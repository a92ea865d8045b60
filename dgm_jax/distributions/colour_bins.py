"""Distributions of colours over bins of 10 x 10 in (a, b), as in Zhang, Isola & Efros (2016, arXiv:1603.08511).

The Q = 261 bins are squares around multiples of 10, those that hold a colour of sRGB in 8 bits.  Zhang et al. list
313, with bins at the border that hold none.
"""

import jax
import jax.numpy as jnp

SIDE = 10.0
_SIGMA = 5.0  # of the soft target, and of the smoothing of frequencies
# the first and the last b / 10 of the bins of each a / 10 = -9 .. 10
_ROWS = (
  (8, 8), (4, 8), (2, 9), (0, 9), (-2, 9), (-3, 9), (-4, 9), (-4, 9), (-5, 9), (-6, 9), (-7, 8), (-7, 8), (-8, 8),
  (-9, 8), (-9, 7), (-10, 7), (-11, 7), (-11, 7), (-9, 0), (-7, -5),
)  # fmt: skip
_LOW, _SPAN = -12, 24  # a table of bins has these multiples of 10 in both directions
NUM_BINS = sum(last - first + 1 for first, last in _ROWS)


def centres() -> jax.Array:
  """(a, b) of the bins, [Q, 2]."""
  found = [(a, b) for a, (first, last) in enumerate(_ROWS, -9) for b in range(first, last + 1)]
  return SIDE * jnp.asarray(found, jnp.float32)


def _square_distances(ab: jax.Array) -> jax.Array:
  """|ab - c_q|^2 less |ab|^2, [..., Q]."""
  c = centres()
  product = sum(ab[..., i, None] * c[:, i] for i in range(2))
  return jnp.sum(c**2, -1) - 2 * product


def nearest(ab: jax.Array) -> jax.Array:
  """The bin nearest to each colour [..., 2]: int [...]; ties go to the even multiple of 10, as in rounding."""
  every = jnp.arange(_LOW, _LOW + _SPAN, dtype=jnp.float32) * SIDE
  grid = jnp.stack(jnp.meshgrid(every, every, indexing="ij"), -1)
  table = jnp.argmin(_square_distances(grid), -1).ravel()
  cell = jnp.clip(jnp.round(ab / SIDE).astype(jnp.int32) - _LOW, 0, _SPAN - 1)
  return table[cell[..., 0] * _SPAN + cell[..., 1]]


def soft(ab: jax.Array) -> jax.Array:
  """The target of each colour [..., 2]: a normal of standard deviation 5 around it, over the bins, [..., Q].

  Zhang et al. keep its five largest entries alone.
  """
  return jax.nn.softmax(-_square_distances(ab) / (2 * _SIGMA**2), -1)


def frequencies(ab: jax.Array) -> jax.Array:
  """The share of the colours [..., 2] in each bin, [Q]."""
  found = nearest(ab).ravel()
  return jnp.bincount(found, length=NUM_BINS) / found.size


def smoothed(frequency: jax.Array) -> jax.Array:
  """Frequencies [Q], each spread over the bins by a normal of standard deviation 5; they still sum to 1.

  This and other products are written as sums: those of a device may round to fewer digits.
  """
  return jnp.sum(soft(centres()) * frequency[:, None], 0)


def weights(smooth: jax.Array, mix: float | jax.Array, count: int) -> jax.Array:
  """w_q proportional to 1 / ((1 - mix) p_q + mix / Q), with sum_q p_q w_q = 1: rare colours count more (eq. 4).

  The denominator is at least 1 / N: no bin weighs more than one that holds one of the N colours.  Without that, bins
  far from all N have p_q = 0 in float32, and infinite weights.

  Args:
    smooth: p [Q], smoothed frequencies.
    mix: lambda in [0, 1]; 1 for equal weights.
    count: N, of the colours whose frequencies these are.
  """
  w = 1 / jnp.maximum((1 - mix) * smooth + mix / NUM_BINS, 1 / count)
  return w / jnp.sum(smooth * w)


def cross_entropy(logits: jax.Array, ab: jax.Array) -> jax.Array:
  """- sum_q soft(ab)_q log p_q in nats, [...]; logits [..., Q], ab [..., 2]."""
  return -jnp.sum(soft(ab) * jax.nn.log_softmax(logits, -1), -1)


def annealed_mean(logits: jax.Array, temperature: float | jax.Array) -> jax.Array:
  """The mean colour of p^(1 / T), normalised, [..., 2] (eq. 5): at T = 1 the mean of p, as T falls to 0 its mode.

  Args:
    logits: of p, [..., Q].
    temperature: T, positive.
  """
  p, c = jax.nn.softmax(logits / temperature, -1), centres()
  return jnp.stack([jnp.sum(p * c[:, i], -1) for i in range(2)], -1)
