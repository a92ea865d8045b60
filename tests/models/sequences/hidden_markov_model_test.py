"""Hidden Markov models by EM: hmmlearn from the same parameters, ascent, a planted chain, singular data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from hmmlearn import hmm

from dgm_jax import data as data_sets
from dgm_jax.core import errors
from dgm_jax.models.sequences import hidden_markov_model
from dgm_jax.principles import em, own_bound
from helpers import tables

B, T, D, C, S = 40, 8, 2, 3, 5
KEY = jax.random.key(1)
KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}
PI, A = np.array([0.6, 0.3, 0.1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
P = np.array([[0.85, 0.05, 0.05, 0.025, 0.025], [0.025, 0.85, 0.025, 0.05, 0.05], [0.025, 0.025, 0.15, 0.4, 0.4]])
MEANS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]])


def planted(sequences, steps, seed=0):
  """(z [B, T], symbols [B, T], normal vectors [B, T, D]) simulated from a chain."""
  rng = np.random.default_rng(seed)
  z = np.zeros((sequences, steps), int)
  z[:, 0] = rng.choice(C, sequences, p=PI)
  for t in range(1, steps):
    z[:, t] = (rng.random((sequences, 1)) > A[z[:, t - 1]].cumsum(1)).sum(1)
  symbols = (rng.random((sequences, steps, 1)) > P[z].cumsum(2)).sum(2)
  return z, symbols, MEANS[z] + rng.normal(size=(sequences, steps, D)) * [1.0, 0.6]


_, SYMBOLS, X = planted(B, T)
LENGTH = np.random.default_rng(1).integers(1, T + 1, B).astype(np.int32)
LENGTH[0] = T


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def model(kind, **options):
  if kind == "categorical":
    return hidden_markov_model.Model((T,), num_states=C, emission="categorical", num_symbols=S, **options)
  return hidden_markov_model.Model((T, D), num_states=C, covariance=kind, **{"floor": 0.0} | options)


def data(kind):
  return {"x": SYMBOLS.astype(np.int32) if kind == "categorical" else X, "length": LENGTH}


def asymmetric_params(kind, seed=0):
  """Parameters that differ between the states."""
  rng = np.random.default_rng(seed)
  rows = lambda *shape: jnp.log(rng.dirichlet(np.full(shape[-1], 5.0), shape[:-1]))
  params = {"log_initial": rows(C), "log_transition": rows(C, C)}
  if kind == "categorical":
    return params | {"log_emission": rows(C, S)}
  roots = np.tril(rng.normal(size=(C, D, D))) * 0.3 + np.eye(D)
  roots = {"full": roots, "tied": roots[0], "diagonal": abs(roots).sum(1), "spherical": abs(roots[:, 0, 0])}[kind]
  return params | {"means": jnp.asarray(MEANS + rng.normal(size=(C, D))), "roots": jnp.asarray(roots)}


def theirs(kind, params):
  """hmmlearn's model with these parameters, for one step of the likelihood's EM."""
  common = {"n_iter": 1, "tol": 0, "init_params": ""}
  if kind == "categorical":
    made = hmm.CategoricalHMM(C, n_features=S, **common)
    made.emissionprob_ = np.exp(params["log_emission"])
  else:
    made = hmm.GaussianHMM(C, KINDS[kind], min_covar=0, covars_prior=0, covars_weight=1, **common)
    made.n_features = D
    made.means_ = np.asarray(params["means"])
    made.covars_ = covariance(kind, params["roots"])
  made.startprob_, made.transmat_ = np.exp(params["log_initial"]), np.exp(params["log_transition"])
  return made


def covariance(kind, roots):
  roots = np.asarray(roots)
  return roots @ np.swapaxes(roots, -1, -2) if kind in ("full", "tied") else roots**2


@functools.cache
def compiled(kind, **options):
  made = em.make(model(kind, **options), None, num_examples=B)
  return jax.jit(lambda key: made.init(key, data(kind), {})), jax.jit(made.train_step)


def train(kind, steps, params=None, **options):
  """(the last state, metrics {name: [steps]}) of steps on all sequences, from `params` if given."""
  init, step = compiled(kind, **options)
  state, rows = init(jax.random.key(0)), []
  if params is not None:
    state = state.replace(params=params, variables={"em": state.variables["em"] | {"started": jnp.ones((), bool)}})
  for _ in range(steps):
    state, metrics = step(state, KEY, data(kind))
    rows.append(metrics)
  return state, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def slow_except(*quick):
  kinds = ("categorical", *KINDS)
  return pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k not in quick)) for k in kinds])


@slow_except("categorical", "full")
def test_score_and_a_step_agree_with_hmmlearn(kind):
  """For sequences of different lengths: cut for hmmlearn, padded here."""
  params, x = asymmetric_params(kind), data(kind)["x"]
  joined = np.concatenate([row[:n] for row, n in zip(x, LENGTH, strict=True)]).reshape(LENGTH.sum(), -1)
  other = theirs(kind, params)
  score = other.score(joined, LENGTH)
  other.fit(joined, LENGTH)
  state, metrics = train(kind, 1, params)
  np.testing.assert_allclose(metrics["log_px"][0] * B, score, rtol=1e-10)
  np.testing.assert_allclose(np.exp(state.params["log_initial"]), other.startprob_, atol=1e-10)
  np.testing.assert_allclose(np.exp(state.params["log_transition"]), other.transmat_, atol=1e-10)
  if kind == "categorical":
    np.testing.assert_allclose(np.exp(state.params["log_emission"]), other.emissionprob_, atol=1e-10)
  else:
    np.testing.assert_allclose(state.params["means"], other.means_, atol=1e-9)
    found = covariance(kind, state.params["roots"])  # hmmlearn has [C, D, D] for all kinds
    if kind in ("diagonal", "spherical"):
      found = found.reshape(C, -1, 1) * np.eye(D)
    expected = other.covars_[:: len(other.covars_) // C]  # hmmlearn 0.3.3 repeats each spherical one D times
    np.testing.assert_allclose(np.broadcast_to(found, (C, D, D)), expected, atol=1e-8)


PRIORS = {kind: {"smoothing": 0.5} if kind == "categorical" else {"floor": 0.05} for kind in ("categorical", *KINDS)}


@slow_except("categorical", "full")
def test_a_step_never_decreases_the_likelihood(kind):
  _, metrics = train(kind, 40)
  np.testing.assert_allclose(metrics["loss"], -metrics["log_px"], rtol=1e-12)
  assert np.diff(metrics["log_px"]).min() > -1e-9
  assert metrics["log_px"][-1] > metrics["log_px"][0] + 0.05


@slow_except("full")
def test_a_step_never_increases_the_loss_with_pseudo_counts_or_a_floor(kind):
  _, metrics = train(kind, 40, **PRIORS[kind])
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert abs(metrics["loss"] + metrics["log_px"]).min() > 1e-4  # the prior or penalty matters
  assert (metrics["penalty"] > 0).all() or kind == "categorical"


def test_the_gradient_of_the_likelihood_agrees_with_the_counts():
  """Fisher's identity, through the model: d log p / d logits = counts - their total times the shares."""
  kind, params = "categorical", asymmetric_params("categorical")
  made = own_bound.make(model(kind), optax.sgd(1.0))

  def both(params):
    state = made.init(KEY, data(kind), {}).replace(params=params)
    return made.train_step(state, KEY, data(kind))[0].params, model(kind).e_step(params, data(kind), jnp.ones(B))[0]

  moved, s = jax.jit(both)(params)
  for name, counts in (("log_initial", s.initial), ("log_transition", s.transition), ("log_emission", s.emission)):
    expected = (counts - counts.sum(-1, keepdims=True) * np.exp(params[name])) / B
    np.testing.assert_allclose(moved[name] - params[name], expected, atol=1e-12)


