"""Networks of all conditionals of a table: lanes, rows, densities, draws, and Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.applications.imputation import columns, combined, conditional_draws, conditional_nets, fit, orderless
from dgm_jax.applications.imputation.spread import Spread, sizes
from helpers import mixed_table as mt

X, _ = mt.rows(160, 3)
SMALL = {"width": 8, "limits": fit.Limits(10), "seed": 0}


pytestmark = pytest.mark.usefixtures("short_fits")


@pytest.fixture(scope="module")
def nets():
  hidden = combined.hide(X, 0.1, 0)
  seen = np.where(hidden, np.nan, X)
  spread = Spread(columns.scaled(mt.COLUMNS, seen))
  return conditional_nets.fit(seen, hidden, X, spread, num_models=2, **SMALL), seen, hidden, spread


def test_a_lane_does_not_depend_on_the_others(nets):
  found, seen, _, _ = nets
  made, key = orderless.programs(found.spec), orderless.rng.stream(jax.random.key(0), "lanes")
  keys = orderless.rng.row_keys(key, jnp.array([5, 1]))
  rows = jax.tree.map(conditional_nets.pad, found.entries(seen, ~np.isnan(seen)))
  other = made.train(made.start(keys, found.classes), keys, rows, found.classes, jnp.int32(len(X)), 10)
  for a, b in zip(jax.tree.leaves(found.fit.params), jax.tree.leaves(other.average), strict=True):
    np.testing.assert_allclose(a[1], b[1], rtol=1e-6)


@pytest.mark.slow
def test_a_lane_equals_a_lone_fit(nets):
  """To rounding: the second lane of two, and a fit with the keys of that lane alone."""
  found, seen, _, _ = nets
  made, key = orderless.programs(found.spec), orderless.rng.stream(jax.random.key(0), "lanes")
  keys = orderless.rng.row_keys(key, jnp.arange(2))
  rows = jax.tree.map(conditional_nets.pad, found.entries(seen, ~np.isnan(seen)))
  alone = made.train(made.start(keys[1:], found.classes), keys[1:], rows, found.classes, jnp.int32(len(X)), 10)
  for a, b in zip(jax.tree.leaves(found.fit.params), jax.tree.leaves(alone.average), strict=True):
    assert np.linalg.norm(a[1] - b[0]) < 1e-3 * np.linalg.norm(b[0]) + 1e-6
    assert np.linalg.norm(a[0] - a[1]) > 0 or a.ndim < 3


def test_entries_hidden_from_the_fit_never_reach_training(nets):
  found, seen, hidden, spread = nets
  other = conditional_nets.fit(seen, hidden, np.where(hidden, X * 0, X), spread, num_models=2, **SMALL)
  jax.tree.map(np.testing.assert_array_equal, found.fit.params, other.fit.params)
  assert found.fit.error != other.fit.error
  again = conditional_nets.more(found, X, 0)
  assert again.fit.steps == 20 and not np.array_equal(
    jax.tree.leaves(again.fit.params)[0], jax.tree.leaves(found.fit.params)[0]
  )


def test_rows_do_not_depend_on_other_rows_and_quantiles_hold_90_percent(nets):
  found = nets[0]
  whole, drawn = conditional_nets.say(found, X), conditional_draws.draws(found, X, 2, 0)[0]
  part, some = conditional_nets.say(found, X[40:72]), conditional_draws.draws(found, X[40:72], 2, 0)[0]
  np.testing.assert_allclose(part.features, whole.features[40:72], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(some, drawn[:, 40:72], rtol=1e-3, atol=1e-3)
  p = orderless.programs(found.spec).predict(found.fit.params, found.entries(X[:32], ~np.isnan(X[:32])), found.classes)
  column = found.spread.columns[0]
  z = [found.scores[0].forward(a[:32, 0] * column.scale + column.loc) for a in (whole.low, whole.high)]
  cdf = lambda z: (np.exp(p.log_share) * scipy.stats.norm.cdf((z[:, None, None] - p.loc) / p.scale)).sum(-1)[:, 0]
  np.testing.assert_allclose([cdf(a) for a in z], np.broadcast_to([[0.05], [0.95]], (2, 32)), atol=1e-3)


def test_draws_follow_the_networks_conditional_where_one_entry_is_missing(nets):
  """One number is missing: the empirical distribution of its draws is the mixture that the networks say."""
  found = nets[0]
  row = mt.rows(1, 5, rate=0.0)[0]
  row[0, 0] = np.nan
  drawn = conditional_draws.draws(found, np.tile(row, (32, 1)), 600, 1)[0][:, 0]
  p = orderless.programs(found.spec).predict(
    found.fit.params, found.entries(*[np.tile(a, (32, 1)) for a in (row, ~np.isnan(row))]), found.classes
  )
  column = found.spread.columns[0]
  z = found.scores[0].forward(drawn[:, 0] * column.scale + column.loc)
  share, loc, scale = (np.asarray(a[0, 0]) for a in (np.exp(p.log_share), p.loc, p.scale))
  mixture = lambda t: (share * scipy.stats.norm.cdf((t[:, None] - loc) / scale)).sum(-1)
  assert scipy.stats.kstest(z, mixture).pvalue > 1e-3


def test_log_densities_are_in_the_tables_units(nets):
  """A column in other units: the density of a number falls by log |scale|, whatever the map to normal scores is."""
  found, _, hidden, spread = nets
  log_p = conditional_nets.log_prob_entries(found, X, hidden)
  assert (log_p[~hidden] == 0).all() and (log_p[hidden] != 0).all()
  scores = list(found.scores)
  scores[0] = scores[0]._replace(x=8 * scores[0].x, low=scores[0].low / 8, high=scores[0].high / 8)
  wide = spread.columns[0]._replace(loc=8 * spread.columns[0].loc, scale=8 * spread.columns[0].scale)
  other = found._replace(scores=tuple(scores), spread=Spread((wide, *spread.columns[1:])))
  moved = conditional_nets.log_prob_entries(other, X * [8, 1, 1, 1], hidden)
  np.testing.assert_allclose(moved, log_p - np.log(8) * hidden * [1, 0, 0, 0], atol=1e-4)


def test_tables_of_similar_widths_share_their_programs():
  assert sizes(mt.COLUMNS) == sizes((*mt.COLUMNS, mt.COLUMNS[0])) == (4, 4, 4)
  assert sizes(mt.COLUMNS[:1] * 11) == (16, 0, 4)


@pytest.mark.slow
def test_gaussian_tables_are_imputed_nearly_as_well_as_by_the_true_distribution():
  """The combination against the exact conditional means of a known normal: errors paired by entry; 90 % intervals."""
  g = np.random.default_rng(0)
  w = g.normal(size=(5, 2))
  covariance = w @ w.T + 0.2 * np.eye(5)
  complete = g.multivariate_normal(np.zeros(5), covariance, 2000)
  x = np.where(g.random(complete.shape) < 0.3, np.nan, complete)
  plain = tuple(columns.Column(str(j), "real") for j in range(5))
  orderless.STEPS = 250
  model = combined.fit(
    x, plain, combined.hide(x, 0.06, 0), ("orderless", "mice", "mean"), num_models=2, limits=fit.Limits(3000)
  )
  from dgm_jax.applications.imputation import combined_cells

  found = combined_cells.impute(model, x, num_draws=40)
  exact = x.copy()
  for r in exact:
    o, m = ~np.isnan(r), np.isnan(r)
    r[m] = covariance[np.ix_(m, o)] @ np.linalg.solve(covariance[np.ix_(o, o)], r[o])
  truth = complete[found.row, found.column]
  mse = lambda a: np.mean(np.square(a - truth))
  assert mse(exact[found.row, found.column]) < mse(found.x) < 1.03 * mse(exact[found.row, found.column])
  assert 0.88 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.92
  assert np.mean(np.square(found.draws.mean(0) - found.x)) < 0.1 * mse(found.x)  # draws are about the combined mean
