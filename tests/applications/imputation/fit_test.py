"""Fitting a MIWAE to a table: which entries training sees, lanes of bootstrap samples, and when a fit ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.applications.imputation import columns, fitted
from dgm_jax.applications.imputation import fit as training
from dgm_jax.applications.imputation import watch as watching
from dgm_jax.core import errors
from dgm_jax.core.system import TrainState
from helpers import mixed_table as mt

ONCE = training.Limits(200)


def test_hidden_entries_never_reach_training():
  """Changing them changes the score, but neither the columns' means and scales nor the parameters, bit for bit."""
  hidden = fitted.hide(mt.MISSING, 0.05, 0)
  assert 3 < hidden.sum() < 40
  one = fitted.fit(mt.MISSING, mt.COLUMNS, limits=ONCE, **mt.SMALL)
  other = fitted.fit(np.where(hidden, mt.MISSING * 0, mt.MISSING), mt.COLUMNS, limits=ONCE, **mt.SMALL)
  assert one.columns == other.columns
  jax.tree.map(np.testing.assert_array_equal, one.fit.variables, other.fit.variables)
  assert one.fit.score != other.fit.score


@pytest.mark.slow
def test_a_bootstrap_lane_equals_a_single_run_on_its_rows():
  z = columns.standardise(columns.scaled(mt.COLUMNS, mt.MISSING), mt.MISSING)
  rows = training.Rows(training.pad(np.nan_to_num(z)), training.pad((~np.isnan(z)).astype("f")))
  programs, keys = training._programs(mt.SPEC), jax.random.split(jax.random.key(0), 2)
  chosen = jnp.asarray(np.random.default_rng(0).integers(0, 100, (2, 128)), jnp.int32)
  both = programs.train(programs.start(keys), keys, rows, chosen, jnp.int32(100))
  single = programs.train(programs.start(keys[1:]), keys[1:], rows, chosen[1:], jnp.int32(100))
  for a, b in zip(jax.tree.leaves(both.params), jax.tree.leaves(single.params), strict=True):
    assert np.linalg.norm(a[1] - b[0]) < 0.05 * np.linalg.norm(b[0])
    assert np.linalg.norm(a[0] - a[1]) > 0
  poisoned = training.Rows(np.where(np.isin(np.arange(128), chosen[1, :100])[:, None], rows.x, np.nan), rows.mask)
  again = programs.train(programs.start(keys[1:]), keys[1:], poisoned, chosen[1:], jnp.int32(100))
  jax.tree.map(np.testing.assert_array_equal, again.params, single.params)  # rows that were not drawn have no influence
  for row in np.flatnonzero(np.bincount(chosen[1, :100]) == 1)[:4]:  # rows that were drawn do, even if only once
    poisoned = training.Rows(rows.x.at[row].set(jnp.nan), rows.mask.at[row].set(1))
    again = programs.train(programs.start(keys[1:]), keys[1:], poisoned, chosen[1:], jnp.int32(100))
    assert np.isnan(jax.tree.leaves(again.params)[0]).all()


def test_a_fit_ends_with_the_parameters_of_its_best_scores(monkeypatch):
  """Each lane moves by its rate per call past its best point; lower rates (0.3, 0.1) bring it closer to that point."""
  best, rate = jnp.array([2.25, 4.42]), jnp.ones(2)
  taken = []

  def train(states, keys, rows, chosen, n, steps):
    taken.append(steps)
    return states.replace(params=states.params + states.hparams["optim.lr"])

  programs = training._programs(training.Spec(("gaussian",), 1, (2,)))._replace(
    start=lambda keys: TrainState(jnp.zeros(2), jnp.zeros(2), (), {}, {"optim.lr": rate}),
    train=train,
    score=lambda states, *_: -jnp.abs(states.params - best),
  )
  monkeypatch.setattr(training, "_programs", lambda spec: programs)
  rows, reported = training.Rows(np.zeros((20, 1), "f"), np.ones((20, 1), "f")), []
  spec, limits = training.Spec(("gaussian",), lr=1.0), training.Limits(100_000)
  indices = np.tile(np.arange(20), (2, 1))
  fit = lambda hidden: training.fit(spec, rows, hidden, indices, 0, limits, lambda *state: reported.append(state))
  found = fit(np.ones((20, 1), "f"))
  np.testing.assert_allclose(found.variables["params"], [2 + 0.3, 4 + 0.3 + 0.1], rtol=1e-6)
  assert found.score == reported[-1][1] == pytest.approx(-(0.05 + 0.02) / 2, abs=1e-6)
  assert (found.reason, found.steps) == ("its score stopped rising", 200 * len(reported))
  unscored = fit(np.zeros((20, 1), "f"))
  np.testing.assert_array_equal(unscored.variables["params"], [3, 3])
  assert (unscored.score, unscored.steps) == (None, 600)
  taken.clear()
  limits = training.Limits(250)
  found = fit(np.ones((20, 1), "f"))
  assert (found.reason, found.steps, taken) == ("its 250 steps are done", 250, [200, 50])


