"""Optimisers against optax and NumPy transcriptions of the published updates; schedules against optax's own."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import struct
from training.averages_test import _newest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, evaluation
from dgm_jax.core.system import averaging, gradient_system
from dgm_jax.training import optimisers, train
from dgm_jax.training.experiment import hyper_parameters
from dgm_jax.training.workdir import checkpoint
from helpers import tables

GRADS = np.random.default_rng(0).normal(size=(20, 2)).astype("f")


def _steps(tx, grads, **extra):
  """The parameters [T, 2] after each update."""
  params = jnp.array([1.0, -2.0])
  state, seen = tx.init(params), []
  for g in grads:
    updates, state = tx.update(jnp.asarray(g), state, params, **extra)
    params = optax.apply_updates(params, updates)
    seen.append(params)
  return jnp.stack(seen)


def _rates(num_steps, losses=None, **options):
  """The learning rate of each step: for a constant gradient Adam's update is the rate."""
  tx = optimisers.make(num_steps=num_steps, eps=1e-30, **options)
  params = jnp.zeros(())

  def step(state, loss):
    updates, state = tx.update(jnp.ones(()), state, params, value=loss)
    return state, -updates

  losses = jnp.zeros(num_steps) if losses is None else jnp.asarray(losses)
  return jax.lax.scan(step, tx.init(params), losses)[1]


def test_adam_is_optax_adam():
  ours = _steps(optimisers.make(num_steps=20, lr=3e-3, b1=0.8, b2=0.99, eps=1e-4), GRADS)
  np.testing.assert_allclose(ours, _steps(optax.adam(3e-3, 0.8, 0.99, 1e-4), GRADS), rtol=1e-6)


def test_rmsprop_is_optax_rmsprop_with_momentum():
  ours = _steps(optimisers.make(num_steps=20, name="rmsprop", lr=3e-3, b1=0.8, b2=0.9, eps=1e-4), GRADS)
  np.testing.assert_allclose(ours, _steps(optax.rmsprop(3e-3, 0.9, 1e-4, momentum=0.8), GRADS), rtol=1e-6)


def test_defaults_add_nothing_to_adam():
  """The traced program equals that of optax's chain, and the state has the structure of older checkpoints."""
  plain = optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(lambda count: -1e-3 * piecewise(count)))
  piecewise = optimisers.piecewise((), (), 20)
  params, ours = jnp.array([1.0, -2.0]), optimisers.make(num_steps=20)
  assert jax.tree.structure(ours.init(params)) == jax.tree.structure(plain.init(params))
  programs = [jax.make_jaxpr(tx.update)(params, tx.init(params), params) for tx in (ours, plain)]
  assert str(programs[0]) == str(programs[1])


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_adagrad_is_the_published_update_and_l2_is_added_to_the_gradient(l2):
  s, x, expected = np.zeros(2), np.array([1.0, -2.0]), []
  for g in GRADS.astype(np.float64):
    g = g + l2 * x
    s = s + g**2
    x = x - 0.1 * g / np.sqrt(s + 1e-8)
    expected.append(x)
  ours = _steps(optimisers.make(num_steps=20, name="adagrad", lr=0.1, eps=1e-8, l2=l2), GRADS)
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("ramp", [0, 8])
def test_sgd_is_momentum_whose_coefficient_rises_linearly(ramp):
  v, x, expected = np.zeros(2), np.array([1.0, -2.0]), []
  for t, g in enumerate(GRADS.astype(np.float64)):
    v = (0.5 + (0.2 * min(t / ramp, 1) if ramp else 0)) * v + g
    x = x - 0.1 * v
    expected.append(x)
  ours = _steps(optimisers.make(num_steps=20, name="sgd", lr=0.1, b1=0.5, b1_end=0.7, b1_ramp=ramp), GRADS)
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_a_rate_may_be_held_and_decays_by_a_factor_that_float32_would_round():
  """0.1 / 1.000004^t, the rate of the adversarial nets of 2014: 1.000004 in float32 would end 3 % off after 10^6."""
  options = optimisers.Options(schedule="exponential", rate_decay=4e-6, end_scale=1e-5, hold=0.2)
  found = optimisers._schedule(options, options, 1_000_000)(jnp.array([0, 200_000, 700_000, 10_000_000]))
  np.testing.assert_allclose(found, [1, 1, 1.000004**-500_000.0, 1e-5], rtol=1e-5)


