"""Mixtures of Gaussians, of Student's t and of factor analysers on UCI tables, by EM.

Paper: https://doi.org/10.1111/j.2517-6161.1977.tb01600.x (Dempster, Laird & Rubin, 1977); no NLL is published for these
tables and splits.  Besides test/nll there are test/aic, bic and icl, to choose the number of components.

  python -m dgm_jax.main --config=configs/mixture_uci.py:data=red,c=5 --workdir=runs/gmm   # by download
  python -m dgm_jax.main --config=configs/mixture_uci.py:family=student_t,covariance=diagonal --workdir=runs/t
  python -m dgm_jax.main --config=configs/mixture_uci.py:data=array,c=2 --config.data.path=faithful.csv \\
    --workdir=runs/faithful

A step is a pass of EM over all training rows.

Arguments (after the colon, separated by commas):
  family=gaussian|student_t|factor_analysers
  covariance=full|tied|diagonal|spherical   for gaussian and student_t
  c=N             components, 5 if not given
  d=N             factors, for factor_analysers, 2 if not given
  data=NAME       white if not given, or red, banknote, breast, concrete, yeast, or array, your own table; standardised
  quick           no effect: a full run takes seconds
  test            seconds: a few steps on the grey levels of mnist5k

Sweeps (python -m dgm_jax sweep): ten starts, lanes of one program; --name=c, numbers of components to compare by BIC,
which the report's comparison.png shows.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_ROWS = {"white": 4898, "red": 1599, "banknote": 1372, "breast": 569, "concrete": 1030, "yeast": 1484}
_COVARIANCES = ("full", "tied", "diagonal", "spherical")
_FAMILIES = {"covariance": ("gaussian", "student_t"), "d": ("factor_analysers",)}  # that have the argument


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  choices = {"family": ("gaussian", "student_t", "factor_analysers"), "covariance": _COVARIANCES}
  a = parse(arg, c=5, d=2, quick=False, test=False, data=base.sets(*_ROWS), **choices)
  for name, families in _FAMILIES.items():
    errors.require(
      name not in a.given or a.family in families,
      f"Config argument {name!r} is for {' and '.join(families)}, not for {a.family}.",
    )
  own = a.data == "array"
  if a.test and not own:
    config = base.by_em(data_section("mnist5k", ("scale",)), base.NUM_TRAIN["mnist5k"], passes=200, test=True)
  else:
    data = data_section(a.data if own else f"uci/{a.data}", transforms=("standardize",))
    rows = 0 if own else _ROWS[a.data] - round(data.test_fraction * _ROWS[a.data])
    config = base.by_em(data, rows, passes=200, test=a.test)
  if not a.test:
    config.num_epochs, config.num_steps = None, 200  # a step is a pass
    config.log_every, config.checkpoint_every = 10, 100
  if a.family == "factor_analysers":
    config.model = {"name": "factor_analyser_mixture", "args": {"num_components": a.c, "latent_dim": a.d}}
  else:
    covariance = "diagonal" if a.test and "covariance" not in a.given else a.covariance
    args = {"num_components": a.c, "covariance": covariance, "floor": 1e-3}
    config.model = {"name": f"{a.family}_mixture", "args": args}
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """Three starts for each number of components."""
  return product({"arg.c": [1, 2, 3, 5, 8, 12, 20], "seed": range(3)})
