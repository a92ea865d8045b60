"""A MIWAE of a table: what it learns from, when its fit ends, and what it says of missing cells, by law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax import errors
from dgm_jax.imputation import cells, columns, comparison, fitted, training
from dgm_jax.system import TrainState

MIXED = (
  columns.Column("r", "real", loc=3.0, scale=2.0),
  columns.Column("b", "binary", ("n", "y"), low=0, high=1),
  columns.Column("i", "integer", loc=10.0, scale=4.0),
  columns.Column("c", "categorical", ("p", "q", "s"), low=0, high=2),
)
SMALL = {"latent_dim": 2, "hidden": (8,), "num_samples": 5}
SPEC = training.Spec(tuple(c.likelihood for c in MIXED), 2, (8,), 5)
ONCE = training.Limits(200)
DRAWS = {"num_samples": 1000, "num_draws": 999}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """One shape for all tests, and several blocks."""
  monkeypatch.setattr(fitted, "_BLOCK", 16)


def untrained(num_models=1):
  """A model of MIXED with q(z|x) = p(z) and a decoder for which z matters."""
  params = training._programs(SPEC).start(jax.random.split(jax.random.key(5), num_models)).params
  leaves, tree = jax.tree.flatten(params["decoder"])
  keys = jax.random.split(jax.random.key(6), len(leaves))
  leaves = [a + 0.7 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
  params = {"encoder": jax.tree.map(jnp.zeros_like, params["encoder"]), "decoder": tree.unflatten(leaves)}
  return fitted.Fitted(SPEC, MIXED, training.Fit({"params": params}, 0, None, ""))


def table(n, seed=0, rate=0.3):
  """Rows whose four columns all tell of one normal variable; (with holes, whole)."""
  g = np.random.default_rng(seed)
  z = g.normal(size=n)
  r = 3 + 2 * z + 0.3 * g.normal(size=n)
  x = np.stack([r, z > 0, np.round(10 + 4 * z), np.digitize(z, [-0.5, 0.5])], 1).astype(float)
  return np.where(g.random(x.shape) < rate, np.nan, x), x


HOLES, WHOLE = table(100)


@pytest.mark.parametrize("num_models", [1, 3])
def test_values_deviations_and_probabilities_are_the_moments_of_the_draws(num_models):
  """999 draws against the weighted sums: five standard errors, those of the 1,000 samples included."""
  x = np.array([[np.nan, 1.0, np.nan, np.nan], [np.nan, np.nan, np.nan, 2.0]])
  found = cells.impute(untrained(num_models), x, **DRAWS)
  fresh = cells.impute(untrained(num_models), x, seed=1, **DRAWS).draws
  assert [*zip(found.row, found.column, strict=True)] == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
  assert found.ess.min() > 100
  size = 1 / (1 / 999 + 1 / found.ess[found.row])
  for i, d in enumerate(found.column):
    draws = found.draws[:, i]
    if MIXED[d].numeric:
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


def test_several_models_are_an_equal_mixture_and_take_turns_in_the_draws():
  three = untrained(3)
  lone = [
    three._replace(fit=three.fit._replace(variables=jax.tree.map(lambda a, r=r: a[r : r + 1], three.fit.variables)))
    for r in range(3)
  ]
  x = np.array([[np.nan, 1.0, 9.0, np.nan]])
  found, parts = cells.impute(three, x, **DRAWS), [cells.impute(one, x, **DRAWS) for one in lone]
  means, deviations, ess = (np.array([getattr(p, name)[0] for p in parts]) for name in ("x", "deviation", "ess"))
  error = deviations / ess**0.5
  assert means.std() > 3 * error.max()
  assert abs(found.x[0] - means.mean()) < 5 * (2 * np.sum(error**2) / 9) ** 0.5
  assert found.deviation[0] == pytest.approx(np.sqrt((deviations**2).mean() + means.var()), rel=0.1)
  for r in range(3):
    drawn = found.draws[r::3, 0]
    assert abs(drawn.mean() - means[r]) < 5 * deviations[r] * (1 / len(drawn) + 2 / ess[r]) ** 0.5


def test_noise_is_of_a_rows_content_and_missing_entries_have_no_part_in_it():
  model = untrained()
  found = cells.impute(model, HOLES, **DRAWS)
  order = np.random.default_rng(0).permutation(len(HOLES))[:40]
  part = cells.impute(model, HOLES[order], **DRAWS)
  dense = np.full((999, *HOLES.shape), np.nan)
  dense[:, found.row, found.column] = found.draws
  np.testing.assert_allclose(part.draws, dense[:, order[part.row], part.column], rtol=1e-5, atol=1e-5)
  other = cells.impute(model, HOLES, seed=1, **DRAWS)
  assert np.mean(other.draws == found.draws) < 0.8


def test_log_prob_is_that_of_the_model_in_the_tables_units():
  """With proposals of the prior: log 1/K sum_k p(x_observed | z_k), the factors by scipy's laws of the outputs."""
  model, n = untrained(), 6
  got = fitted.log_prob(model, HOLES[:n], num_samples=20_000)
  bound = training.model(SPEC).bind(jax.tree.map(lambda a: a[0], model.fit.variables))
  z = jax.random.normal(jax.random.key(1), (20_000, 2))
  p = bound.decode(z)
  numbers, binary, classes = p._groups
  t = numbers.distribution
  df, loc, scale = (np.asarray(a)[:, None] for a in (t._df, t._loc, t._scale))
  x, where = np.nan_to_num(HOLES[:n]), ~np.isnan(HOLES[:n])
  places, units = np.array([3.0, 10.0]), np.array([2.0, 4.0])
  terms = scipy.stats.t.logpdf(x[:, [0, 2]], df, places + units * loc, units * scale)
  log_p = (terms * where[:, [0, 2]]).sum(-1)
  log_p += where[:, 1] * scipy.stats.bernoulli.logpmf(x[:, 1], np.asarray(binary.mean()))
  log_p += where[:, 3] * np.log(np.asarray(classes.distribution.probs)[:, 0])[:, x[:, 3].astype(int)]
  np.testing.assert_allclose(got, scipy.special.logsumexp(log_p, 0) - np.log(20_000), atol=0.1)


