"""BigGAN and BigGAN-deep on ImageNet, or another folder of classes: Brock, Donahue & Simonyan (ICLR 2019).

Paper: https://arxiv.org/abs/1809.11096: inception score 166.5, FID 7.4 at 128 x 128.  A GAN has no density, hence no
NLL.

  python -m dgm_jax.main --config=configs/biggan_imagenet.py --config.data.path=FOLDER --workdir=runs/biggan
  python -m dgm_jax.main --config=configs/biggan_imagenet.py:deep --config.data.path=FOLDER --workdir=runs/deep

FOLDER has a sub-folder of pictures for each class, or train/ and valid/ with such sub-folders each, as ImageNet has
once its archives are unpacked; the largest central square of each picture is resized.  Its arrays, 63 GB for ImageNet
at 128 x 128, are written once to --config.data.data_dir, and batches are read from there.

Arguments (after the colon, separated by commas):
  data=array      the folder; mnist5k, padded, for tests
  size=N          of the pictures, 32, 64, 128 or 256 pixels; 128 if not given
  deep            BigGAN-deep
  width=N         ch, 96 if not given, 128 with deep
  accumulate=N    batches of batch_size whose gradients are averaged for an update; 1 if not given
  quick           100 steps of width 16 with batches of 32
  test            seconds: a few steps of width 4 at 32 x 32 on mnist5k

As in the paper: attention at 64 x 64 (at 32 x 32 for size=64, none for size=32), an embedding of 128 dimensions that
all normalisations share, skip-z (z of 120 dimensions at 128 x 128, 20 for the input and for each block), hinge loss,
two updates of the discriminator for each of the generator, Adam 5e-5 and 2e-4 (0, 0.999), batch 2048, orthogonal
initialisation, averages of the generator with decay 0.9999, 140,000 steps, bfloat16 products and remat.  Orthogonal
regularisation is --config.objective.orthogonal=1e-4, the weight of half the squares of products of different columns.
Standing statistics are those of 16 batches of the size of training.

Cost at 128 x 128: about 1.07 PFLOP a step (forward, an image: generator 42.7, discriminator 22.2 GFLOP), 1.5e20 in
all: 5.8 days at 300 TFLOP/s.  On several hosts start the same command on each with the variables of
dgm_jax/training/README.md; batch_size is that of all devices together, and --config.shard_params=True divides the
parameters, too.

Sweeps (python -m dgm_jax sweep): three seeds.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_LATENT = {32: 128, 64: 120, 128: 120, 256: 140}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, data=("array", "mnist5k"), size=128, deep=False, width=0, accumulate=1, quick=False, test=False)
  errors.require(a.accumulate >= 1, f"Argument accumulate = {a.accumulate}; it must be 1 or more.")
  config = base.adversarial(a)
  name = "mnist5k" if a.test and "data" not in a.given else a.data
  size = 32 if a.test else a.size
  config.data = data_section(name, ("scale", f"pad:size={size}"))
  if name == "array" and not a.test:
    config.data.image_size = size
  config.objective.update(loss="hinge", num_discriminator=2, accumulate=a.accumulate, orthogonal=0.0)
  config.optim.update(name="adam", lr=5e-5, b1=0.0, b2=0.999, ema_decay=0.9999, ema_start=20_000)
  config.optim.discriminator.lr = 2e-4
  width = 4 if a.test else a.width or (16 if a.quick else 128 if a.deep else 96)
  args = {"width": width, "deep": a.deep, "latent_dim": 128 if a.deep else _LATENT.get(size, 128)}
  args |= {"attention": (16,) if a.test else ({64: 32, 32: 0}.get(size, 64),), "hierarchical": True}
  args |= {"shared_dim": 8 if a.test else 128, "initial": "orthogonal", "conditional": True}
  config.model = {"name": "biggan", "args": args}
  base.measure_images(config, a.test, name, classes=False)
  if a.test:
    config.objective.update(standing_batches=2, standing_size=16, orthogonal=1e-4)
    config.optim.ema_start = 0
    config.batch_size = 10
    return config.lock()
  config.dtype, config.remat = "bfloat16", True
  config.batch_size, config.num_steps, config.log_every = 2048 // a.accumulate, 140_000, 50
  config.eval_every, config.figures_every, config.checkpoint_every = 1000, 1000, 500
  config.evaluate.samples.num_samples = 50_000
  config.objective.standing_size = config.batch_size  # as in training: moments of lower layers depend on it
  if a.quick:
    config.objective.standing_size = 32
    config.batch_size, config.num_steps, config.log_every, config.checkpoint_every = 32, 100, 10, 50
    config.eval_every = config.figures_every = 50
    config.evaluate.samples.num_samples = 2000
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
