"""Hidden Markov models: sums and maxima over paths against enumeration of all C^T paths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax.models.sequences import forward_backward as hm

T, C = 6, 3
RNG = np.random.default_rng(0)
INITIAL, TRANSITION = np.log(RNG.dirichlet(np.ones(C))), np.log(RNG.dirichlet(np.ones(C), C))
LIKELIHOOD = RNG.normal(size=(T, C)) * 2
KEY = jax.random.key(1)
LENGTHS = (1, 2, 4, T)
MASKS = np.arange(T) < np.array(LENGTHS)[:, None]


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def enumerated(initial, transition, likelihood):
  """(all paths [P, T], their log p(x, z) [P])."""
  length, num_states = likelihood.shape
  paths = np.array(list(itertools.product(range(num_states), repeat=length)))
  joint = initial[paths[:, 0]] + likelihood[np.arange(length), paths].sum(1)
  return paths, joint + sum(transition[paths[:, t], paths[:, t + 1]] for t in range(length - 1))


def over_masks(function):
  """`function` of one sequence cut to each of LENGTHS, with random numbers as padding."""
  likelihood = np.where(MASKS[..., None], LIKELIHOOD, RNG.normal(size=(len(MASKS), T, C)) * 30)
  return jax.jit(jax.vmap(function, (None, None, 0, 0)))(INITIAL, TRANSITION, likelihood, MASKS)


@pytest.fixture(scope="module")
def posteriors():
  with jax.enable_x64(True):
    return over_masks(lambda *a: (hm.posterior(*a), jax.value_and_grad(hm.log_prob, (0, 1, 2))(*a)))


@pytest.mark.parametrize("i,length", enumerate(LENGTHS))
def test_the_posterior_agrees_with_enumeration(posteriors, i, length):
  """For each length, in one batch: padding has no influence."""
  paths, joint = enumerated(INITIAL, TRANSITION, LIKELIHOOD[:length])
  log_px = scipy.special.logsumexp(joint)
  p = np.exp(joint - log_px)
  states, pairs = np.zeros((T, C)), np.zeros((C, C))
  for t in range(length):
    np.add.at(states[t], paths[:, t], p)
  for t in range(length - 1):
    np.add.at(pairs, (paths[:, t], paths[:, t + 1]), p)
  found = jax.tree.map(lambda a: a[i], posteriors[0])
  np.testing.assert_allclose(found.log_px, log_px, rtol=1e-12)
  np.testing.assert_allclose(found.states, states, atol=1e-12)
  np.testing.assert_allclose(found.pairs, pairs, atol=1e-12)


def test_the_gradient_of_the_likelihood_equals_expected_counts(posteriors):
  """For log pi, log A and log b: p(z_1|x), the pairs, and p(z_t|x)."""
  q, (log_px, grads) = posteriors
  np.testing.assert_allclose(log_px, q.log_px, rtol=1e-12)
  for found, expected in zip(grads, (q.states[:, 0], q.pairs, q.states), strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_most_likely_path_agrees_with_enumeration():
  found, scores = over_masks(hm.most_likely_path)
  for path, score, length in zip(found, scores, LENGTHS, strict=True):
    paths, joint = enumerated(INITIAL, TRANSITION, LIKELIHOOD[:length])
    np.testing.assert_array_equal(path[:length], paths[joint.argmax()])
    np.testing.assert_allclose(score, joint.max(), rtol=1e-12)
    np.testing.assert_array_equal(path[length:], path[length - 1])


def test_paths_are_drawn_from_their_posterior():
  """Frequencies of all 27 paths within 4.5 standard errors, for z ~ p(z|x) and z ~ p(z)."""
  draws, mask = 20_000, np.ones(3, bool)
  keys = jax.random.split(KEY, draws)
  given = jax.jit(jax.vmap(lambda key: hm.draw_path(key, INITIAL, TRANSITION, LIKELIHOOD[:3], mask)))(keys)
  prior = jax.jit(jax.vmap(lambda key: hm.draw_chain(key, INITIAL, TRANSITION, 3)))(keys)
  for found, likelihood in ((given, LIKELIHOOD[:3]), (prior, np.zeros((3, C)))):
    paths, joint = enumerated(INITIAL, TRANSITION, likelihood)
    for path, p in zip(paths, np.exp(joint - scipy.special.logsumexp(joint)), strict=True):
      drawn = (np.asarray(found) == path).all(1).astype(float)
      assert abs(drawn.mean() - p) < 4.5 * np.sqrt(p * (1 - p) / draws)


def test_zero_probabilities_give_no_nan():
  """Zeros in pi, A and b: a left-to-right chain, each state with its own symbol."""
  with np.errstate(divide="ignore"):
    initial, transition = np.log([1.0, 0, 0]), np.log([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1.0]])
  never = np.full((4, 3), np.log(np.finfo("f").tiny))
  never[np.arange(4), [0, 1, 1, 2]] = 0.0
  rows = [np.maximum(a, np.log(np.finfo("f").tiny)) for a in (initial, transition)]
  arguments = [jnp.asarray(a, jnp.float32) for a in (*rows, never)]
  q = jax.jit(hm.posterior)(*arguments, jnp.ones(4, bool))
  np.testing.assert_allclose(q.log_px, 3 * np.log(0.5), rtol=1e-6)
  np.testing.assert_allclose(q.states, np.eye(3)[[0, 1, 1, 2]], atol=1e-6)
  assert np.isfinite(jax.tree.leaves(jax.jit(jax.grad(hm.log_prob, (0, 1, 2)))(*arguments, jnp.ones(4, bool)))[1]).all()


@pytest.mark.parametrize("t", [0, 2, T - 1])
def test_a_sequence_that_no_state_can_emit_has_log_p_of_minus_infinity(t):
  """At any step; its gradient and posterior are finite, so that a batch that holds it stays finite elsewhere."""
  never = LIKELIHOOD.copy()
  never[t] = -np.inf
  both = jax.jit(jax.vmap(lambda b: (hm.posterior(INITIAL, TRANSITION, b, np.ones(T, bool)),
    hm.most_likely_path(INITIAL, TRANSITION, b, np.ones(T, bool))[1],
    jax.value_and_grad(hm.log_prob, 2)(INITIAL, TRANSITION, b, np.ones(T, bool)))))  # fmt: skip
  q, best, (log_px, grads) = both(np.stack([never, LIKELIHOOD, np.full((T, C), np.nan)]))
  for found in (q.log_px, best, log_px):
    assert found[0] == -np.inf
    assert np.isfinite(found[1])
    assert np.isnan(found[2])
  assert all(np.isfinite(a[:2]).all() for a in (q.states, q.pairs, grads))


def test_a_state_that_cannot_emit_a_step_is_left_out():
  """-inf for one state and zeros in A: the sum over the other paths, as by enumeration."""
  some, rows = LIKELIHOOD.copy(), TRANSITION.copy()
  some[3, 1], rows[0, 2] = -np.inf, -np.inf
  log_px = jax.jit(hm.log_prob)(INITIAL, rows, some, np.ones(T, bool))
  np.testing.assert_allclose(log_px, scipy.special.logsumexp(enumerated(INITIAL, rows, some)[1]), rtol=1e-12)


def test_long_sequences_are_accurate_in_single_precision():
  """Where log p is -60,000 nats, and float32 has a resolution of 0.004."""
  likelihood = RNG.normal(size=(200, C)) * 2 - 300
  double = jax.jit(hm.posterior)(INITIAL, TRANSITION, likelihood, np.ones(200, bool))
  single = jax.jit(hm.posterior)(
    *(jnp.asarray(a, jnp.float32) for a in (INITIAL, TRANSITION, likelihood)), np.ones(200, bool)
  )
  assert single.states.dtype == jnp.float32
  np.testing.assert_allclose(single.states, double.states, atol=1e-4)
  np.testing.assert_allclose(single.pairs, double.pairs, rtol=1e-4)
  np.testing.assert_allclose(single.log_px, double.log_px, rtol=1e-6)
