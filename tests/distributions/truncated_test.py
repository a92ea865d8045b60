"""Laws of temperature, top-k and top-p."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions.truncated import Truncation

LOGITS = 2 * jax.random.normal(jax.random.key(0), (50, 7))
P = np.asarray(jax.nn.softmax(LOGITS, -1), np.float64)


def probabilities(**options):
  return np.asarray(jax.nn.softmax(Truncation(**options).check().logits(LOGITS), -1), np.float64)


def test_the_defaults_leave_the_logits_as_they_are():
  assert Truncation().logits(LOGITS) is LOGITS
  for options in ({"top_k": 7}, {"top_p": 1.0}, {"top_k": 99}):
    np.testing.assert_allclose(probabilities(**options), P, rtol=1e-5)


def test_temperature_is_a_power_of_the_probabilities():
  for temperature in (0.5, 2.0):
    power = P ** (1 / temperature)
    np.testing.assert_allclose(probabilities(temperature=temperature), power / power.sum(1, keepdims=True), rtol=1e-4)


def test_temperature_zero_and_top_1_draw_the_most_probable_class():
  greedy = P.argmax(1)
  for options in ({"temperature": 0.0}, {"temperature": 1e-35}, {"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}):
    np.testing.assert_array_equal(probabilities(**options), np.eye(7)[greedy])
    np.testing.assert_array_equal(Truncation(**options).draw(jax.random.key(1), LOGITS), greedy)


def test_top_k_keeps_the_k_most_probable_classes():
  found = probabilities(top_k=3)
  assert ((found > 0).sum(1) == 3).all()
  kept = np.where(np.sort(P, 1)[:, [-3]] <= P, P, 0)
  np.testing.assert_allclose(found, kept / kept.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_smallest_set_whose_mass_is_at_least_p(top_p):
  kept = probabilities(top_p=top_p) > 0
  mass = np.where(kept, P, 0).sum(1)
  least = np.where(kept, P, 2).min(1)
  assert (mass >= top_p - 1e-6).all()
  assert (mass - least < top_p).all()  # without its least probable class the set would have too little
  assert (np.where(kept, 0, P).max(1) <= least).all()


def test_of_equally_probable_classes_the_first_ones_stay():
  logits = jnp.zeros((1, 4))
  for options, expected in (({"top_k": 2}, 2), ({"top_p": 0.5}, 2), ({"top_p": 0.51}, 3), ({"temperature": 0.0}, 1)):
    np.testing.assert_array_equal(np.isfinite(Truncation(**options).logits(logits))[0], np.arange(4) < expected)


def test_the_three_apply_one_after_another():
  """Temperature, then top_k, then top_p of what is left."""
  logits = jnp.log(jnp.asarray([[0.5, 0.3, 0.15, 0.05]]))
  found = jax.nn.softmax(Truncation(temperature=0.5, top_k=3, top_p=0.8).logits(logits))
  np.testing.assert_allclose(found, [[25 / 34, 9 / 34, 0, 0]], rtol=1e-5)  # 25, 9 and 2.25 of 36.25: 0.69 < 0.8


def test_draws_have_the_truncated_probabilities():
  how = Truncation(temperature=1.5, top_p=0.9)
  drawn = how.draw(jax.random.key(2), jnp.broadcast_to(LOGITS[:1], (20_000, 7)))
  expected = probabilities(temperature=1.5, top_p=0.9)[0]
  found = np.bincount(np.asarray(drawn), minlength=7) / 20_000
  np.testing.assert_array_less(abs(found - expected), 5 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-9)


@pytest.mark.parametrize(
  "options,named",
  [
    ({"temperature": -0.1}, "temperature = -0.1"),
    ({"temperature": float("nan")}, "temperature = nan"),
    ({"temperature": float("inf")}, "temperature = inf"),
    ({"top_k": -1}, "top_k = -1"),
    ({"top_k": 1.5}, "top_k = 1.5"),
    ({"top_p": 0.0}, r"top_p = 0.0; it must be a probability in \(0, 1\]"),
    ({"top_p": 1.01}, "top_p = 1.01"),
    ({"top_p": float("nan")}, "top_p = nan"),
  ],
)
def test_invalid_values_get_one_sentence(options, named):
  with pytest.raises(errors.UserError, match=named):
    Truncation(**options).check()
