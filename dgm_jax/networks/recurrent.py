"""Recurrent networks, LSTM and GRU, whose recurrent matrix gets its gradient from one product.

Automatic differentiation of a scan adds up dU = sum_t h_{t-1}' dU_t step by step.  Here the backward scan keeps the
gradients of h_{t-1} U of all steps, and one matrix product after it gives dU.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.attention import dropout
from dgm_jax.networks.mlp import Dense

State = tuple[jax.Array, ...]  # (h, c) of an LSTM, (h,) of a GRU, each [B, H]


def _lstm(z: jax.Array, u: jax.Array, state: State) -> State:
  """i, f, g, o from z + u;  c' = f c + i g,  h' = o tanh(c') (Hochreiter & Schmidhuber, 1997; Gers et al., 2000)."""
  _, c = state
  i, f, g, o = jnp.split(z + u, 4, -1)
  c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
  return nn.sigmoid(o) * jnp.tanh(c), c


def _gru(z: jax.Array, u: jax.Array, state: State) -> State:
  """r = s(z_r + u_r), q = s(z_q + u_q), n = tanh(z_n + r u_n);  h' = (1 - q) n + q h (Cho et al., 2014)."""
  (h,) = state
  (z_r, z_q, z_n), (u_r, u_q, u_n) = jnp.split(z, 3, -1), jnp.split(u, 3, -1)
  q, n = nn.sigmoid(z_q + u_q), jnp.tanh(z_n + nn.sigmoid(z_r + u_r) * u_n)
  return ((1 - q) * n + q * h,)


class Cell(NamedTuple):
  """One step of a recurrent net.

  Attributes:
    step: (z, u, state) -> state; z [B, G H] are the inputs' part of the gates, u = h U.
    gates: G.
    size: number of arrays of a state, the first of which is h.
    is_additive: whether `step` depends on z + u alone, so that their gradients are equal.
  """

  step: Callable[[jax.Array, jax.Array, State], State]
  gates: int
  size: int
  is_additive: bool


CELLS = {"lstm": Cell(_lstm, 4, 2, True), "gru": Cell(_gru, 3, 1, False)}


def _product(a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
  """a b, computed in `dtype` (None: float32), as float32."""
  dtype = dtype or jnp.float32
  return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


def _masked(cell: Cell, z: jax.Array, u: jax.Array, state: State, mask: jax.Array | None) -> State:
  """The next state; the present one where the mask [B] is 0."""
  new = cell.step(z, u, state)
  if mask is None:
    return new
  return tuple(jnp.where(mask[:, None] > 0, a, b) for a, b in zip(new, state, strict=True))


def _kept(state: State, reset: jax.Array | None) -> State:
  """The state, zeros in the sequences whose reset [B] is 1."""
  return state if reset is None else tuple(jnp.where(reset[:, None] > 0, 0.0, a) for a in state)


def _forward(
  name: str,
  dtype: Any,
  z: jax.Array,
  kernel: jax.Array,
  state: State,
  mask: jax.Array | None,
  reset: jax.Array | None = None,
) -> Any:
  def one(state, step):
    z, mask, reset = step
    state = _kept(state, reset)
    u = _product(state[0], kernel, dtype)
    new = _masked(CELLS[name], z, u, state, mask)
    return new, (new[0], state, u)

  final, (h, before, u) = jax.lax.scan(one, state, (z, mask, reset))
  return (h, final), (z, u, before, kernel, mask, reset)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def scan(
  name: str,
  dtype: Any,
  z: jax.Array,
  kernel: jax.Array,
  state: State,
  mask: jax.Array | None = None,
  reset: jax.Array | None = None,
) -> tuple[jax.Array, State]:
  """Runs a cell over T steps: (h of all steps [T, B, H], the last state).  There is no forward-mode derivative.

  Args:
    name: of CELLS.
    dtype: of the products with the kernel; None for float32.
    z: [T, B, G H], the inputs' part of the gates.
    kernel: U, [H, G H].
    state: before the first step.
    mask: [T, B]; where it is 0, the state stays as it is.  It has no gradient.
    reset: [T, B]; where it is 1, the state is set to zeros before the step.  It has no gradient.
  """
  return _forward(name, dtype, z, kernel, state, mask, reset)[0]


def _backward(name: str, dtype: Any, kept: Any, cotangent: tuple[jax.Array, State]) -> tuple:
  z, u, before, kernel, mask, reset = kept
  cell, (d_h, d_final) = CELLS[name], cotangent

  def one(d_state, step):
    z, u, before, mask, reset, d_h = step
    d_state = (d_state[0] + d_h, *d_state[1:])
    _, pull = jax.vjp(lambda z, u, before: _masked(cell, z, u, before, mask), z, u, before)
    d_z, d_u, d_before = pull(d_state)
    d_before = (d_before[0] + _product(d_u, kernel.T, dtype), *d_before[1:])
    return _kept(d_before, reset), (d_z, None if cell.is_additive else d_u)

  d_state, (d_z, d_u) = jax.lax.scan(one, d_final, (z, u, before, mask, reset, d_h), reverse=True)
  d_u = d_z if cell.is_additive else d_u
  rows = lambda a: a.reshape(-1, a.shape[-1])
  return d_z, _product(rows(before[0]).T, rows(d_u), dtype), d_state, None, None


scan.defvjp(_forward, _backward)


class Recurrent(nn.Module):
  """Layers of LSTM or GRU cells: z_t = x_t W + b (+ e V in the first layer), then `scan`.

  Attributes:
    features: the widths H of the layers.
    cell: a name of CELLS.
    dropout: of the inputs of each layer, where there is a key (Zaremba, Sutskever & Vinyals, 2014).
    dtype: of the products; None for float32.  States are float32.
  """

  features: Sequence[int]
  cell: str = "lstm"
  dropout: float = 0.0
  dtype: Any = None

  def setup(self):
    errors.require(self.cell in CELLS, f"cell = {self.cell!r}; it must be one of {', '.join(CELLS)}")
    gates, dtype = CELLS[self.cell].gates, self.dtype or jnp.float32
    biases = [self._bias_init(width) for width in self.features]
    self.inputs = [
      Dense(gates * width, dtype, jnp.float32, bias_init=init)
      for width, init in zip(self.features, biases, strict=True)
    ]
    self.extra = Dense(gates * self.features[0], dtype, jnp.float32, use_bias=False)
    orthogonal = nn.initializers.orthogonal()

    def blocks(key, shape):
      parts = [orthogonal(k, (shape[0], shape[0])) for k in jax.random.split(key, gates)]
      return jnp.concatenate(parts, 1)

    self.kernels = [
      self.param(f"recurrent_{i}", blocks, (width, gates * width)) for i, width in enumerate(self.features)
    ]

  def _bias_init(self, width: int) -> Callable:
    """0, and 1 for the forget gates of an LSTM (Jozefowicz, Zaremba & Sutskever, 2015)."""
    forget = self.cell == "lstm"
    return lambda key, shape, dtype=jnp.float32: jnp.zeros(shape, dtype).at[width : 2 * width].set(float(forget))

  def start(self, n: int) -> tuple[State, ...]:
    """The states of all layers, zeros, of n sequences."""
    return tuple((jnp.zeros((n, width)),) * CELLS[self.cell].size for width in self.features)

  def __call__(
    self,
    x: jax.Array,
    initial: tuple[State, ...] | None = None,
    extra: jax.Array | None = None,
    mask: jax.Array | None = None,
    key: jax.Array | None = None,
    reset: jax.Array | None = None,
  ) -> tuple[jax.Array, tuple[State, ...]]:
    """(h of the last layer [B, T, H], the last states of all layers) of x [B, T, F].

    Args:
      x: the inputs.
      initial: the states before the first step; zeros if it is None.
      extra: e, [B, E], a further input of the first layer at every step.
      mask: [B, T]; steps where it is 0 leave the states as they are: for lengths, arange(T) < length.
      key: for dropout.
      reset: [B, T]; where it is 1, the states are set to zeros before the step: another sequence begins.
    """
    states, final = self.start(x.shape[0]) if initial is None else initial, []
    keys = [None] * len(self.features) if key is None else jax.random.split(key, len(self.features))
    mask, reset = (None if a is None else a.astype(jnp.float32).T for a in (mask, reset))
    for i, state in enumerate(states):
      z = self.inputs[i](dropout(x, self.dropout, keys[i]))
      z = z if i or extra is None else z + self.extra(extra)[:, None]
      h, last = scan(self.cell, self.dtype, z.swapaxes(0, 1), self.kernels[i], state, mask, reset)
      x, final = h.swapaxes(0, 1), [*final, last]
    return x, tuple(final)

  def step(
    self, states: tuple[State, ...], x: jax.Array, extra: jax.Array | None = None
  ) -> tuple[tuple[State, ...], jax.Array]:
    """(the next states, h of the last layer [B, H]) of one more input x [B, F]."""
    new = []
    for i, state in enumerate(states):
      z = self.inputs[i](x)
      z = z if i or extra is None else z + self.extra(extra)
      found = CELLS[self.cell].step(z, _product(state[0], self.kernels[i], self.dtype), state)
      x, new = found[0], [*new, found]
    return tuple(new), x
