"""LSTM and GRU with one product for the recurrent matrix's gradient, against automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.networks import recurrent

T, B, H, F = 6, 3, 5, 4
cells = pytest.mark.parametrize("name", recurrent.CELLS)
LENGTHS = jnp.asarray([6, 1, 4])
MASK = (jnp.arange(T)[:, None] < LENGTHS).astype(jnp.float32)  # [T, B]


def inputs(name, seed=0):
  cell = recurrent.CELLS[name]
  keys = jax.random.split(jax.random.key(seed), 3)
  z = jax.random.normal(keys[0], (T, B, cell.gates * H))
  kernel = 0.5 * jax.random.normal(keys[1], (H, cell.gates * H))
  state = tuple(0.5 * jax.random.normal(key, (B, H)) for key in jax.random.split(keys[2], cell.size))
  return z, kernel, state


RESET = jnp.zeros((T, B)).at[2, 1].set(1).at[4, 0].set(1)


def plain(name, z, kernel, state, mask=None, reset=None):
  """A loop that is left to automatic differentiation."""
  hs = []
  for t in range(T):
    if reset is not None:
      state = tuple(a * (1 - reset[t][:, None]) for a in state)
    new = recurrent.CELLS[name].step(z[t], state[0] @ kernel, state)
    if mask is not None:
      new = tuple(jnp.where(mask[t][:, None] > 0, a, b) for a, b in zip(new, state, strict=True))
    state = new
    hs.append(state[0])
  return jnp.stack(hs), state


@cells
@pytest.mark.parametrize("mask,reset", [(None, None), (MASK, None), (MASK, RESET)], ids=["whole", "lengths", "resets"])
def test_values_and_gradients_agree_with_automatic_differentiation(name, mask, reset):
  def loss(run, z, kernel, state):
    h, final = run(z, kernel, state)
    weights = jnp.arange(h.size).reshape(h.shape) / h.size
    return jnp.sum(weights * jnp.sin(h)) + sum(jnp.sum(a * (1 + i)) for i, a in enumerate(final))

  ours = lambda *args: recurrent.scan(name, None, *args, mask, reset)
  theirs = lambda *args: plain(name, *args, mask, reset)
  args = inputs(name)
  for a, b in zip(jax.tree.leaves(ours(*args)), jax.tree.leaves(theirs(*args)), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)
  grads = [jax.jit(jax.grad(lambda *a, run=run: loss(run, *a), (0, 1, 2)))(*args) for run in (ours, theirs)]
  for a, b in zip(*map(jax.tree.leaves, grads), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)
    assert float(abs(b).max()) > 1e-3


def test_the_gradient_of_the_recurrent_matrix_is_one_product():
  """No product of [H, B] and [B, 4 H] inside a scan, as automatic differentiation has."""
  z, kernel, state = inputs("lstm")

  def products_in_scans(run):
    found = []

    def visit(jaxpr, inside):
      for e in jaxpr.eqns:
        if inside and e.primitive.name == "dot_general" and e.outvars[0].aval.shape in ((H, 4 * H), (4 * H, H)):
          found.append(e)
        for sub in jax.core.jaxprs_in_params(e.params):
          visit(sub, inside or e.primitive.name == "scan")

    visit(jax.make_jaxpr(jax.grad(lambda k: jnp.sum(run(z, k, state)[0])))(kernel).jaxpr, False)
    return len(found)

  def plainly(z, kernel, state):
    def one(state, z):
      new = recurrent.CELLS["lstm"].step(z, state[0] @ kernel, state)
      return new, new[0]

    return jax.lax.scan(one, state, z)[::-1]

  assert products_in_scans(lambda *a: recurrent.scan("lstm", None, *a)) == 0
  assert products_in_scans(plainly) == 1


def test_an_lstm_by_hand():
  z, kernel, (h, c) = (jax.tree.map(lambda a: np.asarray(a, np.float64), a) for a in inputs("lstm"))
  sigmoid = lambda a: 1 / (1 + np.exp(-a))
  i, f, g, o = np.split(z[0] + h @ kernel, 4, -1)
  c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
  found, _ = recurrent.scan("lstm", None, *inputs("lstm"))
  np.testing.assert_allclose(found[0], sigmoid(o) * np.tanh(c), atol=1e-6)


@cells
def test_layers_take_states_extra_inputs_and_lengths(name):
  net = recurrent.Recurrent((H, 3), name)
  x, extra = jax.random.normal(jax.random.key(1), (B, T, F)), jax.random.normal(jax.random.key(2), (B, 2))
  initial = tuple(
    tuple(jax.random.normal(jax.random.key(i), (B, width)) for _ in range(recurrent.CELLS[name].size))
    for i, width in enumerate((H, 3))
  )
  variables = jax.jit(net.init)(jax.random.key(0), x, initial, extra)
  run = jax.jit(lambda *args: net.apply(variables, *args))
  h, final = run(x, initial, extra, MASK.T)
  states, step = initial, jax.jit(lambda *args: net.apply(variables, *args, method="step"))
  for t in range(T):
    states, found = step(states, x[:, t], extra)
    running = np.asarray(LENGTHS) > t
    np.testing.assert_allclose(h[running, t], found[running], atol=1e-5)
    for layer, last in zip(final, states, strict=True):  # the last state is that at the length
      for a, b in zip(layer, last, strict=True):
        np.testing.assert_allclose(a[np.asarray(LENGTHS) == t + 1], b[np.asarray(LENGTHS) == t + 1], atol=1e-5)
  noise = jnp.where(MASK.T[..., None] > 0, x, 99.0)  # what comes after the length has no influence
  again, _ = run(noise, initial, extra, MASK.T)
  np.testing.assert_array_equal(h, again)
  assert float(abs(run(x, initial, 0 * extra, MASK.T)[0] - h).max()) > 1e-3
  alone, _ = run(x[1:2], jax.tree.map(lambda a: a[1:2], initial), extra[1:2], MASK.T[1:2])
  np.testing.assert_allclose(alone[0], h[1], atol=1e-6)


def test_forget_gates_start_at_one_and_precision_is_that_of_the_products():
  net = recurrent.Recurrent((H,), "lstm", dtype=jnp.bfloat16)
  x = jax.random.normal(jax.random.key(1), (B, T, F))
  variables = net.init(jax.random.key(0), x)
  np.testing.assert_array_equal(variables["params"]["inputs_0"]["bias"], np.repeat([0, 1, 0, 0], H))
  h, _ = net.apply(variables, x)
  exact, _ = recurrent.Recurrent((H,), "lstm").apply(variables, x)
  assert h.dtype == jnp.float32
  assert 0 < float(abs(h - exact).max()) < 0.05


def test_an_unknown_cell_is_refused():
  with pytest.raises(errors.UserError, match="cell = 'rnn'; it must be one of lstm, gru"):
    recurrent.Recurrent((2,), "rnn").init(jax.random.key(0), jnp.zeros((1, 2, 3)))
