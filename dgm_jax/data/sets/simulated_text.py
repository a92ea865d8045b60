"""simulated_text: sentences of a random LSTM whose latent has one or two dimensions, so that log p(x) is known.

  z ~ N(0, I) [L],  p(x|z) = prod_t p(x_t | x_<t, z)

z is in the initial state and in every input of the LSTM, whose weights are drawn by a seed.  `log_px` gives the log
p(x) of the truth by a sum over a grid of z, to which a model of held-out sentences can be compared.  He et al. (2019)
use such a set, whose file and code are not public: this is another one.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import tokens
from dgm_jax.data.splits import Splits

_CHUNK = 200_000  # rows of an LSTM at once
_MOST = 4_000_000  # values of log p(x|z) at once


class Truth(NamedTuple):
  """The LSTM that sentences are drawn from.

  Attributes:
    inputs: [V, 4 H], of the token before; row 0 is that of the first step.
    of_z: [L, 4 H]; of_start: [L, 2 H], of the first state.
    kernel: [H, 4 H]; out: [H, V]; bias: [V], -inf for <pad> and <unk>.
    length: T, the greatest number of tokens with <end>, which is certain to be the last.
  """

  inputs: np.ndarray
  of_z: np.ndarray
  of_start: np.ndarray
  kernel: np.ndarray
  out: np.ndarray
  bias: np.ndarray
  length: int


def make(num_words: int, length: int, latent_dim: int, hidden: int, seed: int) -> Truth:
  """The LSTM of a seed, with `num_words` words and 3 special tokens."""
  rng, v = np.random.RandomState(seed), num_words + len(tokens.SPECIAL)
  draw = lambda scale, *shape: scale * rng.normal(size=shape)
  truth = Truth(
    draw(1.0, v, 4 * hidden), draw(1.5, latent_dim, 4 * hidden), draw(1.5, latent_dim, 2 * hidden),
    draw(1.5 / math.sqrt(hidden), hidden, 4 * hidden), draw(6.0 / math.sqrt(hidden), hidden, v),
    draw(0.3, v), length,
  )  # fmt: skip
  truth.bias[[tokens.PAD, tokens.UNK]] = -np.inf
  return truth


def _sigmoid(a: np.ndarray) -> np.ndarray:
  return 0.5 * (1 + np.tanh(0.5 * a))


def _start(truth: Truth, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(h, c, what z adds to every step) of z [n, L]."""
  h, c = np.split(z @ truth.of_start, 2, 1)
  return np.tanh(h), c, z @ truth.of_z


def _step(truth: Truth, carry: tuple, before: np.ndarray, t: int) -> tuple[tuple, np.ndarray]:
  """(the next state, log p of the t-th token, [n, V])."""
  h, c, always = carry
  i, f, g, o = np.split(truth.inputs[before] + always + h @ truth.kernel, 4, 1)
  c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
  h = _sigmoid(o) * np.tanh(c)
  logits = h @ truth.out + truth.bias
  if t == 0:
    logits[:, tokens.END] = -np.inf  # no sentence is empty
  if t == truth.length - 1:
    logits[:, np.arange(logits.shape[1]) != tokens.END] = -np.inf
  logits -= logits.max(1, keepdims=True)
  return (h, c, always), logits - np.log(np.exp(logits).sum(1, keepdims=True))


def draw(truth: Truth, n: int, rng: np.random.RandomState) -> dict[str, np.ndarray]:
  """{x int32 [n, T], length int32 [n], z float32 [n, L]}."""
  z = rng.normal(size=(n, len(truth.of_z)))
  carry, before, ended = _start(truth, z), np.zeros(n, int), np.zeros(n, bool)
  x = np.zeros((n, truth.length), np.int32)
  for t in range(truth.length):
    carry, log_p = _step(truth, carry, before, t)
    u = rng.random_sample((n, 1))
    before = np.minimum((np.exp(log_p).cumsum(1) < u).sum(1), log_p.shape[1] - 1)
    x[:, t] = np.where(ended, tokens.PAD, before)
    ended |= before == tokens.END
  return {"x": x, "length": (x != tokens.PAD).sum(1).astype(np.int32), "z": z.astype(np.float32)}


