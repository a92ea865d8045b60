"""BigGAN on CIFAR-10: Brock, Donahue & Simonyan, "Large Scale GAN Training" (ICLR 2019), also with DiffAugment.

Paper: https://arxiv.org/abs/1809.11096, and https://arxiv.org/abs/2006.10738 (Zhao et al., "Differentiable
Augmentation", 2020), whose settings these are, with and without augment; inception score and FID of 10,000 samples on
100, 20 and 10 % of the training images: 9.06 / 9.59, 8.41 / 21.58, 7.62 / 39.78, with DiffAugment 9.16 / 8.70, 8.65 /
14.04, 8.09 / 22.40.  A GAN has no density, hence no NLL.

  python -m dgm_jax.main --config=configs/biggan_cifar10.py:width=16 --workdir=runs/small
  python -m dgm_jax.main --config=configs/biggan_cifar10.py:data=cifar10/full,augment --workdir=runs/diffaugment

Arguments (after the colon, separated by commas):
  data=NAME       cifar10/small if not given; cifar10/full, mnist5k, or `array` of your own images of at most 32 x 32,
                  whose classes are not used but with --config.model.args.conditional=True
  width=N         ch, a quarter of the channels of every layer; 64 if not given
  augment         DiffAugment: translation and cutout, as published for CIFAR-10
  minutes=N       stop after so many minutes of training
  quick           100 steps of width 16
  test            seconds: a few steps of width 2 on mnist5k

From the authors' code for CIFAR-10: no attention, no shared embedding, no skip-z, z of 128 dimensions, weights
N(0, 0.02^2), spectral normalisation of both players, hinge loss, four updates of the discriminator for each of the
generator, Adam 2e-4 (0, 0.999), batch 50, images of CIFAR-10 mirrored with probability 1/2, averages of the generator
with decay 0.9999 from step 1,000, 250,000 steps (1,000 epochs; of a tenth of the images the authors take 5,000 epochs,
125,000 steps).  The average is warmed up here, see `averaging` of dgm_jax/core/system.py.  For width < 64 its decay is
0.999, which suits short runs.  Smaller images get zeros around them.

Sweeps (python -m dgm_jax sweep): three seeds; --name=augment, with and without DiffAugment.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("cifar10/small", "cifar10/full", "mnist5k")
  a = parse(arg, data=names, width=64, augment=False, minutes=0, quick=False, test=False)
  config, name = base.adversarial(a), base.data_name(a, "mnist5k" if a.test else "cifar10/small")
  config.data = data_section(name, ("flip", "scale") if name.startswith("cifar10") else ("scale", "pad:size=32"))
  config.objective.update(
    loss="hinge", num_discriminator=4, log_sigmas=True, augment="translation,cutout" if a.augment else "none"
  )
  width = 2 if a.test else 16 if a.quick and "width" not in a.given else a.width
  large = width >= 64
  config.optim.update(name="adam", lr=2e-4, b1=0.0, b2=0.999, ema_decay=0.9999 if large else 0.999)
  config.optim.ema_start = 1000 if large and not a.quick else 0
  args = {"width": width, "latent_dim": 128, "attention": (0,), "hierarchical": False, "shared_dim": 0}
  args |= {"initial": "normal", "initial_scale": 0.02, "conditional": name != "array", "deep": False}
  config.model = {"name": "biggan", "args": args}
  base.measure_images(config, a.test, name, classes=name != "array")
  config.max_minutes = float(a.minutes) if a.minutes else None
  if a.test:
    config.objective.update(num_discriminator=2, standing_batches=2, standing_size=16)
    config.batch_size = 10
  elif a.quick:
    config.batch_size, config.num_steps, config.log_every, config.checkpoint_every = 50, 100, 10, 50
  else:
    # 1,000 epochs of the authors' count, in which an epoch has a step for each batch of 4 x 50 images
    config.batch_size, config.num_steps, config.log_every = 50, 250_000, 50
    config.eval_every, config.figures_every, config.checkpoint_every = 500, 500, 250
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})


def sweep_augment() -> list[dict]:
  """Three seeds, with and without DiffAugment."""
  return product({"arg.augment": [True, False], "seed": range(3)})
