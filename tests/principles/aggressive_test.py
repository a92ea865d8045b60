"""Aggressive updates of the encoder, and the schedules of the KL weight, by their laws."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.configs import sentence_vae_text
from dgm_jax.core import errors
from dgm_jax.inference.aggregate_posterior import mutual_information
from dgm_jax.models.vae import dlgm, sequence_vae, vae
from dgm_jax.principles.latent import aggressive, latent, weights
from dgm_jax.principles.latent.options import Options, with_steps
from dgm_jax.training import build, programs
from helpers import tables

MODEL = vae.Model(tables.SHAPE, latent_dim=2, hidden=(8,))
BATCH = {k: jnp.asarray(v[:64]) for k, v in tables.TRAIN.items()}
HELD_OUT = lambda: {k: jnp.asarray(v) for k, v in tables.TEST.items()}


@functools.cache
def made(tx=None, **options):
  options = {"aggressive": 3, "aggressive_window": 2, "num_examples": 128, "held_out": HELD_OUT} | options
  system = latent.make(MODEL, tx or optax.adam(1e-2), **options)
  return system, jax.jit(system.init)(jax.random.key(0), BATCH, {}), jax.jit(system.train_step)


def at(state, **values):
  """The state with other values of the machine."""
  machine = state.variables["aggressive"] | {k: jnp.asarray(v, jnp.int32) for k, v in values.items()}
  return state.replace(variables=state.variables | {"aggressive": machine})


def moved(a, b):
  """Whether anything differs."""
  return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(
  "phase,turn,expected", [(1, 0, {"encoder"}), (1, 1, {"decoder"}), (0, 0, {"encoder", "decoder"})]
)
def test_an_update_moves_the_parameters_and_moments_of_its_part_alone(phase, turn, expected):
  _, state, step = made()
  state, _ = step(at(state, phase=0), jax.random.key(9), BATCH)  # so that all moments are not 0
  state = at(state, phase=phase, turn=turn)
  new, _ = step(state, jax.random.key(1), BATCH)
  before, after = (aggressive.parts(MODEL, s.params) for s in (state, new))
  assert {player for player in aggressive.PLAYERS if moved(before[player], after[player])} == expected
  found = {player for player in aggressive.PLAYERS if moved(state.opt_state[player], new.opt_state[player])}
  assert found == expected
  assert int(new.step) == int(state.step) + 1


def test_the_parts_are_all_parameters_and_an_update_is_a_step_down_the_gradient():
  _, state, step = made(optax.sgd(0.1))
  both = aggressive.parts(MODEL, state.params)
  assert set(both["encoder"]) == {"encoder"} and set(both["decoder"]) == set(state.params) - {"encoder"}
  plain = latent.make(MODEL, optax.sgd(0.1))
  reference = jax.jit(plain.init)(jax.random.key(0), BATCH, {}).replace(params=state.params)
  reference, _ = jax.jit(plain.train_step)(reference, jax.random.key(1), BATCH)
  encoder, _ = step(state, jax.random.key(1), BATCH)
  decoder, _ = step(at(state, turn=1), jax.random.key(1), BATCH)
  for name in state.params:
    new = encoder if name == "encoder" else decoder
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), new.params[name], reference.params[name])


def by_hand(losses, most, window):
  """The turns of He et al.'s loop over losses per word: "e" for the encoder, "d" for the decoder."""
  turns, losses = "", iter(losses)
  try:
    while True:
      before, total, count = np.inf, 0.0, 0
      for inner in range(1, most + 1):
        total, count = total + next(losses), count + 1
        turns += "e"
        if inner % window == 0:
          if total / count > before:
            break
          before, total, count = total / count, 0.0, 0
      next(losses)
      turns += "d"
  except StopIteration:
    return turns


@pytest.mark.parametrize("most,window", [(7, 2), (6, 3), (100, 15), (5, 1), (2, 4)])
def test_turns_are_those_of_the_published_loop(most, window):
  losses = 3 - 0.01 * np.arange(300) + np.random.default_rng(0).normal(size=300) * 0.05
  machine, turns = aggressive.start(), ""
  advance = jax.jit(lambda m, loss: aggressive.after_encoder(m, 10 * loss, jnp.float32(10), most, window))
  for loss in losses:
    if machine["turn"]:
      machine, turns = aggressive.after_decoder(machine, 10**6, lambda: 0.0), turns + "d"
    else:
      machine, turns = advance(machine, loss), turns + "e"
  expected = by_hand(losses, most, window)
  assert turns[: len(expected)] == expected and expected.count("d") > 1


def test_the_phase_ends_for_good_when_the_information_has_not_risen():
  machine, phases = aggressive.start(), []
  for value in (0.5, 0.9, 0.9, 5.0, 7.0):
    for _ in range(3):  # updates of the decoder in an epoch
      machine = aggressive.after_decoder(machine, 3, lambda value=value: jnp.float32(value))
    phases.append((int(machine["phase"]), float(machine["information"])))
  assert phases == [
    (1, 0.5),
    (1, pytest.approx(0.9)),
    (0, pytest.approx(0.9)),
    (0, pytest.approx(0.9)),
    (0, pytest.approx(0.9)),
  ]


