"""AEVB, wake-sleep and MCEM on MNIST: Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014).

Paper: https://arxiv.org/abs/1312.6114, figures 2 to 5, which have no table: the bound of 10^7 training samples and more
is between -150 and -100 nats on MNIST for 3 to 200 latent variables, the NLL of figure 3 between 100 and 160.

  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=20 --workdir=runs/aevb
  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=20,method=wake_sleep --workdir=runs/wake_sleep
  python -m dgm_jax.main --config=configs/aevb_mnist.py:nz=3,hidden=100,method=mcem,train=1000 --workdir=runs/mcem

One hidden layer of tanh units in encoder and decoder, all parameters from N(0, 0.01), Adagrad, a prior N(0, I) on the
parameters, batches of 100, one sample; the KL in closed form for AEVB.  Of what the paper leaves open: 0.01 is taken
for the standard deviation (as the variance, in a pilot of 400 steps, it helped AEVB and hurt wake-sleep); each image is
made binary anew at every use, so that wake-sleep dreams of images of the same kind.  A warm-up of 100 updates is ours:
Adagrad's first steps are of the size of the rate whatever the gradient, and 500 hidden units moved so together throw
log-variances out of range.  The step sizes of the paper are 0.01, 0.02 and 0.1, chosen in the first iterations;
sweep_rates() has them.

Arguments (after a colon, by commas):
  method=aevb|wake_sleep|mcem   aevb if not given
  nz=N            latent variables, 20 if not given; with 2 the run draws its latent space, and log p(x) is exact
  hidden=N        units of the hidden layer; 500, of faces 200, if not given
  data=NAME       mnist if not given; mnist5k; frey_faces, with a Gaussian decoder
  train=N         only the first N training examples
  quick           a minute on 2 cores: 5,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict, config_dict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_SIZES = {"mnist": 60_000, "mnist5k": 4_000, "frey_faces": 1_565}  # training examples


def _objective(method: str) -> ConfigDict:
  if method == "mcem":
    return ConfigDict({"num_leapfrog": 10, "num_updates": 5, "target_acceptance": 0.9, "eval_samples": 20})
  options = Options(bound="elbo", kl="analytic") if method == "aevb" else Options(bound="wake_sleep")
  return ConfigDict(options._asdict() | {"eval_samples": 1, "eval_chunk": 1})


def _evaluate(method: str, nz: int, small: bool) -> dict:
  """What is measured at the end; log p(x) of MCEM without its encoder, which is not trained."""
  draws = {"num_examples": 100 if small else 1000, "num_samples": 50, "num_warmup": 100, "num_importance": 500}
  if method == "mcem":
    return {"posterior_samples": draws}
  found = {"importance_sampling": {"num_samples": 1000, "batch_size": 10, "chunk": 500}}
  return found | ({"latent_space": {"num_posteriors": 0}} if nz == 2 else {})


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(
    arg,
    method=("aevb", "wake_sleep", "mcem"),
    nz=20,
    hidden=0,
    data=("mnist", "mnist5k", "frey_faces"),
    train=0,
    quick=False,
    test=False,
  )
  small = a.quick or a.test
  name = "mnist5k" if small and "data" not in a.given else a.data
  faces = name == "frey_faces"
  config = iwae_mnist.get_config("test" if a.test else "constant")
  with config.unlocked():
    config.data = data_section(name, transforms=("scale",) if faces else ("binarize:dynamic",))
    if a.train:
      config.data.train_size = a.train
    hidden = a.hidden or (32 if a.test else 200 if faces else 500)
    args = {"latent_dim": a.nz, "hidden": (hidden,), "likelihood": "gaussian_sigmoid" if faces else "bernoulli"}
    config.model = ConfigDict({"name": "vae", "args": args | {"net_args": {"init_scale": 0.01}}})
    config.principle = "monte_carlo_em" if a.method == "mcem" else "latent"
    config.objective = _objective(a.method)
    config.evaluate = ConfigDict(_evaluate(a.method, a.nz, small))
  config.optim.update(name="adagrad", lr=0.02, eps=1e-12, l2=1 / (a.train or _SIZES[name]))
  config.batch_size, config.num_steps, config.num_epochs = 100, 100_000, config_dict.placeholder(int)
  config.log_every, config.eval_every, config.checkpoint_every = 500, 1000, 10_000
  if a.quick:
    config.num_steps, config.log_every, config.eval_every, config.checkpoint_every = 5000, 50, 100, 1000
  if a.test:
    config.batch_size, config.num_steps, config.log_every = 50, 40, 10
    config.checkpoint_every, config.eval_every, config.optim.lr = 20, 20, 0.1
    for options in config.evaluate.values():
      options.update({k: v for k, v in {"num_samples": 20, "num_examples": 50}.items() if k in options})
  config.optim.warmup = warmup(config.num_steps)
  return config.lock()


def warmup(num_steps: int, updates: int = 100) -> float:
  """The share of a run that so many updates are, at most a half."""
  return min(0.5, updates / num_steps)


def sweep_rates() -> list[dict]:
  """The step sizes of the paper."""
  return product({"optim.lr": [0.01, 0.02, 0.1]})
