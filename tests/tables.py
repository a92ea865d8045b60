"""The tables that the laws run over: a new system or config is one row."""

import pathlib
from typing import Any

import jax
import numpy as np
import optax

from dgm_jax.models import dlgm, vae
from dgm_jax.principles import latent
from dgm_jax.system import System

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted(p for p in (ROOT / "configs").glob("*.py") if p.stem != "__init__")
# config file and its arguments beside `test`, for the laws that need a whole run
CONFIG_ARGUMENTS = {"vae_mnist": ["", "layers=2"], "iwae_mnist": ["", "layers=2,reading=code"]}

SHAPE = (4, 6, 1)


def toy(n: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Five binary patterns with flipped bits: enough structure to learn in a hundred steps."""
  rng = np.random.default_rng(seed)
  patterns = np.random.default_rng(7).random((5, *SHAPE)) > 0.5
  x = patterns[rng.integers(0, 5, n)] ^ (rng.random((n, *SHAPE)) < 0.05)
  return {"x": x.astype(np.float32)}


TRAIN, TEST = toy(512), toy(101, seed=1)  # 101: the last batch is ragged


def _vae(**options: Any) -> System:
  return latent.make(vae.Model(SHAPE, latent_dim=4, hidden=(32,)), optax.adam(3e-3), eval_samples=8, **options)


def _vae_of(**bricks: Any) -> System:
  """A VAE with another likelihood, posterior or prior."""
  return latent.make(vae.Model(SHAPE, latent_dim=4, hidden=(32,), **bricks), optax.adam(3e-3), eval_samples=8)


def _dlgm(**options: Any) -> System:
  model = dlgm.Model(SHAPE, latent_dims=(6, 3), hidden=((32,), (16,)))
  return latent.make(model, optax.adam(3e-3), eval_samples=8, eval_chunk=4, **options)


SYSTEMS = {
  "vae": lambda: _vae(),
  "iwae": lambda: _vae(bound="iwae", num_samples=5),
  "iwae_dreg": lambda: _vae(bound="iwae", num_samples=5, gradient="dreg"),
  "vae_analytic": lambda: _vae(kl="analytic", free_bits=0.1, beta_steps=20),
  "dlgm": lambda: _dlgm(bound="iwae", num_samples=5),
  "vae_planar_mixture": lambda: _vae_of(
    posterior="planar", prior="mixture", likelihood="categorical", likelihood_args={"num_classes": 2}
  ),
}


def identity(key: jax.Array, batch: dict) -> dict:
  """The transform of data that needs none."""
  del key
  return batch


def init(system: System, seed: int = 0) -> Any:
  """A compiled `init` on the toy data."""
  return jax.jit(system.init)(jax.random.key(seed), TRAIN, {})
