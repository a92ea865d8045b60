"""Models from Python: train them, load trained ones, pack them into files, and use models made elsewhere.

  run = dgm_jax.train("iwae_mnist:quick")                 trains, or resumes, a run
  run = dgm_jax.load("runs/first")                        a run, a packed file, or a model that comes with the package
  dgm_jax.pack("runs/first", "first.dgm")                 one file of a run
  other = api.from_functions(encode=..., decode=..., latent_dim=8, data_shape=(784,))
  other = api.from_functions(**api.mlp_from_npz("weights.npz")._asdict())    weights exported from PyTorch

See README.md in this folder and evaluate/README.md for worked examples.
"""

from dgm_jax.api.external_model import MLPs, from_functions, mlp_from_npz
from dgm_jax.api.loading import load
from dgm_jax.api.packing import pack
from dgm_jax.api.sweeping import Sweep, sweep
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.api.training_runs import train

__all__ = ["LatentModel", "MLPs", "Sweep", "from_functions", "load", "mlp_from_npz", "pack", "sweep", "train"]