def test_players_have_their_own_options_and_numbers():
  """What a player's section leaves out are the common options; lanes change the number where it is given."""
  made = optimisers.make_players(
    ("generator", "discriminator"),
    {"generator": 20, "discriminator": 40},
    lr=0.1,
    name="sgd",
    b1=0.0,
    discriminator={"lr": 0.4, "name": "adagrad"},
  )
  first = lambda player, **hparams: -_steps(made[player], GRADS[:1], hparams=hparams)[0] + jnp.array([1.0, -2.0])
  np.testing.assert_allclose(first("generator"), 0.1 * GRADS[0], rtol=1e-5)
  np.testing.assert_allclose(first("generator", **{"optim.lr": 0.3}), 0.3 * GRADS[0], rtol=1e-5)
  np.testing.assert_allclose(first("discriminator"), 0.4 * np.sign(GRADS[0]), rtol=1e-5)
  np.testing.assert_allclose(first("discriminator", **{"optim.lr": 0.3}), 0.4 * np.sign(GRADS[0]), rtol=1e-5)
  np.testing.assert_allclose(
    first("discriminator", **{"optim.discriminator.lr": 0.2}), 0.2 * np.sign(GRADS[0]), rtol=1e-5
  )
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.optim.discriminator = {"lr": 0.4, "l2": 0.0}
  assert hyper_parameters(config)["optim.discriminator.lr"] == 0.4
  assert "optim.discriminator.l2" not in hyper_parameters(config)


@pytest.mark.parametrize("options,sentence", [
  ({"discriminator": {"rate": 1.0}}, "key of config.optim.discriminator 'rate'"),
  ({"discriminator": {"lr": -1.0}}, "optim.discriminator.lr = -1"),
  ({"discriminator": {"ema_decay": 0.9}}, "only the generator is averaged"),
  ({"accumulate": 2}, "objective.accumulate"),
  ({"critic": {"lr": 1.0}}, "key of config.optim 'critic'"),
])  # fmt: skip
def test_mistakes_in_a_players_section_get_one_sentence(options, sentence):
  with pytest.raises(errors.UserError, match=sentence) as raised:
    optimisers.make_players(("generator", "discriminator"), {"generator": 20, "discriminator": 40}, **options)
  assert "\n" not in str(raised.value)


def test_iwae_adam_is_the_released_update():
  b1, b2, eps, lr = 0.99, 0.999, 1e-4, 1e-3
  m, v, x, expected = np.zeros(2), np.ones(2), np.array([1.0, -2.0]), []
  for t, g in enumerate(GRADS.astype(np.float64), 1):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    x = x - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    expected.append(x)
  ours = _steps(optimisers.make(num_steps=20, name="iwae_adam", lr=lr, b1=b1, b2=b2, eps=eps), GRADS)
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("reading,rates", [
  ("paper", [1e-3 * 10 ** (-i / 7) for i in range(8)]),
  ("code", [1e-3, 7.2e-4, 5.2e-4, 3.7e-4, 2.7e-4, 1.9e-4, 1.4e-4, 1e-4]),
])  # fmt: skip
def test_the_recipe_has_eight_stages_of_three_to_the_i_epochs(reading, rates):
  config = iwae_mnist.get_config(f"reading={reading}")
  assert config.num_epochs == 3280
  assert config.batch_size == 20
  assert config.optim.schedule == "staged"
  per_epoch = (60_000 - (config.data.valid_size or 0)) // 20
  schedule = optimisers.piecewise(config.optim.boundaries, config.optim.scales, 3280 * per_epoch)
  first = 0
  for i, rate in enumerate(rates):
    last = first + 3**i * per_epoch - 1
    np.testing.assert_allclose(config.optim.lr * schedule(first), rate, rtol=1e-5)
    np.testing.assert_allclose(config.optim.lr * schedule(last), rate, rtol=1e-5)
    first = last + 1
  assert first == 3280 * per_epoch


