"""The order of the data: pseudo-random permutations that are uniform; streams of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import rng


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 49, 97, 1000, 4001])
def test_every_epoch_is_a_permutation(n):
  order = np.asarray(rng.epoch_indices(jax.random.key(n), 0, 3 * n, n, 1)).reshape(3, n)
  np.testing.assert_array_equal(np.sort(order, 1), np.tile(np.arange(n), (3, 1)))


def _orders(n, epochs):
  draw = jax.jit(lambda e: rng.epoch_indices(jax.random.key(0), e, epochs, n, n))
  return np.asarray(draw(0))  # [epochs, n]


def test_every_example_is_equally_likely_at_every_position():
  n, epochs = 50, 20_000
  orders = _orders(n, epochs)
  counts = np.stack([np.bincount(orders[:, place], minlength=n) for place in range(n)])
  # chi^2 over the n x n table with both margins fixed
  chi2 = ((counts - epochs / n) ** 2 / (epochs / n)).sum()
  assert 1e-4 < scipy.stats.chi2.sf(chi2, (n - 1) ** 2) < 1 - 1e-4


def test_neighbours_in_the_data_are_not_neighbours_in_the_order():
  """The distance of two successive examples has the distribution for two random examples."""
  n = 1000
  orders = _orders(n, 300)
  steps = np.abs(np.diff(orders, axis=1)).ravel()
  distances = np.arange(1, n)
  expected = 2 * (n - distances) / (n * (n - 1)) * len(steps)
  bins = np.add.reduceat(np.bincount(steps, minlength=n)[1:], np.arange(0, n - 1, 37))
  chi2 = ((bins - (e := np.add.reduceat(expected, np.arange(0, n - 1, 37)))) ** 2 / e).sum()
  assert scipy.stats.chi2.sf(chi2, len(bins) - 1) > 1e-4


def test_epochs_and_keys_have_different_orders():
  a, b = _orders(1000, 2)
  assert (a == b).mean() < 0.01
  c = rng.epoch_indices(jax.random.key(1), 0, 1, 1000, 1000)[0]
  assert (a == c).mean() < 0.01


def test_streams_differ_by_name():
  key = jax.random.key(0)
  draws = {name: float(jax.random.uniform(rng.stream(key, name))) for name in ("init", "data", "train", "eval")}
  assert len(set(draws.values())) == 4
  assert draws["init"] == float(jax.random.uniform(rng.stream(key, "init")))
  assert jnp.issubdtype(rng.stream(key, "init").dtype, jax.dtypes.prng_key)
