"""The game of two players: its dynamics in closed form, its gradients, its random numbers, and what an update moves."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from dgm_jax.api import programs
from dgm_jax.core import errors, rng
from dgm_jax.core.system import averaging
from dgm_jax.data import pipeline
from dgm_jax.evaluate import latent_space
from dgm_jax.models.adversarial import bigan, gan
from dgm_jax.models.vae import vae
from dgm_jax.networks import norms
from dgm_jax.principles import adversarial, adversarial_rounds
from dgm_jax.principles.adversarial_updates import Game, packed
from dgm_jax.principles.latent import latent
from dgm_jax.training import optimisers

SGD = optax.sgd(0.1)


class _Number(nn.Module):
  start: float

  @nn.compact
  def __call__(self):
    return self.param("value", lambda key: jnp.asarray(self.start, jnp.result_type(float)))


class Dirac(nn.Module):
  """p = delta_0, q = delta_theta, D(x) = psi x (Mescheder, Geiger & Nowozin, 2018)."""

  def setup(self):
    self.generator, self.discriminator = _Number(1.0), _Number(0.5)

  @nn.nowrap
  def latent(self, key, n):
    return jnp.zeros((n, 1))

  def generate(self, z, y=None, train=False):
    return z + self.generator()

  def discriminate(self, x, y=None, train=False):
    return self.discriminator() * x[:, 0]

  support = (-np.inf, np.inf)


def dirac(steps=100, **options):
  """theta and psi [steps + 1] of the real train_step, by SGD in float64."""
  with jax.enable_x64(True):
    system = adversarial.make(Dirac(), SGD, **options)
    batch = {"x": jnp.zeros((2 * system.batches, 1))}
    state = system.init(jax.random.key(0), batch, {})

    def step(state, _):
      state = system.train_step(state, jax.random.key(0), batch)[0]
      return state, [state.params[p]["value"] for p in ("generator", "discriminator")]

    thetas, psis = jax.jit(lambda s: jax.lax.scan(step, s, None, steps)[1])(state)
    return np.concatenate([[1.0], thetas]), np.concatenate([[0.5], psis])


def by_hand(steps=100, loss="wasserstein", order="alternating", n=1, weight=0.0, h=0.1):
  sigmoid = lambda t: 1 / (1 + np.exp(-t))
  of_psi = {"wasserstein": lambda t, p: t}.get(loss, lambda t, p: sigmoid(p * t) * t)
  of_theta = {
    "wasserstein": lambda t, p: -p,
    "minimax": lambda t, p: -sigmoid(p * t) * p,
    "non_saturating": lambda t, p: -sigmoid(-p * t) * p,
  }[loss]
  theta, psi, found = 1.0, 0.5, [(1.0, 0.5)]
  for _ in range(steps):
    old = psi
    for _ in range(n):
      psi = psi - h * (of_psi(theta, psi) + weight * psi)
    theta = theta - h * of_theta(theta, old if order == "simultaneous" else psi)
    found.append((theta, psi))
  return np.transpose(found)


@pytest.mark.parametrize("loss,order,n,weight", [
  ("non_saturating", "alternating", 1, 0.0),
  ("minimax", "simultaneous", 1, 0.0),
  ("non_saturating", "simultaneous", 1, 0.0),
  ("non_saturating", "shared_noise", 1, 0.0),
  ("wasserstein", "alternating", 2, 0.0),
  ("non_saturating", "alternating", 2, 0.3),
  ("minimax", "simultaneous", 1, 0.3),
])  # fmt: skip
def test_steps_equal_the_recursion_written_by_hand(loss, order, n, weight):
  options = {"penalty": "r1", "weight": weight} if weight else {}
  found = dirac(loss=loss, order=order, num_discriminator=n, **options)
  np.testing.assert_allclose(found, by_hand(loss=loss, order=order, n=n, weight=weight), rtol=0, atol=1e-12)


def test_simultaneous_steps_spiral_outwards_and_alternating_ones_stay():
  theta, psi = dirac(loss="wasserstein", order="simultaneous")
  radius = theta**2 + psi**2
  np.testing.assert_allclose(radius[1:] / radius[:-1], 1 + 0.1**2, rtol=1e-12)
  theta, psi = dirac(loss="wasserstein", order="alternating")
  np.testing.assert_allclose(theta**2 + psi**2 - 0.1 * theta * psi, 1 + 0.25 - 0.1 * 0.5, rtol=1e-12)


def test_the_zero_centred_penalty_converges():
  for loss in ("non_saturating", "wasserstein"):
    theta, psi = dirac(steps=1000, loss=loss, penalty="r1", weight=0.5)
    assert theta[-1] ** 2 + psi[-1] ** 2 < 1e-8


SHAPE = (2, 3, 1)
NET = {"hidden": (16,)}
X = jax.random.uniform(jax.random.key(9), (48, *SHAPE))


def model(**options):
  given = {"data_shape": SHAPE, "latent_dim": 4, "generator_args": NET, "discriminator_args": NET}
  return gan.Model(**given | options)


def spectral(**more):
  return {"generator_args": NET | {"norm": "spectral"}, "discriminator_args": NET | {"norm": "spectral"}} | more


def batch_norm(player):
  return {f"{player}_args": NET | {"norm": "batch"}}


_MADE = {}


def _compiled(built, **options):
  """(system, its init, its train_step), the same for equal models and options: what is compiled is shared."""
  key = repr((built, sorted(options.items())))
  if key not in _MADE:
    system = adversarial.make(built, SGD, **options)
    _MADE[key] = system, jax.jit(system.init), jax.jit(system.train_step)
  return _MADE[key]


def after(built, x, steps=1, **options):
  """(state before, state after, metrics)."""
  _, init, train_step = _compiled(built, **options)
  first = state = init(jax.random.key(1), {"x": X}, {})
  for _ in range(steps):
    state, metrics = train_step(state, jax.random.key(2), {"x": x})
  return first, state, metrics


def assert_params(a, b, atol):
  jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=0, atol=atol), a.params, b.params)


@pytest.mark.parametrize("name", ["plain", "spectral"])
def test_accumulated_gradients_equal_those_of_the_large_batch(name):
  built = model(**(spectral() if name == "spectral" else {}))
  options = {"loss": "non_saturating", "penalty": "gradient_penalty", "weight": 1.0}
  large = after(built, X[:24], **options)
  small = after(built, X[:24], accumulate=3, **options)
  assert_params(large[1], small[1], 1e-6)
  assert large[2]["gradient_generator"] > 1e-3
  assert float(large[2]["loss"]) == pytest.approx(float(small[2]["loss"]), rel=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), large[1].variables, small[1].variables)


def test_with_batch_normalisation_accumulation_is_another_game():
  built = model(**batch_norm("discriminator"))
  large, small = (after(built, X[:24], accumulate=k)[1] for k in (1, 3))
  with pytest.raises(AssertionError):
    assert_params(large, small, 1e-6)


def test_reals_and_samples_go_together_or_apart():
  """One batch of 2 B gives the same logits; with batch statistics the reals' must not depend on the samples."""
  for options, together in (({}, True), (batch_norm("discriminator"), False)):
    built = model(**options)
    state = after(built, X[:8])[0]
    game = Game(built, adversarial.Options(), False)
    judge = lambda real, fake: game.judged(state.params, state.variables, jax.random.key(0), real, fake, {})[:2]
    a, b = judge(X[:8], X[8:16]), judge(X[:8], 1 - X[8:16])
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
    assert abs(a[1] - b[1]).max() > 1e-3
    bound = built.bind({"params": state.params, **state.variables})
    if together:
      np.testing.assert_allclose(a[0], bound.discriminate(X[:8]), rtol=1e-5)
      np.testing.assert_allclose(a[1], bound.discriminate(X[8:16]), rtol=1e-5)


