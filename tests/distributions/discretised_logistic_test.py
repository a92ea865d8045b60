"""Discretised logistics on integers, and the colours of a pixel whose means depend on each other (PixelCNN++)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp

from dgm_jax.distributions.discretised_logistic import (
  DiscretisedLogisticMixture,
  LogisticLevels,
  channel_conditionals,
  num_pixel_outputs,
)
from dgm_jax.distributions.likelihoods import families

M, C, V = 3, 3, 256
H = np.random.default_rng(0).normal(0.0, 1.0, num_pixel_outputs(M, C)) + np.repeat([0.0, 0.4, -2.0, 0.0], [M, 9, 9, 9])
FAMILY = families.make("logistic_levels", num_components=M)


def joint(x):
  """log p(x) of colours [C] by the formula of the paper, in double precision, x in units of (x + 1/2) / V."""
  logits, loc, log_scale, a = np.split(H, [M, M + C * M, M + 2 * C * M])
  loc, scale, a = loc.reshape(C, M), np.exp(log_scale.reshape(C, M)), np.tanh(a).reshape(-1, M)
  y = (x + 0.5) / V
  loc = np.stack([loc[0], loc[1] + a[0] * (y[0] - 0.5), loc[2] + a[1] * (y[0] - 0.5) + a[2] * (y[1] - 0.5)])
  edge = lambda k: np.where(k <= 0, -np.inf, np.where(k >= V, np.inf, k / V))  # the first and the last bin are open
  log_p = [
    np.log(np.maximum(expit((edge(x[c] + 1) - loc[c]) / scale[c]) - expit((edge(x[c]) - loc[c]) / scale[c]), 1e-300))
    for c in range(C)
  ]
  return logsumexp(logits - logsumexp(logits) + np.sum(log_p, 0))


@jax.jit
def log_probs(x):
  """log p(x_c | x_<c) of pixels [..., C], [..., C]."""
  h = channel_conditionals(jnp.broadcast_to(jnp.asarray(H, jnp.float32), (*x.shape[:-1], len(H))), x, M, V)
  return FAMILY.given(*jnp.moveaxis(h, -1, 0)).distribution.log_prob(x)


def test_the_colours_have_the_probability_of_the_paper():
  x = np.random.default_rng(1).integers(0, V, (30, C)).astype("f")
  x[:3] = [[0, 255, 128], [255, 0, 0], [255, 255, 255]]
  np.testing.assert_allclose(log_probs(jnp.asarray(x)).sum(-1), [joint(row.astype(float)) for row in x], rtol=2e-4)


def test_probabilities_sum_to_one_over_all_colours_by_marginals():
  """sum_r p(r) = 1, sum_g p(g | r) = 1 for every r, and sum_b p(b | r, g) = 1: so does the sum over 256^3 colours."""
  levels = np.arange(V, dtype="f")
  red = np.stack([levels, 0 * levels, 0 * levels], -1)
  assert abs(np.exp(np.asarray(log_probs(jnp.asarray(red)), np.float64))[:, 0].sum() - 1) < 1e-4
  r, g = np.meshgrid(levels, levels, indexing="ij")
  total = np.exp(np.asarray(log_probs(jnp.asarray(np.stack([r, g, 0 * g], -1))), np.float64))[..., 1].sum(1)
  np.testing.assert_allclose(total, 1, atol=1e-4)
  pairs = np.random.default_rng(2).integers(0, V, (64, 1, 2)).astype("f")
  x = np.concatenate([np.broadcast_to(pairs, (64, V, 2)), np.broadcast_to(levels[:, None], (64, V, 1))], -1)
  total = np.exp(np.asarray(log_probs(jnp.asarray(x)), np.float64))[..., 2].sum(1)
  np.testing.assert_allclose(total, 1, atol=1e-4)


@pytest.mark.slow
def test_a_colour_depends_on_earlier_ones_alone():
  slopes = jax.jacobian(lambda x: channel_conditionals(jnp.asarray(H, jnp.float32), x, M, V))(
    jnp.array([9.0, 99.0, 200.0])
  )
  found = abs(np.asarray(slopes)).sum(1)  # [colour, of x]
  np.testing.assert_array_equal(found > 0, np.tri(C, k=-1, dtype=bool))


def test_levels_are_the_mixture_on_the_unit_interval_with_bins_of_equal_width():
  """k = 0 .. V - 1 with means in units of (k + 1/2) / V: x / 256 and not / 255."""
  logits, loc, log_scale = (jnp.asarray(a)[:, None] for a in ([0.3, -0.2], [0.2, 0.9], [-2.0, -3.0]))
  k = jnp.arange(256.0)[:, None]
  found = np.asarray(LogisticLevels(logits, loc, log_scale, 256).log_prob(k), np.float64)[:, 0]
  edges = np.append(np.append(-np.inf, np.arange(1, 256) / 256), np.inf)
  cdf = expit((edges[:, None] - np.asarray(loc)[:, 0]) / np.exp(np.asarray(log_scale)[:, 0]))
  weights = np.exp([0.3, -0.2]) / np.exp([0.3, -0.2]).sum()
  np.testing.assert_allclose(np.exp(found), np.diff(cdf, axis=0) @ weights, atol=2e-7, rtol=1e-4)
  unit = DiscretisedLogisticMixture(logits, loc, log_scale, 256).log_prob(k / 255)
  assert abs(np.asarray(unit)[:, 0] - found).max() > 1e-3  # bins 1 / 255 wide
