"""VAE whose p(x|z) is autoregressive, on static MNIST: PixelVAE (Gulrajani et al., 2017) and relatives.

Paper: https://arxiv.org/abs/1611.05013.  Its NLL of binarised MNIST is that of larger nets with more stochastic layers;
here one stochastic layer is decoded to 64 numbers, the context of a small PixelCNN or of another autoregressive net.
The closer p(x|z) comes to the data on its own, the less z is used: `rate` says how much.

  python -m dgm_jax.main --config=configs/pixel_vae_mnist.py --workdir=runs/pixel_vae
  python -m dgm_jax.main --config=configs/pixel_vae_mnist.py:net=made --workdir=runs/made_vae

Arguments (after the colon, separated by commas):
  net=pixelcnn|made|nade|lstm|transformer   of p(x|z)
  blocks=B        of the PixelCNN, 4 if not given; fewer see less of x, and leave more to z
  k=N             samples, 1 if not given; with more than one the bound is that of the IWAE
  data=NAME       binarized_mnist if not given; other images are binarised by fixed draws, or `array` of your own
  quick           2,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): numbers of blocks, against the rate of z.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_NETS = ("pixelcnn", "made", "nade", "lstm", "transformer")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, net=_NETS, blocks=4, k=1, data="binarized_mnist", quick=False, test=False)
  config, name = base.default(), base.data_name(a)
  config.data = data_section(name, base.binarize(name, "static"))
  small = {
    "pixelcnn": {"features": 4, "blocks": 1, "first_kernel_size": 3},
    "made": {"hidden": (16,)},
    "nade": {"num_hidden": 8},
    "lstm": {"hidden": (8,), "embedding_dim": 4},
    "transformer": {"width": 8, "num_layers": 1, "num_heads": 2},
  }
  args = small[a.net] if a.test else {"blocks": a.blocks} if a.net == "pixelcnn" else {}
  of_x = {"net": a.net, "width": 8 if a.test else 64, "args": args | {"likelihood": "bernoulli"}}
  config.model.args = {
    "latent_dim": 4 if a.test else 32,
    "hidden": (32,) if a.test else (300, 300),
    "likelihood": "autoregressive",
    "likelihood_args": of_x,
  }
  config.objective.update(bound="iwae" if a.k > 1 else "elbo", num_samples=a.k, eval_samples=a.k)
  config.optim.update(name="adam", lr=1e-3)
  config.evaluate.importance_sampling.update(num_samples=100, batch_size=50, chunk=10)
  config.num_epochs, config.log_every, config.checkpoint_every = 50, 100, 1000
  if a.test:
    base.shrink(config)
  elif a.quick:
    base.quicken(config, 2000)
    config.objective.eval_samples = 1
  return config.lock()


def sweep() -> list[dict]:
  """Numbers of blocks of the PixelCNN."""
  return product({"arg.blocks": [1, 2, 4, 8]})
