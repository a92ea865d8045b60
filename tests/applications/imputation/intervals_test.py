"""Intervals are order statistics of the draws."""

import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.applications.imputation import intervals


@pytest.mark.parametrize(
  "num_draws,level,low,high", [(19, 0.9, 1, 19), (39, 0.9, 2, 38), (9, 0.8, 1, 9), (25, 0.9, 1, 25)]
)
def test_an_interval_leaves_out_the_same_rank_at_both_ends(num_draws, level, low, high):
  draws = jnp.asarray(np.random.default_rng(0).permutation(num_draws) + 1.0)[:, None]
  assert tuple(float(a[0]) for a in intervals.interval(draws, level)) == (low, high)


def test_coverage_counts_the_entries_that_are_asked_for():
  draws = jnp.broadcast_to(jnp.arange(1.0, 20.0)[:, None], (19, 4))
  truth, where = jnp.array([1.0, 19.0, 20.0, 30.0]), jnp.array([1, 1, 1, 0])
  assert float(intervals.coverage(draws, truth, where)) == pytest.approx(2 / 3)