def test_only_the_updated_players_statistics_move():
  built = model(generator_args=NET | {"norm": "batch"}, discriminator_args=NET | {"norm": "batch"})
  for player, other in (("generator", "discriminator"), ("discriminator", "generator")):
    before, now, _ = after(built, X[:8], train=player)
    stats = lambda state, player: jax.tree.leaves((state.params[player], state.variables["batch_stats"][player]))
    assert all((a == b).all() for a, b in zip(stats(before, other), stats(now, other), strict=True))
    assert all(abs(a - b).max() > 0 for a, b in zip(stats(before, player), stats(now, player), strict=True))
  before, now, _ = after(built, X[:8], order="simultaneous")
  for player in ("generator", "discriminator"):
    assert all(abs(a - b).max() > 0 for a, b in zip(stats(before, player), stats(now, player), strict=True))


def test_u_moves_once_in_an_update_of_its_own_player():
  built = model(**spectral())
  before, now, metrics = after(built, X[:8])
  for player in ("generator", "discriminator"):
    for layer, own in before.variables["spectral"][player].items():
      sigma, u = norms.of_matrix(before.params[player][layer]["kernel"], own["u"])
      np.testing.assert_allclose(now.variables["spectral"][player][layer]["u"], u, atol=1e-6)
      np.testing.assert_allclose(now.variables["spectral"][player][layer]["sigma"], sigma, rtol=1e-5)
  largest = max(float(v["sigma"]) for p in now.variables["spectral"].values() for v in p.values())
  assert float(metrics["sigma"]) == pytest.approx(largest)
  before, now, _ = after(built, X[:8], train="discriminator")
  jax.tree.map(
    np.testing.assert_array_equal, before.variables["spectral"]["generator"], now.variables["spectral"]["generator"]
  )


