"""Colours for grey photographs: a U-Net alone, then a discriminator of patches alone, then both for a while (NoGAN).

Paper: https://arxiv.org/abs/1803.05400 (Nazeri, Ng & Ebrahimi, 2018); on CIFAR-10, not verified, accuracy at 2 and 5 %
and MAE: U-Net 13.7, 37.2, 7.9 %, GAN 24.1, 65.5, 5.1 %; a grey picture has 25.7, 55.0, 5.0 % on the first 1,000 test
images.  Bins: https://arxiv.org/abs/1603.08511 (Zhang, Isola & Efros, 2016).  There is no density, hence no NLL: see
test/colour_... in results.json, beside four answers that know nothing (dgm_jax/evaluate/README.md).

  python -m dgm_jax.main --config=configs/colouriser.py --config.data.manual_dir=FOLDER --workdir=runs/g
  python -m dgm_jax train --config=colouriser:stage=discriminator --config.init_from=runs/g --workdir=runs/d
  python -m dgm_jax train --config=colouriser:stage=both --config.init_from=runs/d --workdir=runs/colour
  python -m dgm_jax train --config=colouriser:data=array --config.data.path=FOLDER --config.data.image_size=64

Arguments (after the colon, separated by commas):
  stage=NAME      generator if not given: the U-Net alone, with loss=..., 8 epochs (after 40 it knows the 3,500
                  photographs by heart: MAE 5.00 % of others, grey 5.02 %); discriminator: on what init_from makes;
                  both: 400 steps at a small rate from what init_from brings; kept is the checkpoint with the least
                  Frechet distance of random features from photographs, among those with an MAE below 0.9 of that of
                  another image's colours
  loss=NAME       l1 if not given, l2, or bins: classification with rebalanced weights, annealed mean; for every stage.
                  Beside the adversarial loss l1 and l2 weigh 100 (pix2pix), bins 1: it is in nats as well
  net=small       a quarter of the channels, without batch normalisation
  net=nazeri2018  as in the paper's code: full width, batch normalisation, Adam 3e-4 with b1 = 0 and a tenth of that for
                  the discriminator, two updates of the generator for each of it, labels 0.9, 200 epochs of batch 128;
                  with stage=both it trains from the beginning: the paper's GAN. Colours are found with moving averages
                  of the moments, where that code takes those of the batch: no photograph changes another's colours
  data=NAME       cifar10/small if not given, cifar10/full, or `array` of your own: a folder of photographs with
                  colours, and data.image_size, which 16 must divide
  quick           minutes: an eighth of the channels (all with net=nazeri2018), few epochs
  test            seconds: a few steps of a tiny network on noise

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_STAGES = ("generator", "discriminator", "both")
_BATCH = 64


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sets = base.sets("cifar10/small", "cifar10/full")
  a = parse(
    arg, stage=_STAGES, loss=("l1", "l2", "bins"), net=("small", "nazeri2018"), data=sets, quick=False, test=False
  )
  config = base.adversarial(a)
  _data(config, a)
  args = {"loss": a.loss, "channels": (64, 128, 256, 512, 512), "width": 0.125 if a.quick else 0.25, "kernel_size": 4}
  args |= {"norm": "none", "dropout": 0.0, "latent_dim": 0, "rebalance": 0.5, "temperature": 0.38}
  args |= {"discriminator_channels": (64, 128, 256), "discriminator_norm": "none"}
  config.model = {"name": "colouriser", "args": args}
  config.objective.update(conditions_on="context", train=a.stage, loss="non_saturating")
  config.objective.auxiliary_weight = 1.0 if a.loss == "bins" else 100.0
  config.optim.update(name="adam", lr=2e-4, b1=0.5, b2=0.999)
  config.eval_batch_size = 250
  alone = a.stage == "generator"
  if alone:
    config.objective.update(adversarial_weight=0.0, auxiliary_weight=1.0)
    config.optim.update(lr=1e-3, b1=0.9, schedule="cosine")
  config.evaluate.colour = {"batch_size": 250, "answers": ("grey", "median", "another", "nearest"), "ceiling": 0.9}
  if not a.test:
    config.batch_size, config.log_every, config.checkpoint_every = _BATCH, 0, 0
    config.num_epochs, config.num_steps = (4 if a.quick else 8) if alone else (1 if a.quick else 4), None
  if a.net == "nazeri2018":
    _nazeri2018(config, alone, a)
  if a.stage == "both":
    _stopping(config, a)
  if a.test:
    config.model.args.update(channels=(4, 8, 8), width=1.0, discriminator_channels=(4, 8))
  return config.lock()


def _data(config: ConfigDict, a: SimpleNamespace) -> None:
  """Photographs; noise where seconds must do."""
  name = base.data_name(a, "noise" if a.test else a.data)
  config.data = data_section(name, ("flip", "lightness"))
  if name.startswith("cifar10"):
    config.data.valid_size = 500 if name == "cifar10/small" else 5000
  elif name == "noise":
    config.data.update(train_size=400, test_size=60, side=16, channels=3)


def _stopping(config: ConfigDict, a: SimpleNamespace) -> None:
  """The held-out number by which the checkpoint is chosen, measured often."""
  config.track.colour = {"batch_size": 250, "answers": ("another",), "ceiling": 0.9}
  config.keep_best = f"{'test' if config.data.name == 'noise' else 'valid'}/colour_frechet_within"
  if not a.test and a.net == "small":
    config.log_every = config.eval_every = config.checkpoint_every = 10
    config.num_steps = 60 if a.quick else 400


def _nazeri2018(config: ConfigDict, alone: bool, a: SimpleNamespace) -> None:
  """The settings of the paper's code."""
  config.model.args.update(width=1.0, norm="batch", discriminator_channels=(64, 128, 256, 512))
  config.model.args.discriminator_norm = "batch"
  config.optim.update(lr=3e-4, b1=0.0, schedule="constant")
  if not alone:
    config.optim.discriminator.lr = 3e-5
    config.objective.update(num_generator=2, smoothing=0.1)
  if not a.test:
    config.batch_size, config.num_epochs = 128, 2 if a.quick else 200


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})
