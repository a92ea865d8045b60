"""The adversarial nets of 2014 on MNIST: Goodfellow et al., "Generative Adversarial Nets" (NIPS 2014).

Paper: https://arxiv.org/abs/1406.2661; table 1: log-likelihood of a Parzen window of 10,000 samples, 225 ± 2 nats on
the 10,000 test digits, grey levels in [0, 1].  It is no NLL of the model, which has no density: a list of training
digits scores higher (see dgm_jax/evaluate/README.md).

  python -m dgm_jax.main --config=configs/goodfellow_mnist.py --workdir=runs/gan2014
  python -m dgm_jax.main --config=configs/goodfellow_mnist.py:order=alternating,epochs=25 --workdir=runs/alternating

Arguments (after the colon, separated by commas):
  data=NAME       mnist if not given; other images with grey levels in [0, 1], or `array` of your own
  epochs=N        250 if not given; the paper's number is not published
  order=ORDER     simultaneous (as in the authors' code) if not given, or alternating (as in the paper's algorithm)
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of small networks on mnist5k

From the authors' code: generator 100 -> 1200 -> 1200 -> 784 of ReLU, weights U(-0.05, 0.05), the last bias at the logit
of the data's mean; discriminator of two maxout layers of 240 units and five pieces, weights U(-0.005, 0.005), dropout
of a fifth of the pixels and half of the units for both players; noise U(-sqrt 3, sqrt 3)^100; the generator lowers
-log D; stochastic gradient descent with rate 0.1 / 1.000004^t, at least 10^-6, and a momentum that rises from 0.5 to
0.7 over 250 epochs; batch 100, 50,000 digits.  The discriminator's loss is halved there: here, which is the same for
gradient descent, its rate is.

Sweeps (python -m dgm_jax sweep): three seeds, lanes of one program.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = base.sets("mnist", "mnist5k", "fashion_mnist")
  a = parse(arg, data=names, epochs=250, order=("simultaneous", "alternating"), quick=False, test=False)
  return goodfellow2014(a).lock()


def goodfellow2014(a: SimpleNamespace) -> ConfigDict:
  """The networks, optimisers and schedules above.

  Args:
    a: the arguments above.
  """
  config, name = base.adversarial(a), base.data_name(a)
  config.data = data_section(name, base.real(name))
  if name in ("mnist", "fashion_mnist"):
    config.data.valid_size = 10_000
  config.objective.update(loss="non_saturating", order=a.order, penalty="none", norm_statistics="moving")
  config.optim.update(name="sgd", lr=0.1, b1=0.5, b1_end=0.7, b1_ramp=125_000)  # 250 epochs of 500 batches
  config.optim.update(schedule="exponential", rate_decay=4e-6, end_scale=1e-5)
  config.optim.discriminator.lr = 0.05
  hidden = ((32, 32), (8, 8)) if a.test else ((1200, 1200), (240, 240))
  generator = {"hidden": hidden[0], "activation": "relu", "initial": "uniform", "initial_scale": 0.05}
  discriminator = {"hidden": hidden[1], "pieces": 5, "dropout_input": 0.2, "dropout": 0.5}
  args = {"latent_dim": 100, "noise": "uniform", "noise_scale": 3**0.5}
  args |= {"output": "linear" if name == "array" else "sigmoid", "output_bias": "mean"}
  args |= {"generator_net": "mlp", "generator_args": generator, "discriminator_net": "maxout"}
  args["discriminator_args"] = discriminator | {"initial": "uniform", "initial_scale": 0.005}
  config.model = {"name": "gan", "args": args}
  base.measure_samples(config, a.test, "frechet", "parzen")
  if not (a.test or a.quick):
    config.num_epochs, config.log_every = a.epochs, 500
  return config


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})