STAGES = {"boundaries": (0.25, 0.6), "scales": (0.5, 0.1)}


# (options, optax's schedule) for a run of 40 steps at lr 0.1; in WARM with a warm-up of 8 steps
SCHEDULES = {
  "constant": (STAGES, optax.constant_schedule(0.1)),
  "cosine": ({"end_scale": 0.2}, optax.cosine_decay_schedule(0.1, 40, alpha=0.2)),
  "exponential": (
    {"rate_decay": 0.25, "end_scale": 0.01},
    optax.exponential_decay(0.1, 1, 0.8, end_value=0.001),
  ),
  "staged": (STAGES, optax.piecewise_constant_schedule(0.1, {9.5: 0.5, 23.5: 0.2})),
  "plateau": ({"plateau_every": 50}, optax.constant_schedule(0.1)),
}


rise = optax.linear_schedule(0.0, 0.1, 8)


WARM = {
  "constant": optax.join_schedules([rise, optax.constant_schedule(0.1)], [8]),
  "cosine": optax.warmup_cosine_decay_schedule(0.0, 0.1, 8, 40, end_value=0.02),
  "exponential": lambda count: SCHEDULES["exponential"][1](count) * min(count / 8, 1),
  "staged": optax.join_schedules([rise, lambda count: SCHEDULES["staged"][1](count + 8)], [8]),
  "plateau": optax.join_schedules([rise, optax.constant_schedule(0.1)], [8]),
}


@pytest.mark.parametrize("name", optimisers.SCHEDULES)
def test_rates_are_optax_schedules(name):
  options, expected = SCHEDULES[name]
  counts = jnp.arange(40)
  plain = _rates(40, schedule=name, lr=0.1, **options)
  np.testing.assert_allclose(plain, [expected(t) for t in counts], rtol=1e-4)
  warm = _rates(40, schedule=name, lr=0.1, warmup=0.2, **options)
  np.testing.assert_allclose(warm, [WARM[name](t) for t in counts], rtol=1e-4, atol=1e-9)


def test_without_boundaries_the_default_schedule_is_constant():
  np.testing.assert_array_equal(_rates(40), _rates(40, schedule="constant"))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("level,slope", [(0.0, 0.0), (-100.0, 0.0), (-100.0, 1e-4)])
def test_plateau_lowers_the_rate_when_the_loss_stops_falling(accumulate, level, slope):
  """Patience of three means over four steps each: a loss that falls for 20 steps, then is flat or rises, with noise."""
  noise = level + np.tile([1.0, -1.0], 30) * 0.5
  losses = np.concatenate([np.arange(20, 0, -1), 1.0 + slope * np.arange(40)]) + noise
  options = {"schedule": "plateau", "plateau_every": 4, "plateau_patience": 3, "plateau_factor": 0.1, "lr": 0.1}
  rates = _rates(60, losses, accumulate=accumulate, **options)[accumulate - 1 :: accumulate]
  # the mean of steps 20 to 23 is the lowest; the next three are not lower, nor the three after
  expected = np.concatenate([np.full(35, 0.1), np.full(12, 0.01), np.full(12, 0.001), [1e-4]])
  np.testing.assert_allclose(rates, expected[accumulate - 1 :: accumulate], rtol=1e-4)
  falling = _rates(60, np.arange(60, 0, -1) + noise, accumulate=accumulate, **options)[accumulate - 1 :: accumulate]
  np.testing.assert_allclose(falling, 0.1, rtol=1e-4)


