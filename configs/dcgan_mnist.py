"""DCGAN of 28 x 28 images: Radford, Metz & Chintala, "Unsupervised Representation Learning with DCGANs" (ICLR 2016).

Paper: https://arxiv.org/abs/1511.06434.  It has no number for these networks on Fashion-MNIST; on MNIST it reports the
error of the nearest neighbour among 50,000 class-conditional samples, 3.0 % (not verified; real digits 3.1 %).  A GAN
has no density, hence no NLL.

  python -m dgm_jax.main --config=configs/dcgan_mnist.py:data=fashion_mnist,epochs=7 --workdir=runs/dcgan
  python -m dgm_jax.main --config=configs/dcgan_mnist.py:classes --workdir=runs/digits
  python -m dgm_jax.main --config=configs/dcgan_mnist.py:data=stacked_mnist,net=metz2017,pack=2 --workdir=runs/pac2

Arguments (after the colon, separated by commas):
  data=NAME       mnist if not given; fashion_mnist, mnist5k, stacked_mnist, or `array` of your own images
  net=dcgan       channels 64, 128, 256, 4 x 4 kernels, batch normalisation in both players, if not given
  net=spectral    the same with a hinge loss and spectral normalisation of the discriminator (SN-GAN)
  net=metz2017    the small networks of Metz et al., "Unrolled GANs" (2017), for stacked_mnist, digits stacked afresh at
                  every step, as in table 3 of Lin et al., "PacGAN" (2018), https://arxiv.org/abs/1712.04086: modes of
                  1,000 and reverse KL of 25,600 samples, D = 1/4 G: GAN 78.5 ± 17.6, 5.21; two samples packed 484.5 ±
                  33.0, 2.61
  net=srivastava2017   the DCGAN of Srivastava et al., "VEEGAN" (2017), for stacked_mnist, as in table 2 of PacGAN: GAN
                  78.9 ± 6.5, 4.50; two packed 1000, 0.06
  share=N         metz2017: the discriminator has 1/N of the generator's channels; 4 if not given, or 2
  pack=M          samples that are judged at once, 1 if not given
  classes         a model of p(x|y): the generator sees y, and the discriminator adds e_y'h (Miyato & Koyama, 2018)
  epochs=N        20 if not given; not with the two published nets, which count steps
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of small networks on mnist5k

Adam 2e-4 (0.5, 0.999), batch 64, z ~ N(0, I) of 100 dimensions, weights N(0, 0.02^2); both players are updated from the
same samples of a step; averages of the generator's parameters with decay 0.999, which the paper does not have.  net=
metz2017: Adam 1e-4 and 2e-4 (0.5, 0.99), batch 128, 500,000 steps, z of 256 dimensions, rectifiers of slope 0.3, no
averages; srivastava2017: channels 64 to 512, 5 x 5, z ~ U(-1, 1), 100,000 steps, two of the generator for each of the
discriminator's (there from the same z, here from fresh ones).

Features of the Frechet distance are those of a classifier of the data set where this package has one, else of a fixed
random network.

Sweeps (python -m dgm_jax sweep): three seeds, lanes of one program.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_NETS = ("dcgan", "spectral", "metz2017", "srivastava2017")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("mnist", "fashion_mnist", "mnist5k", "stacked_mnist")
  a = parse(arg, data=names, net=_NETS, share=4, pack=1, classes=False, epochs=20, quick=False, test=False)
  published = a.net in ("metz2017", "srivastava2017")
  errors.require(
    not published or "epochs" not in a.given, f"Argument epochs is not for net={a.net}: set --config.num_steps."
  )
  errors.require(a.net == "metz2017" or "share" not in a.given, f"Argument share is for net=metz2017, not {a.net}.")
  errors.require(a.share >= 1, f"Argument share = {a.share}; it must be 1 or more.")
  config, name = base.adversarial(a), base.data_name(a)
  afresh = ("restack",) if name == "stacked_mnist" and a.net == "metz2017" else ()
  config.data = data_section(name, (*afresh, "scale"))
  if name == "stacked_mnist" and (a.test or a.quick):
    config.data.update(digits="mnist5k", train_size=500 if a.test else 20_000, test_size=100 if a.test else 2_000)
  config.objective.update(loss="non_saturating", penalty="none", order="shared_noise", pack=a.pack)
  config.optim.update(name="adam", lr=2e-4, b1=0.5, b2=0.999, ema_decay=0.999)
  args = {"latent_dim": 100, "noise": "normal", "noise_scale": 1.0, "conditional": a.classes}
  config.model = {"name": "dcgan", "args": args | _nets(config, a)}
  if a.test:
    for player, channels in (("generator", (8, 4)), ("discriminator", (4, 8))):
      config.model.args[f"{player}_args"].channels = channels
    config.objective.standing_batches = 2
  base.measure_images(config, a.test, name, classes=a.classes)
  if not (a.test or a.quick):
    config.batch_size, config.num_epochs, config.log_every = 64, a.epochs, 100
    if published:
      config.batch_size, steps = (128, 500_000) if a.net == "metz2017" else (64, 100_000)
      config.num_steps = steps
      config.log_every, config.eval_every, config.checkpoint_every = 500, steps // 10, steps // 50
  return config.lock()


def _nets(config: ConfigDict, a: SimpleNamespace) -> dict:
  """The networks' arguments; the settings of net=... are changed in `config`."""
  if a.net == "metz2017":
    config.optim.update(lr=1e-4, b2=0.99, ema_decay=0.0)
    config.optim.discriminator.lr = 2e-4
    generator = {"channels": (64, 32, 16, 8), "kernel_size": 3, "last_kernel_size": 3}
    channels = tuple(max(1, width // a.share) for width in (8, 16, 32))
    return {
      "latent_dim": 256,
      "generator_args": generator,
      "discriminator_args": {"channels": channels, "kernel_size": 3, "norm_first": True, "slope": 0.3},
    }
  if a.net == "srivastava2017":
    config.objective.update(order="alternating", num_generator=2)
    config.optim.ema_decay = 0.0
    of = lambda *channels: {"channels": channels, "kernel_size": 5}
    nets = {"generator_args": of(512, 256, 128, 64), "discriminator_args": of(64, 128, 256, 512)}
    return nets | {"noise": "uniform"}
  norm = "batch"
  if a.net == "spectral":
    config.objective.loss, norm = "hinge", "spectral"
  return {
    "generator_args": {"channels": (256, 128, 64), "kernel_size": 4},
    "discriminator_args": {"channels": (64, 128, 256), "kernel_size": 4, "norm": norm},
  }


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
