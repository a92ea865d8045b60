"""Frechet ChemNet distance (Preuer et al., 2018) by the package fcd_torch, whose wheel carries ChemNet."""

from collections.abc import Sequence

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import frechet, moments


def why_not() -> str:
  """Why there is no distance: "" where torch and fcd_torch are installed."""
  missing = [name for name in ("torch", "fcd_torch") if not errors.is_installed(name)]
  return f"FCD needs {' and '.join(missing)}: pip install torch fcd_torch" if missing else ""


def features(smiles: Sequence[str], batch_size: int = 256) -> np.ndarray:
  """The last hidden layer of ChemNet, float64 [N, 512]."""
  import functools
  from unittest import mock

  import torch

  # the wheel's weights are loaded as data: a pickle could run any code
  with mock.patch.object(torch, "load", functools.partial(torch.load, weights_only=True)):
    import fcd_torch

    model = fcd_torch.FCD(device="cpu", n_jobs=1, batch_size=batch_size)
    return np.asarray(model.get_predictions(list(smiles)), np.float64)


def distance(a: np.ndarray, b: np.ndarray) -> float:
  """The Frechet distance of normals with the moments of the features."""
  return float(frechet.from_moments(moments.moments(a), moments.moments(b)))
