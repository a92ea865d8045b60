"""Labs of a first course on deep latent variable models, on thresholded MNIST digits: minutes on two cores.

Paper: https://arxiv.org/abs/1312.6114 (Kingma & Welling, 2014) and https://arxiv.org/abs/1509.00519 (Burda et al.,
2016).  The labs are those of P.-A. Mattei's M.Sc. course (github.com/pamattei/MSc-DS): x is a pixel above 1/2.  Their
product of Bernoullis has NLL 206.04 nats on the 60,000 training images of MNIST, 205.85 in another notebook; their
classifier of these binary digits has an accuracy of 0.9552 and an NLL of 0.157 nats on the test set.

  python -m dgm_jax.main --config=configs/course_mnist.py:lab=bernoulli --workdir=runs/bernoulli
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=autoencoder --workdir=runs/autoencoder
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=vae,d=2 --workdir=runs/vae_2d
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=iwae,k=50 --workdir=runs/iwae

Arguments (after a colon, by commas):
  lab=NAME        bernoulli    a product of Bernoullis, the baseline; 5 epochs
                  classifier   p(y|x), y the digit, by a net of 200 ReLU units; 5 epochs
                  autoencoder  200 ReLU units, 2-dimensional codes; 15 epochs
                  vae          200 tanh units, 50 latent variables; 20 epochs, then log p(x) with 5000 samples
                  iwae         the same with the importance-weighted bound
  k=N             importance samples of lab=iwae, 5 if not given
  d=N             latent dimensions, the lab's if not given; with d=2 log p(x) is exact, too (quadrature, a minute
                  or two), and the figures show the plane and the posteriors
  data=NAME       mnist5k if not given, mnist for the labs' own; any data set of images, see dgm_jax/data/README.md
  test            seconds: a few steps

Adam, 1e-3, batches of 32.  On mnist5k, a fifteenth of the data, there are five times as many epochs.  The figures of
the latent space are drawn at the end of a run: figures/latent_*.png.
"""

from ml_collections import ConfigDict, config_dict

from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.principles import supervised
from dgm_jax.principles.latent.options import Options
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section

_EPOCHS = {"bernoulli": 5, "classifier": 5, "autoencoder": 15, "vae": 20, "iwae": 20}


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, lab=tuple(_EPOCHS), k=5, d=0, data="mnist5k", test=False)
  errors.require("k" not in a.given or a.lab == "iwae", f"Config argument 'k' is of lab=iwae, not of lab={a.lab}.")
  without = a.lab in ("bernoulli", "classifier")
  errors.require("d" not in a.given or not without, f"Config argument 'd' is not of lab={a.lab}.")
  config = ConfigDict()
  config.seed = 0
  config.data = data_section(a.data, transforms=("binarize:threshold",))

  latent = a.lab in ("vae", "iwae")
  if a.lab == "bernoulli":
    config.model = ConfigDict({"name": "bernoulli_product", "args": {"start": "mean"}})
  elif a.lab == "classifier":
    args = {"hidden": (200,), "likelihood": "categorical", "likelihood_args": {"num_classes": 10}}
    config.model = ConfigDict({"name": "predictor", "args": args})
  else:
    args = {"latent_dim": a.d or (50 if latent else 2), "hidden": (200,), "likelihood": "bernoulli"}
    config.model = ConfigDict({"name": "vae" if latent else a.lab, "args": args})
  config.principle = "latent" if latent else "supervised" if a.lab == "classifier" else "own_bound"
  config.objective = ConfigDict(supervised.Options()._asdict() if a.lab == "classifier" else {})
  if latent:
    bound = {"bound": "iwae", "num_samples": a.k} if a.lab == "iwae" else {}
    config.objective = ConfigDict(Options(**bound)._asdict() | {"eval_samples": 50, "eval_chunk": 10})
  config.optim = ConfigDict(optimisers.Options()._asdict())

  config.dtype = "float32"  # or "bfloat16": what the networks compute in; parameters and densities are float32
  config.remat = False  # whether the networks' activations are computed again in the backward pass, not kept
  config.batch_size = 32
  config.num_epochs = config_dict.placeholder(int)
  config.num_epochs = _EPOCHS[a.lab] * (5 if a.data == "mnist5k" else 1)
  config.num_steps = config_dict.placeholder(int)  # wins over num_epochs
  config.log_every = 125  # steps in one compiled program; the other "every" are multiples of it
  config.eval_every = 0  # 0: twenty times a run, but not within five epochs
  config.figures_every = 0  # 0: five times a run, but not within five epochs
  config.checkpoint_every = 1250
  config.keep_checkpoints = 2
  config.keep_best = ""  # also keep the best checkpoint by this metric, e.g. "valid/log_px"
  config.early_stopping = 0  # end after so many evaluations without a better value of keep_best; 0: never
  config.max_minutes = config_dict.placeholder(float)  # of training; None: all steps
  config.init_from = ""  # folder of a run whose parameters to start from
  config.eval_batch_size = 500
  config.sample_devices, config.shard_params = 0, False
  config.evaluate = ConfigDict()
  if a.lab == "classifier":
    config.evaluate.predictive = {"num_samples": 1, "batch_size": 100, "num_bins": 15}
  elif not latent:
    config.evaluate.means = {"batch_size": 100}
  else:
    config.evaluate.importance_sampling = {"num_samples": 5000, "batch_size": 10, "chunk": 500}
    config.evaluate.active_units = {"threshold": 0.01, "num_samples": 64}
    if config.model.args.latent_dim <= 2:  # exact, where 5000 draws of a q that misses the posterior are not
      config.evaluate.quadrature = {"num_examples": 500, "num_points": 400}
  if not without:
    config.evaluate.latent_space = {"num_examples": 5000, "grid": 20, "num_pairs": 8, "num_posteriors": 6}

  if a.test:
    config.num_steps, config.log_every = 40, 10
    config.checkpoint_every, config.eval_every, config.figures_every = 20, 20, 40
    if latent:
      config.objective.eval_samples, config.objective.eval_chunk = 7, 5
      config.evaluate.importance_sampling.update(num_samples=20, batch_size=100, chunk=20)
      config.evaluate.active_units.num_samples = 8
      if "quadrature" in config.evaluate:
        config.evaluate.quadrature.update(num_examples=20, num_points=100)
    if not without:
      config.evaluate.latent_space.update(grid=4, num_pairs=2, num_posteriors=2)
  return config.lock()