def test_draws_of_the_model_are_of_the_tables_values():
  drawn = fitted.generate(untrained(), 500)
  assert drawn.shape == (500, 4)
  assert set(drawn[:, 1]) == {0, 1}
  assert set(drawn[:, 3]) == {0, 1, 2}
  assert (drawn[:, 2] == np.round(drawn[:, 2])).all()


@pytest.fixture(scope="module")
def trained():
  return fitted.fit(HOLES, MIXED, limits=training.Limits(600), **SMALL)


def test_a_fit_beats_mean_and_mode_on_what_was_missing(trained):
  found = cells.impute(trained, HOLES, **DRAWS)
  filled = HOLES.copy()
  filled[found.row, found.column] = found.x
  gone = np.isnan(HOLES)
  got = comparison.measure(trained.columns, WHOLE, filled, gone, 0.0)
  means = np.tile([np.nanmean(HOLES[:, 0]), 1, np.nanmean(HOLES[:, 2]), 1], (len(HOLES), 1))
  plain = comparison.measure(trained.columns, WHOLE, means, gone, 0.0)
  assert got.numbers < 0.75 * plain.numbers
  assert got.classes < 0.8 * plain.classes


def test_errors_are_those_of_their_columns():
  truth = np.array([[1.0, 0, 5, 2], [3.0, 1, 5, 2]])
  filled = np.array([[2.0, 1, 5, 2], [7.0, 1, 9, 0]])
  hidden = np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
  got = comparison.measure(MIXED, truth, filled, hidden, 0.0)
  np.testing.assert_allclose(got.by_column[:2], [np.sqrt((1 + 16) / 2), 0.5])
  assert got.by_column[2:] == [None, 0.0]
  assert got.numbers == pytest.approx(np.sqrt((0.25 + 4) / 2))
  assert got.classes == pytest.approx(1 / 3)


def test_what_is_hidden_never_reaches_training():
  """Neither entries hidden from the score, which choose when to end, nor their means and scales: bit for bit."""
  hidden = fitted.hide(HOLES, 0.05, 0)
  assert 3 < hidden.sum() < 40
  one = fitted.fit(HOLES, MIXED, limits=ONCE, **SMALL)
  other = fitted.fit(np.where(hidden, HOLES * 0, HOLES), MIXED, limits=ONCE, **SMALL)
  assert one.columns == other.columns
  jax.tree.map(np.testing.assert_array_equal, one.fit.variables, other.fit.variables)
  assert one.fit.score != other.fit.score


def test_hidden_entries_are_observed_ones_of_few_rows_and_of_no_column_with_few():
  x = np.where(np.random.default_rng(0).random((5000, 4)) < 0.2, np.nan, 1.0)
  x[9:, 3] = np.nan
  hidden = fitted.hide(x, 0.1, 0)
  assert not (hidden & np.isnan(x)).any()
  assert hidden.any(1).sum() <= 2000
  count = (~np.isnan(x[:, :3])).mean() * 2000 * 3
  assert abs(hidden.sum() - 0.1 * count) < 5 * np.sqrt(0.09 * count)
  assert not hidden[:, 3].any()