def test_a_run_that_stops_within_the_phase_continues_bit_by_bit():
  system, state, _ = made(num_examples=1024)
  chunk = lambda n: jax.jit(programs.make_train_chunk(system, tables.identity, 64, n))
  five, key = chunk(5), jax.random.key(3)
  whole, metrics = chunk(10)(state, key, tables.TRAIN)
  half, _ = five(state, key, tables.TRAIN)
  assert int(half.variables["aggressive"]["phase"]) == 1
  assert int(half.variables["aggressive"]["inner"]) > 0 or float(half.variables["aggressive"]["words"]) > 0
  half = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), half)  # through the host, as a checkpoint
  again, _ = five(half, key, tables.TRAIN)
  assert not moved(whole, again)
  assert 0 < float(metrics["decoder_updates"][-1]) < 10


def test_the_phase_of_a_run_ends_and_the_metrics_say_so():
  system, state, _ = made(num_examples=64)  # the information is taken after each update of the decoder
  _, metrics = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 120))(
    state, jax.random.key(0), tables.TRAIN
  )
  phase = np.asarray(metrics["aggressive"])
  assert phase[0] == 1 and phase[-1] == 0 and (np.diff(phase) <= 0).all()
  updates = np.asarray(metrics["decoder_updates"])
  assert (np.diff(updates)[phase[1:] == 0] == 1).all()  # afterwards each step is one of both
  assert np.asarray(metrics["loss"])[-20:].mean() < np.asarray(metrics["loss"])[:20].mean()


class _Fixed:
  """A model whose q(z|x) is N(x, s^2) in one dimension."""

  def __init__(self, scale):
    self._scale = scale

  def infer(self, batch):
    return distrax.Independent(distrax.Normal(batch["x"], self._scale), 1)


def test_mutual_information_against_an_integral():
  x, scale = np.asarray([-2.0, -1.5, 0.0, 0.4, 3.0]), 0.7
  grid = np.linspace(-8, 9, 20_001)
  q = np.exp(-0.5 * ((grid[:, None] - x) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
  exact = (q * (np.log(q + 1e-300) - np.log(q.mean(1, keepdims=True) + 1e-300))).sum(0).mean() * (grid[1] - grid[0])
  one = lambda key: mutual_information(_Fixed(scale), key, {"x": jnp.asarray(x[:, None], jnp.float32)}, chunk=2)
  found = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 4000)), np.float64)
  assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found))
  apart = {"x": jnp.arange(7.0)[:, None] * 100}
  assert float(mutual_information(_Fixed(1.0), jax.random.key(0), apart, 3)) == pytest.approx(np.log(7), abs=1e-5)
  same = {"x": jnp.zeros((7, 1))}
  assert float(mutual_information(_Fixed(1.0), jax.random.key(0), same, 3)) == pytest.approx(0, abs=1e-5)


def share(t, **options):
  o = Options(**options)
  return float(weights.share(o, o._asdict(), jnp.asarray(t, jnp.int32)))


def test_the_schedules_of_the_weight():
  assert [share(t, beta_steps=10) for t in (0, 5, 10, 99)] == pytest.approx([0, 0.5, 1, 1])
  assert [share(t, beta_steps=10, beta_start=0.1) for t in (0, 5, 10, 99)] == pytest.approx([0.1, 0.55, 1, 1])
  sigmoid = {"beta_schedule": "sigmoid", "beta_steps": 100, "beta_width": 20.0}
  expected = [1 / (1 + np.exp(5)), 0.5, 1 / (1 + np.exp(-1)), 1]
  assert [share(t, **sigmoid) for t in (0, 100, 120, 10_000)] == pytest.approx(expected)
  cyclical = {"beta_schedule": "cyclical", "beta_steps": 8, "beta_start": 0.2}
  assert [share(t, **cyclical) for t in (0, 2, 4, 7, 8, 10, 12)] == pytest.approx([0.2, 0.6, 1, 1, 0.2, 0.6, 1])


