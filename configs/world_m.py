"""M, the memory of a world model: Ha & Schmidhuber, "Recurrent World Models Facilitate Policy Evolution", NeurIPS 2018.

Paper: https://arxiv.org/abs/1809.01999 (longer: https://arxiv.org/abs/1803.10122), appendix A.2; no NLL is published.

  python -m dgm_jax.main --config=configs/world_m.py:env=dodge --workdir=runs/m
  python -m dgm_jax world-models dodge --workdir=runs/dodge

An LSTM of 256 (car) or 512 units (Doom) reads (z, action) and gives five normals for each latent of the next z, and for
Doom and dodge the logit of the episode's end, with weight 10 on ends: 422,368 and 1,678,785 parameters.  z is drawn
anew from V's (mean, variance) at every use.  Adam with 1e-3, the gradient's norm clipped at 1 (each entry in the
authors' code), batches of 100 sequences; theirs have 999 (car) and 500 steps, these 100 if not given.
`dgm_jax world-models` runs this config as a stage.

Arguments (after the colon, separated by commas):
  env=dodge|car|doom|other   sizes as above; dodge and other environments: 128 and 256 units
  latents=N, actions=N   of the data; those of env (dodge without a folder: 5) if not given
  reward          also predict the reward
  data=rollouts   sequences of --config.data.path=FOLDER; without one, random play in dodge, whose state is z
  quick           2,000 steps
  test            seconds: a few steps of a small network
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

# env: latents (of dodge's own state), actions, units, whether it predicts the end, whether it reads the restart flag
_SIZES = {
  "dodge": (5, 1, 128, True, False),
  "car": (32, 3, 256, False, False),
  "doom": (64, 1, 512, True, True),
  "other": (32, 1, 256, True, False),
}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, env=tuple(_SIZES), latents=0, actions=0, reward=False, data=base.sets("rollouts"), quick=False, test=False
  )
  errors.require(
    a.data == "rollouts",
    "The config world_m takes sequences of latents (--config.data.path=FOLDER), which the command world-models makes; "
    "for your own sequences take lstm_text:data=text.",
  )
  latents, actions, hidden, done, restart = _SIZES[a.env]
  config = base.own_bound(SimpleNamespace(data="rollouts/latents", quick=a.quick, test=a.test, given={"data"}))
  config.data = data_section("rollouts/latents")
  config.model = ConfigDict({
    "name": "mdn_rnn",
    "args": {
      "latent_dim": a.latents or latents, "action_dim": a.actions or actions, "hidden": 16 if a.test else hidden,
      "num_components": 5, "done": done, "reward": a.reward, "restart_input": restart, "done_weight": 10.0,
    },
  })  # fmt: skip
  config.optim.update(lr=1e-3, eps=1e-8, clip_norm=1.0)
  config.num_epochs, config.checkpoint_every = 20, 0
  if a.test:
    config.batch_size, config.data.episodes, config.data.length = 10, 20, 20
  elif a.quick:
    config.num_steps, config.log_every = 2000, 100
  else:
    config.log_every = 100
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds, lanes of one program."""
  return product({"seed": range(3)})
