"""Laws of causal attention: rotary positions, caches, precision, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.networks import attention

B, T, H, E = 3, 7, 2, 4
X = jax.random.normal(jax.random.key(0), (B, T, H * E))


def test_rotary_scores_depend_on_distances_alone():
  """Equal queries and keys at all positions, and the same ones moved by 1,000: scores of equal distances are equal."""
  keys = jax.random.split(jax.random.key(1))
  q, k = (jnp.broadcast_to(jax.random.normal(key, (1, 1, H, E)), (1, T, H, E)) for key in keys)
  at = lambda first: attention.scores(*(attention.rotated(a, first + jnp.arange(T)) for a in (q, k)))[0]
  found = at(0)  # [H, T, T]
  for distance in range(1 - T, T):
    line = jnp.diagonal(found, distance, 1, 2)
    np.testing.assert_allclose(line, np.broadcast_to(line[:, :1], line.shape), atol=1e-5)
  np.testing.assert_allclose(at(1000), found, atol=1e-3)  # of angles near 1,000
  assert float(abs(jnp.diff(found[:, :, 0], axis=1)).min()) > 1e-3  # other distances, other scores
  assert float(abs(attention.scores(q, k) - found).max()) > 1e-2


def test_rotation_keeps_norms_and_leaves_position_zero():
  q = X.reshape(B, T, H, E)
  turned = attention.rotated(q, jnp.arange(T))
  np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(q, axis=-1), rtol=1e-5)
  np.testing.assert_array_equal(turned[:, 0], q[:, 0])


@functools.cache
def made(**options):
  block = attention.Block(H * E, H, biases=True, **options)
  variables = jax.jit(block.init)(jax.random.key(2), X)
  noisy = jax.tree.map(lambda a: a + 0.3 * jax.random.normal(jax.random.key(a.size), a.shape), variables)
  return block, noisy


def by_hand(p, x):
  """The same block in NumPy, in float64, one position and head at a time."""
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), p)
  norm = lambda q, x: (
    (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * q["scale"] + q["bias"]
  )
  dense = lambda q, x: x @ q["kernel"] + q["bias"]
  gelu = lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
  q, k, v = np.split(dense(p["attention"]["inner"], norm(p["norms_0"], x)), 3, -1)
  mixed = np.zeros_like(x)
  for t in range(len(x)):
    for h in range(H):
      part = slice(h * E, (h + 1) * E)
      score = k[: t + 1, part] @ q[t, part] / np.sqrt(E)
      weight = np.exp(score - score.max())
      mixed[t, part] = weight @ v[: t + 1, part] / weight.sum()
  x = x + dense(p["attention"]["out"], mixed)
  return x + dense(p["out"], gelu(dense(p["hidden"], norm(p["norms_1"], x))))


def test_a_block_agrees_with_numpy():
  block, variables = made()
  found = block.apply(variables, X)
  for b in range(B):
    np.testing.assert_allclose(found[b], by_hand(variables["params"], np.asarray(X[b], np.float64)), atol=1e-4)


@pytest.mark.parametrize("rotary", [False, True])
def test_steps_agree_with_the_whole_pass_whatever_follows_and_whoever_is_beside(rotary):
  block, variables = made(rotary=rotary)
  expected = block.apply(variables, X)
  prefix = block.apply(variables, X[:1, :4])  # fewer positions, no neighbours
  np.testing.assert_allclose(prefix[0], expected[0, :4], atol=1e-5)
  cache = block.apply(variables, B, T + 5, method="start")  # a longer cache
  step = jax.jit(lambda *args: block.apply(variables, *args, method="step"))
  for t in range(T):
    cache, found = step(cache, jnp.asarray(t), X[:, t])
    np.testing.assert_allclose(found, expected[:, t], atol=1e-5)


def test_a_loop_of_steps_copies_no_cache():
  """Within the loop's body the compiled program updates the caches in place."""
  block, variables = made()
  cache = block.apply(variables, B, T, method="start")
  one = lambda cache, t: block.apply(variables, cache, t, X[:, 0], method="step")
  text = jax.jit(lambda cache: jax.lax.scan(one, cache, jnp.arange(T))).lower(cache).compile().as_text()
  assert "dynamic-update-slice" in text
  blocks = text.split("\n\n")
  bodies = [b for b in blocks if "dynamic-update-slice" in b and not b.lstrip().startswith("ENTRY")]
  assert bodies
  assert not [line for b in bodies for line in b.splitlines() if " copy(" in line and f"f32[{T},{B},{H},{E}]" in line]


def test_bfloat16_computes_products_and_keeps_scores_in_float32():
  block, variables = made(dtype=jnp.bfloat16)
  found = block.apply(variables, X)
  assert found.dtype == jnp.float32
  exact = made()[0].apply(variables, X)
  assert 1e-5 < float(abs(found - exact).max()) < 0.2
  q = X.reshape(B, T, H, E).astype(jnp.bfloat16)
  assert attention.scores(q, q).dtype == jnp.float32
  assert block.apply(variables, B, T, method="start")["k"].dtype == jnp.bfloat16


def test_dropout_needs_a_key_and_keeps_the_mean():
  block, variables = made(dropout=0.3)
  np.testing.assert_array_equal(block.apply(variables, X), made()[0].apply(variables, X))
  keys = jax.random.split(jax.random.key(4), 2)
  a, b = (block.apply(variables, X, key) for key in keys)
  assert float(abs(a - b).max()) > 0.01
  x = jnp.ones(100_000)
  y = attention.dropout(x, 0.3, keys[0])
  assert abs(float(y.mean()) - 1) < 5 * np.sqrt(0.3 / 0.7 / 1e5)
  assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}


@pytest.mark.parametrize("options,named", [
  ({"num_heads": 3}, "width = 8 is not a multiple of num_heads = 3"),
  ({"num_heads": 8, "rotary": True}, "heads of an even width"),
])  # fmt: skip
def test_widths_that_do_not_fit_the_heads_are_refused(options, named):
  with pytest.raises(errors.UserError, match=named):
    attention.CausalAttention(8, **options).init(jax.random.key(0), X)
