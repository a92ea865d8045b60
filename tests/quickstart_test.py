"""The quick start at full length: its final number, and an evaluator in NumPy that agrees with it."""

import jax
import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist, vae_mnist
from dgm_jax.core import evaluation, rng
from dgm_jax.training import train
from dgm_jax.training.restore import restore
from helpers import numpy_evaluator


@pytest.mark.slow
def test_the_quick_start_ends_at_its_number_and_numpy_agrees(tmp_path):
  jax.config.update("jax_disable_most_optimizations", False)
  try:
    config = iwae_mnist.get_config("quick,k=5")
    results = train.train_and_evaluate(config, tmp_path / "run")
    experiment, state = restore(config, tmp_path / "run")
    key = rng.stream(jax.random.key(config.seed), "eval")
    binarized = evaluation.make_evaluate_examples(lambda s, k, batch: batch["x"], experiment.transforms.evaluate, 100)
    x = np.asarray(binarized(state, key, experiment.splits.test)).reshape(500, 784)
  finally:
    jax.config.update("jax_disable_most_optimizations", True)
  assert abs(results["test/nll"] - 98.5) < 3
  theirs = -numpy_evaluator.log_px(jax.device_get(state.params), x, 5000, seed=0, chunk=20).mean()
  assert theirs == pytest.approx(results["test/nll"], abs=0.15)  # noise of 5000 samples, over 500 images


@pytest.mark.slow
def test_ten_epochs_of_a_vae_on_the_full_set(raw_data, tmp_path):
  jax.config.update("jax_disable_most_optimizations", False)
  try:
    config = vae_mnist.get_config("constant")
    config.data.data_dir, config.data.manual_dir = str(tmp_path / "data"), str(raw_data / "mnist")
    config.batch_size, config.num_steps, config.optim.lr = 100, 6000, 1e-3
    config.evaluate.importance_sampling.num_samples = 50
    results = train.train_and_evaluate(config, tmp_path / "run")
  finally:
    jax.config.update("jax_disable_most_optimizations", True)
  assert results["split_sizes"] == {"train": 60_000, "test": 10_000}
  assert results["test/elbo"] > -107
  assert results["test/elbo"] < results["test/log_px"] < -90
