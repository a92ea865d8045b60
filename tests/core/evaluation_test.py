"""Evaluation in batches: the transform's noise belongs to an example, the step's to a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import evaluation

DATA = {"x": np.arange(7, dtype=np.float32)}


def values(batch_size):
  noisy = lambda key, batch: batch | {"noise": jax.random.normal(key)}
  step = lambda state, key, batch: batch | {"drawn": jax.random.normal(key, batch["x"].shape)}
  return evaluation.make_evaluate_examples(step, noisy, batch_size)(0, jax.random.key(0), DATA)


def test_an_example_is_transformed_in_the_same_way_in_every_batch():
  whole, parts = values(7), values(3)
  np.testing.assert_array_equal(whole["x"], DATA["x"])
  np.testing.assert_array_equal(parts["noise"], whole["noise"])
  assert len(set(parts["noise"].tolist())) == 7


def test_batches_draw_different_noise_in_the_step():
  drawn = values(3)["drawn"]
  assert len(set(drawn.tolist())) == 7  # the last batch, too, although it is padded


def test_a_value_without_the_axis_of_examples_is_refused():
  run = evaluation.make_evaluate_examples(lambda *_: {"x": jnp.zeros(())}, lambda key, batch: batch, 3)
  with pytest.raises(ValueError, match=r"\['x'\] of shape \(\)"):
    run(0, jax.random.key(0), DATA)


def test_means_and_standard_errors_are_those_of_the_sample():
  x = np.random.default_rng(0).normal(size=50).astype("f")
  mean, error = evaluation.mean_and_error(x)
  assert (mean, error) == (pytest.approx(x.mean(dtype="d")), pytest.approx(x.std(ddof=1, dtype="d") / np.sqrt(50)))
