"""Mixtures of Gaussians, of Student's t and of factor analysers on UCI tables, by EM.

Paper: https://doi.org/10.1111/j.2517-6161.1977.tb01600.x (Dempster, Laird & Rubin, 1977); no NLL is published for these
tables and splits.  Beside test/nll there are test/aic, bic and icl, to choose the number of components by.

  python -m dgm_jax.main --config=configs/mixture_uci.py:data=red,c=5 --workdir=runs/gmm   # by download
  python -m dgm_jax.main --config=configs/mixture_uci.py:family=student_t,covariance=diagonal --workdir=runs/t
  python -m dgm_jax.main --config=configs/mixture_uci.py --config.data.name=array --config.data.path=faithful.csv \\
    --config.batch_size=218 --workdir=runs/faithful

A step is a pass of EM over all training rows, which config.batch_size must be the number of.

Arguments (after a colon, by commas):
  family=gaussian|student_t|factor_analysers
  covariance=full|tied|diagonal|spherical   of gaussian and student_t
  c=N             components, 5 if not given
  d=N             factors of factor_analysers, 2 if not given
  data=NAME       white if not given, or red, banknote, breast, concrete, yeast; standardised
  quick           as without: it takes seconds
  test            seconds: a few steps on mnist5k's grey levels

Sweeps (scripts/sweep.py): ten starts, lanes of one program; --name=c, components for BIC to choose from, which
the report's comparison.png shows.
"""

from ml_collections import ConfigDict, config_dict

from configs.bernoulli_mixture_mnist import by_em
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_ROWS = {"white": 4898, "red": 1599, "banknote": 1372, "breast": 569, "concrete": 1030, "yeast": 1484}


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(
    arg,
    family=("gaussian", "student_t", "factor_analysers"),
    covariance=("full", "tied", "diagonal", "spherical"),
    c=5,
    d=2,
    data=tuple(_ROWS),
    quick=False,
    test=False,
  )
  for name, of in (("covariance", ("gaussian", "student_t")), ("d", ("factor_analysers",))):
    errors.require(
      name not in a.given or a.family in of, f"Config argument {name!r} is of {' and '.join(of)}, not of {a.family}."
    )
  config = by_em("mnist5k", ("scale",), passes=200, online=False, test=a.test)
  if a.family == "factor_analysers":
    args = {"num_components": a.c, "latent_dim": a.d}
    config.model = ConfigDict({"name": "factor_analyser_mixture", "args": args})
  else:
    covariance = "diagonal" if a.test and "covariance" not in a.given else a.covariance
    args = {"num_components": a.c, "covariance": covariance, "floor": 1e-3}
    config.model = ConfigDict({"name": f"{a.family}_mixture", "args": args})
  if not a.test:
    config.data = data_section(f"uci/{a.data}", transforms=("standardize",))
    config.batch_size = _ROWS[a.data] - round(config.data.test_fraction * _ROWS[a.data])
    config.num_steps, config.num_epochs = 200, config_dict.placeholder(int)
    config.log_every, config.checkpoint_every = 10, 100
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """Components, three starts each."""
  return product({"arg.c": [1, 2, 3, 5, 8, 12, 20], "seed": range(3)})
