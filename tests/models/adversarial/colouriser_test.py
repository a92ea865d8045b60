"""The colouriser: what each loss lowers, what its stages move, and that it makes colours alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import colour_spaces, errors
from dgm_jax.distributions import colour_bins
from dgm_jax.models.adversarial import colouriser
from dgm_jax.principles import adversarial

NETS = {"channels": (4, 8), "discriminator_channels": (4,)}
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BATCH = {
  "x": jnp.asarray(RNG.uniform(-0.5, 0.5, (6, 4, 4, 2)), jnp.float32),
  "context": jnp.asarray(RNG.uniform(-1, 1, (6, 4, 4, 1)), jnp.float32),
}


@functools.cache
def made(rate=0.1, loss="l1", train="generator", weight=0.0, factor=1.0, **args):
  model = colouriser.Model(data_shape=(4, 4, 2), loss=loss, **(NETS | args))
  options = {"train": train, "adversarial_weight": weight, "auxiliary_weight": factor, "conditions_on": "context"}
  system = adversarial.make(model, optax.sgd(rate), **options)
  return model, system, jax.jit(system.init)(KEY, BATCH, {})


def step(system, state):
  return jax.jit(system.train_step)(state, KEY, BATCH)


@pytest.mark.parametrize("loss", colouriser.LOSSES)
def test_the_generator_alone_follows_the_gradient_of_its_loss(loss):
  model, system, state = made(loss=loss)

  def mean_loss(params_g):
    variables = {"params": state.params | {"generator": params_g}, **state.variables}
    h = model.bind(variables).generator(BATCH["context"])
    if loss == "bins":
      ab = 110 * BATCH["x"]
      w = state.variables["bins"]["weights"][colour_bins.nearest(ab)]
      return jnp.mean(-w * jnp.sum(colour_bins.soft(ab) * jax.nn.log_softmax(h, -1), -1))
    off = jnp.tanh(h) - BATCH["x"]
    return jnp.mean(jnp.abs(off) if loss == "l1" else off**2)

  after, metrics = step(system, state)
  value, gradient = jax.jit(jax.value_and_grad(mean_loss))(state.params["generator"])
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
  moved = jax.tree.map(lambda a, b: (a - b) / 0.1, state.params["generator"], after.params["generator"])
  for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(gradient), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
  for a, b in zip(*(jax.tree.leaves(s.params["discriminator"]) for s in (state, after)), strict=True):
    np.testing.assert_array_equal(a, b)


def test_stages_move_their_own_player():
  moved = {}
  for train in ("discriminator", "both"):
    _, system, state = made(train=train, weight=1.0, factor=100.0)
    after, _ = step(system, state)
    same = lambda p, a=state, b=after: all(
      bool((x == y).all()) for x, y in zip(jax.tree.leaves(a.params[p]), jax.tree.leaves(b.params[p]), strict=True)
    )
    moved[train] = {p for p in ("generator", "discriminator") if not same(p)}
  assert moved == {"discriminator": {"discriminator"}, "both": {"generator", "discriminator"}}


@pytest.mark.parametrize("loss", ["l1", "bins"])
def test_both_losses_add_up_with_their_weights(loss):
  _, system, state = made(loss=loss, train="both", weight=0.5, factor=20.0)
  metrics = step(system, state)[1]
  assert {"auxiliary", "loss_generator", "logit_real"} <= metrics.keys()
  model, generator, _ = made(loss=loss, weight=0.5, factor=20.0)
  found = step(generator, state)[1]
  made_x = model.bind({"params": state.params, **state.variables}).generate(jnp.zeros((6, 1)), BATCH["context"])
  x = made_x[0] if loss == "bins" else made_x
  logits = model.bind({"params": state.params, **state.variables}).discriminate(x, BATCH["context"])
  assert logits.shape == (6, 4)
  expected = jnp.mean(jax.nn.softplus(-logits))
  np.testing.assert_allclose(found["loss_generator"], expected, rtol=1e-4)
  np.testing.assert_allclose(found["loss"], 0.5 * expected + 20 * found["auxiliary"], rtol=1e-4)


def test_weights_of_bins_are_those_of_the_colours_at_the_start():
  _, _, state = made(loss="bins")
  smooth = colour_bins.smoothed(colour_bins.frequencies(110 * BATCH["x"]))
  np.testing.assert_allclose(state.variables["bins"]["weights"], colour_bins.weights(smooth, 0.5, 6 * 4 * 4), rtol=1e-4)
  assert state.variables["bins"]["weights"].std() > 0.01


def test_colours_of_one_hue_leave_the_loss_finite_without_equal_weights():
  model = colouriser.Model(data_shape=(4, 4, 2), loss="bins", rebalance=0.0, **NETS)
  dull = {"x": jnp.full((6, 4, 4, 2), 0.01), "y": BATCH["context"]}
  weights = jax.jit(model.init)(KEY, dull)["bins"]["weights"]
  assert bool(jnp.isfinite(weights).all()) and bool((weights > 0).all())


def test_colours_and_pictures():
  model, system, state = made()
  bound = model.bind({"params": state.params, **state.variables})
  ab = bound.colours(bound.latent(KEY, 6), BATCH["context"])
  assert ab.shape == (6, 4, 4, 2) and np.abs(ab).max() < 110
  shown = system.pictures(state, KEY, BATCH)
  assert shown["samples"].shape == (6, 4, 4, 3) and shown["reconstructions"].shape == (6, 2, 4, 4, 3)
  lab = np.concatenate([50 * (BATCH["context"] + 1), ab], -1)
  np.testing.assert_allclose(shown["samples"], np.clip(colour_spaces.rgb_of_lab(lab, np), 0, 1), atol=1e-4)
  assert system.sample is None
  np.testing.assert_allclose(bound.colours(bound.latent(KEY, 1), BATCH["context"][2:3])[0], ab[2], atol=1e-4)


def test_noise_makes_several_answers():
  model, _, state = made(latent_dim=3)
  bound = model.bind({"params": state.params, **state.variables})
  answers = [bound.colours(bound.latent(jax.random.key(i), 6), BATCH["context"]) for i in (0, 0, 1)]
  np.testing.assert_array_equal(answers[0], answers[1])
  assert np.abs(answers[0] - answers[2]).max() > 0.01


@pytest.mark.parametrize("args,sentence", [
  ({"loss": "l3"}, "loss = 'l3'; it must be one of l1, l2, bins"),
  ({"norm": "layer"}, "norm = 'layer'; it must be one of none, batch"),
  ({"latent_dim": -1}, "latent_dim = -1; it must be 0 or more"),
  ({"temperature": 0.0}, "temperature = 0.0; it must be 0.001 or more"),
  ({"rebalance": 1.5}, r"rebalance = 1.5; it must be in \[0, 1\]"),
  ({"dropout": 1.0}, "dropout = 1.0; it must be 0 or more, and less than 1"),
  ({}, "with 5 levels takes training images whose sides 16 divides; these are of 4 x 4 pixels: set data.image_size"),
])  # fmt: skip
def test_mistakes_get_one_sentence(args, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    colouriser.Model(data_shape=(4, 4, 2), **args).init(KEY, {"x": BATCH["x"], "y": BATCH["context"]})