def test_the_training_loss_drives_the_plateau():
  """On |x| Adam oscillates at a constant rate and converges with a falling one."""
  found = {}
  for schedule in ("constant", "plateau"):
    tx = optimisers.make(num_steps=400, schedule=schedule, lr=0.3, plateau_every=10, plateau_patience=2)
    found[schedule] = abs(_trained(_quadratic(tx, lambda x, batch: jnp.abs(x).sum()), 400).params).max()
  assert found["plateau"] < 0.01 < found["constant"]


CENTRES = np.random.default_rng(1).normal(size=(300, 3)).astype("f")


def _quadratic(tx, loss=lambda x, batch: 0.5 * jnp.mean(jnp.sum((x - batch["x"]) ** 2, -1))):
  """A system that minimises the mean of |x - c|^2 / 2 over the batch of centres c."""
  init_params = lambda key, batch: (jnp.array([2.0, -1.0, 0.5]), {})
  loss_fn = lambda params, variables, key, batch, hparams: (loss(params, batch), ({}, variables))
  sample = lambda state, key, n: jnp.tile(state.params, (n, 1))
  return gradient_system(init_params, loss_fn, lambda state, key, batch: {"x": state.params}, sample, tx)


def _trained(system, num_steps, batch_size=25, hparams=None, start=0):
  """The state after steps on successive batches of the centres."""
  batches = jnp.asarray(CENTRES)[(start + jnp.arange(num_steps * batch_size)) % 300].reshape(num_steps, batch_size, 3)
  state = system.init(jax.random.key(0), {}, hparams or {})
  step = lambda state, x: system.train_step(state, jax.random.key(0), {"x": x})
  return jax.lax.scan(step, state, batches)[0]


def _by_numpy(num_steps, lr=0.1, eps=1.0, clip_norm=np.inf, weight_decay=0.0, ema_decay=0.0):
  """(parameters, averages) of Adam with clipped gradients and decoupled decay, in double precision."""
  x = np.array([2.0, -1.0, 0.5])
  m, v, average = np.zeros(3), np.zeros(3), x
  for t in range(num_steps):
    g = x - CENTRES[t * 25 : t * 25 + 25].astype(np.float64).mean(0)
    g *= min(1.0, clip_norm / np.linalg.norm(g))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    update = m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + eps)
    x = x - lr * (update + weight_decay * x)
    d = min(ema_decay, (1 + t) / (10 + t))
    average = d * average + (1 - d) * x
  return x, average


NUMBERS = [{}, {"clip_norm": 0.3}, {"weight_decay": 0.2}, {"clip_norm": 0.5, "weight_decay": 0.1}]


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
def test_clipping_and_decay_equal_numpy(numbers):
  tx = optimisers.make(num_steps=12, lr=0.1, eps=1.0, decay_biases=True, **numbers)
  x, _ = _by_numpy(12, **numbers)
  np.testing.assert_allclose(_trained(_quadratic(tx), 12).params, x, rtol=1e-4)
  if numbers:
    assert abs(x - _by_numpy(12)[0]).max() > 0.01


def test_none_and_zero_do_not_clip():
  plain, none = (optimisers.make(num_steps=20, clip_norm=c) for c in (0.0, None))
  np.testing.assert_array_equal(_steps(plain, GRADS), _steps(none, GRADS))


@pytest.mark.parametrize("decay_biases", [False, True])
def test_decay_excludes_biases_by_default(decay_biases):
  params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3), "scale": jnp.ones(()), "out_bias": jnp.ones((2, 3))}
  tx = optimisers.make(num_steps=10, lr=0.1, weight_decay=0.5, decay_biases=decay_biases)
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  for name, update in updates.items():
    np.testing.assert_allclose(update, -0.05 if name == "kernel" or decay_biases else 0.0, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.05, 0.4, 0.99])
