"""Imputed cells of a MIWAE: they match the moments of the draws; mixtures of models; noise keyed by row content."""

import jax
import numpy as np
import pytest

from dgm_jax.applications.imputation import cells, fitted
from helpers import mixed_table as mt


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """Uses small blocks, so that every test compiles the same shape and runs over several blocks."""
  monkeypatch.setattr(fitted, "_BLOCK", 16)


@pytest.mark.parametrize("num_models", [1, 3])
def test_values_deviations_and_probabilities_are_the_moments_of_the_draws(num_models):
  """999 draws agree with the weighted sums within five standard errors, including those of the 1,000 samples."""
  x = np.array([[np.nan, 1.0, np.nan, np.nan], [np.nan, np.nan, np.nan, 2.0]])
  found = cells.impute(mt.untrained(num_models), x, **mt.DRAWS)
  fresh = cells.impute(mt.untrained(num_models), x, seed=1, **mt.DRAWS).draws
  assert [*zip(found.row, found.column, strict=True)] == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
  assert found.ess.min() > 100
  size = 1 / (1 / 999 + 1 / found.ess[found.row])
  for i, d in enumerate(found.column):
    draws = found.draws[:, i]
    if mt.COLUMNS[d].numeric:
      rounding = 0.5 if d == 2 else 0.0
      assert abs(draws.mean() - found.x[i]) < 5 * found.deviation[i] / size[i] ** 0.5 + rounding
      assert draws.std() == pytest.approx(found.deviation[i], rel=0.25)
      assert 0.85 < np.mean((found.low[i] <= fresh[:, i]) & (fresh[:, i] <= found.high[i])) < 0.97
      assert np.isnan(found.probability[i])
    else:
      share = np.mean(draws == found.x[i])
      assert abs(share - found.probability[i]) < 5 * (0.25 / size[i]) ** 0.5
      assert share > max(np.mean(draws == k) for k in range(3)) - 0.1
      assert np.isnan([found.deviation[i], found.low[i], found.high[i]]).all()


def test_several_models_form_an_equal_mixture_and_contribute_draws_in_turn():
  three = mt.untrained(3)
  single = [
    three._replace(fit=three.fit._replace(variables=jax.tree.map(lambda a, r=r: a[r : r + 1], three.fit.variables)))
    for r in range(3)
  ]
  x = np.array([[np.nan, 1.0, 9.0, np.nan]])
  found, parts = cells.impute(three, x, **mt.DRAWS), [cells.impute(one, x, **mt.DRAWS) for one in single]
  means, deviations, ess = (np.array([getattr(p, name)[0] for p in parts]) for name in ("x", "deviation", "ess"))
  error = deviations / ess**0.5
  assert means.std() > 3 * error.max()
  assert abs(found.x[0] - means.mean()) < 5 * (2 * np.sum(error**2) / 9) ** 0.5
  assert found.deviation[0] == pytest.approx(np.sqrt((deviations**2).mean() + means.var()), rel=0.1)
  for r in range(3):
    drawn = found.draws[r::3, 0]
    assert abs(drawn.mean() - means[r]) < 5 * deviations[r] * (1 / len(drawn) + 2 / ess[r]) ** 0.5


def test_noise_depends_on_a_rows_observed_entries_only():
  model = mt.untrained()
  found = cells.impute(model, mt.MISSING, **mt.DRAWS)
  order = np.random.default_rng(0).permutation(len(mt.MISSING))[:40]
  part = cells.impute(model, mt.MISSING[order], **mt.DRAWS)
  dense = np.full((999, *mt.MISSING.shape), np.nan)
  dense[:, found.row, found.column] = found.draws
  np.testing.assert_allclose(part.draws, dense[:, order[part.row], part.column], rtol=1e-5, atol=1e-5)
  other = cells.impute(model, mt.MISSING, seed=1, **mt.DRAWS)
  assert np.mean(other.draws == found.draws) < 0.8