def test_a_lane_returns_to_its_best_state_at_lower_rates_until_the_fit_ends():
  programs = training._programs(training.Spec(("gaussian",), 1, (2,)))
  watch = watching.Watch(programs.keep, 1.0, 2, scored=True)
  lanes = lambda a: jnp.broadcast_to(jnp.asarray(a, jnp.float32), (2,))
  state = lambda step, rate: TrainState(jnp.full(2, step), lanes(step), (), {}, {"optim.lr": lanes(rate)})
  scores = [(1.0, 1.0), (2.0, 3.0), *[(0.0, 4.0 + i) for i in range(5)]]
  for step, score in enumerate(scores):
    assert watch.reason(step) is None
    got = watch.see(state(step, 1.0), jnp.asarray(score))
  np.testing.assert_array_equal(got.params, [1, 6])  # the first lane's best was step 1
  np.testing.assert_allclose(got.hparams["optim.lr"], [0.3, 1.0])
  np.testing.assert_array_equal(got.step, [6, 6])  # the step count, and with it the noise, continues
  np.testing.assert_array_equal(watch.best(None).params, [1, 6])
  assert watch.score == pytest.approx((2.0 + 8.0) / 2)
  for step in range(7, 22):
    assert watch.reason(step) is None
    watch.see(state(step, 0.3), jnp.asarray([jnp.nan, 0.0]))
  assert watch.reason(22) == "its score stopped rising"
  with pytest.raises(errors.DivergenceError):
    watching.Watch(programs.keep, 1.0, 2, scored=True).see(state(0, 1.0), jnp.asarray([1.0, jnp.nan]))


def test_limits_end_a_fit_and_a_table_without_columns_is_an_error():
  assert training._limit(training.Limits(1000), 800, 1e9) is None
  assert training._limit(training.Limits(800), 800, 0) == "its 800 steps are done"
  assert training._limit(training.Limits(800, 0.5), 200, 30.0) == "its 0.5 minutes are used up"
  with pytest.raises(errors.UserError, match="nothing to learn from"):
    fitted.fit(np.zeros((3, 0)), (), limits=ONCE)


def test_a_mechanism_is_for_numbers_alone_and_sees_what_was_hidden_on_purpose_as_observed():
  """p(m|x) multiplies the joint: with the indicator of an entry that was hidden, its factor is that of m = 1."""
  with pytest.raises(errors.UserError, match="is for columns of numbers; this table has classes"):
    training.model(mt.SPEC._replace(mechanism="self_masking"))
  spec = training.Spec(("student_t",) * 2, 1, (4,), mechanism="self_masking")
  model, x = training.model(spec), jnp.array([[0.5, -1.0]])
  z = jnp.zeros((1, 1)), jax.random.split(jax.random.key(0), 1)
  rows = training.Rows(x, jnp.array([[1.0, 0.0]]), jnp.ones((1, 2)))
  params = jax.jit(model.init)(jax.random.key(1), rows.batch())
  log_p = lambda **more: model.bind(params).log_joint({"x": x, "mask": rows.mask, **more}, z)[0][0]
  hidden, missing = log_p(indicator=rows.indicator), log_p()
  logit = lambda p: np.log(p) - np.log1p(-p)
  p_observed = np.exp(hidden) / (np.exp(hidden) + np.exp(missing))  # both have the same other factors
  drawn = model.bind(params).px_z.draw(model.bind(params).decoder(z[0]), z[1])[0, 1]
  expected = model.bind(params).pm_x(jnp.array([[0.5, drawn]]))[0, 1]
  assert logit(p_observed) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.slow
def test_self_masking_imputes_what_hid_itself_better_than_missing_at_random_does():
  """Values above the mean are missing in the first column: the model of m knows that they are large."""
  from dgm_jax.applications.imputation import cells

  g = np.random.default_rng(0)
  z = g.normal(size=(1500, 1))
  complete = z + 0.5 * g.normal(size=(1500, 3))
  x = complete.copy()
  x[x[:, 0] > 0, 0] = np.nan
  plain, errors_ = [columns.Column(c, "real") for c in "abc"], {}
  for mechanism in ("ignorable", "self_masking"):
    model = fitted.fit(x, plain, latent_dim=2, mechanism=mechanism, limits=training.Limits(6000))
    found = cells.impute(model, x, num_samples=500)
    errors_[mechanism] = np.sqrt(np.mean(np.square(found.x - complete[found.row, found.column])))
  assert errors_["self_masking"] < 0.9 * errors_["ignorable"]
