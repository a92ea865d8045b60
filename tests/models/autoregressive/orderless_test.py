"""Orderless NADE on four bits, whose 24 orders and 16 states can be enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.autoregressive import orderless

D = 4
STATES = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=D)))
MODEL = orderless.Model((D,), hidden=(6,))
VARIABLES = MODEL.init(jax.random.key(0), {"x": STATES})
PARAMS = jax.tree.map(lambda a: a + 0.8 * jax.random.normal(jax.random.key(a.size), a.shape), VARIABLES["params"])
BOUND = MODEL.bind({**VARIABLES, "params": PARAMS})


def probability(x, known):
  """p(x_d = 1 | the known entries) of each entry, [D], by hand."""
  (first, second) = (PARAMS["net"][f"Dense_{i}"] for i in range(2))
  h = np.maximum(np.concatenate([x * known, known]) @ first["kernel"] + first["bias"], 0)
  return 1 / (1 + np.exp(-(h @ second["kernel"] + second["bias"])))


def log_p(x, order, start=()):
  """log p of the entries of `order` in this order, given those of `start`."""
  known, total = np.zeros(D), 0.0
  known[list(start)] = 1
  for d in order:
    p = probability(x, known)[d]
    total += np.log(p if x[d] else 1 - p)
    known[d] = 1
  return total


ORDERS = list(itertools.permutations(range(D)))


def test_every_order_sums_to_one_and_is_the_product_by_hand():
  places = jnp.asarray([np.argsort(order) + 1 for order in ORDERS])[:, None]  # [24, 1, D]
  bind = lambda place: MODEL.bind({"params": PARAMS, "degrees": {"input": place}}).log_prob({"x": STATES})
  found = np.asarray(jax.jit(lambda places: jax.lax.map(bind, places))(places))  # [24, 16]
  np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
  expected = [[log_p(x, order) for x in np.asarray(STATES)] for order in ORDERS]
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert np.ptp(found, 0).max() > 0.01  # the orders differ


def test_p_is_the_mean_over_the_models_orders():
  model = orderless.Model((D,), hidden=(6,), orders=3, order_seed=2)
  places = model.init(jax.random.key(0), {"x": STATES})["degrees"]
  bound = model.bind({"params": PARAMS, "degrees": places})
  orders = [np.asarray(bound.order(n)) for n in range(3)]
  expected = [np.log(np.mean([np.exp(log_p(x, o)) for o in orders])) for x in np.asarray(STATES)]
  np.testing.assert_allclose(bound.log_prob({"x": STATES}), expected, rtol=1e-5)


@pytest.mark.parametrize("mask", [(1, 1, 1, 1), (1, 0, 1, 1)])
def test_the_objective_is_unbiased_for_the_mean_over_all_orders(mask):
  """Of the observed entries; at 5 standard errors of 20,000 draws."""
  x, seen = np.array([1.0, 0.0, 1.0, 1.0]), np.flatnonzero(mask)
  exact = np.mean([log_p(x, order) for order in itertools.permutations(seen)])
  hidden = jnp.where(jnp.asarray(mask) > 0, x, jnp.nan)
  batch = {"x": jnp.tile(hidden, (200, 1)), "mask": jnp.tile(jnp.asarray(mask, jnp.float32), (200, 1))}
  draws = jax.jit(jax.vmap(lambda key: BOUND.objective(key, batch)[0]))(jax.random.split(jax.random.key(1), 100))
  draws = np.asarray(draws, np.float64).ravel()
  assert abs(draws.mean() - exact) < 5 * draws.std() / len(draws) ** 0.5


def test_missing_entries_are_neither_summed_nor_known():
  x, mask = STATES.at[:, 1].set(jnp.nan), jnp.tile(jnp.array([1.0, 0.0, 1.0, 1.0]), (16, 1))
  order = [d for d in np.asarray(BOUND.order(0)) if d != 1]
  expected = [log_p(np.nan_to_num(np.asarray(row)), order) for row in x]
  np.testing.assert_allclose(BOUND.log_prob({"x": x, "mask": mask}), expected, rtol=1e-5)


def test_completions_follow_their_conditional_in_the_mean_over_orders():
  mask = np.array([1, 0, 1, 0])
  x = np.array([1.0, 0.0, 0.0, 0.0])
  exact = np.zeros((2, 2))
  for a, b in itertools.product((0, 1), repeat=2):
    filled = np.array([1.0, a, 0.0, b])
    exact[a, b] = np.mean([np.exp(log_p(filled, order, start=(0, 2))) for order in ((1, 3), (3, 1))])
  batch = {"x": jnp.tile(jnp.where(mask > 0, x, 7.0), (100, 1)), "mask": jnp.tile(jnp.asarray(mask), (100, 1))}
  keys = jax.random.split(jax.random.key(3), 200)
  draw = jax.jit(lambda keys: jax.lax.map(lambda key: BOUND.complete(key, batch), keys))
  drawn = np.asarray(draw(keys)).reshape(-1, D)
  np.testing.assert_array_equal(drawn[:, mask > 0], np.tile(x[mask > 0], (len(drawn), 1)))
  found = np.histogram2d(drawn[:, 1], drawn[:, 3], bins=2)[0] / len(drawn)
  # a hundred rows share an order: its variance between the 200 keys is added
  np.testing.assert_allclose(found, exact, atol=5 * (0.5 / len(drawn) ** 0.5 + 0.1 / 200**0.5))


def test_complete_needs_a_mask():
  with pytest.raises(errors.UserError, match="no mask"):
    BOUND.complete(jax.random.key(0), {"x": STATES})
