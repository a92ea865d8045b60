"""V, the eye of a world model: Ha & Schmidhuber, "Recurrent World Models Facilitate Policy Evolution" (NeurIPS 2018).

Paper: https://arxiv.org/abs/1809.01999 (longer: https://arxiv.org/abs/1803.10122), appendix A.1; no NLL is published.

  python -m dgm_jax.main --config=configs/world_v.py:env=dodge --workdir=runs/v
  python -m dgm_jax world-models dodge --workdir=runs/dodge

A convolutional VAE of frames of 64 x 64 x 3: convolutions of 4 x 4 with stride 2 to 32, 64, 128 and 256 channels, and
transposed ones of 5, 5, 6 and 6 pixels back, 4,348,547 parameters with 32 latents.  The loss is the summed squared
error, a Gaussian of variance 1/2, plus the KL, of which half a nat for each latent is free (the authors' code); Adam
with 1e-4, batches of 100, 10 epochs of 10,000 episodes there.  `dgm_jax world-models` runs this config as a stage.

Arguments (after the colon, separated by commas):
  env=dodge|car|doom|other   8, 32, 64 and 32 latents; dodge has a smaller net, 8 to 64 channels, and a rate of 1e-3
  data=rollouts   frames of the episodes in --config.data.path=FOLDER; without one, random play in dodge
  quick           1,000 steps
  test            seconds: a few steps of a small network
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

LATENTS = {"dodge": 8, "car": 32, "doom": 64, "other": 32}


def _net(small: bool, test: bool) -> dict:
  """The paper's net, or a smaller one, whose convolutions are 4 x 4 both ways and compile in less time."""
  if small:
    return {"channels": (4, 8, 8, 8) if test else (8, 16, 32, 64), "kernel_size": 4, "stride": 2, "activation": "relu"}
  decoder = {"channels": (1024, 128, 64, 32), "kernel_size": (5, 5, 6, 6), "linear_code": True, "shared_bias": True}
  channels = (32, 64, 128, 256)
  net = {"channels": channels, "kernel_size": 4, "stride": 2, "padding": 0, "activation": "relu"}
  return net | {"decoder": decoder}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, env=tuple(LATENTS), data=base.sets("rollouts"), quick=False, test=False)
  errors.require(
    a.data == "rollouts",
    "The config world_v takes frames of episodes (--config.data.path=FOLDER); for your own images take "
    "conv_vae_mnist:data=array.",
  )
  small = a.test or a.env == "dodge"
  config = base.default()
  config.data = data_section("rollouts/frames", transforms=("scale",))
  config.model.args = {
    "latent_dim": 4 if a.test else LATENTS[a.env], "hidden": (), "net": "conv", "net_args": _net(small, a.test),
    "likelihood": "gaussian_fixed", "likelihood_args": {"scale": 0.5**0.5, "mean": "sigmoid"},
  }  # fmt: skip
  config.objective.update(kl="analytic", kl_floor=0.5)
  config.optim.update(lr=1e-3 if small else 1e-4, eps=1e-8)
  config.evaluate = ConfigDict({"means": {"batch_size": 100}})
  config.num_epochs, config.log_every, config.checkpoint_every = 10, 100, 0
  if a.test:
    base.shrink(config, batch_size=20)
    config.data.episodes = 4
  elif a.quick:
    base.quicken(config, num_steps=1000)
    config.objective.eval_samples = 1
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds, lanes of one program."""
  return product({"seed": range(3)})