@pytest.mark.parametrize("options,weight", [
  ({"beta": 0.5}, 0.5),
  ({"beta_schedule": "sigmoid", "beta_steps": 4, "beta_width": 2.0}, 1 / (1 + np.exp(2))),
  ({"beta": 0.8, "beta_steps": 4, "beta_start": 0.25}, 0.2),
])  # fmt: skip
def test_the_weight_is_that_of_the_kl_alone(options, weight):
  system = latent.make(MODEL, optax.sgd(0.1), **options)
  _, metrics = jax.jit(system.train_step)(jax.jit(system.init)(jax.random.key(0), BATCH, {}), jax.random.key(1), BATCH)
  assert float(metrics["loss"]) == pytest.approx(float(metrics["distortion"] + weight * metrics["rate"]), rel=1e-5)
  assert abs(float(metrics["rate"])) > 0.01
  if "beta_steps" in options:
    assert float(metrics["beta"]) == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("options,named", [
  ({"aggressive": -1}, "aggressive = -1"),
  ({"aggressive": 5, "aggressive_window": 0, "held_out": HELD_OUT, "num_examples": 9}, "aggressive_window = 0"),
  ({"aggressive": 5}, "needs a validation set"),
  ({"decoder_updates": 5}, "decoder_updates = 5; it must be 0 or more, and 0 without aggressive"),
  ({"beta_schedule": "cosine"}, "linear, sigmoid"),
  ({"beta_schedule": "sigmoid", "beta_steps": 9}, "positive beta_width"),
  ({"beta_schedule": "cyclical"}, "needs beta_steps, its period"),
  ({"beta_start": 0.1}, "without beta_steps"),
  ({"beta_start": 1.5, "beta_steps": 3}, "beta_start = 1.5"),
  ({"beta_width": 1.0, "beta_steps": 3}, "beta_width = 1.0 is for"),
])  # fmt: skip
def test_invalid_options_are_refused(options, named):
  with pytest.raises(errors.UserError, match=named):
    latent.make(MODEL, optax.sgd(0.1), **options)


def test_a_model_must_say_which_parameters_are_those_of_q():
  model = dlgm.Model(tables.SHAPE, latent_dims=(2,), hidden=((4,),))
  with pytest.raises(errors.UserError, match="does not say which parameters"):
    latent.make(model, optax.sgd(0.1), aggressive=3, num_examples=9, held_out=HELD_OUT)


@pytest.mark.parametrize("optim,named", [
  ({"accumulate": 2}, "optim.accumulate = 2 with objective.aggressive = 3 would average"),
  ({"schedule": "cosine"}, "optim.schedule = 'cosine' is in shares of num_steps"),
  ({"warmup": 0.1}, "optim.warmup is in shares"),
  ({"boundaries": (0.5,), "scales": (0.1,)}, "optim.boundaries is in shares"),
])  # fmt: skip
def test_optimisers_that_count_the_steps_of_a_run_are_refused(optim, named):
  config = sentence_vae_text.get_config("test,method=aggressive")
  with config.unlocked():
    config.objective.aggressive = 3
    config.optim.update(optim)
  with pytest.raises(errors.UserError, match=named):
    build.build(config)


def test_the_default_run_has_as_many_updates_of_the_decoder_as_the_others():
  plain, found = (sentence_vae_text.get_config(f"method={m}") for m in ("plain", "aggressive"))
  assert found.objective.decoder_updates == plain.num_steps
  least = 2 * Options().aggressive_window + 1  # steps for each update of the decoder
  assert found.num_steps >= 1.25 * least * plain.num_steps


@pytest.mark.parametrize("arg,named", [
  ("method=lm,drop=0.2", "drop = 0.2 is for a VAE"),
  ("quick,words=100", "words is for texts"),
  ("data=simulated_text,length=9", "length is for texts"),
])  # fmt: skip
def test_arguments_without_a_meaning_are_refused(arg, named):
  with pytest.raises(errors.UserError, match=named):
    sentence_vae_text.get_config(arg)


def test_an_update_of_either_part_of_a_sequence_model_with_lengths_leaves_the_other():
  model = sequence_vae.Model(
    (4,), num_tokens=6, latent_dim=2, embedding_dim=3, encoder_args={"hidden": (4,)}, decoder_args={"hidden": (4,)}
  )
  batch = {"x": jnp.asarray([[3, 4, 2, 0], [5, 2, 0, 0], [3, 4, 5, 2]]), "length": jnp.asarray([3, 2, 4])}
  system = latent.make(model, optax.sgd(0.1), aggressive=3, num_examples=30, held_out=lambda: batch)
  state, step = jax.jit(system.init)(jax.random.key(0), batch, {}), jax.jit(system.train_step)
  for turn, player in enumerate(aggressive.PLAYERS):
    new, metrics = step(at(state, turn=turn), jax.random.key(1), batch)
    before, after = (aggressive.parts(model, s.params) for s in (state, new))
    assert [name for name in aggressive.PLAYERS if moved(before[name], after[name])] == [player]
    if player == "encoder":  # the loss for each word, of which the batch has 9
      machine = new.variables["aggressive"]
      assert float(machine["words"]) == 9
      assert float(machine["loss"]) == pytest.approx(3 * float(metrics["loss"]), rel=1e-5)


def test_minus_one_warm_up_step_is_half_of_the_run_whatever_its_length():
  half = lambda n: with_steps(Options(beta_steps=-1), n).beta_steps
  assert [half(n) for n in (1, 9, 60, 540)] == [1, 4, 30, 270]
  with pytest.raises(errors.UserError, match="needs the number of its steps"):
    latent.make(vae.Model((4,)), optax.sgd(0.1), kl="analytic", beta_steps=-1)
