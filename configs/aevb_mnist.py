"""AEVB, wake-sleep and MCEM on MNIST: Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014).

Paper: https://arxiv.org/abs/1312.6114, figures 2 to 5; there is no table.  After 10^7 or more training samples the
bound is between -150 and -100 nats on MNIST with 3 to 200 latent variables, the NLL of figure 3 between 100 and 160.

  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=20 --workdir=runs/aevb
  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=20,method=wake_sleep --workdir=runs/wake_sleep
  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=3,hidden=100,method=mcem,train=1000 --workdir=runs/mcem

From the paper: one hidden layer of tanh units in encoder and decoder, all parameters initialised from N(0, 0.01),
Adagrad, a prior N(0, I) on the parameters, batches of 100, one sample; AEVB uses the KL in closed form.  Where the
paper is ambiguous:

  - 0.01 is taken as the standard deviation.  As the variance, in a pilot of 400 steps, it helped AEVB and hurt
    wake-sleep.
  - Each image is binarised again at every use, so that the samples of the model on which wake-sleep trains are images
    of the same kind.

A warm-up of 100 updates is added: the first steps of Adagrad have the size of the learning rate whatever the gradient,
which with 500 hidden units drives log-variances out of range.  The paper chooses among the step sizes 0.01, 0.02 and
0.1 in the first iterations; sweep_rates() has them.

Arguments (after the colon, separated by commas):
  method=aevb|wake_sleep|mcem   aevb if not given
  nz=N            latent variables, 20 if not given; with 2 the run draws its latent space, and log p(x) is exact
  hidden=N        units of the hidden layer; if not given 500, or 200 for frey_faces
  data=NAME       mnist if not given; mnist5k; frey_faces, with a Gaussian decoder; array: your own images or binary
                  data, without the prior on the parameters (its weight is --config.optim.l2=1/N for N examples)
  train=N         only the first N training examples
  quick           a minute on 2 cores: 5,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base, iwae_mnist
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def _objective(method: str) -> ConfigDict:
  if method == "mcem":
    return ConfigDict({"num_leapfrog": 10, "num_updates": 5, "target_acceptance": 0.9, "eval_samples": 20})
  options = Options(bound="elbo", kl="analytic") if method == "aevb" else Options(bound="wake_sleep")
  return ConfigDict(options._asdict() | {"eval_samples": 1, "eval_chunk": 1})


def _evaluate(a: SimpleNamespace) -> ConfigDict:
  """The final evaluations.  log p(x) of MCEM is estimated without the encoder, which MCEM does not train."""
  num_examples = 50 if a.test else 100 if a.quick else 1000
  if a.method == "mcem":
    draws = {"num_samples": 20 if a.test else 50, "num_warmup": 100, "num_importance": 500}
    return ConfigDict({"posterior_samples": {"num_examples": num_examples} | draws})
  sampling = {"num_samples": 20 if a.test else 1000, "batch_size": 10, "chunk": 500}
  plane = {"latent_space": {"num_posteriors": 0}} if a.nz == 2 else {}
  return ConfigDict({"importance_sampling": sampling} | plane)


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  methods, sets = ("aevb", "wake_sleep", "mcem"), base.sets("mnist", "mnist5k", "frey_faces")
  a = parse(arg, method=methods, nz=20, hidden=0, data=sets, train=0, quick=False, test=False)
  name = base.data_name(a)
  faces = name == "frey_faces"
  config = base.default()
  config.data = data_section(name, transforms=("scale",) if faces else ("binarize:dynamic",))
  if a.train:
    errors.require("train_size" in config.data, f"Config argument 'train' is for mnist and mnist5k, not for {name}.")
    config.data.train_size = a.train
  hidden = a.hidden or (32 if a.test else 200 if faces else 500)
  args = {"latent_dim": a.nz, "hidden": (hidden,), "likelihood": "gaussian_sigmoid" if faces else "bernoulli"}
  config.model = {"name": "vae", "args": args | {"net_args": {"init_scale": 0.01}}}
  num_examples = a.train or base.NUM_TRAIN.get(name, 0)
  config.optim.update(name="adagrad", lr=0.02, eps=1e-12, l2=1 / num_examples if num_examples else 0.0)
  config.num_epochs, config.num_steps = None, 100_000
  config.eval_every, config.checkpoint_every = 1000, 10_000
  if a.quick:
    config.num_steps, config.log_every, config.eval_every, config.checkpoint_every = 5000, 50, 100, 1000
  if a.test:
    base.shrink(config)
    config.optim.update(iwae_mnist.STAGES)  # the test covers a schedule, too
    config.optim.lr = 0.1
  config.principle = "monte_carlo_em" if a.method == "mcem" else "latent"
  config.objective, config.evaluate = _objective(a.method), _evaluate(a)
  config.optim.warmup = warmup(config.num_steps)
  return config.lock()


def warmup(num_steps: int, updates: int = 100) -> float:
  """The fraction of a run of `num_steps` that `updates` are, at most a half."""
  return min(0.5, updates / num_steps)


def sweep_rates() -> list[dict]:
  """The step sizes of the paper."""
  return product({"optim.lr": [0.01, 0.02, 0.1]})