@pytest.mark.slow  # ascent, and agreement with hmmlearn, are tested above
def test_a_planted_chain_is_recovered():
  """Best of three vmapped starts: twice the log ratio to the truth is below a chi-squared quantile (Wilks)."""
  z, symbols, _ = planted(100, 40, seed=3)
  many = hidden_markov_model.Model((40,), num_states=C, emission="categorical", num_symbols=S)
  made, batch = em.make(many, None, num_examples=100), {"x": jnp.asarray(symbols)}

  def run(key):
    step = lambda state, _: made.train_step(state, key, batch)
    state, metrics = jax.lax.scan(step, made.init(key, batch, {}), length=100)
    return state.params, metrics["log_px"][-1]

  def found(params):
    bound = many.bind({"params": params})
    return jnp.mean(bound.log_prob(batch)), bound.paths(batch)

  with jax.enable_x64(False):
    lanes, log_px = jax.jit(jax.vmap(run))(jax.random.split(KEY, 3))
    best = jax.tree.map(lambda a: np.asarray(a[jnp.argmax(log_px)]), lanes)
    truth = {"log_initial": np.log(PI), "log_transition": np.log(A), "log_emission": np.log(P)}
    (true_log_px, true_path), (_, path) = map(jax.jit(found), (jax.tree.map(np.float32, truth), best))
  assert 0 < 2 * 100 * (log_px.max() - true_log_px) < scipy.stats.chi2(many.num_free_parameters).ppf(1 - 1e-4)
  order = best["log_emission"][:, [0, 1, 3]].argmax(0)  # match states by their symbols
  assert sorted(order) == [0, 1, 2]
  agree = lambda path: (np.asarray(path) == z).mean()
  assert agree(np.argsort(order)[path]) > agree(true_path) - 0.02
  np.testing.assert_allclose(np.exp(best["log_transition"])[order][:, order], A, atol=0.1)
  np.testing.assert_allclose(np.exp(best["log_emission"])[order], P, atol=0.1)