def log_px_z(truth: Truth, x: np.ndarray, length: np.ndarray, z: np.ndarray) -> np.ndarray:
  """log p(x_n | z_g), nats, [N, G], of sentences x [N, T] with `length` [N], at points z [G, L]."""
  rows = max(1, _CHUNK // len(z))
  found = []
  for first in range(0, len(x), rows):
    some, n = x[first : first + rows], length[first : first + rows]
    carry = _start(truth, np.tile(z, (len(some), 1)))
    total, before = np.zeros(len(some) * len(z)), np.zeros(len(some) * len(z), int)
    for t in range(int(n.max())):
      carry, log_p = _step(truth, carry, before, t)
      before = np.repeat(some[:, t], len(z))
      inside = np.repeat(t < n, len(z))
      total += np.where(inside, log_p[np.arange(len(before)), before], 0.0)
    found.append(total.reshape(len(some), len(z)))
  return np.concatenate(found)


def grid(latent_dim: int, num_points: int, radius: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
  """(z [G, L], log of p(z) times a cell's volume [G]) of num_points^L points."""
  axis = np.linspace(-radius, radius, num_points)
  z = np.stack(np.meshgrid(*[axis] * latent_dim, indexing="ij"), -1).reshape(-1, latent_dim)
  log_p = -0.5 * (z**2).sum(1) - 0.5 * latent_dim * math.log(2 * math.pi)
  return z, log_p + latent_dim * math.log(axis[1] - axis[0])


class Exact(NamedTuple):
  """log p(x), nats, [N], and the largest difference to those on the 2^L grids of twice the spacing, [N]."""

  log_px: np.ndarray
  error: np.ndarray


def log_px(truth: Truth, x: np.ndarray, length: np.ndarray, num_points: int = 0) -> Exact:
  """log p(x) by the trapezoidal rule on [-6, 6]^L, which converges exponentially once the grid is fine enough for
  p(z|x); then `error` is far too large.

  Args:
    truth: the LSTM.
    x, length: [N, T], [N].
    num_points: along each axis; 0 for 401 in one dimension and 161 in two.
  """
  latent_dim = len(truth.of_z)
  points = num_points or {1: 401, 2: 161}[latent_dim]
  z, log_p = grid(latent_dim, points)
  rows, found = max(1, _MOST // len(z)), []
  for first in range(0, len(x), rows):
    at = slice(first, first + rows)
    found.append(_sums(log_px_z(truth, x[at], length[at], z) + log_p, points, latent_dim))
  return Exact(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _sums(log_joint: np.ndarray, points: int, latent_dim: int) -> tuple[np.ndarray, np.ndarray]:
  """(log sum exp over the grid [n], its largest difference to the grids of twice the spacing [n]); [n, G] is given."""
  top = log_joint.max(1)
  p = np.exp(log_joint - top[:, None]).reshape(-1, *[points] * latent_dim)
  every = tuple(range(1, p.ndim))
  whole = p.sum(every)
  coarse = [p[(slice(None), *(slice(s, None, 2) for s in start))].sum(every) * 2**latent_dim
            for start in itertools.product((0, 1), repeat=latent_dim)]  # fmt: skip
  with np.errstate(divide="ignore"):
    error = np.abs(np.log(np.stack(coarse)) - np.log(whole)).max(0)
  return top + np.log(whole), error


def truth_of(about: dict) -> Truth:
  """The LSTM that a set was drawn from, by its metadata."""
  return make(**about["simulated"])


def load(
  train_size: int = 10_000,
  valid_size: int = 2_000,
  test_size: int = 2_000,
  num_words: int = 20,
  length: int = 10,
  latent_dim: int = 2,
  hidden: int = 16,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N] with <end>, and the z [N, L] that each was drawn with.

  Args:
    train_size, valid_size, test_size: number of sentences.
    num_words: size of the vocabulary without <pad>, <unk>, which is never drawn, and <end>.
    length: T, the greatest number of tokens with <end>.
    latent_dim: L, 1 or 2.
    hidden: width of the LSTM.
    split_seed: seed of its weights and of the draws.
  """
  given = {"train_size": train_size, "valid_size": valid_size, "test_size": test_size}
  given |= {"num_words": num_words, "hidden": hidden}
  for name, value in given.items():
    errors.require(value >= 1, f"data.{name} = {value}; it must be 1 or more.")
  errors.require(length >= 2, f"data.length = {length}; it must be 2 or more: a word and <end>.")
  errors.require(latent_dim in (1, 2), f"data.latent_dim = {latent_dim}; it must be 1 or 2, where log p(x) is known.")
  options = {"num_words": num_words, "length": length, "latent_dim": latent_dim, "hidden": hidden, "seed": split_seed}
  truth, rng = make(**options), np.random.RandomState(split_seed + 1)
  parts = [draw(truth, n, rng) for n in (train_size, valid_size, test_size)]
  vocabulary = (*tokens.SPECIAL, *(f"w{i}" for i in range(num_words)))
  about = {"vocabulary": vocabulary, "tokens": "word", "simulated": options}
  return Splits(*parts, about)
