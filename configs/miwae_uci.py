"""MIWAE on UCI tables: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets".

Paper: https://arxiv.org/abs/1812.02633 (ICML 2019), table 2: mean squared error of imputed entries of standardised
data, half of them missing completely at random, over 5 masks (read second-hand: not verified; no NLL is printed):

            banknote      breast        concrete      red           white         yeast
  MIWAE     0.446 (.038)  0.280 (.021)  0.501 (.040)  0.643 (.026)  0.735 (.033)  0.964 (.057)
  MVAE      0.593         0.318         0.587         0.686         0.782         0.997
  mean      1.02          1.00          1.01          1.00          1.00          1.06

The MVAE is k = 1.  Settings are those of the authors' notebook with the paper's tanh: two layers of 128, floor(D / 2)
latent dimensions, Student-t for p(x|z) and q(z|x), a learned constant for what is missing, k = 20, Adam with 1e-3,
batches of 64, 2,002 epochs; 10,000 samples impute.  Its initialisation is orthogonal, here it is Glorot's, and
here the wines have 11 columns, without their quality (dgm_jax/data/sets/uci.py).  The numbers to compare are
test/imputation_mse and test/imputation_rmse, of what the training set's own rows hide.

  python -m dgm_jax.main --config=configs/miwae_uci.py:data=white --config.data.manual_dir=FOLDER --workdir=runs/miwae
  python -m dgm_jax.main --config=configs/miwae_uci.py:data=red,k=1 --workdir=runs/mvae   # by download

Arguments (after a colon, by commas):
  data=NAME       white if not given, or red, banknote, breast, concrete, yeast
  k=N             importance samples, 20 if not given
  iota=constant|zero   what the encoder sees where x is missing
  rate=R          share of missing entries, 0.5 if not given
  mask=N          seed of the mask, 0 if not given
  quick           some minutes on 2 cores: 5,000 steps, 1,000 samples impute
  test            seconds: a few steps of a small network on mnist5k's grey levels

Sweeps (scripts/sweep.py): five masks; --name=k, the MVAE and MIWAE with five masks each.
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

TABLES = {"white": 11, "red": 11, "banknote": 4, "breast": 30, "concrete": 8, "yeast": 8}  # columns


def table(name: str, transforms: tuple[str, ...], k: int, test: bool) -> ConfigDict:
  """A config for a table, all of whose rows are trained on, imputed and evaluated; its model has yet to be given."""
  config = iwae_mnist.get_config(f"constant,k={min(k, 3) if test else k},{'test' if test else 'data=mnist'}").unlock()
  if test:
    config.data = data_section("mnist5k", transforms=("scale", transforms[-1]))
    config.optim.lr = 1e-2  # or 40 steps do nothing
  else:
    config.data = data_section(f"uci/{name}", transforms=transforms)
    config.data.everything = True
    config.optim.lr, config.optim.eps = 1e-3, 1e-8
    config.eval_batch_size, config.figures_every = 500, 0
    config.objective.eval_samples = 50
  config.model = ConfigDict({"name": "vae", "args": {}})
  imputation = {"num_samples": 10_000, "batch_size": 20, "chunk": 500, "part": "train"}
  config.evaluate = ConfigDict({"importance_sampling": config.evaluate.importance_sampling, "imputation": imputation})
  if test:
    config.evaluate.imputation.update(num_samples=5, batch_size=500, chunk=5, part="test")
  return config


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, data=tuple(TABLES), k=20, iota=("constant", "zero"), rate=0.5, mask=0, quick=False, test=False)
  config = table(a.data, ("standardize", f"mcar:rate={a.rate},seed={a.mask}"), a.k, a.test)
  config.model.args = {
    "latent_dim": max(1, TABLES[a.data] // 2),
    "hidden": (32,) if a.test else (128, 128),
    "likelihood": "student_t",
    "posterior": "student_t",
    "iota": a.iota,
  }
  if not a.test:
    config.batch_size, config.num_epochs = 64, 2002
  if a.quick:
    config.num_steps, config.log_every, config.checkpoint_every = 5000, 500, 5000
    config.evaluate.imputation.num_samples = config.evaluate.importance_sampling.num_samples = 1000
  return config.lock()


def sweep() -> list[dict]:
  """Five masks, each with a seed of its own."""
  return [{"arg.mask": i, "seed": i} for i in range(5)]


def sweep_k() -> list[dict]:
  """The MVAE and MIWAE, five masks each."""
  return product({"arg.k": [1, 20], "arg.mask": range(5)})
