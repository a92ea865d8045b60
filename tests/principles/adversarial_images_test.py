"""Statistics of batch normalisation, truncation, augmentations and labels in a game of two players."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import errors
from dgm_jax.core.system import averaging, prepared
from dgm_jax.models.adversarial import biggan, dcgan, gan, residual_gan
from dgm_jax.networks.augmentations import NUMBERS, augment
from dgm_jax.principles import adversarial
from dgm_jax.principles.adversarial_updates import Game
from helpers import tables

SHAPE = (2, 3, 1)
SGD = optax.sgd(0.1)
NET = {"hidden": (16, 12), "norm": "batch"}
X = jax.random.uniform(jax.random.key(9), (48, *SHAPE))
MODEL = gan.Model(data_shape=SHAPE, latent_dim=4, generator_args=NET, discriminator_args={"hidden": (8,)})
KEY = jax.random.key(3)


@functools.cache
def trained(**options):
  """(system, a state after a step)."""
  system = adversarial.make(MODEL, SGD, standing_batches=5, standing_size=30, **options)
  state = jax.jit(system.init)(jax.random.key(1), {"x": X}, {})
  return system, jax.jit(system.train_step)(state, jax.random.key(2), {"x": X[:16]})[0]


def by_hand(params, zs):
  """Pooled (mean, variance) of the layers' inputs to normalisation, each batch normalised by its own moments below."""
  moments = [[], []]
  for z in zs:
    h = np.asarray(z, np.float64)
    for i in range(2):
      h = h @ np.asarray(params[f"layers_{i}"]["kernel"], np.float64)
      moments[i].append((h.mean(0), (h**2).mean(0)))
      h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
      own = params[f"norms_{i}"]
      h = np.maximum(h * np.asarray(own["scale"]) + np.asarray(own["bias"]), 0)
  means = [np.mean(of, 0) for of in moments]
  return [(mean, square - mean**2) for mean, square in means]


def draws(truncation=None, batches=5):
  keys = [jax.random.split(k)[1] for k in jax.random.split(KEY, batches)]
  return [MODEL.latent(k, 30, truncation) for k in keys]


