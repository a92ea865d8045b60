"""Transformers and recurrent nets of tokens: what comes after, padding, contexts, dropout, precision, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax.core import errors
from dgm_jax.distributions.likelihoods import discrete
from dgm_jax.models.autoregressive import lstm, transformer

V, D = 5, 6
SMALL = {"num_layers": 2, "width": 8, "num_heads": 2}
MODELS = {
  "transformer": (transformer, {**SMALL, "tied": True, "biases": True}),
  "rotary": (transformer, {**SMALL, "positions": "rotary"}),
  "lstm": (lstm, {"hidden": (6, 5), "embedding_dim": 4}),
  "gru": (lstm, {"hidden": (6,), "cell": "gru", "embedding_dim": 6, "tied": True}),
}
each = pytest.mark.parametrize("name", MODELS)
X = jax.random.randint(jax.random.key(0), (4, D), 0, V)


@functools.cache
def made(name, **more):
  module, options = MODELS[name]
  model = module.Model((D,), num_tokens=V, **options | more)
  variables = jax.jit(model.init)(jax.random.key(1), {"x": X})
  noisy = jax.tree.map(lambda a: a + 0.4 * jax.random.normal(jax.random.key(a.size), a.shape), variables)
  return model, noisy


@functools.cache
def compiled(name, method):
  model, variables = made(name)
  return jax.jit(lambda *args: model.apply(variables, *args, method=method))


def log_p(name, x, **batch):
  return compiled(name, "log_prob_each")({"x": x, **batch})


@each
def test_batch_neighbours_and_what_follows_change_nothing(name):
  whole = log_p(name, X)
  np.testing.assert_allclose(log_p(name, X[2:3])[0], whole[2], atol=1e-5)
  changed = log_p(name, X.at[:, 4:].set((X[:, 4:] + 1) % V))
  np.testing.assert_array_equal(changed[:, :4], whole[:, :4])
  assert float(abs(changed - whole)[:, 4:].max()) > 1e-3


@each
def test_padding_behind_the_length_has_no_probability_and_no_influence(name):
  length = jnp.asarray([6, 1, 3, 5])
  found = log_p(name, X, length=length)
  seen = jnp.arange(D) < length[:, None]
  np.testing.assert_array_equal(found, jnp.where(seen, log_p(name, X), 0))
  np.testing.assert_array_equal(found, log_p(name, jnp.where(seen, X, 0), length=length))


@each
def test_texts_are_integers_and_begin_with_what_is_given(name):
  model, variables = made(name)
  drawn = jax.jit(lambda key: model.apply(variables, key, 3, method="generate"))(jax.random.key(2))
  assert drawn.dtype == jnp.int32 and drawn.shape == (3, D)
  mask = jnp.broadcast_to(jnp.arange(D) < 2, X.shape)
  greedy = jax.jit(lambda key, batch: model.apply(variables, key, batch, method="complete", temperature=0.0))
  found = greedy(jax.random.key(2), {"x": X, "mask": mask})
  assert found.dtype == jnp.int32
  np.testing.assert_array_equal(found[:, :2], X[:, :2])
  h = compiled(name, "conditionals")(found.astype(jnp.float32), None)
  np.testing.assert_array_equal(found[:, 2:], h.argmax(-1)[:, 2:])  # greedy


@each
def test_dropout_is_in_the_objective_alone(name):
  batch, key = {"x": X}, jax.random.key(3)
  plain, _ = compiled(name, "objective")(key, batch)
  np.testing.assert_allclose(plain, log_p(name, X).sum(1), rtol=1e-6)
  dropping, variables = made(name, dropout=0.4)
  run = lambda method: jax.jit(lambda *args: dropping.apply(variables, *args, method=method))
  np.testing.assert_allclose(run("log_prob")(batch), plain, rtol=1e-6)
  objective = run("objective")
  a, metrics = objective(key, batch)
  b, _ = objective(jax.random.key(4), batch)
  assert float(abs(a - b).max()) > 1e-3 and float(abs(a - plain).max()) > 1e-3
  np.testing.assert_array_equal(metrics["log_px"], a)


def test_rematerialised_blocks_have_the_same_gradients_with_dropout():
  def grads(**more):
    model, variables = made("transformer", dropout=0.2, **more)
    loss = lambda v: model.apply(v, jax.random.key(3), {"x": X}, method="objective")[0].sum()
    return jax.jit(jax.grad(loss))(variables)

  for a, b in zip(*map(jax.tree.leaves, (grads(), grads(remat=True))), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_logits_are_float32_in_bfloat16(name):
  model, variables = made(name, dtype="bfloat16")
  h = model.apply(variables, X.astype(jnp.float32), None, method="conditionals")
  assert h.dtype == jnp.float32
  exact = made(name)[0].apply(variables, X.astype(jnp.float32), None, method="conditionals")
  assert 1e-4 < float(abs(h - exact).max()) < 0.3
  found = model.apply(variables, {"x": X}, method="log_prob")
  assert found.dtype == jnp.float32


def test_cross_entropy_agrees_with_scipy_and_its_gradient_with_automatic_differentiation():
  logits, value = 3 * jax.random.normal(jax.random.key(5), (7, 4)), jnp.asarray([0, 1, 2, 3, 3, 0, 1])
  p = discrete.categorical(logits).distribution
  expected = scipy.special.log_softmax(np.asarray(logits, np.float64), -1)[np.arange(7), np.asarray(value)]
  np.testing.assert_allclose(p.log_prob(value), expected, rtol=1e-5, atol=1e-6)
  loss = lambda f: jax.grad(lambda l: jnp.sum(jnp.arange(7) * f(l)))(logits)
  ours = loss(lambda l: discrete.categorical(l).distribution.log_prob(value.astype(jnp.float32)))
  theirs = loss(lambda l: jnp.take_along_axis(jax.nn.log_softmax(l, -1), value[:, None], -1)[:, 0])
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  np.testing.assert_array_equal(jnp.isneginf(p.log_prob(jnp.full(7, 4))), True)  # beyond the classes
  np.testing.assert_array_equal(jnp.isneginf(p.log_prob(jnp.full(7, -1))), True)


@pytest.mark.parametrize("options,named", [
  ({"num_tokens": None}, "the data have no vocabulary"),
  ({"dropout": 1.0}, r"dropout = 1.0; it must be in \[0, 1\)"),
  ({"positions": "sine"}, "positions = 'sine'; it must be one of learned, rotary"),
  ({"likelihood": "bernoulli", "tied": True}, "tied = True is for likelihood 'categorical'"),
  ({"num_heads": 3}, "width = 8 is not a multiple of num_heads = 3"),
])  # fmt: skip
def test_bad_options_of_a_transformer_are_named(options, named):
  model = transformer.Model((D,), **{"num_tokens": V, **SMALL} | options)
  with pytest.raises(errors.UserError, match=named):
    model.init(jax.random.key(0), {"x": X})


@pytest.mark.parametrize("options,named", [
  ({"cell": "rnn"}, "cell = 'rnn'; it must be one of lstm, gru"),
  ({"tied": True}, "tied = True needs embedding_dim = 128"),
  ({"hidden": ()}, "needs a layer"),
  ({"remat": True}, "remat = True"),
])  # fmt: skip
def test_bad_options_of_a_recurrent_net_are_named(options, named):
  model = lstm.Model((D,), num_tokens=V, **{"hidden": (4,)} | options)
  with pytest.raises(errors.UserError, match=named):
    model.init(jax.random.key(0), {"x": X})
