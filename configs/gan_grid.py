"""GAN on points of the plane: 25 normals on a grid, or 8 on a ring, and how many of these modes the samples reach.

Paper: https://arxiv.org/abs/1712.04086 (Lin et al., "PacGAN", NeurIPS 2018), table 1: modes, points within 3 standard
deviations, KL of the modes' shares from uniform: GAN 17.3 of 25, 94.8 %, 0.70; two samples packed 23.8, 91.3 %, 0.13.
A GAN has no density, hence no NLL.

  python -m dgm_jax.main --config=configs/gan_grid.py --workdir=runs/grid
  python -m dgm_jax.main --config=configs/gan_grid.py:loss=hinge,penalty=none,data=plane/ring --workdir=runs/ring
  python -m dgm_jax.main --config=configs/gan_grid.py:net=lin2018,pack=2 --workdir=runs/pac2

Arguments (after the colon, separated by commas):
  data=NAME       plane/grid if not given; another plane, or `array` of your own numbers
  net=small       two layers of 64 units, Adam 1e-3 (0.5, 0.9), averages of the generator, standardised points
  net=lin2018     as in the paper: a generator of four layers of 400 ReLU with batch normalisation, a discriminator of
                  three maxout layers of 200 units and five pieces, both updated from the same samples, Adam 1e-4 with
                  b1 0.8, no average, 400,000 steps of batch 100, points as they are
  loss=NAME       non_saturating if not given, see dgm_jax/principles/README.md
  penalty=NAME    r1 with weight 0.1 for net=small, none for lin2018, if not given
  pack=M          samples that are judged at once, 1 if not given
  quick           4,000 steps
  test            seconds: 40 steps

The library of the paper's code called by the name beta1 = 0.8 in some releases the decay of the moving average, in
others the weight of the new gradient: --config.optim.b1=0.2 is the second reading.

Batch normalisation (net=lin2018) has moving moments when samples are drawn.

The modes are also counted during training; the checkpoint with the least reverse KL is kept beside the latest.

Sweeps (python -m dgm_jax sweep): seeds, lanes of one program; --name=losses, every loss with three penalties.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.inference.adversarial_losses import NAMES
from dgm_jax.principles.adversarial_options import PENALTIES
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_LOSSES = ("non_saturating", *(name for name in NAMES if name != "non_saturating"))
_SETS = base.sets("plane/grid", "plane/ring", "plane/eight_gaussians", "plane/checkerboard", "plane/swiss_roll")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, data=_SETS, net=("small", "lin2018"), loss=_LOSSES, penalty=("default", *PENALTIES), pack=1, quick=False,
    test=False,
  )  # fmt: skip
  config, small = base.adversarial(a), a.net == "small"
  config.data = data_section(a.data, ("standardize",) if small or a.data == "array" else ())
  if a.test and a.data != "array":
    config.data.update(train_size=1000, valid_size=200, test_size=200)
  penalty = a.penalty if a.penalty != "default" else "r1" if small else "none"
  # the gradient penalty's weight is that of the toys of WGAN-GP; of clip it is the bound of the parameters
  weight = {"r1": 0.1, "r2": 0.1, "gradient_penalty": 0.1, "clip": 0.03}.get(penalty, 1.0)
  config.objective.update(loss=a.loss, penalty=penalty, pack=a.pack, weight=weight, norm_statistics="moving")
  nets = _small(config) if small else _lin2018(config)
  if a.test:
    nets = {name: value | {"hidden": (16,)} if name.endswith("args") else value for name, value in nets.items()}
  args = {"latent_dim": 2, "noise": "normal", "noise_scale": 1.0, "output": "linear", "output_bias": "zeros"}
  config.model = {"name": "gan", "args": args | nets}
  has_modes = a.data in ("plane/grid", "plane/ring", "plane/eight_gaussians")
  base.measure_samples(config, a.test, "frechet", *(("modes",) if has_modes else ()), num_samples=2500)
  if has_modes:
    base.track_samples(config, "modes", num_samples=100 if a.test else 2500)
    config.keep_best = "valid/samples_modes_reverse_kl"
  if not a.test:
    config.batch_size = 128 if small else 100
    config.log_every, config.eval_batch_size = 1000, 2500
    config.num_steps = 4000 if a.quick else 16_000 if small else 400_000
    config.checkpoint_every = config.eval_every = config.num_steps // 4
  return config.lock()


def _small(config: ConfigDict) -> dict:
  config.optim.update(name="adam", lr=1e-3, b1=0.5, b2=0.9, ema_decay=0.999)
  net = {"hidden": (64, 64), "activation": "relu"}
  return {"generator_net": "mlp", "generator_args": net, "discriminator_net": "mlp", "discriminator_args": dict(net)}


def _lin2018(config: ConfigDict) -> dict:
  config.objective.order = "simultaneous"
  config.optim.update(name="adam", lr=1e-4, b1=0.8, b2=0.999, ema_decay=0.0)
  normal = {"initial": "normal", "initial_scale": 0.02}
  return {
    "generator_net": "mlp",
    "generator_args": {"hidden": (400,) * 4, "activation": "relu", "norm": "batch", **normal},
    "discriminator_net": "maxout",
    "discriminator_args": {"hidden": (200,) * 3, "pieces": 5, **normal},
  }


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})


def sweep_losses() -> list[dict]:
  """Every loss without a penalty, with R1 and with a gradient penalty; three seeds each."""
  return product({"arg.loss": list(_LOSSES), "arg.penalty": ["none", "r1", "gradient_penalty"], "seed": range(3)})