def test_averages_equal_numpy(decay):
  """The initial decay, smaller than `decay`, lasts for all steps with 0.99, for some with 0.4, for none with 0.05."""
  system = _quadratic(optimisers.make(num_steps=12, lr=0.1, eps=1.0))
  state = _trained(averaging(system, decay), 12)
  x, average = _by_numpy(12, ema_decay=decay)
  np.testing.assert_allclose(state.averages, average, rtol=1e-4)
  np.testing.assert_allclose(state.params, x, rtol=1e-4)


def test_averages_may_be_of_a_part_and_begin_late():
  """Only the generator is averaged, from step 5 on; the newest discriminator stands beside it."""
  tx = optimisers.make(num_steps=12, lr=0.1, eps=1.0)

  def init_params(key, batch):
    return {"generator": jnp.array([2.0, -1.0, 0.5]), "discriminator": jnp.array([1.0, 0.0, 3.0])}, {}

  def loss_fn(params, variables, key, batch, hparams):
    centre = batch["x"].mean(0)
    return 0.5 * sum(jnp.sum((p - centre) ** 2) for p in params.values()), ({}, variables)

  system = gradient_system(init_params, loss_fn, lambda state, key, batch: state.params, None, tx)
  system = averaging(system, 0.5, part="generator", start=5)
  state = system.init(jax.random.key(0), {}, {})
  average = None
  for t in range(12):
    batch = {"x": jnp.asarray(CENTRES[25 * t % 300 :][:25])}
    state, _ = system.train_step(state, jax.random.key(0), batch)
    new = np.asarray(state.params["generator"], np.float64)
    d = min(0.5, (1 + t) / (10 + t)) if t >= 5 else 0.0
    average = new if average is None else d * average + (1 - d) * new
  assert state.averages.keys() == {"generator"}
  np.testing.assert_allclose(state.averages["generator"], average, rtol=1e-5)
  found = system.eval_step(state, None, None)
  np.testing.assert_array_equal(found["generator"], state.averages["generator"])
  np.testing.assert_array_equal(found["discriminator"], state.params["discriminator"])
  assert abs(average - np.asarray(state.params["generator"])).max() > 0.01


def test_a_system_is_prepared_from_its_averages():
  """`prepare` sees the averages, gets a fixed key, and what it returns is evaluated and sampled."""
  system = _quadratic(optimisers.make(num_steps=12, lr=0.1))
  prepare = lambda state, key: state.replace(variables={"twice": 2 * state.params, "draw": jax.random.normal(key)})
  system = averaging(system._replace(prepare=prepare, batches=3), 0.99)
  assert system.batches == 3
  state = _trained(system, 12)
  found = evaluation.make_prepare(system)(state)
  np.testing.assert_array_equal(found.variables["twice"], 2 * state.averages)
  np.testing.assert_array_equal(found.variables["draw"], evaluation.make_prepare(system)(state).variables["draw"])
  lanes = evaluation.make_prepare(system, lanes=True)(jax.tree.map(lambda a: jnp.stack([a, a]), state))
  np.testing.assert_allclose(lanes.variables["twice"][1], 2 * state.averages)
  plain = evaluation.make_prepare(_quadratic(optimisers.make(num_steps=12)))(state)
  np.testing.assert_array_equal(plain.params, state.averages)


def test_a_system_with_averages_evaluates_and_samples_them():
  system = averaging(_quadratic(optimisers.make(num_steps=12, lr=0.1)), 0.99)
  state = _trained(system, 12)
  assert abs(state.averages - state.params).max() > 0.05
  np.testing.assert_array_equal(state.averaged().params, state.averages)
  np.testing.assert_array_equal(system.eval_step(state, None, None)["x"], state.averages)
  np.testing.assert_array_equal(system.sample(state, None, 2), jnp.stack([state.averages] * 2))
  assert system.pictures is None
  without = _trained(_quadratic(optimisers.make(num_steps=12, lr=0.1)), 12)
  assert without.averaged() is without


