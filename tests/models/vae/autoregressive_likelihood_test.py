"""Latent variable models whose p(x|z) is autoregressive: sums over x, draws, gradients with respect to z."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.vae import vae, vq_vae

D = 4
ALL = np.array(list(itertools.product((0.0, 1.0), repeat=D)), "f")
ARGS = {"net": "made", "width": 5, "args": {"hidden": (7,), "ordering": "reversed"}}


def make(**more):
  model = vae.Model((D,), latent_dim=2, hidden=(6,), likelihood="autoregressive", likelihood_args=ARGS, **more)
  variables = model.init(jax.random.key(0), {"x": jnp.asarray(ALL[:2])})
  params = jax.tree.map(
    lambda a: a + jax.random.normal(jax.random.key(a.size), a.shape), variables["params"]
  )  # so that the entries depend on each other and on z
  return model.bind(variables | {"params": params})


def test_given_z_the_probabilities_of_all_x_sum_to_one_and_the_entries_depend_on_each_other_and_on_z():
  bound, z = make(), jax.random.normal(jax.random.key(1), (2, 2))
  log_p = np.stack([bound.log_joint({"x": jnp.asarray(ALL)}, jnp.tile(row, (16, 1)))[0] for row in z], 1)  # [16, 2]
  np.testing.assert_allclose(np.exp(log_p).sum(0), 1, rtol=1e-5)
  assert np.abs(log_p[:, 0] - log_p[:, 1]).max() > 0.01
  p = np.exp(log_p[:, 0]).reshape((2,) * D)
  marginals = [p.sum(tuple({*range(D)} - {d})) for d in range(D)]
  assert np.abs(p - np.einsum("a,b,c,d->abcd", *marginals)).max() > 0.01


def test_draws_follow_the_probabilities_of_their_own_z():
  bound, z = make(), 2 * jax.random.normal(jax.random.key(1), (3, 2))
  n = 4000
  x = np.asarray(bound.decode(z).sample(seed=jax.random.key(2), sample_shape=(n,)))  # [n, 3, D]
  assert x.shape == (n, 3, D)
  for i, row in enumerate(z):
    expected = np.exp(bound.log_joint({"x": jnp.asarray(ALL)}, jnp.tile(row, (16, 1)))[0])
    found = np.bincount((x[:, i] @ 2 ** np.arange(D)[::-1]).astype(int), minlength=16) / n
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / n) + 1e-6)
  drawn = bound.generate(jax.random.key(3), 5)
  assert drawn.shape == bound.generate(jax.random.key(3), 5, mean=True).shape == (5, D)


def test_several_samples_of_z_and_their_gradients_go_through_one_pass():
  bound, batch = make(), {"x": jnp.asarray(ALL[3:7])}
  z = jax.random.normal(jax.random.key(1), (6, 4, 2))
  log_p = jax.vmap(lambda z: bound.log_joint(batch, z)[0])(z)
  np.testing.assert_allclose(log_p[2], bound.log_joint(batch, z[2])[0], rtol=1e-5)
  slope = jax.grad(lambda z: bound.log_joint(batch, z)[0].sum())(z[0])
  step = 1e-2 * jnp.eye(2)[0]
  change = bound.log_joint(batch, z[0] + step)[0] - bound.log_joint(batch, z[0] - step)[0]
  np.testing.assert_allclose(slope[:, 0], change / 2e-2, rtol=0.02, atol=1e-3)


def test_codes_of_a_vq_vae_condition_an_autoregressive_decoder():
  model = vq_vae.Model(
    (D,), num_positions=2, num_codes=3, code_dim=2, likelihood="autoregressive", likelihood_args=ARGS
  )
  bound = model.bind(model.init(jax.random.key(0), {"x": jnp.asarray(ALL)}))
  e = jnp.tile(bound.codebook[jnp.array([[0, 2]])], (16, 1, 1))
  np.testing.assert_allclose(np.exp(bound.decode(e).log_prob(jnp.asarray(ALL))).sum(), 1, rtol=1e-5)


def test_a_prior_over_codes_sums_to_one_and_alone_is_trained():
  args = {"num_positions": 2, "num_codes": 3, "code_dim": 2, "hidden": (5,)}
  batch = {"x": jnp.asarray(ALL)}
  first = vq_vae.Model((D,), **args)
  trained = first.init(jax.random.key(0), batch)["params"]
  model = vq_vae.Model((D,), **args, prior="made", prior_args={"hidden": (4,)}, train="prior")
  variables = model.init(jax.random.key(1), batch)
  params = variables["params"] | trained  # as init_from does: the names agree
  assert set(params) - set(trained) == {"pc"}
  bound = model.bind(variables | {"params": params})
  codes = jnp.array(list(itertools.product(range(3), repeat=2)))
  np.testing.assert_allclose(np.exp(bound.log_prior(codes)).sum(), 1, rtol=1e-5)
  of_x = bound.nearest(bound.encode(batch))
  found = bound.evaluate(None, batch)
  np.testing.assert_allclose(found["elbo"], bound.log_prior(of_x) - found["distortion"], rtol=1e-5)
  uniform = first.bind({"params": trained}).evaluate(None, batch)
  np.testing.assert_allclose(uniform["distortion"], found["distortion"], rtol=1e-5)
  np.testing.assert_allclose(uniform["elbo"], -2 * np.log(3) - found["distortion"], rtol=1e-5)

  def loss(params):
    return model.apply(variables | {"params": params}, None, batch, method="bound")[0].sum()

  slopes = jax.grad(loss)(params)
  assert max(float(jnp.abs(a).max()) for a in jax.tree.leaves(slopes["pc"])) > 0.01
  del slopes["pc"]
  assert all(float(jnp.abs(a).max()) == 0 for a in jax.tree.leaves(slopes))
  n = 2000
  drawn = np.asarray(bound.pc.generate(jax.random.key(2), n)).astype(int)
  expected = np.exp(bound.log_prior(codes))
  shares = np.bincount(drawn @ [3, 1], minlength=9) / n
  assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected / n))
  assert bound.generate(jax.random.key(3), 4).shape == (4, D)


def test_a_prior_over_codes_needs_a_trained_autoencoder():
  with pytest.raises(errors.UserError, match="does not go with train = 'all': first a run with prior = 'uniform'"):
    vq_vae.Model((D,), prior="lstm").init(jax.random.key(0), {"x": jnp.asarray(ALL)})


@pytest.mark.parametrize("given,sentence", [
  ({"net": "mad"}, "net = 'mad'; it must be one of made, nade"),
  ({"width": 0}, "width = 0; it must be 1 or more"),
  ({"hidden": 3}, "Unknown option of likelihood 'autoregressive' 'hidden'"),
  ({"args": {"hiden": (3,)}}, "Unknown option of net 'made' of likelihood 'autoregressive' 'hiden'"),
])  # fmt: skip
def test_an_invalid_option_raises_one_sentence(given, sentence):
  model = vae.Model((D,), likelihood="autoregressive", likelihood_args=given)
  with pytest.raises(errors.UserError, match=re.escape(sentence)):
    model.init(jax.random.key(0), {"x": jnp.asarray(ALL[:2])})


def test_missing_entries_are_refused():
  with pytest.raises(errors.UserError, match="does not support missing entries"):
    make().log_joint({"x": jnp.asarray(ALL[:2]), "mask": jnp.ones((2, D))}, jnp.zeros((2, 2)))
