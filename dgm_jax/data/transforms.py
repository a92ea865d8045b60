"""What happens to a batch inside the compiled step: transform(key, batch) -> batch.

A transform acts on every element alike, so it serves a batch and, mapped over keys, single examples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax import errors


def _grey(x: jax.Array) -> jax.Array:
  return x.astype(jnp.float32) / 255.0


# name -> (transform of x, expectation of the transformed x)
_BINARIZATIONS = {
  "dynamic": (lambda key, x: jax.random.bernoulli(key, _grey(x)).astype(jnp.float32), _grey),
  "threshold": (lambda key, x: (x > 127).astype(jnp.float32), lambda x: (x > 127).astype(jnp.float32)),
  "none": (lambda key, x: _grey(x), _grey),
}


def binarize(name: str) -> Callable:
  """The transform that turns grey levels 0..255 of batch["x"] into what a Bernoulli decoder models.

  dynamic: a fresh Bernoulli draw with mean x / 255 at every use (Salakhutdinov & Murray, 2008; Burda et al., 2016);
  threshold: 1 above the middle, always the same; none: x / 255 itself.  Log-likelihoods under different names, and
  those of Larochelle's fixed draw, are not comparable.
  """
  f, _ = _BINARIZATIONS[errors.choose("binarization", name, _BINARIZATIONS)]
  return lambda key, batch: batch | {"x": f(key, batch["x"])}


def expected_mean(name: str, x: jax.Array) -> jax.Array:
  """E over examples and draws of the transformed x: uint8 [N, ...] -> [...]."""
  _, expectation = _BINARIZATIONS[errors.choose("binarization", name, _BINARIZATIONS)]
  return jnp.mean(expectation(x), 0)
