"""DLGM on static MNIST: Rezende, Mohamed & Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep
Generative Models" (ICML 2014).

Paper: https://arxiv.org/abs/1401.4082, table 1, binarized_mnist: test NLL about 86.6 nats, as later papers quote it.

  python -m dgm_jax.main --config=configs/dlgm_mnist.py --workdir=runs/dlgm
  python -m dgm_jax.main --config=configs/dlgm_mnist.py:posterior=diagonal --workdir=runs/dlgm_diagonal

One stochastic layer of 200 units, two deterministic ones of 200 tanh units on either side, batches of 200.  Adam, its
constant learning rate and the number of epochs are ours; the paper adds noise to the images that it trains on.

Arguments (after a colon, by commas):
  posterior=low_rank|diagonal   of q(z|x): a diagonal covariance plus one of rank 1 (the paper has its rank 1 in the
                  inverse), or diagonal; low_rank if not given
  nz=N            latent variables, 200 if not given; with 2 the run draws its latent space
  data=NAME       binarized_mnist if not given; of others each image is made binary once for good
  quick           a minute on 2 cores: 1,500 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, posterior=("low_rank", "diagonal"), nz=200, data="binarized_mnist", quick=False, test=False)
  name = a.data if "data" in a.given or not (a.quick or a.test) else "mnist5k"
  config = iwae_mnist.get_config("k=1,test" if a.test else "k=1,constant")
  args = {"latent_dim": 8 if a.test and "nz" not in a.given else a.nz, "hidden": (32,) if a.test else (200, 200)}
  args |= {"likelihood": "bernoulli", "posterior": a.posterior}
  with config.unlocked():
    config.data = data_section(name, transforms=() if name == "binarized_mnist" else ("binarize:static",))
    config.model.args = args | ({"posterior_args": {"rank": 1}} if a.posterior == "low_rank" else {})
    if a.nz == 2:
      config.evaluate.latent_space = {"num_posteriors": 0}
  config.objective.bound = "elbo"
  config.objective.eval_samples = 7 if a.test else 50
  if not a.test:
    config.batch_size, config.num_epochs, config.optim.lr = 200, 500, 1e-3
  if a.quick:
    config.num_steps, config.log_every, config.checkpoint_every = 1500, 50, 500
  return config.lock()
