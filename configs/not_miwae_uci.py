"""not-MIWAE on UCI tables: Ipsen, Mattei & Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random
Data".

Paper: https://arxiv.org/abs/2006.12871 (ICLR 2021), table 1: root mean squared error of imputed entries of standardised
data, 5 runs; in the first half of the columns entries above the mean are missing (no
NLL is printed):

                             banknote      concrete      red    white  yeast  breast
  PPCA                       1.39          1.61          1.61   1.57   1.67   0.90
  not-MIWAE-PPCA agnostic    1.25 (.15)    1.47          1.32   1.27   1.20   0.78
   - self-masking            0.57          1.31          1.13   0.99   0.78   0.72
   - self-masking known      0.57          1.31          1.13   0.99   0.77   0.72
  MIWAE                      1.19          1.66          1.62   1.55   1.72   1.20
  not-MIWAE agnostic         0.80 (.08)    2.63 (.12)    1.30   1.37   1.43   1.10
   - self-masking            1.88 (.85)    1.26          1.08   1.04   1.48   0.74
   - self-masking known      0.74 (.05)    1.12          1.07   1.04   1.38   0.76
  low-rank joint             0.79          1.57          1.42   1.39   1.19   1.22
  mean                       1.73          1.85          1.83   1.74   1.69   1.82

Settings: two layers of 128 with tanh, D - 1 latent dimensions, Gaussians for p(x|z) and q(z|x), zeros in place of
missing entries, k = 20, Adam with 1e-3, batches of 16, 100,000 updates; 10,000 samples for imputation.  decoder=linear
is the PPCA variant: a linear decoder and one learned variance.  The authors' code imputes the weighted mean of E[x|z],
here it is the weighted mean of draws of x_missing, which estimates E[x_missing | x_observed, m].  Compare
test/imputation_rmse.

  python -m dgm_jax.main --config=configs/not_miwae_uci.py:data=white --config.data.manual_dir=FOLDER --workdir=runs/n
  python -m dgm_jax.main --config=configs/not_miwae_uci.py:data=white,process=ignorable --workdir=runs/miwae

Arguments (after the colon, separated by commas):
  data=NAME       white if not given, or red, banknote, breast, concrete, yeast; array: your own table, as in
                  configs/miwae_uci.py
  process=NAME    p(m|x): self_masking_known if not given, or self_masking, linear (the paper's agnostic one),
                  nonlinear, low_rank_joint; ignorable is MIWAE
  decoder=mlp|linear
  k=N             importance samples, 20 if not given
  iota=zero|constant   input of the encoder where x is missing: 0, or a learned constant
  offset=C        entries more than C standard deviations above the mean are missing, 0 if not given
  quick           some minutes on 2 cores: 10,000 steps, 1,000 samples for imputation
  test            seconds: a few steps of a small network on the grey levels of mnist5k

Sweeps (python -m dgm_jax sweep): five seeds for each process; --name=offset, the offsets of the paper's appendix E.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, miwae_uci
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product

PROCESSES = ("self_masking_known", "self_masking", "linear", "nonlinear", "low_rank_joint", "ignorable")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  choices = {"data": base.sets(*miwae_uci.TABLES), "process": PROCESSES}
  choices |= {"decoder": ("mlp", "linear"), "iota": ("zero", "constant")}
  a = parse(arg, k=20, offset=0.0, quick=False, test=False, **choices)
  config = miwae_uci.table(a.data, ("standardize", f"above_mean:offset={a.offset}"), a.k, a.test)
  linear = a.decoder == "linear"
  config.model.args = {
    "latent_dim": miwae_uci.TABLES.get(a.data, 11) - 1,
    "hidden": (32,) if a.test else (128, 128),
    "likelihood": "gaussian_shared" if linear else "gaussian",
    "net_args": {"decoder_hidden": ()} if linear else {},
    "iota": a.iota,
    "missing_process": a.process,
  }
  if not a.test:
    config.batch_size, config.num_steps = 16, 100_000
    if a.quick:
      config.num_steps = 10_000
      config.evaluate.imputation.num_samples = config.evaluate.importance_sampling.num_samples = 1000
  return config.lock()


def sweep() -> list[dict]:
  """Five seeds for each process."""
  return product({"arg.process": PROCESSES, "seed": range(5)})


def sweep_offset() -> list[dict]:
  """The offsets of appendix E, two seeds each."""
  return product({"arg.offset": [0.0, 0.25, 0.5, 0.75, 1.0], "seed": range(2)})
