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
    config.evaluate = {"importance_sampling": {"num_samples": 200, "batch_size": 50, "chunk": 100}}
  train.train_and_evaluate(config, tmp_path / "run")
  splits, _ = build.load(config)
  test = splits.test
  truth = simulated_text.log_px(simulated_text.truth_of(splits.about), test["x"], test["length"])
  difference = np.load(tmp_path / "run" / "values.npz")["test/log_px"] - truth
  error = difference.std() / np.sqrt(len(difference))
  assert -0.3 < difference.mean() < 4 * error
