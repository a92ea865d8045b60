"""The VAE of sequences by its laws: sums over all strings, quadrature, padding, word dropout, and ways to decode."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.evaluate import quadrature
from dgm_jax.inference import estimators, samples
from dgm_jax.inference.log_terms import log_terms
from dgm_jax.models.vae import sequence_vae
from dgm_jax.networks import tokens
from dgm_jax.principles.latent import latent

V, T, END = 5, 3, 2
LETTERS = (1, 3, 4)  # <unk> and two words
SMALL = {"num_tokens": V, "latent_dim": 2, "embedding_dim": 3, "encoder_args": {"hidden": (4,)}}
RECURRENT = {"decoder_args": {"hidden": (4,)}}
NETS = {
  "lstm": RECURRENT,
  "gru": {"encoder": "gru", "decoder": "gru", "encoder_args": {"hidden": (3, 4)}, "decoder_args": {"hidden": (3, 4)}},
  "inputless": RECURRENT | {"inputless": True, "encoder": "bidirectional"},
  "transformer": {
    "encoder": "conv",
    "encoder_args": {"filters": (4,), "kernels": (2,), "hidden": 5},
    "decoder": "transformer",
    "decoder_args": {"num_layers": 1, "num_heads": 1, "width": 4},
  },
}
every_net = pytest.mark.parametrize("net", NETS)


def all_strings():
  """All strings of at most T tokens with <end>, and the unfinished ones of T tokens without."""
  x, length = [], []
  for n in range(T):
    for words in itertools.product(LETTERS, repeat=n):
      x.append([*words, END, *[0] * (T - n - 1)])
      length.append(n + 1)
  whole = len(x)
  x += [list(words) for words in itertools.product(LETTERS, repeat=T)]
  return {"x": jnp.asarray(x), "length": jnp.asarray(length + [T] * (len(x) - whole))}, whole


STRINGS, WHOLE = all_strings()


class Compiled:
  """A bound model whose methods are compiled once for each shape."""

  def __init__(self, model):
    self.bound, self._methods = model, {}

  def __getattr__(self, name):
    bare, variables = self.bound.unbind()
    if name not in self._methods:
      run = jax.jit(lambda variables, *args: getattr(bare.bind(variables), name)(*args))
      self._methods[name] = lambda *args: run(variables, *args)
    return self._methods[name]

  def mean(self, batch):
    """E_q[z|x]."""
    return _mean(self.bound.unbind()[0])(self.bound.variables, batch)


@functools.cache
def _mean(bare):
  return jax.jit(lambda variables, batch: bare.bind(variables).infer(batch).mean())


@functools.cache
def compiled(net="lstm", **options):
  """`bound`, compiled."""
  return Compiled(bound(net, **options))


@functools.cache
def bound(net="lstm", **options):
  """A model with parameters that are not small, so that everything matters."""
  model = sequence_vae.Model((T,), **SMALL | NETS[net] | options)
  with jax.ensure_compile_time_eval():  # the first call may be within a traced function
    params = jax.jit(model.init)(jax.random.key(3), STRINGS)["params"]
    flat, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(4), len(flat))
    params = tree.unflatten([a + 0.7 * jax.random.normal(k, a.shape) for a, k in zip(flat, keys, strict=True)])
  return model.bind({"params": params})


@every_net
def test_the_probabilities_of_all_strings_with_the_unfinished_sum_to_one(net):
  model = compiled(net)
  for z in (jnp.zeros(2), jnp.asarray([1.5, -1.0])):
    log_p, _ = model.log_joint(STRINGS, jnp.broadcast_to(z, (len(STRINGS["x"]), 2)))
    assert np.isclose(np.exp(np.asarray(log_p, np.float64)).sum(), 1, atol=1e-5)
    assert float(jnp.ptp(log_p)) > 1  # they are not all alike


def test_bounds_are_in_order_and_p_of_x_sums_to_one_by_quadrature():
  model = bound()
  grid = lambda variables: quadrature.posterior(model.unbind()[0].bind(variables), STRINGS, 100, 10.0, 500)
  exact = jax.jit(grid)(model.variables)
  assert np.exp(np.asarray(exact.log_px, np.float64)).sum() == pytest.approx(1, abs=1e-4)
  weights = lambda variables: log_terms(model.unbind()[0], variables, jax.random.key(0), STRINGS, 2000).w
  log_w = jax.jit(weights)(model.variables)
  elbo = float(estimators.elbo(log_w).mean())
  iwae = float(jnp.mean(estimators.iwae(log_w.reshape(100, 20, -1).swapaxes(0, 1).reshape(20, -1))))
  assert elbo == pytest.approx(float(exact.elbo.mean()), abs=0.1)
  assert elbo + 0.05 < iwae < float(exact.log_px.mean()) - 0.002
  np.testing.assert_allclose(estimators.iwae(log_w), exact.log_px, atol=0.25)


@every_net
def test_neither_what_follows_the_end_nor_the_other_examples_change_anything(net):
  model, z = compiled(net), jnp.asarray([[0.3, -1.0]])
  one = {"x": jnp.asarray([[3, END, 0]]), "length": jnp.asarray([2])}
  batch = {"x": jnp.asarray([[3, END, 4], [4, 1, 3], [END, 3, 3]]), "length": jnp.asarray([2, 3, 1])}
  alone, among = model.mean(one), model.mean(batch)
  np.testing.assert_allclose(alone[0], among[0], atol=1e-6)
  of_batch, _ = model.log_joint(batch, jnp.repeat(z, 3, 0))
  np.testing.assert_allclose(model.log_joint(one, z)[0][0], of_batch[0], atol=1e-6)
  if net in ("lstm", "gru", "inputless"):  # whose weights take longer rows
    padded = {"x": jnp.pad(one["x"], ((0, 0), (0, 4))), "length": one["length"]}
    np.testing.assert_allclose(alone, model.mean(padded), atol=1e-6)
    np.testing.assert_allclose(model.log_joint(padded, z)[0], of_batch[:1], atol=1e-6)


@every_net
def test_draws_step_by_step_have_the_probabilities_of_teacher_forcing(net):
  model, z = compiled(net), jax.random.normal(jax.random.key(1), (200, 2))
  found = model.draw(jax.random.key(2), z)
  log_p, _ = model.log_joint({"x": found["x"], "length": found["length"]}, z)
  np.testing.assert_allclose(found["log_prob"], log_p, atol=1e-5)
  ended = np.asarray(found["x"] == END)
  assert (ended.sum(1) <= 1).all()
  assert (np.asarray(found["length"])[ended.any(1)] == 1 + ended.argmax(1)[ended.any(1)]).all()


def test_draws_have_the_model_s_frequencies():
  model, n = compiled(), 20_000
  z = jnp.broadcast_to(jnp.asarray([0.5, 0.5]), (n, 2))
  found = model.draw(jax.random.key(5), z)["x"]
  p = np.exp(model.log_joint(STRINGS, z[: len(STRINGS["x"])])[0])
  counts = np.asarray([(np.asarray(found) == row).all(1).sum() for row in np.asarray(STRINGS["x"])])
  assert counts.sum() == n
  z_scores = (counts - n * p) / np.sqrt(n * p * (1 - p))
  assert np.abs(z_scores).max() < 4.5


@every_net
def test_beam_one_is_greedy_and_a_wide_beam_finds_the_most_probable_string(net):
  model, z = compiled(net), jnp.asarray([[0.0, 0.0], [1.0, -2.0]])
  greedy = jax.jit(lambda z: bound(net).draw(jax.random.key(0), z, Truncation(temperature=0.0)))(z)
  narrow, wide = (jax.jit(lambda z, w=w: bound(net).beam(z, w))(z) for w in (1, 40))
  np.testing.assert_array_equal(narrow["x"], greedy["x"])
  np.testing.assert_allclose(narrow["log_prob"], greedy["log_prob"], atol=1e-5)
  for i in range(2):
    log_p, _ = model.log_joint(STRINGS, jnp.broadcast_to(z[i], (len(STRINGS["x"]), 2)))
    best = int(jnp.argmax(log_p))
    np.testing.assert_array_equal(wide["x"][i], STRINGS["x"][best])
    assert float(wide["log_prob"][i]) == pytest.approx(float(log_p[best]), abs=1e-5)
  with pytest.raises(errors.UserError, match="beam = 0"):
    bound(net).beam(z, 0)


def test_known_beginnings_stay():
  model, z = compiled(), jnp.zeros((2, 2))
  x, known = jnp.asarray([[4, 3, 0], [3, END, 0]]), jnp.asarray([[1, 0, 0], [1, 1, 0]])
  drawn = jax.jit(lambda z: bound().draw(jax.random.key(0), z, x=x, known=known))(z)
  searched = jax.jit(lambda z: bound().beam(z, 3, x=x, known=known))(z)
  for found in (drawn, searched):
    assert found["x"][0, 0] == 4
    np.testing.assert_array_equal(found["x"][1], [3, END, 0])
    log_p, _ = model.log_joint({"x": found["x"], "length": found["length"]}, z)
    np.testing.assert_allclose(found["log_prob"], log_p, atol=1e-5)


def with_keys(batch, seed=0):
  return batch | {"key": jax.random.split(jax.random.key(seed), len(batch["x"]))}


def test_word_dropout_at_its_ends_and_not_in_evaluation():
  z = jnp.broadcast_to(jnp.asarray([0.4, 1.0]), (len(STRINGS["x"]), 2))
  of = lambda p, batch: compiled(word_dropout=p).log_prob_each(batch, z)
  plain = of(0.0, STRINGS)
  np.testing.assert_array_equal(of(0.0, with_keys(STRINGS)), plain)
  np.testing.assert_array_equal(of(1.0, STRINGS), plain)  # evaluation has no keys
  dropped = of(1.0, with_keys(STRINGS))

  def with_unk(z):  # all inputs are <unk>
    words = bound().words
    h = words.all_steps(words.inputs(jnp.ones_like(STRINGS["x"])), z, T)
    return tokens.log_probs(h, *words.output(), STRINGS["x"])

  expected = jax.jit(with_unk)(z)
  inside = jnp.arange(T) < STRINGS["length"][:, None]
  np.testing.assert_allclose(dropped, jnp.where(inside, expected, 0), atol=1e-6)
  assert float(jnp.abs(dropped - plain).max()) > 0.1


def test_evaluation_of_a_system_has_no_word_dropout():
  every = []
  for p in (0.0, 1.0):
    system = latent.make(bound(word_dropout=p).unbind()[0], optax.sgd(0.1), eval_samples=3)
    state = jax.jit(system.init)(jax.random.key(0), STRINGS, {}).replace(params=bound().variables["params"])
    every.append(jax.jit(system.eval_step)(state, jax.random.key(1), STRINGS))
  jax.tree.map(np.testing.assert_array_equal, *every)


def test_word_dropout_is_drawn_by_the_example_s_key():
  model, z = compiled(word_dropout=0.5), jnp.zeros((len(STRINGS["x"]), 2))
  batch = with_keys(STRINGS)
  whole = model.log_prob_each(batch, z)
  some = jax.tree.map(lambda a: a[7:12], batch)
  np.testing.assert_allclose(model.log_prob_each(some, z[7:12]), whole[7:12], atol=1e-6)
  assert float(jnp.abs(model.log_prob_each(with_keys(STRINGS, 1), z) - whole).max()) > 0.1
  share = jnp.mean(model.bound._seen(jnp.full((2000, T), 4), with_keys({"x": jnp.zeros((2000, T))})) == 1)
  assert abs(float(share) - 0.5) < 4 * 0.5 / np.sqrt(2000 * T)


def test_logits_in_blocks_have_the_same_values_and_gradients():
  keys = jax.random.split(jax.random.key(0), 3)
  h, kernel, bias = (jax.random.normal(k, s) for k, s in zip(keys, ((7, 3, 4), (4, 6), (6,)), strict=True))
  ids = jnp.arange(21).reshape(7, 3) % 6
  loss = lambda most: lambda *args: jnp.sum(jnp.sin(tokens.log_probs(*args, ids, most=most)))
  expected = jnp.take_along_axis(jax.nn.log_softmax(h @ kernel + bias), ids[..., None], -1)[..., 0]
  for most in (2**20, 30, 1):
    np.testing.assert_allclose(tokens.log_probs(h, kernel, bias, ids, most=most), expected, atol=1e-5)
    for a, b in zip(*(jax.grad(loss(m), (0, 1, 2))(h, kernel, bias) for m in (most, 2**20)), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_logits_of_all_samples_are_never_in_memory_at_once():
  """B K T V = 120 million logits; neither the values nor their gradient keep more than 2^25 numbers."""
  b, k, t, v = 4, 100, 30, 10_000
  model = sequence_vae.Model((t,), **SMALL | RECURRENT | {"num_tokens": v})
  batch = {"x": jnp.ones((b, t), jnp.int32), "length": jnp.full(b, t)}
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  loss = lambda variables: log_terms(model, variables, jax.random.key(0), batch, k).w.mean()
  text = str(jax.make_jaxpr(jax.grad(loss))(variables))
  sizes = {shape: np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"f32\[([\d,]+)\]", text)}
  assert max(sizes.values()) <= tokens.MOST, max(sizes, key=sizes.get)


def largest(function, *args):
  """The number of elements of the largest float32 array in a function."""
  text = str(jax.make_jaxpr(function)(*args))
  return max(np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"f32\[([\d,]+)\]", text))


def test_nor_are_they_in_a_training_step_which_has_a_key_for_each_example():
  b, k, t, v = 4, 100, 30, 10_000
  model = sequence_vae.Model((t,), **SMALL | RECURRENT | {"num_tokens": v, "word_dropout": 0.3})
  batch = {"x": jnp.ones((b, t), jnp.int32), "length": jnp.full(b, t)}
  for options in ({"bound": "iwae"}, {"bound": "iwae", "gradient": "dreg"}):
    system = latent.make(model, optax.sgd(0.1), num_samples=k, **options)
    state = jax.eval_shape(lambda key: system.init(key, batch, {}), jax.random.key(0))
    assert largest(system.train_step, state, jax.random.key(1), batch) <= tokens.MOST


def test_training_terms_of_all_samples_at_once_are_those_of_each_alone():
  """Word dropout and dropout of every sample are drawn by its example's key."""
  model = bound(word_dropout=0.5, dropout=0.4)
  batch, z = with_keys(STRINGS), jax.random.normal(jax.random.key(7), (3, len(STRINGS["x"]), 2))
  every = lambda merge: jax.jit(lambda z: samples.over_samples(model.log_joint, batch, z, merge))(z)
  for merged, apart in zip(every(True), every(False), strict=True):
    np.testing.assert_allclose(merged, apart, atol=1e-5)