EVERYTHING = {
  "warmup": 0.3,
  "schedule": "cosine",
  "end_scale": 0.1,
  "clip_norm": 0.5,
  "weight_decay": 0.1,
  "l2": 0.1,
  "decay_biases": True,
}


def test_accumulated_gradients_equal_those_of_the_whole_batch():
  """Four steps on 25 centres equal one on 100, with every option that depends on the gradient or counts updates."""
  options = {"lr": 0.1, "eps": 1e-2, **EVERYTHING}
  small = averaging(_quadratic(optimisers.make(num_steps=48, accumulate=4, **options)), 0.9, 4)
  large = averaging(_quadratic(optimisers.make(num_steps=12, **options)), 0.9)
  a, b = _trained(small, 48, 25), _trained(large, 12, 100)
  np.testing.assert_allclose(a.params, b.params, rtol=0, atol=1e-6)
  np.testing.assert_allclose(a.averages, b.averages, rtol=0, atol=1e-6)
  assert (a.step, b.step) == (48, 12)
  between = _trained(small, 47, 25)
  np.testing.assert_array_equal(between.params, _trained(small, 44, 25).params)
  np.testing.assert_array_equal(between.averages, _trained(small, 44, 25).averages)


LANES = {
  "b1_end": (0.1, 0.8),
  "rate_decay": (0.1, 0.5),
  "hold": (0.2, 0.6),
  "lr": (1e-3, 1e-1),
  "b1": (0.5, 0.9),
  "b2": (0.9, 0.99),
  "eps": (1e-3, 1e-1),
  "weight_decay": (0.0, 0.2),
  "l2": (0.0, 0.2),
  "clip_norm": (0.0, 0.3),
  "warmup": (0.0, 0.6),
  "end_scale": (0.0, 1.0),
  "ema_decay": (0.0, 0.8),
}


# by default
OFF = ("end_scale", "warmup", "clip_norm", "weight_decay", "l2", "ema_decay", "b1_end", "rate_decay", "hold")
# what an option needs beside it to have an effect
OWN = {name: {"schedule": "exponential", "rate_decay": 0.3} for name in ("rate_decay", "hold")}
OWN |= {"b1_end": {"name": "sgd", "b1": 0.5, "b1_ramp": 6}}


def test_every_float_may_differ_between_lanes():
  floats = {k for k, v in optimisers.Options()._asdict().items() if isinstance(v, float)}
  assert floats == {*LANES, "plateau_factor"}
  config = iwae_mnist.get_config("test,k=5")
  assert not {f"optim.{name}" for name in (*OFF, "plateau_factor")} & hyper_parameters(config).keys()
  config.optim.update(dict.fromkeys(OFF, 0.5))
  assert {f"optim.{name}" for name in LANES} <= hyper_parameters(config).keys()


@pytest.mark.parametrize("name", LANES)
def test_lanes_equal_single_runs(name):
  """The lanes' program has all options on; a lane with 0.0 equals a single run without that option."""
  options = {"lr": 0.1, "eps": 1e-2, "ema_decay": 0.9, **EVERYTHING, **OWN.get(name, {}), name: LANES[name][1]}
  options |= EVERYTHING if name in EVERYTHING else {}

  def run(hparams, **options):
    system = _quadratic(optimisers.make(num_steps=12, **options))
    if options["ema_decay"]:
      system = averaging(system, options["ema_decay"])
    state = _trained(system, 12, hparams=hparams)
    return state.params, state.averaged().params

  lanes = jax.jit(jax.vmap(lambda value: run({f"optim.{name}": value}, **options)))(jnp.array(LANES[name]))
  alone = [run({}, **options | {name: value}) for value in LANES[name]]
  for i, expected in enumerate(alone):
    for lane, lone in zip(lanes, expected, strict=True):
      np.testing.assert_allclose(lane[i], lone, rtol=1e-5)
  assert abs(alone[0][1] - alone[1][1]).max() > 1e-3


