"""A VAE trained on simulated sentences, whose log p(x) is known: held out, it is not better than the truth, nor far."""

import numpy as np
import pytest

from dgm_jax.configs import sentence_vae_text
from dgm_jax.data.sets import simulated_text
from dgm_jax.training import build, train


@pytest.mark.slow
def test_log_p_of_held_out_sentences_is_near_the_truth(tmp_path):
  config = sentence_vae_text.get_config("quick,method=annealed,drop=0.0")
  with config.unlocked():
    config.data.update(train_size=20_000, valid_size=100, test_size=1000, num_words=6, length=6, hidden=8, latent_dim=1)
    config.num_steps, config.model.args.latent_dim = 2000, 1
    config.evaluate = {"importance_sampling": {"num_samples": 100, "batch_size": 50, "chunk": 100}}
  train.train_and_evaluate(config, tmp_path / "run")
  splits, _ = build.load(config)
  test = splits.test
  truth = simulated_text.log_px(simulated_text.truth_of(splits.about), test["x"], test["length"])
  assert truth.error.max() < 1e-3
  difference = np.load(tmp_path / "run" / "values.npz")["test/log_px"] - truth.log_px
  error = difference.std() / np.sqrt(len(difference))
  assert -0.3 < difference.mean() < 4 * error, (difference.mean(), error)
