"""MIWAE on UCI tables: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets".

Paper: https://arxiv.org/abs/1812.02633 (ICML 2019), table 2: mean squared error of imputed entries of standardised
data, half of them missing completely at random, over 5 masks (as cited elsewhere, not verified; no NLL is printed):

            banknote      breast        concrete      red           white         yeast
  MIWAE     0.446 (.038)  0.280 (.021)  0.501 (.040)  0.643 (.026)  0.735 (.033)  0.964 (.057)
  MVAE      0.593         0.318         0.587         0.686         0.782         0.997
  mean      1.02          1.00          1.01          1.00          1.00          1.06

The MVAE is k = 1.  Settings are those of the authors' notebook with the paper's tanh: two layers of 128, floor(D / 2)
latent dimensions, Student-t for p(x|z) and q(z|x), a learned constant in place of missing entries, k = 20, Adam with
1e-3, batches of 64, 2,002 epochs; 10,000 samples for imputation.  Differences: the notebook initialises orthogonally,
here as in Glorot & Bengio; the wines here have 11 columns, without their quality (dgm_jax/data/sets/uci.py).  Compare
test/imputation_mse and test/imputation_rmse, over the entries hidden in the training set itself.

  python -m dgm_jax.main --config=configs/miwae_uci.py:data=white --config.data.manual_dir=FOLDER --workdir=runs/miwae
  python -m dgm_jax.main --config=configs/miwae_uci.py:data=red,k=1 --workdir=runs/mvae   # by download

Arguments (after the colon, separated by commas):
  data=NAME       white if not given, or red, banknote, breast, concrete, yeast; array: your own table, split into
                  training, validation and test rows, with 10 latent dimensions; its missing entries stay missing
  k=N             importance samples, 20 if not given
  iota=constant|zero   input of the encoder where x is missing: a learned constant, or 0
  rate=R          fraction of entries that are hidden to be imputed, 0.5 if not given; 0 hides none
  mask=N          seed of the mask, 0 if not given
  quick           some minutes on 2 cores: 5,000 steps, 1,000 samples for imputation
  test            seconds: a few steps of a small network on the grey levels of mnist5k

Sweeps (python -m dgm_jax sweep): five masks; --name=k, the MVAE and MIWAE with five masks each.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

TABLES = {"white": 11, "red": 11, "banknote": 4, "breast": 30, "concrete": 8, "yeast": 8}  # columns


def table(name: str, transforms: tuple[str, ...], k: int, test: bool) -> ConfigDict:
  """Imputation in a UCI table, all rows of which are trained on, imputed and evaluated; config.model.args is missing.

  Args:
    name: of TABLES, with `test` grey levels of mnist5k take its place; or array.
    transforms: standardize, and one that hides entries, whose imputation is then evaluated.
    k: importance samples.
    test: a run of seconds.
  """
  config = base.default()
  config.objective.update(bound="iwae", num_samples=min(k, 3) if test else k, eval_samples=50)
  del config.evaluate.active_units
  config.evaluate.imputation = {"num_samples": 10_000, "batch_size": 20, "chunk": 500, "part": "train"}
  if name == "array":
    config.data = data_section(name, transforms=transforms)
  elif test:
    config.data = data_section("mnist5k", transforms=("scale", *transforms[1:]))
  else:
    config.data = data_section(f"uci/{name}", transforms=transforms)
    config.data.everything = True
  if test:
    base.shrink(config)
    config.optim.lr = 1e-2  # large enough for 40 steps to have an effect
    config.evaluate.imputation.update(num_samples=5, batch_size=500, chunk=5, part="test")
  else:
    config.optim.eps = 1e-8
  if len(transforms) == 1:
    del config.evaluate.imputation
  return config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, data=base.sets(*TABLES), k=20, iota=("constant", "zero"), rate=0.5, mask=0, quick=False, test=False)
  hidden = (f"mcar:rate={a.rate},seed={a.mask}",) if a.rate else ()
  config = table(a.data, ("standardize", *hidden), a.k, a.test)
  config.model.args = {
    "latent_dim": max(1, TABLES.get(a.data, 20) // 2),
    "hidden": (32,) if a.test else (128, 128),
    "likelihood": "student_t",
    "posterior": "student_t",
    "iota": a.iota,
  }
  if not a.test:
    config.batch_size, config.num_epochs = 64, 2002
    if a.quick:
      config.num_steps = 5000
      for evaluation in config.evaluate.values():
        evaluation.num_samples = 1000
  return config.lock()


def sweep() -> list[dict]:
  """Five masks, each with its own seed."""
  return [{"arg.mask": i, "seed": i} for i in range(5)]


def sweep_k() -> list[dict]:
  """The MVAE and MIWAE, five masks each."""
  return product({"arg.k": [1, 20], "arg.mask": range(5)})