def test_packed_logits_depend_on_all_their_samples():
  built = model()
  system, init, _ = _compiled(built, pack=3)
  state = init(jax.random.key(1), {"x": X}, {})
  judge = lambda x: built.bind({"params": state.params}).discriminate(packed(x, 3))
  assert judge(X[:6]).shape == (2,)
  for i in range(3):
    changed = judge(X[:6].at[i].set(0.0)) - judge(X[:6])
    assert abs(changed[0]) > 1e-4
    assert changed[1] == 0
  assert packed(X, 1) is X
  found = jax.jit(system.eval_step)(state, jax.random.key(0), {"x": X[:5]})
  np.testing.assert_allclose(found["d_real"][1], judge(X[1:4])[0], rtol=1e-5)
  np.testing.assert_allclose(found["d_real"][4], judge(X[jnp.array([4, 0, 1])])[0], rtol=1e-5)


def test_a_packed_game_trains_and_a_plain_one_is_that_of_one():
  _, now, metrics = after(model(), X[:24], pack=2, penalty="gradient_penalty")
  assert all(np.isfinite(v) for v in metrics.values())
  assert now.params["discriminator"]["layers_0"]["kernel"].shape == (12, 16)
  assert_params(after(model(), X[:24], pack=1)[1], after(model(), X[:24])[1], 0.0)


@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_a_rare_penalty_has_the_mean_gradient_of_a_constant_one(penalty):
  built, batch = model(), {"x": X[:8]}
  state = after(built, X[:8])[0]

  @functools.partial(jax.jit, static_argnums=0)
  def gradient(every, count):
    game = Game(built, adversarial.Options(penalty=penalty, every=every), False)
    draw = game.draws(jax.random.key(3), batch, 1)
    return adversarial_rounds.gradients(game, state, "discriminator", draw, count)[0]

  rare = [gradient(4, count) for count in range(4)]
  mean = jax.tree.map(lambda *g: sum(g) / 4, *rare)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mean, gradient(1, 0))
  jax.tree.map(np.testing.assert_array_equal, rare[1], rare[3])


@pytest.mark.parametrize("options", [
  {"penalty": "r2"},
  {"penalty": "dragan", "loss": "hinge"},
  {"penalty": "lecam", "loss": "relativistic"},
  {"penalty": "clip", "weight": 0.01, "loss": "wasserstein"},
  {"loss": "relativistic_average", "smoothing": 0.0},
  {"loss": "least_squares", "order": "shared_noise", "a": -1.0, "c": 0.0},
  {"loss": "reverse_kl", "order": "simultaneous"},
  {"latent_consistency": 1.0, "latent_diversity": 0.5, "num_generator": 2},
], ids=str)  # fmt: skip
def test_every_option_changes_both_players_and_is_finite(options):
  before, now, metrics = after(model(), X[:16], steps=2, **options)
  plain = after(model(), X[:16], steps=2)[1]
  assert all(np.isfinite(v) for v in metrics.values()), metrics
  for player in ("generator", "discriminator"):
    different = lambda a, b: max(float(abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))
    assert different(before.params[player], now.params[player]) > 1e-6
    assert different(plain.params[player], now.params[player]) > 1e-7
  if options.get("penalty") == "clip":
    assert max(float(abs(p).max()) for p in jax.tree.leaves(now.params["discriminator"])) <= 0.01
  if options.get("penalty") == "lecam":
    means = now.variables["adversarial"]
    assert float(means["real"]) == pytest.approx(0.01 * float(metrics["logit_real"]), abs=0.02)
    assert float(means["fake"]) != 0


