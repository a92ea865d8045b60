"""Optimisers against optax and a NumPy transcription of the published update; schedules against the paper's stages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import iwae_mnist
from dgm_jax import errors, optim


def _steps(tx, grads, **extra):
  params = jnp.array([1.0, -2.0])
  state, seen = tx.init(params), []
  for g in grads:
    updates, state = tx.update(g, state, params, **extra)
    params = optax.apply_updates(params, updates)
    seen.append(params)
  return np.stack(seen)


GRADS = np.random.default_rng(0).normal(size=(20, 2)).astype("f")


def test_adam_is_optax_adam():
  ours = _steps(optim.make(num_steps=20, lr=3e-3, b1=0.8, b2=0.99, eps=1e-4), GRADS)
  np.testing.assert_allclose(ours, _steps(optax.adam(3e-3, 0.8, 0.99, 1e-4), GRADS), rtol=1e-6)


def test_hparams_win_over_the_built_in_numbers_and_may_be_lanes():
  tx = optim.make(num_steps=20, lr=1.0)
  run = lambda lr: jnp.asarray(_steps_jax(tx, lr))
  lanes = jax.vmap(run)(jnp.array([1e-3, 1e-2]))
  for lane, lr in zip(lanes, (1e-3, 1e-2), strict=True):
    np.testing.assert_allclose(lane, _steps(optax.adam(lr), GRADS)[-1], rtol=1e-5)


def _steps_jax(tx, lr):
  params = jnp.array([1.0, -2.0])
  state = tx.init(params)
  for g in GRADS:
    updates, state = tx.update(jnp.asarray(g), state, params, hparams={"optim.lr": lr})
    params = optax.apply_updates(params, updates)
  return params


def test_iwae_adam_is_the_released_update():
  b1, b2, eps, lr = 0.99, 0.999, 1e-4, 1e-3
  m, v, x, expected = np.zeros(2), np.ones(2), np.array([1.0, -2.0]), []
  for t, g in enumerate(GRADS.astype(np.float64), 1):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    x = x - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    expected.append(x)
  ours = _steps(optim.make(num_steps=20, name="iwae_adam", lr=lr, b1=b1, b2=b2, eps=eps), GRADS)
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("reading,rates", [
  ("paper", [1e-3 * 10 ** (-i / 7) for i in range(8)]),
  ("code", [1e-3, 7.2e-4, 5.2e-4, 3.7e-4, 2.7e-4, 1.9e-4, 1.4e-4, 1e-4]),
])  # fmt: skip
def test_the_recipe_has_eight_stages_of_three_to_the_i_epochs(reading, rates):
  config = iwae_mnist.get_config(f"reading={reading}")
  assert config.num_epochs == 3280
  assert config.batch_size == 20
  per_epoch = (60_000 - (config.data.valid_size or 0)) // 20
  schedule = optim.piecewise(config.optim.boundaries, config.optim.scales, 3280 * per_epoch)
  first = 0
  for i, rate in enumerate(rates):
    last = first + 3**i * per_epoch - 1
    np.testing.assert_allclose(config.optim.lr * schedule(first), rate, rtol=1e-5)
    np.testing.assert_allclose(config.optim.lr * schedule(last), rate, rtol=1e-5)
    first = last + 1
  assert first == 3280 * per_epoch


@pytest.mark.parametrize("options,named", [
  ({"name": "adma"}, "Did you mean 'adam'"),
  ({"lr": -1e-3}, "optim.lr = -0.001"),
  ({"b1": 1.0}, "optim.b1"),
  ({"eps": 0.0}, "optim.eps"),
  ({"boundaries": (0.5,), "scales": ()}, "optim.boundaries"),
])  # fmt: skip
def test_bad_numbers_are_named(options, named):
  with pytest.raises(errors.UserError, match=named):
    optim.make(num_steps=10, **options)