def test_a_bootstrap_lane_is_the_lone_run_of_its_rows():
  z = columns.standardise(columns.scaled(MIXED, HOLES), HOLES)
  rows = training.Rows(training.pad(np.nan_to_num(z)), training.pad((~np.isnan(z)).astype("f")))
  programs, keys = training._programs(SPEC), jax.random.split(jax.random.key(0), 2)
  chosen = jnp.asarray(np.random.default_rng(0).integers(0, 100, (2, 128)), jnp.int32)
  both = programs.train(programs.start(keys), keys, rows, chosen, jnp.int32(100))
  lone = programs.train(programs.start(keys[1:]), keys[1:], rows, chosen[1:], jnp.int32(100))
  for a, b in zip(jax.tree.leaves(both.params), jax.tree.leaves(lone.params), strict=True):
    assert np.linalg.norm(a[1] - b[0]) < 0.05 * np.linalg.norm(b[0])
    assert np.linalg.norm(a[0] - a[1]) > 0
  poisoned = training.Rows(np.where(np.isin(np.arange(128), chosen[1, :100])[:, None], rows.x, np.nan), rows.mask)
  again = programs.train(programs.start(keys[1:]), keys[1:], poisoned, chosen[1:], jnp.int32(100))
  jax.tree.map(np.testing.assert_array_equal, again.params, lone.params)  # it never sees rows that were not drawn


def test_a_lane_goes_back_to_its_best_at_lower_rates_and_then_the_fit_ends():
  programs = training._programs(training.Spec(("gaussian",), 1, (2,)))
  watch = training._Watch(programs, 1.0, 2, scored=True)
  lanes = lambda a: jnp.broadcast_to(jnp.asarray(a, jnp.float32), (2,))
  state = lambda step, rate: TrainState(jnp.full(2, step), lanes(step), (), {}, {"optim.lr": lanes(rate)})
  scores = [(1.0, 1.0), (2.0, 3.0), *[(0.0, 4.0 + i) for i in range(5)]]
  for step, score in enumerate(scores):
    assert watch.reason(step) is None
    got = watch.see(state(step, 1.0), jnp.asarray(score))
  np.testing.assert_array_equal(got.params, [1, 6])  # the first lane's best was step 1
  np.testing.assert_allclose(got.hparams["optim.lr"], [0.3, 1.0])
  np.testing.assert_array_equal(got.step, [6, 6])  # and its noise goes on
  np.testing.assert_array_equal(watch.best(None).params, [1, 6])
  assert watch.score == pytest.approx((2.0 + 8.0) / 2)
  for step in range(7, 22):
    assert watch.reason(step) is None
    watch.see(state(step, 0.3), jnp.asarray([jnp.nan, 0.0]))
  assert watch.reason(22) == "its score stopped rising"
  with pytest.raises(errors.DivergenceError):
    training._Watch(programs, 1.0, 2, scored=True).see(state(0, 1.0), jnp.asarray([1.0, jnp.nan]))


def test_limits_end_a_fit_and_nothing_to_learn_is_told():
  assert training._limit(training.Limits(1000), 800, 1e9) is None
  assert training._limit(training.Limits(800), 800, 0) == "its 800 steps are done"
  assert training._limit(training.Limits(800, 0.5), 200, 30.0) == "its 0.5 minutes are used up"
  with pytest.raises(errors.UserError, match="nothing to learn from"):
    fitted.fit(np.zeros((3, 0)), (), limits=ONCE)


@pytest.mark.slow
def test_gaussian_tables_are_imputed_nearly_as_by_their_true_law():
  """Against exact conditional means of a known normal, and 90 % intervals against the truth."""
  g = np.random.default_rng(0)
  w = g.normal(size=(5, 2))
  covariance = w @ w.T + 0.2 * np.eye(5)
  whole = g.multivariate_normal(np.arange(5), covariance, 2000)
  holes = np.where(g.random(whole.shape) < 0.3, np.nan, whole)
  known = [columns.Column(str(j), "real") for j in range(5)]
  model = fitted.fit(holes, known, limits=training.Limits(4000))
  found = cells.impute(model, holes, num_samples=500)
  exact = holes.copy()
  for x in exact:
    o, m = ~np.isnan(x), np.isnan(x)
    x[m] = np.arange(5)[m] + covariance[np.ix_(m, o)] @ np.linalg.solve(covariance[np.ix_(o, o)], (x - np.arange(5))[o])
  truth = whole[found.row, found.column]
  rmse = lambda a: np.sqrt(np.mean(np.square(a - truth)))
  assert rmse(exact[found.row, found.column]) < rmse(found.x) < 1.08 * rmse(exact[found.row, found.column])
  assert 0.86 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.94
  log_px = fitted.log_prob(model, whole, 500).mean()
  assert log_px == pytest.approx(
    scipy.stats.multivariate_normal(np.arange(5), covariance).logpdf(whole).mean(), abs=0.2
  )
