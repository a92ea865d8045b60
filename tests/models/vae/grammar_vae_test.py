"""The VAE of derivations by its laws: sums over all of them, quadrature, masks, draws, and the published loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors, grammar_parser, grammars
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.evaluate import quadrature
from dgm_jax.inference import estimators
from dgm_jax.inference.log_terms import log_terms
from dgm_jax.models.vae import sequence_vae

TEXT = "S -> 'a' S B | 'b' | B\nB -> 'd' | 'e' S"
GRAMMAR, T = grammars.parse(TEXT), 4
V = 1 + len(GRAMMAR.rules)
SMALL = {
  "num_tokens": V, "latent_dim": 2, "embedding_dim": 3, "encoder": "gru", "encoder_args": {"hidden": (4,)},
  "decoder": "gru", "decoder_args": {"hidden": (4,)}, "grammar": TEXT,
}  # fmt: skip
NETS = {"inputless": {"inputless": True}, "autoregressive": {}}
every_net = pytest.mark.parametrize("net", NETS)


def all_derivations():
  """Every sequence of T rules, complete or cut."""
  found = []

  def extend(rules, left):
    if len(rules) == T or not left:
      found.append(rules + [0] * (T - len(rules)))
      return
    for i, rule in enumerate(GRAMMAR.rules):
      if rule.left == left[0]:
        extend([*rules, 1 + i], [s for s in rule.right if isinstance(s, int)] + left[1:])

  extend([], [0])
  x = np.array(found)
  return {"x": jnp.asarray(x), "length": jnp.asarray((x > 0).sum(1))}


ALL = all_derivations()
N = len(ALL["x"])


@functools.cache
def bound(net, **options):
  """A model with parameters that are not small."""
  model = sequence_vae.Model((T,), **SMALL | NETS[net] | options)
  params = jax.jit(model.init)(jax.random.key(3), ALL)["params"]
  flat, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(4), len(flat))
  return model.bind(
    {"params": tree.unflatten([a + 0.7 * jax.random.normal(k, a.shape) for a, k in zip(flat, keys, strict=True)])}
  )


@functools.cache
def compiled(net, name, **options):
  bare, variables = bound(net, **options).unbind()
  run = jax.jit(lambda variables, *args: getattr(bare.bind(variables), name)(*args))
  return lambda *args: run(variables, *args)


def test_what_is_complete_is_counted():
  left = bound("inputless").num_left(ALL["x"])
  by_hand = [grammar_parser.string_of([r - 1 for r in row if r], GRAMMAR)[1] for row in ALL["x"].tolist()]
  np.testing.assert_array_equal(left, by_hand)
  assert 0 < sum(n > 0 for n in by_hand) < N


@every_net
def test_probabilities_of_all_derivations_with_the_incomplete_sum_to_one(net):
  for z in (jnp.zeros(2), jnp.asarray([1.5, -1.0])):
    log_p, _ = compiled(net, "log_joint")(ALL, jnp.broadcast_to(z, (N, 2)))
    assert np.exp(np.asarray(log_p, np.float64)).sum() == pytest.approx(1, abs=1e-5)
    assert float(jnp.ptp(log_p)) > 1


def test_bounds_are_in_order_and_p_of_x_sums_to_one_by_quadrature():
  bare, variables = bound("inputless").unbind()
  first = jax.jit(bare.init)(jax.random.key(3), ALL)["params"]  # whose q is wide, so that weights have no long tails
  variables = {"params": {**variables["params"], "encoder": first["encoder"]}}
  exact = jax.jit(lambda v: quadrature.posterior(bare.bind(v), ALL, 100, 10.0, 500))(variables)
  assert np.exp(np.asarray(exact.log_px, np.float64)).sum() == pytest.approx(1, abs=1e-4)
  log_w = jax.jit(lambda v: log_terms(bare, v, jax.random.key(0), ALL, 2000).w)(variables)
  elbo = float(estimators.elbo(log_w).mean())
  iwae = float(jnp.mean(estimators.iwae(log_w.reshape(100, 20, -1).swapaxes(0, 1).reshape(20, -1))))
  assert elbo == pytest.approx(float(exact.elbo.mean()), abs=0.1)
  assert elbo + 0.02 < iwae < float(exact.log_px.mean()) + 0.002
  np.testing.assert_allclose(estimators.iwae(log_w), exact.log_px, atol=0.25)


@every_net
def test_draws_with_the_stack_have_the_probabilities_of_teacher_forcing(net):
  z = jax.random.normal(jax.random.key(1), (300, 2))
  found = compiled(net, "draw")(jax.random.key(2), z)
  log_p, _ = compiled(net, "log_joint")({"x": found["x"], "length": found["length"]}, z)
  np.testing.assert_allclose(found["log_prob"], log_p, atol=1e-5)
  allowed = set(map(tuple, ALL["x"].tolist()))
  assert all(tuple(row) in allowed for row in found["x"].tolist())
  np.testing.assert_array_equal(found["length"], (found["x"] > 0).sum(1))


def test_draws_have_the_model_s_frequencies():
  n = 20_000
  z = jnp.broadcast_to(jnp.asarray([0.5, 0.5]), (n, 2))
  found = np.asarray(compiled("autoregressive", "draw")(jax.random.key(5), z)["x"])
  p = np.exp(compiled("autoregressive", "log_joint")(ALL, z[:N])[0])
  counts = np.array([(found == row).all(1).sum() for row in np.asarray(ALL["x"])])
  assert counts.sum() == n
  assert np.abs((counts - n * p) / np.sqrt(np.maximum(n * p * (1 - p), 1))).max() < 4.5


@every_net
def test_a_wide_beam_finds_the_most_probable_derivation(net):
  z = jnp.asarray([[0.0, 0.0], [1.0, -2.0]])
  greedy = jax.jit(lambda z: bound(net).draw(jax.random.key(0), z, Truncation(temperature=0.0)))(z)
  narrow, wide = (jax.jit(lambda z, w=w: bound(net).beam(z, w))(z) for w in (1, 30))
  np.testing.assert_array_equal(narrow["x"], greedy["x"])
  for i in range(2):
    log_p, _ = compiled(net, "log_joint")(ALL, jnp.broadcast_to(z[i], (N, 2)))
    np.testing.assert_array_equal(wide["x"][i], ALL["x"][int(jnp.argmax(log_p))])
    assert float(wide["log_prob"][i]) == pytest.approx(float(log_p.max()), abs=1e-5)


def test_the_published_loss_by_hand_and_only_in_training():
  z = jnp.broadcast_to(jnp.asarray([0.4, 1.0]), (N, 2))
  with_keys = ALL | {"key": jax.random.split(jax.random.key(0), N)}
  of = lambda batch: compiled("inputless", "log_prob_each", loss="published")(batch, z)
  plain = compiled("inputless", "log_prob_each")(ALL, z)
  np.testing.assert_array_equal(of(ALL), plain)
  found, model = np.asarray(of(with_keys)), bound("inputless")

  def logits(z):
    kernel, bias = model.words.output()
    return model.words.all_steps(None, z, T) @ kernel + bias

  logits = np.asarray(jax.jit(logits)(z), np.float64)
  left = [None, *(rule.left for rule in GRAMMAR.rules)]
  for n, row in enumerate(ALL["x"].tolist()):
    for t, r in enumerate(row):
      if not r:
        assert found[n, t] == 0
        continue
      some = [v for v in range(V) if left[v] == left[r]]
      p = np.zeros(V)
      p[some] = np.exp(logits[n, t, some] - logits[n, t, some].max())
      p = np.clip(p / p.sum(), 1e-7, 1 - 1e-7)
      by_hand = (np.log(p[r]) + sum(np.log(1 - p[v]) for v in range(V) if v != r)) / V
      assert found[n, t] == pytest.approx(by_hand, abs=1e-5)


def test_noise_narrows_the_draws_of_training_alone_and_not_the_kl():
  narrow, whole = bound("inputless", noise=0.01), bound("inputless")
  with_keys = ALL | {"key": jax.random.split(jax.random.key(0), N)}
  np.testing.assert_allclose(narrow.infer(with_keys).stddev(), 0.01 * whole.infer(ALL).stddev(), rtol=1e-5)
  np.testing.assert_allclose(narrow.infer(ALL).stddev(), whole.infer(ALL).stddev())
  np.testing.assert_allclose(narrow.kl(with_keys), whole.kl(ALL), rtol=1e-5)


def test_the_joint_regression_adds_log_p_of_y():
  y = jnp.linspace(-1.0, 2.0, N)[:, None]
  model, z = bound("inputless", num_targets=1), jnp.zeros((N, 2))
  without, _ = model.log_joint(ALL, z)
  log_p, _ = bound("inputless", num_targets=1).log_joint(ALL | {"y": y}, z)
  mean, scale = model.targets(z), float(jnp.exp(model.log_deviations[0]))
  by_hand = -0.5 * ((y - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
  np.testing.assert_allclose(log_p - without, by_hand[:, 0], atol=1e-4)


@pytest.mark.parametrize("options,named", [
  ({"num_tokens": V + 1}, f"the data have {V + 1} tokens; the grammar has {V}"),
  ({"loss": "mse"}, "log_prob, published"),
  ({"noise": 0.0}, "noise = 0.0"),
  ({"noise": 0.5, "posterior": "student_t"}, "1 but for posteriors"),
  ({"pad": 1}, "pad = 1"),
])  # fmt: skip
def test_invalid_options_are_refused(options, named):
  model = sequence_vae.Model((T,), **SMALL | options)
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(model.init, jax.random.key(0), ALL)


def test_batch_normalisation_takes_the_batch_in_training_and_moving_averages_elsewhere():
  options = {"encoder": "conv", "encoder_args": {"filters": (3,), "kernels": (2,), "hidden": 4}, "batch_norm": True}
  bare = sequence_vae.Model((T,), **SMALL | NETS["inputless"] | options)
  variables = jax.jit(bare.init)(jax.random.key(3), ALL)
  keys = jax.random.split(jax.random.key(0), N)
  mean = lambda variables, batch: bare.bind(variables).infer(batch).mean()
  some = jax.tree.map(lambda a: a[:5], ALL)
  np.testing.assert_allclose(mean(variables, ALL)[:5], mean(variables, some), atol=1e-6)
  in_training = mean(variables, ALL | {"key": keys})
  assert float(jnp.abs(in_training[:5] - mean(variables, some | {"key": keys[:5]})).max()) > 1e-3
  moved, update = variables, jax.jit(lambda *args: bare.update(*args))
  for _ in range(1200):  # 0.99^1200 is 6e-6
    moved = update(moved, keys[0], ALL | {"key": keys})
  np.testing.assert_allclose(mean(moved, ALL), in_training, atol=2e-3)
