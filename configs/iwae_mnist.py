"""IWAE on MNIST: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders" (ICLR 2016).

Paper: https://arxiv.org/abs/1509.00519, table 1: test NLL in nats (active units), 5000 samples, dynamic binarisation:

             1 stochastic layer   2 stochastic layers
  k = 1      86.76 (19)           85.33 (16+5)
  k = 5      85.54 (22)           83.89 (21+5)
  k = 50     84.78 (25)           82.90 (26+7)

  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=runs/iwae_k5
  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5 --config.objective.gradient=dreg --workdir=runs/dreg_k5

Arguments (after a colon, by commas):
  k=N             importance samples, 50 if not given
  layers=1|2      stochastic layers
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  reading=paper|code   where the paper and its released code differ.  paper: Adam with beta1 = 0.9 and learning rates
                  1e-3 * 10^(-i/7), all 60,000 images.  code: beta1 = 0.99, second moments that start at 1, learning
                  rates rounded to two digits, the last 400 training images held out.
  constant        a constant learning rate instead of the 8 stages of 3^i epochs
  quick           about two minutes on 2 cores: 6,000 steps of batch 100 on mnist5k; test NLL about 100 nats
  test            seconds: a few steps of a small network on mnist5k

Sweeps (scripts/sweep.py): four seeds of three learning rates; --name=k, the importance samples of the table, three
seeds each; --name=table1, the six cells of the table.
"""

from ml_collections import ConfigDict, config_dict

from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section

_STAGES = 8  # stage i = 0..7 lasts 3^i epochs


def get_config(arg: str = "", default_k: int = 50) -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(
    arg,
    k=default_k,
    layers=(1, 2),
    data="mnist",
    reading=("paper", "code"),
    constant=False,
    quick=False,
    test=False,
  )
  small = a.quick or a.test
  name = "mnist5k" if small and "data" not in a.given else a.data

  config = ConfigDict()
  config.seed = 0
  config.data = data_section(name, transforms=("binarize:dynamic",))
  if a.reading == "code" and name == "mnist":
    config.data.valid_size = 400

  args = {"latent_dim": 50, "hidden": (200, 200), "likelihood": "bernoulli", "prior": "standard_normal"}
  if a.layers == 2:
    args = {"latent_dims": (100, 50), "hidden": ((200, 200), (100, 100)), "likelihood": "bernoulli"}
  config.model = ConfigDict({"name": "vae" if a.layers == 1 else "dlgm", "args": args})
  config.principle = "latent"
  options = Options(bound="iwae", num_samples=a.k)._asdict()  # what each does is said with Options
  config.objective = ConfigDict(options | {"eval_samples": a.k, "eval_chunk": 10})

  rates = [10 ** (-i / 7) for i in range(_STAGES)]
  paper = a.reading == "paper"
  training = optimisers.Options(name="adam" if paper else "iwae_adam", b1=0.9 if paper else 0.99, eps=1e-4)
  config.optim = ConfigDict(training._asdict())
  if not a.constant:  # 3^i epochs are 3^i of the (3^8 - 1) / 2 epochs in all
    config.optim.boundaries = tuple((3**i - 1) / (3**_STAGES - 1) for i in range(1, _STAGES))
    config.optim.scales = tuple(rates[1:] if paper else [round(10 * r, 1) / 10 for r in rates[1:]])

  config.dtype = "float32"  # or "bfloat16": what the networks compute in; parameters and densities are float32
  config.remat = False  # whether the networks' activations are computed again in the backward pass, not kept
  config.batch_size = 20
  config.num_epochs = config_dict.placeholder(int)
  config.num_epochs = (3**_STAGES - 1) // 2
  config.num_steps = config_dict.placeholder(int)  # wins over num_epochs
  config.log_every = 500  # steps in one compiled program; the other "every" are multiples of it
  config.eval_every = 0  # 0: twenty times a run, but not within five epochs
  config.figures_every = 0  # 0: five times a run, but not within five epochs
  config.checkpoint_every = 5000
  config.keep_checkpoints = 2
  config.keep_best = ""  # also keep the best checkpoint by this metric, e.g. "valid/log_px"
  config.early_stopping = 0  # end after so many evaluations without a better value of keep_best; 0: never
  config.max_minutes = config_dict.placeholder(float)  # of training; None: all steps
  config.init_from = ""  # folder of a run whose parameters to start from
  config.eval_batch_size = 500
  config.sample_devices = 0  # devices that share the samples of each example; 0: as many as are useful
  config.shard_params = False  # split parameters and the optimiser's state over the devices, too
  config.evaluate = ConfigDict(
    {
      "importance_sampling": {"num_samples": 5000, "batch_size": 10, "chunk": 500},
      "active_units": {"threshold": 0.01, "num_samples": 64},
    }
  )

  if a.quick:
    config.objective.eval_samples = 50
    config.batch_size = 100
    config.num_steps, config.log_every, config.checkpoint_every = 6000, 100, 1000
    if not a.constant:  # chosen on the validation split
      config.optim.lr, config.optim.boundaries, config.optim.scales = 3e-3, (0.3, 0.6, 0.85), (0.4, 0.1, 0.03)
  if a.test:
    config.batch_size, config.num_steps, config.log_every = 50, 40, 10
    config.checkpoint_every, config.eval_every, config.figures_every = 20, 20, 40
    config.model.args = (
      args | {"latent_dim": 8, "hidden": (32,)}
      if a.layers == 1
      else args | {"latent_dims": (8, 4), "hidden": ((32,), (16,))}
    )
    config.objective.eval_samples, config.objective.eval_chunk = 7, 5
    config.evaluate.importance_sampling.update(num_samples=20, batch_size=100, chunk=20)
    config.evaluate.active_units.num_samples = 8
  return config.lock()


def sweep() -> list[dict]:
  """Four seeds of three learning rates, lanes of one program."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3], "seed": range(4)})


def sweep_k() -> list[dict]:
  """Three seeds of each number of importance samples."""
  return product({"arg.k": [1, 5, 50], "seed": range(3)})


def sweep_table1() -> list[dict]:
  """The cells of table 1 of the paper."""
  return product({"arg.layers": [1, 2], "arg.k": [1, 5, 50]})
