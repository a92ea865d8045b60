"""Known miscompilations of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(20_000, 3, 2), (5000, 10, 8), (50, 2000, 50)])
def test_more_than_32768_sums_over_the_last_axis_are_correct(shape):
  """jaxlib 0.10.2 for the CPU gets these sums wrong by whole units unless dgm_jax switches off its fusion."""
  rng = np.random.default_rng(0)
  z, w, b = (rng.standard_normal(s).astype(np.float32) for s in (shape, shape[1:], shape[1]))
  found = jax.jit(lambda z, w, b: jnp.sum(w * z, -1) + b)(z, w, b)
  np.testing.assert_allclose(found, (w.astype(np.float64) * z).sum(-1) + b, atol=1e-4)
