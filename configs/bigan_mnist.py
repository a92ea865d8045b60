"""BiGAN on MNIST: Donahue, Kraehenbuehl & Darrell, "Adversarial Feature Learning" (ICLR 2017), digits as vectors.

Paper: https://arxiv.org/abs/1605.09782; accuracy of the nearest neighbour among 50,000 training digits for 10,000
validation digits, in E(x): 95.41 % after 25 epochs, 95.92 % after 200, 92.10 % after 400 (the authors' page of code);
in the last hidden layer of the encoder 96.28, 97.14, 97.35 %, where an untrained encoder already has 96.84 %.  A BiGAN
has no density, hence no NLL.

  python -m dgm_jax.main --config=configs/bigan_mnist.py --workdir=runs/bigan
  python -m dgm_jax.main --config=configs/bigan_mnist.py:epochs=25 --workdir=runs/bigan25

Arguments (after the colon, separated by commas):
  data=NAME       mnist if not given; other images with grey levels in [0, 1], or `array` of your own
  epochs=N        400 if not given, half of them at the full rate, which then falls exponentially to a hundredth
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of small networks on mnist5k

From the authors' code: z ~ U(-1, 1)^50; generator, encoder and discriminator of two layers of 1,024 units with batch
normalisation without gain and bias, leaky ReLU of slope 0.2; Adam 2e-4 (0.5), weights decayed by 2.5e-5 in the
gradient, batch 128; all three updated together; moments outside of training are
moving ones.  Their initial weights are not known here: N(0, 0.02^2).

Sweeps (python -m dgm_jax sweep): three seeds, lanes of one program.
"""

import math

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("mnist", "mnist5k", "fashion_mnist")
  a = parse(arg, data=names, epochs=400, quick=False, test=False)
  config, name = base.adversarial(a), base.data_name(a)
  config.data = data_section(name, base.real(name))
  if name in ("mnist", "fashion_mnist"):
    config.data.valid_size = 10_000
  config.objective.update(loss="non_saturating", order="simultaneous", penalty="none", norm_statistics="moving")
  config.optim.update(name="adam", lr=2e-4, b1=0.5, b2=0.999, l2=2.5e-5)
  net = {"hidden": (32,) if a.test else (1024, 1024), "activation": "leaky_relu", "norm": "batch", "affine": False}
  net |= {"initial": "normal", "initial_scale": 0.02}
  args = {"latent_dim": 50, "noise": "uniform", "noise_scale": 1.0, "output_bias": "zeros"}
  args |= {"output": "linear" if name == "array" else "sigmoid"}
  for player in ("generator", "encoder", "discriminator"):
    args |= {f"{player}_net": "mlp", f"{player}_args": dict(net)}
  config.model = {"name": "bigan", "args": args}
  base.measure_samples(config, a.test, "frechet")
  if not (a.test or a.quick):
    config.batch_size, config.num_epochs, config.log_every = 128, a.epochs, 390
    config.optim.update(schedule="exponential", hold=0.5, end_scale=0.01)
    config.optim.rate_decay = math.expm1(math.log(100) / (a.epochs / 2 * 390))  # an epoch has 390 batches
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
