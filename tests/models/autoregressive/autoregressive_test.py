"""Laws of every autoregressive model, on 6 to 8 entries whose states can be enumerated."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.configs import made_mnist
from dgm_jax.core import errors
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.distributions.truncated import Truncation
from dgm_jax.models.autoregressive import drawing, lstm, made, nade, orderless, pixelcnn, transformer
from dgm_jax.training import build

SHAPE, D, LEVELS, C = (2, 3), 6, 3, 2
CLASSES = {"likelihood": "categorical", "likelihood_args": {"num_classes": LEVELS}}
SMALL = {"num_layers": 2, "width": 8, "num_heads": 2}
MODELS = {
  "made": (made, {"hidden": (16,)}),
  "made_deep_reversed": (made, {"hidden": (16, 12), "ordering": "reversed", "activation": "tanh"}),
  "made_linear": (made, {"hidden": (), "ordering": (3, 1, 0, 2, 5, 4)}),
  "made_masks": (made, {"hidden": (16,), "num_masks": 3}),
  "made_orders": (made, {"hidden": (16,), "num_masks": 3, "ordering": "random", "mask_seed": 1}),
  "made_categorical": (made, {"hidden": (16,), "num_classes": C, **CLASSES}),
  "nade": (nade, {"num_hidden": 8}),
  "nade_relu_random": (nade, {"num_hidden": 8, "activation": "relu", "ordering": "random", "order_seed": 1}),
  "orderless": (orderless, {"hidden": (12,), "orders": 2}),
  "orderless_categorical": (orderless, {"hidden": (12, 8), "activation": "tanh", "num_classes": C, **CLASSES}),
  "pixelcnn": (pixelcnn, {"features": 16, "blocks": 1, "first_kernel_size": 5}),
  "pixelcnn_gated": (pixelcnn, {"net": "gated", "features": 4, "blocks": 1, "num_classes": C, **CLASSES}),
  "pixelcnn_plusplus": (pixelcnn, {"net": "plusplus", "features": 4, "blocks": 1, "scales": 2}),
  "pixelcnn_row_lstm": (pixelcnn, {"net": "row_lstm", "features": 4, "blocks": 1, "first_kernel_size": 5}),
  "nade_categorical": (nade, {"num_hidden": 8, "num_classes": C, **CLASSES}),
  "transformer": (transformer, {**SMALL, "likelihood": "bernoulli", "biases": True}),
  "transformer_rotary_tied": (transformer, {**SMALL, "positions": "rotary", "tied": True, "num_classes": C, **CLASSES}),
  "lstm": (lstm, {"hidden": (6, 5), "embedding_dim": 4, "likelihood": "bernoulli"}),
  "gru_categorical": (lstm, {"hidden": (8,), "cell": "gru", "embedding_dim": 4, "num_classes": C, **CLASSES}),
}
each = pytest.mark.parametrize("name", MODELS)
# these are tested in pixelcnn_test.py, too
IMAGES = ("pixelcnn_gated", "pixelcnn_plusplus", "pixelcnn_row_lstm")
cheap = pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in IMAGES)) for name in MODELS]
)


@functools.cache
def made_model(name):
  """(the bound model with random parameters, all states [S, D], the batch of all states, the context)."""
  module, options = (MODELS | {"orderless_one": (orderless, {"hidden": (12,)})})[name]
  model = module.Model(SHAPE, **options)
  states = jnp.asarray(list(itertools.product(range(model.num_levels), repeat=D)), jnp.float32)
  context = jnp.tile(jax.nn.one_hot(1, C), (len(states), 1)) if model.num_classes else None
  batch = {"x": states.reshape(-1, *SHAPE)} | ({} if context is None else {"context": context})
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  leaves, tree = jax.tree.flatten(variables["params"])
  keys = jax.random.split(jax.random.key(5), len(leaves))
  size = 0.3 if module is pixelcnn else 0.7
  noisy = [a + size * jax.random.normal(key, a.shape) for key, a in zip(keys, leaves, strict=True)]
  params = jax.tree.unflatten(tree, noisy)
  return model.bind({**variables, "params": params}), states, batch, context


@each
def test_probabilities_of_all_states_sum_to_one(name):
  bound, _, batch, _ = made_model(name)
  assert float(jnp.exp(jax.jit(bound.log_prob)(batch)).sum()) == pytest.approx(1, abs=1e-5)


def test_the_mean_of_the_logits_of_several_orders_is_no_probability():
  bound, states, _, _ = made_model("made_orders")
  logits = jnp.mean(jnp.stack([bound.conditionals(states, None, which) for which in range(3)]), 0)
  total = jnp.exp(sum_last(bound.entries(logits).distribution.log_prob(states))).sum()
  assert abs(float(total) - 1) > 1e-3


@cheap
def test_conditionals_depend_on_the_entries_before_alone_and_on_all_of_them(name):
  bound, states, _, context = made_model(name)
  one = None if context is None else context[:1]
  for which in range(bound.num_orders):
    h = lambda x, which=which: bound.conditionals(x[None], one, which)[0]  # [D, P]
    place = np.argsort(np.asarray(bound.order(which)))
    before = place[None, :] < place[:, None]  # [d, e]: e comes before d
    if bound.num_levels == 2:
      slopes = abs(jax.jit(jax.vmap(jax.jacobian(h)))(states[::7])).sum((0, 2))  # [d, e]
    else:  # classes enter one-hot
      changed = lambda e: jax.vmap(lambda x, e=e: abs(h(x.at[e].set((x[e] + 1) % LEVELS)) - h(x)).sum(-1))(states[::7])
      slopes = jax.jit(lambda: jnp.stack([changed(e).sum(0) for e in range(D)], 1))()
    np.testing.assert_array_equal(slopes[~before], 0)
    if bound.num_orders == 1:  # random masks of a narrow net may cut single pairs
      assert float(slopes[before].min()) > 0


@cheap
def test_steps_with_the_cache_give_the_conditionals(name):
  bound, states, _, context = made_model(name)
  x, c = states[3::11], None if context is None else context[3::11]
  for which in range(bound.num_orders):
    order, cache, before = bound.order(which), bound.start(len(x), c, which), jnp.full(len(x), 0.0)
    expected, step = jax.jit(bound.conditionals)(x, c, which), jax.jit(bound.step)
    for t in range(D):
      cache, h = step(cache, jnp.asarray(t), before)
      np.testing.assert_allclose(h, expected[:, order[t]], atol=1e-5, rtol=1e-5)
      before = x[:, order[t]]


@cheap
def test_draws_have_the_probabilities_of_the_states(name):
  """A chi-squared test of the 64 or 729 frequencies of 20,000 draws, at 5 standard deviations."""
  bound, states, batch, context = made_model(name)
  n = 20_000
  given = {} if context is None else {"context": jnp.tile(context[:1], (n, 1))}
  x = jax.jit(lambda key: bound.generate(key, n, **given))(jax.random.key(1)).reshape(n, D)
  place = bound.num_levels ** jnp.arange(D - 1, -1, -1)
  counts = np.bincount(np.asarray(x @ place, int), minlength=len(states))
  expected = n * np.exp(np.asarray(bound.log_prob(batch), np.float64))
  rare = expected < 5
  counts, expected = (np.append(a[~rare], a[rare].sum()) for a in (counts, expected))
  statistic, freedom = np.sum((counts - expected) ** 2 / np.maximum(expected, 1e-9)), len(counts) - 1
  assert statistic < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("name", ["made", "made_orders", "nade"])
def test_a_draw_comes_with_its_log_probability(name):
  bound, *_ = made_model(name)
  x, log_px = bound.sample_and_log_prob(jax.random.key(2), 30)
  np.testing.assert_allclose(log_px, bound.log_prob({"x": x}), rtol=1e-5)


FIRST = ["made_deep_reversed", "nade_relu_random", "orderless_one", "pixelcnn", "pixelcnn_plusplus"]


@pytest.mark.parametrize("name", FIRST)
def test_the_first_entries_have_their_marginal_probability(name):
  bound, states, batch, _ = made_model(name)
  log_p = np.asarray(jax.jit(bound.log_prob)(batch), np.float64)
  for num in (3, 4):
    first, marginal = bound.first(num), np.asarray(bound.log_prob_of_first(batch, num))
    for i in (0, 13, 63):
      same = (states[:, first] == states[i, first]).all(1)
      assert marginal[i] == pytest.approx(np.log(np.exp(log_p[same]).sum()), abs=1e-5)


@pytest.mark.parametrize("ordering", [(0, 1, 2, 3, 4, 4), (0, 1), "alphabetical"])
def test_an_order_that_is_no_permutation_raises_a_user_error(ordering):
  with pytest.raises(errors.UserError, match="ordering"):
    made.Model(SHAPE, hidden=(4,), ordering=ordering).init(jax.random.key(0), {"x": jnp.zeros((2, *SHAPE))})


def test_a_model_with_classes_needs_a_context_of_their_number():
  model = nade.Model(SHAPE, num_hidden=4, num_classes=3)
  for batch in ({}, {"context": jnp.zeros((2, 5))}):
    with pytest.raises(errors.UserError, match="num_classes = 3, but the context"):
      model.init(jax.random.key(0), {"x": jnp.zeros((2, *SHAPE))} | batch)


def test_missing_entries_are_refused():
  bound, _, batch, _ = made_model("made")
  with pytest.raises(errors.UserError, match="missing entries"):
    bound.log_prob(batch | {"mask": jnp.ones_like(batch["x"])})


RASTER = ["made_deep_reversed", "made_categorical", "nade_relu_random", "nade_categorical"]
RASTER += ["transformer_rotary_tied", "gru_categorical"]
RASTER += ["pixelcnn"]


def uncached(bound, key, n, context, how):
  """Draws with a whole pass for every entry."""
  order, x, conditionals = bound.order(0), jnp.zeros((n, D)), jax.jit(bound.conditionals)
  for t, step in enumerate(jax.random.split(key, D)):
    h = conditionals(x, context, 0)[:, order[t]]
    x = x.at[:, order[t]].set(drawing.one_entry(bound, h, step, how))
  return x


@pytest.mark.parametrize("options", [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 2, 0.9)])
@pytest.mark.parametrize("name", RASTER)
def test_draws_with_the_cache_are_those_of_whole_passes(name, options):
  bound, *_ = made_model(name)
  context = jax.nn.one_hot(jnp.arange(40) % C, C) if bound.num_classes else None
  found = jax.jit(lambda key: drawing.draw(bound, key, 40, context, 0, Truncation(*options))["x"])(jax.random.key(3))
  np.testing.assert_array_equal(found, uncached(bound, jax.random.key(3), 40, context, Truncation(*options)))


def test_temperature_zero_draws_the_most_probable_value_of_each_entry():
  bound, *_ = made_model("made_deep_reversed")
  x = bound.generate(jax.random.key(4), 3, temperature=0.0).reshape(3, D)
  assert (x == x[0]).all()
  np.testing.assert_array_equal(bound.conditionals(x, None, 0)[..., 0] > 0, x > 0)


@pytest.mark.parametrize("name", RASTER)
def test_completions_follow_the_conditional_given_a_prefix_of_the_order(name):
  """The frequencies of the rest of x, of which three entries are known, at 5 standard errors."""
  bound, states, batch, context = made_model(name)
  n, order = 4000, np.asarray(bound.order(0))
  x, known = np.asarray(states[37]), np.isin(np.arange(D), order[:3])
  given = {"x": jnp.tile(jnp.where(known, x, jnp.nan), (n, 1)), "mask": jnp.tile(jnp.asarray(known, int), (n, 1))}
  given |= {} if context is None else {"context": jnp.tile(context[:1], (n, 1))}
  completed = np.asarray(jax.jit(bound.complete)(jax.random.key(5), given))
  np.testing.assert_array_equal(completed[:, known], np.tile(x[known], (n, 1)))
  same = (np.asarray(states)[:, known] == x[known]).all(1)
  p = np.exp(np.asarray(bound.log_prob(batch), np.float64))[same]
  p = p / p.sum()
  found = (completed[:, None] == np.asarray(states)[None, same]).all(-1).mean(0)
  np.testing.assert_array_less(abs(found - p), 5 * np.sqrt(p * (1 - p) / n) + 1e-3)


def test_a_mask_that_is_no_beginning_of_the_order_is_refused():
  bound, states, *_ = made_model("made_deep_reversed")
  mask = jnp.ones((4, D)).at[2, 4].set(0)  # entry 4 comes second
  with pytest.raises(errors.UserError, match=r"example 2 .* 'orderless' completes any mask"):
    bound.complete(jax.random.key(0), {"x": states[:4], "mask": mask})
  bound.complete(jax.random.key(0), {"x": states[:4], "mask": mask.at[2, :5].set(0)})
  bound, states, *_ = made_model("orderless")
  bound.check_known(mask)
  bound, states, *_ = made_model("made_masks")
  with pytest.raises(errors.UserError, match="3 orders"):
    bound.complete(jax.random.key(0), {"x": states[:4], "mask": mask})


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}])
def test_options_of_draws_are_validated(options):
  bound, *_ = made_model("nade")
  with pytest.raises(errors.UserError, match=next(iter(options))):
    bound.generate(jax.random.key(0), 2, **options)


def test_real_numbers_have_no_temperature():
  model = nade.Model(SHAPE, num_hidden=4, likelihood="gaussian")
  variables = model.init(jax.random.key(0), {"x": jnp.zeros((2, *SHAPE))})
  with pytest.raises(errors.UserError, match=r"finitely many values.*'gaussian'"):
    model.apply(variables, jax.random.key(0), 2, temperature=0.5, method="generate")


_LEVELS = "has a probability for each of"


@pytest.mark.parametrize("transforms,likelihood,sentence", [
  (("scale",), {}, f"{_LEVELS} 2 values, 0 .. 1; 'mnist5k' after .* has other numbers. The transform 'binarize'"),
  ((), {}, r"expects x in \[0, 1\]; .* has values in \[0, 255\]"),
  (
    ("standardize",),
    {"likelihood": "categorical", "likelihood_args": {"num_classes": 256}},
    r"expects x in \[0, 255\]",
  ),
  (("scale",), {"likelihood": "categorical", "likelihood_args": {"num_classes": 2}}, f"{_LEVELS} 2 values, 0 .. 1"),
])  # fmt: skip
def test_data_outside_the_values_of_a_discrete_model_are_refused(transforms, likelihood, sentence):
  """Grey levels to a Bernoulli, real numbers to a model of classes."""
  config = made_mnist.get_config("test")
  with config.unlocked():
    config.data.transforms = transforms
    config.model.args.update(likelihood)
  with pytest.raises(errors.UserError, match=sentence) as raised:
    build.build(config)
  assert "\n" not in str(raised.value)
