"""Trained models for use in a notebook, and the same interface for external models.

  run = dgm_jax.load("runs/first")                        a run trained with this package
  other = api.from_functions(encode=..., decode=..., latent_dim=8, data_shape=(784,))
  other = api.from_functions(**api.mlp_from_npz("weights.npz")._asdict())    weights exported from PyTorch

See evaluate/README.md for worked examples.
"""

from dgm_jax.api.external_model import MLPs, from_functions, mlp_from_npz
from dgm_jax.api.trained_model import LatentModel, load

__all__ = ["LatentModel", "MLPs", "from_functions", "load", "mlp_from_npz"]