def test_the_alarm_of_a_collapse_goes_to_zero():
  built = model(output="linear", generator_args={"hidden": ()})
  _, init, train_step = _compiled(built)
  state = init(jax.random.key(1), {"x": X}, {})
  collapsed = state.replace(
    params=state.params | {"generator": jax.tree.map(jnp.zeros_like, state.params["generator"])}
  )
  assert float(train_step(state, jax.random.key(2), {"x": X[:16]})[1]["spread"]) > 0.1
  assert float(train_step(collapsed, jax.random.key(2), {"x": X[:16]})[1]["spread"]) == 0


def test_each_update_has_its_own_noise_and_examples():
  """Two updates of the discriminator equal those of two systems of one, on the two halves of the step's examples."""
  built = model()
  _, two, _ = after(built, X[:16], num_discriminator=2, train="discriminator")
  game = Game(built, adversarial.Options(train="discriminator"), False)
  state = after(built, X[:16])[0]
  draws = [
    game.draws(jax.random.fold_in(rng.stream(jax.random.key(2), "discriminator"), i), {"x": X[8 * i : 8 * i + 8]}, 1)
    for i in range(2)
  ]
  assert abs(draws[0]["z"] - draws[1]["z"]).max() > 0.1
  for draw in draws:
    grads, _, _ = adversarial_rounds.gradients(game, state, "discriminator", draw, 0)
    params = jax.tree.map(lambda p, g: p - 0.1 * g, state.params["discriminator"], grads)
    state = state.replace(params=state.params | {"discriminator": params})
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), two.params, state.params)


def test_the_average_of_the_generator_is_evaluated():
  built = model()
  system = averaging(adversarial.make(built, SGD), 0.9, part="generator")
  state = jax.jit(system.init)(jax.random.key(1), {"x": X}, {})
  state, _ = jax.jit(system.train_step)(state, jax.random.key(2), {"x": X[:16]})
  assert state.averages.keys() == {"generator"}
  wrong = state.replace(
    params=state.params | {"generator": jax.tree.map(lambda p: p * jnp.nan, state.params["generator"])}
  )
  batch = {"x": X[:5]}
  for function in (system.eval_step, system.pictures):
    found, expected = function(wrong, jax.random.key(0), batch), function(state, jax.random.key(0), batch)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert jnp.isfinite(system.sample(wrong, jax.random.key(0), 3)).all()


def test_labels_are_drawn_with_the_frequencies_of_training():
  built = model(num_classes=3)
  system = adversarial.make(built, SGD)
  y = jnp.array([0] * 4 + [2] * 12)
  state = jax.jit(system.init)(jax.random.key(1), {"x": X, "y": jnp.zeros(48, jnp.int32)}, {})
  state, _ = jax.jit(system.train_step)(state, jax.random.key(2), {"x": X[:16], "y": y})
  np.testing.assert_array_equal(state.variables["adversarial"]["labels"], [4, 0, 12])
  assert system.sample(state, jax.random.key(0), 7).shape == (7, *SHAPE)
  different = built.bind({"params": state.params})
  z = different.latent(jax.random.key(0), 5)
  assert abs(different.generate(z, jnp.zeros(5, jnp.int32)) - different.generate(z, jnp.full(5, 2))).max() > 1e-4
  with pytest.raises(errors.UserError, match="conditional on 'y'"):
    system.init(jax.random.key(1), {"x": X}, {})
  with pytest.raises(errors.UserError, match="num_classes = 3, and y of the data 5 classes"):
    adversarial.make(built.clone(data_classes=5), SGD)
  context = adversarial.make(built.clone(data_classes=5), SGD, conditions_on="context")
  assert context.sample is None