@pytest.mark.slow
def test_two_states_find_vowels_and_consonants():
  """In the letters of an English text, best of four starts (Cave & Neuwirth, 1980)."""
  splits = data_sets.load("text", path=str(tables.ROOT / "LICENSE"), tokens="letter")
  batch = {name: jnp.asarray(splits.train[name]) for name in ("x", "length")}
  shape = batch["x"].shape[1:]
  made = em.make(
    hidden_markov_model.Model(shape, num_states=2, emission="categorical", num_symbols=30), None, num_examples=135
  )

  def run(key):
    step = lambda state, _: made.train_step(state, key, batch)
    state, metrics = jax.lax.scan(step, made.init(key, batch, {}), length=200)
    return state.params, metrics["log_px"][-1]

  with jax.enable_x64(False):
    lanes, log_px = jax.jit(jax.vmap(run))(jax.random.split(KEY, 4))
  best = jax.tree.map(lambda a: np.exp(a[jnp.argmax(log_px)]), lanes)
  shown = np.linalg.matrix_power(best["log_transition"], 100)[0][:, None] * best["log_emission"]
  of = dict(zip(splits.about["vocabulary"], (shown / shown.sum(0)).argmax(0).tolist(), strict=True))
  assert len({of[c] for c in "aeiou"}) == 1
  assert all(of[c] != of["e"] for c in "bcdfglmnprstvw")  # h may join the vowels because of "the"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["categorical", "full", "spherical"])
def test_online_em_without_memory_equals_batch_em(kind):
  found = []
  for update in ("batch", "online"):
    made = em.make(model(kind), None, num_examples=B, update=update, decay=0.0)
    state, step = made.init(jax.random.key(0), data(kind), {}), jax.jit(made.train_step)
    for _ in range(5):
      state, _ = step(state, KEY, data(kind))
    found.append(state.params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), *found)


@pytest.mark.parametrize("kind", [pytest.param("categorical", marks=pytest.mark.slow), "full"])
def test_an_empty_state_restarts_from_the_heaviest(kind):
  """It shares the visits of that state, and differs in its emissions only."""
  params = asymmetric_params(kind)
  never = jnp.asarray(np.where(np.arange(C) == 1, -1e3, 0.0))
  params |= {"log_initial": params["log_initial"] + never, "log_transition": params["log_transition"] + never}
  e_step = jax.jit(lambda params: model(kind).e_step(params, data(kind), jnp.ones(B)))
  s, _ = e_step(params)
  assert model(kind)._counts(s)[1] == 0
  new = jax.jit(model(kind).m_step)(KEY, params, s)
  rows = np.exp(new["log_transition"])
  np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-9)
  heaviest = int(model(kind)._counts(s).argmax())
  np.testing.assert_allclose(rows[1], rows[heaviest], rtol=1e-9)
  np.testing.assert_allclose(rows[:, 1], rows[:, heaviest], rtol=1e-9)
  s, _ = e_step(new)
  assert model(kind)._counts(s).min() > 1
  name = "log_emission" if kind == "categorical" else "means"
  assert abs(new[name][1] - new[name][heaviest]).max() > 0.01


def test_singular_data_give_finite_results():
  """All steps equal, and all but a few equal; in single precision."""
  with jax.enable_x64(False):
    made = em.make(model("full", floor=1e-6), None, num_examples=B)

    @jax.jit
    def run(x):
      step = lambda state, _: made.train_step(state, KEY, {"x": x})
      return jax.lax.scan(step, made.init(KEY, {"x": x}, {}), length=20)

    few = np.where(np.arange(B * T).reshape(B, T, 1) % 97, 0.0, 1e4) + np.zeros(D)
    for x in (np.ones((B, T, D)), few):
      state, metrics = run(x.astype("f"))
      assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, metrics)))
      for name in ("log_initial", "log_transition"):
        np.testing.assert_allclose(np.exp(np.asarray(state.params[name], float)).sum(-1), 1, atol=1e-5)
      rounding = 1e-5 * x.max()
      assert (x.min() - rounding <= state.params["means"]).all()
      assert (state.params["means"] <= x.max() + rounding).all()


@pytest.mark.parametrize("options,named", [
  ({"emission": "poisson"}, "'poisson'; it must be one of gaussian, categorical"),
  ({"covariance": "round"}, "must be one of full"),
  ({"seeding": "any"}, "must be one of kmeans, random"),
  ({"num_states": 0}, "num_states = 0"),
  ({"smoothing": -1.0}, "smoothing = -1.0"),
  ({"emission": "categorical"}, "num_symbols = 0"),
  ({"emission": "categorical", "num_symbols": 3}, "a step of x is 2 numbers"),
])  # fmt: skip
def test_invalid_options_raise(options, named):
  with pytest.raises(errors.UserError, match=named):
    hidden_markov_model.Model((T, D), **options).init(KEY, {"x": jnp.asarray(X[:2])})