@pytest.mark.parametrize("truncation", [None, 0.5])
def test_standing_statistics_are_means_of_the_moments_of_batches(truncation):
  system, state = trained()
  found = jax.jit(system.prepare)(state, KEY, truncation=truncation).variables["batch_stats"]["generator"]
  zs, params = draws(truncation), state.params["generator"]
  for i, (mean, var) in enumerate(by_hand(params, zs)):
    np.testing.assert_allclose(found[f"norms_{i}"]["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(found[f"norms_{i}"]["var"], var, rtol=1e-4)
  whole = by_hand(params, [jnp.concatenate(zs)])  # one large batch agrees in the first layer only
  np.testing.assert_allclose(found["norms_0"]["var"], whole[0][1], rtol=1e-4)
  assert abs(np.asarray(found["norms_1"]["mean"]) - whole[1][0]).max() > 1e-3


def test_they_are_of_the_averaged_generator_and_the_discriminator_keeps_its_own():
  system = averaging(trained()[0], 0.9, part="generator")
  state = jax.jit(system.init)(jax.random.key(1), {"x": X}, {})
  wrong = state.replace(
    params=state.params | {"generator": jax.tree.map(lambda p: p * jnp.nan, state.params["generator"])}
  )
  a, b = (jax.jit(functools.partial(prepared, system))(s) for s in (state, wrong))
  jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)
  assert abs(a.variables["batch_stats"]["generator"]["norms_0"]["mean"]).max() > 0


def test_only_statistics_of_the_batch_make_samples_depend_on_each_other():
  z = jnp.stack([jax.random.normal(KEY, (6, 4))] * 2)
  z = z.at[1, 0].add(3.0)
  for kind, depends in (("standing", False), ("moving", False), ("batch", True)):
    system, state = trained(norm_statistics=kind)
    assert (system.prepare is not None) == (kind == "standing")
    state = prepared(system, state)
    a, b = (system.sample(state, KEY, 6, z=part) for part in z)
    assert abs(a[0] - b[0]).max() > 1e-3
    assert (abs(a[1:] - b[1:]).max() > 1e-4) == depends
  values = []
  for kind in ("standing", "moving"):
    system, state = trained(norm_statistics=kind)
    values.append(system.sample(prepared(system, state), KEY, 6, z=z[0]))
  assert abs(values[0] - values[1]).max() > 1e-3


@pytest.mark.parametrize("bound", [0.3, 1.0, 2.5])
def test_a_truncated_normal_has_its_variance(bound):
  """Var = 1 - 2 t phi(t) / (2 Phi(t) - 1)."""
  z = np.asarray(MODEL.latent(KEY, 50_000, bound)).ravel()
  density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
  expected = 1 - 2 * bound * density / math.erf(bound / math.sqrt(2))
  error = np.std(z**2) / len(z) ** 0.5
  assert abs(z).max() <= bound
  assert abs((z**2).mean() - expected) < 4 * error


def test_a_threshold_of_infinity_is_no_truncation():
  np.testing.assert_allclose(MODEL.latent(KEY, 100, math.inf), MODEL.latent(KEY, 100), rtol=1e-4, atol=1e-5)
  z = MODEL.clone(latent_dim=2**18).latent(jax.random.key(7), 1, math.inf)
  assert -8.001 < float(z.min()) < -5  # of the least of the 2^23 uniform numbers, which has no finite quantile
  uniform = MODEL.clone(noise="uniform")
  with pytest.raises(errors.UserError, match="truncation is for normal noise"):
    uniform.latent(KEY, 3, 0.5)


def test_p_of_ada_moves_as_in_a_loop():
  """p += sign(E sign D(real) - target) B / span, p >= 0; the dcgan of the table has it."""
  _, metrics = tables.steps("dcgan", 20)(tables.initial("dcgan"), jax.random.key(0), tables.TRAIN)
  p = 0.0
  for sign, found in zip(metrics["sign_real"], metrics["ada_p"], strict=True):
    p = max(p + np.sign(float(sign) - 0.6) * 64 / 5000, 0.0)
    assert float(found) == pytest.approx(p, abs=1e-6)
  assert max(metrics["ada_p"]) > 0


def test_reals_and_samples_are_changed_before_they_are_judged():
  """In both players' updates, with draws of their own; the gradient passes to the generator."""
  model = dcgan.Model(
    data_shape=(4, 6, 1), latent_dim=3, generator_args={"channels": (4,)}, discriminator_args={"channels": (4,)}
  )
  x = jax.random.uniform(KEY, (8, 4, 6, 1))
  o = adversarial.Options(augment="color,translation")
  game = Game(model, o, False)
  system = adversarial.make(model, SGD, **o._asdict())
  state = jax.jit(system.init)(KEY, {"x": x}, {})
  draw = jax.tree.map(lambda a: a[0], game.draws(KEY, {"x": x}, 1))
  assert draw["real_changes"].shape == draw["fake_changes"].shape == (8, NUMBERS)
  assert abs(draw["real_changes"] - draw["fake_changes"]).max() > 0.1
  np.testing.assert_array_equal(
    game.augmented(state, x, draw["real_changes"]), augment(draw["real_changes"], x, ("color", "translation"))
  )
  other = draw | {"fake_changes": jax.random.uniform(jax.random.key(8), (8, NUMBERS))}
  run = jax.jit(jax.value_and_grad(lambda p, d: game.generator_loss(p, state, d, 0, state.params["discriminator"])[0]))
  (first, gradient), (second, _) = run(state.params["generator"], draw), run(state.params["generator"], other)
  assert abs(first - second) > 1e-5
  assert optax.tree.norm(gradient) > 1e-3


def test_reals_and_samples_are_judged_after_their_changes():
  """L_D = mean softplus(-D(T(x, u))) + mean softplus(D(T(G(z), v))), u and v of their own."""
  nets = {"generator_args": {"channels": (4,)}, "discriminator_args": {"channels": (4,), "norm": "none"}}
  model, policy = dcgan.Model(data_shape=(4, 6, 1), latent_dim=3, **nets), ("color", "translation")
  x, o = jax.random.uniform(KEY, (8, 4, 6, 1)), adversarial.Options(augment="color,translation")
  state = jax.jit(adversarial.make(model, SGD, **o._asdict()).init)(KEY, {"x": x}, {})
  state = state.replace(params=jax.tree.map(lambda a: 10 * a, state.params))  # logits of order 1
  draw = jax.tree.map(lambda a: a[0], Game(model, o, False).draws(KEY, {"x": x}, 1))
  old, params = state.params["generator"], state.params["discriminator"]
  found = float(Game(model, o, False).discriminator_loss(params, state, draw, 0, old)[0])
  given = {"params": state.params, **state.variables}
  fake = model.apply(given, draw["z"], None, True, method="generate", mutable=True)[0]
  judge = lambda x, u: model.apply(given, augment(draw[u], x, policy), None, True, method="discriminate")
  loss = lambda real, fake: float(jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)))
  assert found == pytest.approx(loss(judge(x, "real_changes"), judge(fake, "fake_changes")), rel=1e-4)
  raw = lambda x: model.apply(given, x, None, True, method="discriminate")
  others = (raw(x), judge(fake, "fake_changes")), (judge(x, "real_changes"), raw(fake))
  assert all(abs(found - loss(*pair)) > 1e-2 for pair in others)