def test_an_encoder_learns_from_the_reals_and_inverts_in_the_end():
  """The encoder's gradient comes from the pairs (x, E(x)); without its term it would be zero."""
  nets = {"generator_args": NET, "encoder_args": NET, "discriminator_args": NET}
  built = bigan.Model(data_shape=SHAPE, latent_dim=4, **nets)
  before, now, _ = after(built, X[:16], order="simultaneous", loss="non_saturating")
  encoders = [s.params["generator"]["encoder"] for s in (before, now)]
  assert all(abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, encoders), strict=True))
  system = _compiled(built, order="simultaneous", loss="non_saturating")[0]
  pictures = system.pictures(now, jax.random.key(0), {"x": X[:4]})
  np.testing.assert_array_equal(pictures["reconstructions"][:, 0], X[:4])
  assert system.sample(now, jax.random.key(0), 3).shape == (3, *SHAPE)
  bound = built.bind({"params": now.params})
  np.testing.assert_allclose(
    pictures["reconstructions"][:, 1], bound.reconstruct(bound.encode({"x": X[:4]})), rtol=1e-5
  )
  assert bound.features({"x": X[:4]}).shape == (4, 16)
  data = {"x": np.asarray(X[:6]), "index": np.arange(6), "y": np.arange(6) % 2}
  experiment = types.SimpleNamespace(model=built, transforms=pipeline.make((), data))
  encode, decode = (programs.make_program(experiment, name) for name in ("encode", "decode"))
  np.testing.assert_allclose(encode(now, jax.random.key(0), data), bound.encode({"x": X[:6]}), rtol=1e-5, atol=1e-6)
  assert decode(now, np.zeros((2, 4), "f")).shape == (2, *SHAPE)
  shown = latent_space.evaluate(experiment, now, jax.random.key(0), data, num_pairs=1, num_steps=2)["figures"]
  assert {"latent_codes", "latent_interpolations"} <= shown.keys()


class Pairs(nn.Module):
  """A linear critic of pairs (x, z), w'x + v'z; the encoder is the first two columns of x."""

  def setup(self):
    self.generator, self.discriminator = _Number(1.0), nn.Dense(1, use_bias=False)

  @nn.nowrap
  def latent(self, key, n):
    return jax.random.normal(key, (n, 2))

  def generate(self, z, y=None, train=False):
    return self.generator() * jnp.concatenate([z, z[:, :1]], 1), z

  def observed(self, x, train=False):
    return x, self.generator() * x[:, :2]

  def discriminate(self, pair, y=None, train=False):
    return self.discriminator(jnp.concatenate(pair, 1))[:, 0]

  support = (-np.inf, np.inf)


@pytest.mark.parametrize("penalty,entries", [("dragan", 3), ("r1", 5)])
def test_dragan_moves_the_x_of_a_pair_and_r1_judges_all_of_it(penalty, entries):
  system = adversarial.make(Pairs(), SGD, penalty=penalty, weight=1.0)
  x = jax.random.normal(jax.random.key(2), (8, 3))
  state = jax.jit(system.init)(jax.random.key(1), {"x": x}, {})
  slope = jnp.sum(state.params["discriminator"]["kernel"][:entries] ** 2)
  _, metrics = jax.jit(system.train_step)(state, jax.random.key(2), {"x": x})
  expected = (jnp.sqrt(slope) - 1) ** 2 if penalty == "dragan" else 0.5 * slope
  assert float(metrics["penalty"]) == pytest.approx(float(expected), rel=1e-5)


class Painted(gan.Model):
  """Whose generator also lowers the distance of its samples from the examples, as in image translation."""

  def auxiliary(self, key, batch, x):
    return jnp.sum((x - batch["x"]) ** 2, (1, 2, 3))