def test_logits_start_at_the_log_frequencies_and_pad_has_no_probability():
  model = sequence_vae.Model((T,), **SMALL | RECURRENT, token_counts=(0, 0, 50, 30, 20))
  params = jax.jit(model.init)(jax.random.key(0), STRINGS)["params"]
  p = jax.nn.softmax(params["decoder"]["out_bias"])
  np.testing.assert_allclose(p[2:], np.asarray([50.5, 30.5, 20.5]) / 102.5, rtol=1e-5)
  first = jax.jit(lambda z: bound().step(bound().start(z), 0, jnp.zeros(1, jnp.int32))[1])(jnp.zeros((1, 2)))
  assert float(first[0, 0]) < -1e8


@pytest.mark.parametrize("net", ["gru", "transformer"])
def test_bfloat16_is_for_the_products_alone(net):
  z = jnp.broadcast_to(jnp.asarray([0.4, 1.0]), (len(STRINGS["x"]), 2))
  exact, found = compiled(net), compiled(net, dtype="bfloat16")
  assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(found.bound.variables))
  for a, b in zip((*exact.log_joint(STRINGS, z), exact.mean(STRINGS)),
                  (*found.log_joint(STRINGS, z), found.mean(STRINGS)), strict=True):  # fmt: skip
    assert b.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.15)
    assert float(jnp.abs(a - b).max()) < 0.15


@pytest.mark.parametrize("options,named", [
  ({"encoder": "rnn"}, "encoder = 'rnn'; it must be one of lstm, gru, bidirectional, conv"),
  ({"decoder": "conv"}, "decoder = 'conv'; it must be one of lstm, gru, transformer"),
  ({"encoder": "conv", "encoder_args": {"filters": (2,), "kernels": (9,)}}, r"kernels = \(9,\) do not fit"),
  ({"encoder_args": {"cell": "gru"}}, "takes no cell in encoder_args"),
  ({"num_tokens": None}, "no vocabulary"),
  ({"word_dropout": 1.5}, "word_dropout = 1.5"),
  ({"inputless": True, "word_dropout": 0.5}, "without inputs"),
  ({"tied": True}, "tied = True needs embedding_dim = 3"),
  ({"prior": "vamp"}, "pseudo-inputs"),
])  # fmt: skip
def test_invalid_options_are_refused(options, named):
  model = sequence_vae.Model((T,), **SMALL | RECURRENT | options)
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(model.init, jax.random.key(0), STRINGS)