def test_consistency_is_the_mean_squared_change_of_the_logits():
  """Of examples and of samples, each with its own weight and changes; the generator's loss has none of it."""
  nets = {"generator_args": {"channels": (4,)}, "discriminator_args": {"channels": (4,), "norm": "none"}}
  model = dcgan.Model(data_shape=(4, 6, 1), latent_dim=3, **nets)
  x, weights = jax.random.uniform(KEY, (8, 4, 6, 1)), {"consistency": 2.0, "sample_consistency": 0.3}
  o = adversarial.Options(consistency_changes="color", **weights)
  state = jax.jit(adversarial.make(model, SGD).init)(KEY, {"x": x}, {})
  state = state.replace(params=jax.tree.map(lambda a: 10 * a, state.params))  # logits of order 1
  draw = jax.tree.map(lambda a: a[0], Game(model, o, False).draws(KEY, {"x": x}, 1))
  old, params = state.params["generator"], state.params["discriminator"]
  loss = lambda o: Game(model, o, False).discriminator_loss(params, state, draw, 0, old)[0]
  bound = model.bind({"params": state.params, **state.variables})
  judge = lambda x: bound.discriminate(x, None, True)
  fake = model.apply(
    {"params": state.params, **state.variables}, draw["z"], None, True, method="generate", mutable=True
  )[0]
  change = lambda x, u: jnp.mean((judge(augment(draw[u], x, ("color",))) - judge(x)) ** 2)
  expected = loss(adversarial.Options()) + 2.0 * change(x, "real_again") + 0.3 * change(fake, "fake_again")
  assert float(loss(o)) == pytest.approx(float(expected), rel=1e-4)
  assert float(expected - loss(adversarial.Options())) > 1e-2


def test_the_orthogonal_penalty_leaves_out_the_tables():
  model = residual_gan.Model(
    data_shape=(4, 4, 1), data_classes=3, conditional=True, doublings=1, halvings=1, generator_channels=4,
    discriminator_channels=4, latent_dim=3, initial="normal", initial_scale=0.5,
  )  # fmt: skip
  x, y = jnp.full((4, 4, 4, 1), 0.5), jnp.array([0, 1, 2, 0])
  found = {}
  for weight in (0.0, 1.0):
    o = adversarial.Options(orthogonal=weight)
    game = Game(model, o, False)
    state = jax.jit(adversarial.make(model, SGD, **o._asdict()).init)(KEY, {"x": x, "y": y}, {})
    draw = jax.tree.map(lambda a: a[0], game.draws(KEY, {"x": x, "y": y}, 1))
    of = lambda p, game=game, draw=draw, state=state: game.generator_loss(
      p, state, draw, 0, state.params["discriminator"]
    )[0]
    found[weight] = jax.jit(jax.grad(of))(state.params["generator"])
  difference = jax.tree.map(lambda a, b: float(abs(a - b).max()), found[0.0], found[1.0])
  flat = {jax.tree_util.keystr(path): v for path, v in jax.tree_util.tree_leaves_with_path(difference)}
  kernels = {name: v for name, v in flat.items() if "kernel" in name and "last" not in name}
  assert len(kernels) == 4
  assert all(v > 1e-6 for v in kernels.values()), kernels
  assert all(v == 0 for name, v in flat.items() if "embedding" in name)


@pytest.mark.slow  # compiles the row sngan, whose other laws are slow, too
def test_biases_before_normalisation_do_not_move():
  state = tables.steps("sngan", 3)(tables.initial("sngan"), jax.random.key(0), tables.TRAIN)[0]
  blocks = state.params["generator"]["block0"]
  assert abs(blocks["conv1"]["bias"]).max() == 0
  assert abs(blocks["shortcut"]["bias"]).max() == 0
  assert abs(state.params["generator"]["last"]["bias"]).max() > 0
  assert abs(state.params["discriminator"]["block0"]["conv1"]["bias"]).max() > 0


