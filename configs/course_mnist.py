"""Labs of a first course on deep latent variable models, on thresholded MNIST digits: minutes on two cores.

Paper: https://arxiv.org/abs/1312.6114 (Kingma & Welling, 2014) and https://arxiv.org/abs/1509.00519 (Burda et al.,
2016).  The labs are those of P.-A. Mattei's M.Sc. course (github.com/pamattei/MSc-DS): x is a pixel above 1/2.  Their
product of Bernoullis has NLL 206.04 nats on the 60,000 training images of MNIST, 205.85 in another notebook; their
classifier of these binary digits has an accuracy of 0.9552 and an NLL of 0.157 nats on the test set.

  python -m dgm_jax.main --config=configs/course_mnist.py:lab=bernoulli --workdir=runs/bernoulli
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=autoencoder --workdir=runs/autoencoder
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=vae,d=2 --workdir=runs/vae_2d
  python -m dgm_jax.main --config=configs/course_mnist.py:lab=iwae,k=50 --workdir=runs/iwae

Arguments (after the colon, separated by commas):
  lab=NAME        bernoulli    a product of Bernoullis, the baseline; 5 epochs
                  classifier   p(y|x), y the digit, by a net of 200 ReLU units; 5 epochs
                  autoencoder  200 ReLU units, 2-dimensional codes; 15 epochs
                  vae          200 tanh units, 50 latent variables; 20 epochs, then log p(x) with 5000 samples
                  iwae         the same with the importance-weighted bound
  k=N             importance samples of lab=iwae, 5 if not given
  d=N             latent dimensions, those of the lab if not given; with d=2 log p(x) is exact, too (by quadrature,
                  a minute or two), and the figures show the plane and the posteriors
  data=NAME       mnist5k if not given; mnist as in the course, or any data set of images, see dgm_jax/data/README.md
  test            seconds: a few steps

Adam, 1e-3, batches of 32.  On mnist5k, a fifteenth of the data, there are five times as many epochs.  The figures of
the latent space are drawn at the end of a run: figures/latent_*.png.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.principles.supervised import Options as SupervisedOptions
from dgm_jax.training.build import data_section

_EPOCHS = {"bernoulli": 5, "classifier": 5, "autoencoder": 15, "vae": 20, "iwae": 20}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, lab=tuple(_EPOCHS), k=5, d=0, data="mnist5k", test=False)
  errors.require("k" not in a.given or a.lab == "iwae", f"Config argument 'k' is for lab=iwae, not for lab={a.lab}.")
  has_latents = a.lab not in ("bernoulli", "classifier")
  errors.require("d" not in a.given or has_latents, f"Config argument 'd' is not for lab={a.lab}.")
  config = base.default()
  config.data = data_section(a.data, transforms=("binarize:threshold",))
  config.optim.eps = 1e-8
  config.batch_size, config.num_epochs = 32, _EPOCHS[a.lab] * (5 if a.data == "mnist5k" else 1)
  config.log_every, config.checkpoint_every = 125, 1250

  if a.lab in ("vae", "iwae"):
    config.model.args = {"latent_dim": a.d or 50, "hidden": (200,), "likelihood": "bernoulli"}
    config.objective.eval_samples = 50
    if a.lab == "iwae":
      config.objective.update(bound="iwae", num_samples=a.k)
    if config.model.args.latent_dim <= 2:  # exact, unlike 5000 draws of a q that is far from the posterior
      config.evaluate.quadrature = {"num_examples": 500, "num_points": 400}
  elif a.lab == "classifier":
    args = {"hidden": (200,), "likelihood": "categorical", "likelihood_args": {"num_classes": 10}}
    config.model = {"name": "predictor", "args": args}
    config.principle, config.objective = "supervised", ConfigDict(SupervisedOptions()._asdict())
    config.evaluate = ConfigDict({"predictive": {"num_samples": 1, "batch_size": 100, "num_bins": 15}})
  else:
    args = {"latent_dim": a.d or 2, "hidden": (200,), "likelihood": "bernoulli"}
    config.model = {"name": "autoencoder", "args": args}
    config.principle, config.objective = "own_bound", ConfigDict()
    config.evaluate = ConfigDict({"means": {"batch_size": 100}})
    if a.lab == "bernoulli":
      config.model = {"name": "bernoulli_product", "args": {"start": "mean"}}
      config.principle, config.evaluate = "maximum_likelihood", ConfigDict({"exact_likelihood": {"batch_size": 100}})
  if has_latents:
    config.evaluate.latent_space = {"num_examples": 5000, "grid": 20, "num_pairs": 8, "num_posteriors": 6}

  if a.test:
    base.shrink(config, batch_size=32)
    if "quadrature" in config.evaluate:
      config.evaluate.quadrature.update(num_examples=20, num_points=100)
    if has_latents:
      config.evaluate.latent_space.update(grid=4, num_pairs=2, num_posteriors=2)
  return config.lock()
