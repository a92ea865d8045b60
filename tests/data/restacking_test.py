"""The transform `restack`: new triples of digits at every step, by the step's key, uniform over a thousand numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.system import System, TrainState
from dgm_jax.data import pipeline
from dgm_jax.training.programs import make_train_chunk

N, B = 4000, 50


@pytest.fixture(scope="module")
def stacked():
  return data.load("stacked_mnist", digits="mnist5k", train_size=N, test_size=50)


@pytest.fixture(scope="module")
def transforms(stacked):
  return pipeline.make(("restack",), stacked.train, [stacked.test])


@pytest.fixture(scope="module")
def steps(stacked, transforms):
  """(first step, number of steps) -> the y that the loop trains on, [steps, B]; with x of one pixel."""
  given = {"x": jnp.zeros((N, 1, 1, 3), jnp.uint8), "y": jnp.asarray(stacked.train["y"]), "index": jnp.arange(N)}
  system = System(None, lambda state, key, batch: (state.replace(step=state.step + 1), {"y": batch["y"]}), None, None)

  def run(first, length):
    chunk = jax.jit(make_train_chunk(system, transforms.train, B, length))
    return np.asarray(chunk(TrainState(jnp.int32(first), {}, (), {}, {}), jax.random.key(5), given)[1]["y"])

  return run


def test_digits_are_combined_by_the_steps_key_and_y_is_their_number(stacked, transforms):
  digits = data.load("mnist5k").train
  known = {image.tobytes(): int(label) for image, label in zip(digits["x"], digits["y"], strict=True)}
  part = {k: jnp.asarray(v[:64]) for k, v in stacked.train.items()} | {"index": jnp.arange(64)}
  apply = jax.jit(transforms.train)
  first, other, again = (apply(jax.random.key(k), part | {"epoch": jnp.zeros(64, jnp.int32)}) for k in (0, 1, 0))
  numbers = [int("".join(str(known[image[..., c].tobytes()]) for c in range(3))) for image in np.asarray(first["x"])]
  assert numbers == first["y"].tolist()
  np.testing.assert_array_equal(first["x"], again["x"])
  for a, b in ((first, other), (first, part), (other, part)):
    assert (a["y"] == b["y"]).mean() < 0.2
  seen = lambda x, c: sorted(image.tobytes() for image in np.asarray(x[..., c]))
  assert all(seen(first["x"], c) == seen(part["x"], c) for c in range(3))  # each digit of the batch once
  kept = jax.vmap(transforms.evaluate)(jax.random.split(jax.random.key(0), 64), part)
  np.testing.assert_array_equal(kept["x"], part["x"])
  np.testing.assert_array_equal(kept["y"], part["y"])


def test_the_numbers_of_training_are_uniform_and_not_those_of_the_data(stacked, steps):
  found, epochs = steps(0, 2000), 25
  y = stacked.train["y"]
  shares = [np.bincount(y // unit % 10, minlength=10) / N for unit in (100, 10, 1)]  # near 1/10: 400 of each digit
  expected = epochs * N * np.einsum("i,j,k->ijk", *shares).ravel()
  counts = np.bincount(found.ravel(), minlength=1000)
  assert 1e-4 < chi2.sf(((counts - expected) ** 2 / expected).sum(), 999) < 1 - 1e-4
  assert np.abs((counts - expected) / np.sqrt(expected)).max() < 5
  own = np.bincount(y, minlength=1000) - expected / epochs
  assert abs(np.corrcoef(counts - expected, own)[0, 1]) < 4 / 1000**0.5


def test_a_resumed_run_combines_the_same_digits(steps):
  np.testing.assert_array_equal(steps(0, 6), np.concatenate([steps(0, 3), steps(3, 3)]))


def test_other_data_are_refused():
  arrays = {"x": np.zeros((4, 5, 5, 3), np.uint8), "y": np.arange(4, dtype=np.int32)}
  with pytest.raises(errors.UserError, match=r"'restack' takes the images .*; x has shape \[5, 5, 3\]"):
    pipeline.make(("restack",), arrays)