@pytest.mark.parametrize("make,sentence", [
  (lambda: biggan.Model(data_shape=(48, 48, 3), data_classes=3), "of 32, 64, 128, 256 pixels; these are of 48 x 48"),
  (lambda: biggan.Model(data_shape=(32, 32, 3)), "conditional = True needs class labels y"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=1), "one class only"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=3, shared_dim=0), "needs a shared embedding"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=3, latent_dim=3), "into 4 parts"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=3, attention=(24,)), "images have heights 16, 8, not 24"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=3, attention=(4,)), "have heights 16, 8, not 4"),
  (lambda: biggan.Model(data_shape=(32, 32, 3), data_classes=3, attention=(32,)), "have heights 16, 8, not 32"),
  (lambda: biggan.Model(data_shape=(12,), data_classes=3), "takes images"),
  (lambda: dcgan.Model(data_shape=(28, 28, 1), remat=True), "remat = True"),
  (lambda: dcgan.Model(data_shape=(28, 28, 1), discriminator_args={"norm": "none", "norm_first": True}), "norm_first"),
  (lambda: residual_gan.Model(data_shape=(30, 30, 1)), "multiples of 8; these images are of 30 x 30"),
  (lambda: residual_gan.Model(data_shape=(32, 32, 1), initial="he"), "initial = 'he'"),
  (lambda: dcgan.Model(data_shape=(28, 28, 1), generator_args={"chanels": (4,)}), "Did you mean 'channels'"),
  (lambda: dcgan.Model(data_shape=(28, 28, 1), discriminator_args={"norm": "layer"}), "args.norm = 'layer'"),
  (lambda: dcgan.Model(data_shape=(28, 28, 1), generator_args={"channels": ()}), "channels = ()"),
])  # fmt: skip
def test_mistakes_get_one_sentence(make, sentence):
  with pytest.raises(errors.UserError, match=sentence.replace("(", r"\(").replace(")", r"\)")) as raised:
    system = adversarial.make(make(), SGD)
    jax.eval_shape(system.init, KEY, {"x": jnp.zeros((2, 28, 28, 1)), "y": jnp.zeros(2, jnp.int32)}, {})
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize("options,sentence", [
  ({"augment": "colour"}, "Did you mean 'color'"),
  ({"augment": "none,color"}, "'none' stands alone"),
  ({"ada_target": 0.6}, "is 'none'"),
  ({"ada_target": 2.0, "augment": "color"}, "ada_target = 2"),
  ({"ada_span": 0.0}, "ada_span = 0"),
  ({"norm_statistics": "live"}, "norm_statistics 'live'"),
  ({"standing_batches": 0}, "standing_batches = 0"),
  ({"orthogonal": -1.0}, "orthogonal = -1"),
])  # fmt: skip
def test_mistakes_in_options_get_one_sentence(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    adversarial.make(MODEL, SGD, **options)


def test_a_batch_of_one_is_refused_with_batch_normalisation():
  system = adversarial.make(MODEL, SGD, accumulate=2)
  state = jax.eval_shape(system.init, KEY, {"x": X}, {})
  with pytest.raises(errors.UserError, match="batch_size = 1: it must be 2 or more"):
    jax.eval_shape(system.train_step, state, KEY, {"x": X[:2]})


def test_under_bfloat16_statistics_losses_and_penalties_are_float32():
  """Traced only, with remat: the state and all metrics; the products inside the networks are bfloat16."""
  model = biggan.Model(
    data_shape=(32, 32, 3), data_classes=3, width=4, shared_dim=4, attention=(16,), dtype="bfloat16", remat=True
  )
  system = adversarial.make(model, SGD, loss="hinge", penalty="r1", orthogonal=1e-4)
  batch = {"x": jnp.zeros((2, 32, 32, 3)), "y": jnp.zeros(2, jnp.int32)}
  state = jax.eval_shape(system.init, KEY, batch, {})
  jaxpr, (new, metrics) = jax.make_jaxpr(system.train_step, return_shape=True)(state, KEY, batch)
  kinds = {a.dtype for a in jax.tree.leaves((new.params, new.variables, metrics))}
  assert kinds == {jnp.dtype("float32")}
  assert "bf16" in str(jaxpr)


def test_z_is_rounded_to_whole_parts_and_said():
  model = biggan.Model(data_shape=(128, 128, 3), data_classes=5, latent_dim=128)
  assert model.num_noise == 126
  assert model.latent(KEY, 2).shape == (2, 126)
  assert model.notes == ("z has 126 entries, not latent_dim = 128: 6 of 21.",)
  assert model.clone(latent_dim=120).notes == ()
