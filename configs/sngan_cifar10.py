"""SN-GAN, WGAN-GP and projection discriminators on CIFAR-10 with residual networks (Miyato et al., ICLR 2018).

Paper: https://arxiv.org/abs/1802.05957: inception score 8.22 ± 0.05, FID 21.7 ± 0.2 (5,000 samples).  In the library
Mimicry (https://arxiv.org/abs/2005.02494; 50,000 samples against the training set): SN-GAN 7.97 / 16.77, KID 0.0125;
projection discriminator with classes 8.25 / 10.84; WGAN-GP 7.33 / 22.29.  A GAN has no density, hence no NLL.

  python -m dgm_jax.main --config=configs/sngan_cifar10.py --config.data.manual_dir=FOLDER --workdir=runs/sngan
  python -m dgm_jax.main --config=configs/sngan_cifar10.py:classes,data=cifar10/full --workdir=runs/projection
  python -m dgm_jax.main --config=configs/sngan_cifar10.py:net=wgan_gp --workdir=runs/wgan_gp

Arguments (after the colon, separated by commas):
  data=NAME       cifar10/small if not given; cifar10/full, mnist5k, or `array` of your own images
  net=sngan       hinge loss, discriminator with spectral normalisation, if not given
  net=wgan_gp     Wasserstein loss with a gradient penalty of weight 10, no spectral normalisation, means for sums
  classes         a model of p(x|y): tables of the generator's normalisation and e_y'h in the discriminator
  width=N         channels of the discriminator, half those of the generator; 128 if not given
  quick           200 steps of width 16
  test            seconds: a few steps of small networks on mnist5k

As in Mimicry: Adam 2e-4 (0, 0.9), batch 64, five updates of the discriminator for each of the generator, 100,000 steps.
Different from it: rates fall to 0 as half a cosine, there linearly; images are doubled by repeating pixels, as in the
paper, there bilinearly; 3 x 3 kernels start with Glorot's scale, there with sqrt(2) times it, which matters most to
wgan_gp, whose discriminator is not normalised.  The generator begins with images of 4 x 4 for CIFAR-10 and of a quarter
of the size, 7 x 7 for 28 x 28, for mnist5k and `array`: with --config.model.args.doublings=3 of an eighth.
The scores above need data=cifar10/full, the Inception network (DGM_INCEPTION, see dgm_jax/evaluate/README.md), and of
config.evaluate.samples: features inception_legacy, against train, num_samples 50000 and metrics frechet, kernel and
class_score, for memorisation compares with held-out images.  Without them the features are those of a small classifier,
or of a random network.

Sweeps (python -m dgm_jax sweep): three seeds.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("cifar10/small", "cifar10/full", "mnist5k")
  a = parse(arg, data=names, net=("sngan", "wgan_gp"), classes=False, width=128, quick=False, test=False)
  config, name = base.adversarial(a), base.data_name(a, "mnist5k" if a.test else "cifar10/small")
  config.data = data_section(name, ("scale",))
  penalised = a.net == "wgan_gp"
  config.objective.update(
    loss="wasserstein" if penalised else "hinge", penalty="gradient_penalty" if penalised else "none", weight=10.0,
    num_discriminator=5, log_sigmas=not penalised,
  )  # fmt: skip
  config.optim.update(name="adam", lr=2e-4, b1=0.0, b2=0.9, schedule="cosine", ema_decay=0.0)
  width = 4 if a.test else 16 if a.quick and "width" not in a.given else a.width
  args = {"latent_dim": 128, "doublings": 2 if name in ("mnist5k", "array") else 3}
  args |= {"generator_channels": 2 * width, "discriminator_channels": width, "conditional": a.classes}
  args |= {"spectral_discriminator": not penalised, "pool": "mean" if penalised else "sum", "initial": "glorot"}
  config.model = {"name": "residual_gan", "args": args}
  base.measure_images(config, a.test, name, classes=a.classes)
  if a.test:
    config.objective.update(num_discriminator=2, standing_batches=2)
    config.batch_size = 20
  elif a.quick:
    config.batch_size, config.num_steps, config.log_every, config.checkpoint_every = 64, 200, 20, 100
  else:
    config.batch_size, config.num_steps, config.log_every = 64, 100_000, 100
    config.eval_every, config.checkpoint_every = 5000, 1000
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
