"""dgm_jax: deep generative models in JAX, log p(x) first."""

import os
from typing import Any

import jaxlib

# jaxlib 0.10.2 compiles some sums over the last axis for the CPU to wrong code: of jit(lambda z, w, b: (w * z).sum(-1)
# + b) all results after the first 32,768 or so are off by whole units (compare jax-ml/jax#39103; 0.12 is right).
# Without its fusion they are right.  The flag counts if it is set before JAX is first used; other versions do not
# know it.
_FLAG = "--xla_cpu_experimental_ynn_fusion_type="
if jaxlib.__version__ == "0.10.2" and _FLAG not in os.environ.get("XLA_FLAGS", ""):
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()


def load(workdir: str | os.PathLike) -> Any:
  """The model at a run's latest checkpoint, for use in a notebook; see dgm_jax.api.load."""
  from dgm_jax import api  # only now: JAX's flags may be set after `import dgm_jax`

  return api.load(workdir)


def __getattr__(name: str) -> Any:
  """MIWAEImputer of applications/imputation/transformer.py, a scikit-learn transformer, imported at first use."""
  if name == "MIWAEImputer":
    from dgm_jax.applications.imputation.transformer import MIWAEImputer

    return MIWAEImputer
  raise AttributeError(f"module 'dgm_jax' has no attribute {name!r}")