class _Before(struct.PyTreeNode):
  """The state of earlier versions, without averages."""

  step: jax.Array
  params: dict
  opt_state: tuple
  variables: dict
  hparams: dict


def test_a_checkpoint_of_an_earlier_version_without_averages_is_read(tmp_path):
  state = _trained(_quadratic(optimisers.make(num_steps=12)), 3, hparams={"optim.lr": jnp.float32(0.1)})
  before = _Before(**{k: v for k, v in vars(state).items() if k != "averages"})
  with checkpoint.open_manager(tmp_path) as manager:
    manager.save(3, args=ocp.args.StandardSave(before))
  with checkpoint.open_manager(tmp_path, read_only=True) as manager:
    found = checkpoint.restore_latest(manager, jax.tree.map(jnp.zeros_like, state))
  jax.tree.map(np.testing.assert_array_equal, found, state)


@pytest.mark.slow
def test_all_options_together_run_and_resume(tmp_path):
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.evaluate = {}
  config.optim.update(EVERYTHING | {"schedule": "plateau", "accumulate": 2, "ema_decay": 0.9, "plateau_every": 5})
  whole = train.train_and_evaluate(config, tmp_path / "whole")
  for file in ("config.json", "data.json", "metrics.jsonl"):
    (tmp_path / "half").mkdir(exist_ok=True)
    (tmp_path / "half" / file).write_text((tmp_path / "whole" / file).read_text())
  (tmp_path / "half" / "checkpoints").mkdir()
  (tmp_path / "whole" / "checkpoints" / "20").rename(tmp_path / "half" / "checkpoints" / "20")
  assert train.train_and_evaluate(config, tmp_path / "half") == whole
  a, b = (_newest(config, tmp_path / name) for name in ("whole", "half"))
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("path", tables.CONFIGS, ids=lambda p: p.stem)
def test_every_config_has_every_option(path):
  config = runpy.run_path(str(path))["get_config"]()
  # EM's M-steps maximise directly: there is no optimiser, and its options would have no effect
  players = {"discriminator"} if config.principle == "adversarial" else set()
  assert set(config.optim) == (set() if config.principle == "em" else set(optimisers.Options._fields) | players)


@pytest.mark.parametrize("options,named", [
  ({"name": "adma"}, "Did you mean 'adam'"),
  ({"learning_rate": 1.0}, "key of config.optim 'learning_rate'"),
  ({"lr": -1e-3}, "optim.lr = -0.001"),
  ({"b1": 1.0}, "optim.b1"),
  ({"eps": 0.0}, "optim.eps"),
  ({"boundaries": (0.5,), "scales": ()}, "optim.boundaries"),
  ({"schedule": "cosin"}, "optim.schedule 'cosin'. Did you mean 'cosine'.* constant, cosine, exponential, plateau"),
  ({"warmup": 1.0}, "optim.warmup = 1.0; it must be in \\[0, 1\\)"),
  ({"end_scale": -0.1}, "optim.end_scale = -0.1"),
  ({"plateau_factor": 1.0}, "optim.plateau_factor = 1.0"),
  ({"plateau_patience": 0}, "optim.plateau_patience = 0; it must be 1 or more"),
  ({"plateau_every": 0}, "optim.plateau_every"),
  ({"clip_norm": -1.0}, "optim.clip_norm = -1.0"),
  ({"clip_norm": float("nan")}, "optim.clip_norm = nan"),
  ({"accumulate": 0}, "optim.accumulate = 0"),
  ({"accumulate": 11}, "optim.accumulate = 11; the run has only 10 steps"),
  ({"weight_decay": -1e-4}, "optim.weight_decay"),
  ({"ema_decay": 1.0}, "optim.ema_decay = 1.0; it must be in \\[0, 1\\)"),
])  # fmt: skip
def test_invalid_options_raise(options, named):
  with pytest.raises(errors.UserError, match=named):
    optimisers.make(num_steps=10, **options)