def test_an_auxiliary_loss_is_lowered_by_the_generator_alone():
  args = {"data_shape": SHAPE, "latent_dim": 4, "generator_args": NET, "discriminator_args": NET}
  state = after(model(), X[:8])[0]
  draw = Game(model(), adversarial.Options(), False).draws(jax.random.key(3), {"x": X[:8]}, 1)

  def gradient(built, weight, player):
    game = Game(built, adversarial.Options(auxiliary_weight=weight), False)
    return adversarial_rounds.gradients(game, state, player, draw, 0)[0]

  def distance(params):
    x = model().apply({"params": state.params | {"generator": params}}, draw["z"][0], None, True, method="generate")
    return jnp.mean(jnp.sum((x - X[:8]) ** 2, (1, 2, 3)))

  plain, own = gradient(model(), 1.0, "generator"), jax.grad(distance)(state.params["generator"])
  expected = jax.tree.map(lambda a, b: a + 0.3 * b, plain, own)
  found = gradient(Painted(**args), 0.3, "generator")
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
  jax.tree.map(
    np.testing.assert_array_equal,
    gradient(Painted(**args), 0.3, "discriminator"),
    gradient(model(), 1.0, "discriminator"),
  )


@pytest.mark.parametrize("options,sentence", [
  ({"los": "hinge"}, "key of config.objective 'los'. Did you mean 'loss'"),
  ({"loss": "hing"}, "objective.loss 'hing'. Did you mean 'hinge'"),
  ({"penalty": "r3"}, "objective.penalty 'r3'"),
  ({"order": "together"}, "objective.order 'together'"),
  ({"train": "none"}, "objective.train 'none'"),
  ({"penalty": "clip"}, "'clip' is for objective.loss = 'wasserstein', not 'non_saturating'"),
  ({"num_discriminator": 0}, "objective.num_discriminator = 0"),
  ({"num_generator": 2, "order": "simultaneous"}, "one update of each player"),
  ({"accumulate": 2, "loss": "relativistic_average"}, "means over the whole batch"),
  ({"weight": -1.0}, "objective.weight = -1"),
  ({"smoothing": 0.1, "loss": "wasserstein"}, "objective.smoothing"),
  ({"every": 4}, "objective.every = 4 is how often a penalty is computed"),
  ({"a": -1.0}, "labels of objective.loss = 'least_squares'"),
  ({"adversarial_weight": 0.0}, "this model has none"),
  ({"auxiliary_weight": -1.0}, "objective.auxiliary_weight = -1"),
  ({"consistency_changes": "colour"}, "change in objective.consistency_changes 'colour'. Did you mean 'color'"),
])  # fmt: skip
def test_mistakes_get_one_sentence(options, sentence):
  with pytest.raises(errors.UserError, match=sentence) as raised:
    adversarial.make(model(), SGD, **options)
  assert "\n" not in str(raised.value)


def test_a_pack_that_does_not_divide_the_batch_is_refused():
  with pytest.raises(errors.UserError, match="pack = 3 does not divide the batch of 8"):
    after(model(), X[:8], pack=3)


def test_models_of_other_principles_are_refused():
  with pytest.raises(errors.UserError, match="needs models with latent\\(key, n\\)"):
    adversarial.make(vae.Model(SHAPE), SGD)
  with pytest.raises(errors.UserError, match="infer"):
    latent.make(model(), SGD)
  with pytest.raises(errors.UserError, match="pack = 2; samples with labels"):
    adversarial.make(model(num_classes=3), SGD, pack=2)


def test_two_optimisers_have_their_own_numbers():
  txs = optimisers.make_players(
    ("generator", "discriminator"), {"generator": 9, "discriminator": 9}, name="sgd", lr=0.1, b1=0.0,
    discriminator={"lr": 0.4},
  )  # fmt: skip
  system = adversarial.make(Dirac(), txs, loss="wasserstein", order="simultaneous")
  batch = {"x": jnp.zeros((2, 1))}
  state = system.init(jax.random.key(0), batch, {"optim.discriminator.lr": jnp.float32(0.2)})
  state, _ = system.train_step(state, jax.random.key(0), batch)
  np.testing.assert_allclose(state.params["generator"]["value"], 1.0 + 0.1 * 0.5, rtol=1e-6)
  np.testing.assert_allclose(state.params["discriminator"]["value"], 0.5 - 0.2 * 1.0, rtol=1e-6)
