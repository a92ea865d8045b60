"""DLGM on static MNIST: Rezende, Mohamed & Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep
Generative Models" (ICML 2014).

Paper: https://arxiv.org/abs/1401.4082, table 1, binarized_mnist: test NLL about 86.6 nats, as later papers quote it.

  python -m dgm_jax.main --config=configs/dlgm_mnist.py --workdir=runs/dlgm
  python -m dgm_jax.main --config=configs/dlgm_mnist.py:posterior=diagonal --workdir=runs/dlgm_diagonal

One stochastic layer of 200 units, two deterministic layers of 200 tanh units in the encoder and in the decoder, batches
of 200.  Adam, its constant learning rate and the number of epochs are not from the paper, which adds noise to the
training images.

Arguments (after the colon, separated by commas):
  posterior=low_rank|diagonal   covariance of q(z|x), low_rank if not given: diagonal plus a matrix of rank 1 (in the
                  paper it is the inverse that has this form), or diagonal
  nz=N            latent variables, 200 if not given; with 2 the run draws its latent space
  data=NAME       binarized_mnist if not given; each image of other data sets is binarised once
  quick           a minute on 2 cores: 1,500 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, posterior=("low_rank", "diagonal"), nz=200, data="binarized_mnist", quick=False, test=False)
  name = base.data_name(a)
  config = base.default()
  config.data = data_section(name, base.binarize(name, "static"))
  args = {"latent_dim": 8 if a.test and "nz" not in a.given else a.nz, "hidden": (32,) if a.test else (200, 200)}
  args |= {"likelihood": "bernoulli", "posterior": a.posterior}
  config.model.args = args | ({"posterior_args": {"rank": 1}} if a.posterior == "low_rank" else {})
  config.objective.eval_samples = 50
  if a.nz == 2:
    config.evaluate.latent_space = {"num_posteriors": 0}
  if a.test:
    base.shrink(config)
    config.optim.update(iwae_mnist.STAGES)  # the test covers a schedule, too
  else:
    config.batch_size, config.num_epochs = 200, 500
    if a.quick:
      config.num_steps, config.log_every, config.checkpoint_every = 1500, 50, 500
  return config.lock()
