"""bfloat16 and rematerialisation: what stays float32, and that saving memory does not change the results."""

import dataclasses
import importlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import errors
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import dlgm, vae
from dgm_jax.networks import convolutions, mlp
from dgm_jax.networks.remat import segments
from dgm_jax.principles import own_bound, supervised
from dgm_jax.principles.latent import latent
from dgm_jax.training import build
from helpers import tables

BATCH = {k: v[:64] for k, v in tables.TRAIN.items()}
KEY = jax.random.key(1)
# mcem has the network of iwae, dropout is not recomputed, and topic models have no dtype
_WITHOUT = (
  "bernoulli_product",
  "made",
  "nade",
  "orderless",
  "flow_coupling",
  "flow_autoregressive",
  "residual_flow",
  "image_flow",
  "continuous_flow",
  "sequence_vae",  # remat is refused; bfloat16 has a test of its own
  "sequence_vae_aggressive",
  "grammar_vae",
  "transformer",  # these two have tests of their own, and float32 scores and logits
  "lstm",
  "pixelcnn",
  "pixelcnn_gated",
  "pixelcnn_plusplus",
  "pixelcnn_row_lstm",
  "gan",
  "gan_maxout",
  "wgan_gp",
  "gan_r1",
  "gan_packed",
  "bigan",
  "colouriser",
  "dcgan",  # these three have tests of their own, and float32 logits
  "sngan",
  "biggan",
  "mcem",
  "classifier_dropout",
  "prodlda",
  "nvlda",
  "scvi",
  "scanvi",
  "mdn_rnn",
  *tables.EM,
)
NETWORKS = [name for name in tables.SYSTEMS if name not in _WITHOUT]
ALWAYS = {"iwae", "semi_supervised_vae"}  # the others are only traced, and compiled with --all
every_network = pytest.mark.parametrize(
  "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in tables.SLOW)) for n in NETWORKS]
)
compiled = pytest.mark.parametrize(
  "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ALWAYS)) for n in NETWORKS]
)


def parts(name):
  """(make of the principle, model, options) of tables.SYSTEMS[name]."""
  found = []
  record = lambda make: lambda model, tx, **options: found.append((make, model, options)) or make(model, tx, **options)
  with (
    mock.patch.object(latent, "make", record(latent.make)),
    mock.patch.object(own_bound, "make", record(own_bound.make)),
    mock.patch.object(supervised, "make", record(supervised.make)),
  ):
    tables.SYSTEMS[name]()
  return found[0]


def system(name, changes=None, **compute):
  """The system of the table with other options and model fields, trained by SGD with learning rate 1."""
  make, model, options = parts(name)
  return make(model.clone(**compute), optax.sgd(1.0), **(options | (changes or {})))


def step(made, state):
  """(gradient, metrics) of a step; the state may come from another system."""
  after, metrics = jax.jit(made.train_step)(state, KEY, BATCH)
  return jax.tree.map(lambda a, b: a - b, state.params, after.params), metrics


def flat(tree):
  return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


def equations(jaxpr):
  """All equations of a jaxpr, including those of nested jaxprs."""
  for eqn in jaxpr.eqns:
    yield eqn
    for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda a: hasattr(a, "eqns")):
      if hasattr(inner, "eqns"):
        yield from equations(inner)


def traced(made):
  """(shapes of the state, equations of a step, shapes of the values of the step and of eval_step)."""
  state = jax.eval_shape(made.init, jax.random.key(0), BATCH, {})
  jaxpr, out = jax.make_jaxpr(made.train_step, return_shape=True)(state, KEY, BATCH)
  return state, list(equations(jaxpr.jaxpr)), (out, jax.eval_shape(made.eval_step, state, KEY, BATCH))


def in_bfloat16(eqns, names):
  return [
    e for e in eqns if e.primitive.name in names and any(v.aval.dtype == jnp.bfloat16 for v in (*e.invars, *e.outvars))
  ]


# Precision


@every_network
def test_matrix_products_are_bfloat16_and_sums_are_float32(name):
  default = traced(system(name))
  state, eqns, values = traced(system(name, dtype="bfloat16"))
  assert not [e for e in default[1] if any(getattr(v.aval, "dtype", None) == jnp.bfloat16 for v in e.outvars)]
  assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(lambda a: (a.shape, a.dtype), default[0])
  assert {a.dtype for a in jax.tree.leaves((state.params, values)) if jnp.issubdtype(a.dtype, jnp.floating)} == {
    jnp.dtype("float32")
  }
  products = in_bfloat16(eqns, {"dot_general"})
  assert len(products) >= 5  # of two layers: forward, and the gradients of both kernels and one input
  assert all(v.aval.dtype == jnp.bfloat16 for e in products for v in (*e.invars, *e.outvars))
  # log-probabilities, their sums and the sums of the biases' gradients
  assert not in_bfloat16(eqns, {"reduce_sum", "reduce_max", "log", "lgamma", "erf_inv", "cumsum", "argmin", "argmax"})


@pytest.mark.parametrize("name", [n for n in NETWORKS if parts(n)[0] is latent.make])
def test_log_terms_are_float32(name):
  _, model, _ = parts(name)
  model = model.clone(dtype="bfloat16")
  terms = jax.eval_shape(lambda: log_terms.log_terms(model, model.init(KEY, BATCH), KEY, BATCH, 3))
  assert {a.dtype for a in terms} == {jnp.dtype("float32")}


@compiled
def test_bfloat16_bounds_and_gradients_are_close_to_float32(name):
  exact, half = system(name), system(name, dtype="bfloat16")
  state = tables.init(exact)
  np.testing.assert_array_equal(flat(state.params), flat(tables.init(half).params))
  values = [jax.tree.map(jnp.mean, jax.jit(s.eval_step)(state, KEY, BATCH)) for s in (exact, half)]
  for key in {"elbo", "log_px", "distortion"} & values[0].keys():
    np.testing.assert_allclose(values[1][key], values[0][key], rtol=5e-3, atol=1e-3)
  (g, _), (h, _) = step(exact, state), step(half, state)
  g, h = flat(g), flat(h)
  assert not np.array_equal(g, h)
  drawn = getattr(parts(name)[1], "discrete", False) or name == "vq_vae"  # a code may change
  assert np.dot(g, h) / np.linalg.norm(g) / np.linalg.norm(h) > (0.98 if drawn else 0.99)


@pytest.mark.parametrize("layer", ["dense", "conv"])
def test_gradient_of_a_bias_keeps_its_precision_over_many_rows(layer):
  x, upstream = jnp.ones((3000, 1, 1, 2)), 1 + jax.random.uniform(KEY, (3000, 1, 1, 4))
  half = jnp.bfloat16
  net = mlp.Dense(4, half, half) if layer == "dense" else convolutions.Conv(4, 1, dtype=half)
  params = net.init(KEY, x)
  gradient = jax.grad(lambda p: jnp.sum(net.apply(p, x).astype(jnp.float32) * upstream))(params)["params"]
  exact = jnp.sum(upstream.astype(half).astype(jnp.float32), (0, 1, 2))
  np.testing.assert_allclose(gradient["bias"], exact, rtol=1e-5)
  np.testing.assert_allclose(gradient["kernel"].reshape(2, 4), jnp.stack([exact, exact]), rtol=5e-3)


# Rematerialisation


@every_network
def test_remat_keeps_parameter_names_and_shapes(name):
  plain, again = (jax.eval_shape(system(name, remat=r).init, KEY, BATCH, {}) for r in (False, True))
  assert plain == again


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "ladder_vae")) for n in NETWORKS])
def test_remat_keeps_losses_and_gradients(name):
  changes = {"chunk": 2} if name in ("ladder_vae", "iwae_dreg") else {}
  plain, again = system(name), system(name, changes, remat=True)
  state, other = tables.init(plain), tables.init(again)
  np.testing.assert_array_equal(flat(state.params), flat(other.params))
  (g, values), (h, others) = step(plain, state), step(again, state)
  np.testing.assert_allclose(others["loss"], values["loss"], rtol=1e-5)
  np.testing.assert_allclose(flat(h), flat(g), rtol=1e-3, atol=1e-5 * np.abs(flat(g)).max())


def _temporary(f, *args):
  return jax.jit(f).lower(*args).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_remat_of_a_deep_net_needs_less_memory(dtype):
  x, nets = jnp.ones((512, 8)), [mlp.MLP((64,) * 16 + (8,), dtype=dtype, remat=r) for r in (False, True)]
  params = nets[0].init(KEY, x)
  plain, again = (_temporary(jax.grad(lambda p, net=net: jnp.sum(net.apply(p, x) ** 2)), params) for net in nets)
  assert again < 0.75 * plain


def test_segments_cover_every_layer_once():
  for n in range(20):
    assert [i for layers in segments(n) for i in layers] == list(range(n))
    assert len(segments(n)) <= np.ceil(np.sqrt(n))


# Chunks of samples


def _hierarchy(**options):
  model = dlgm.Model(tables.SHAPE, latent_dims=(4, 2), hidden=((8,), (8,)))
  return latent.make(model, optax.sgd(1.0), bound="iwae", num_samples=5, **options)


CHUNKED = {
  "plain": lambda **o: system("iwae", o),
  "analytic": lambda **o: system("vae_analytic", {"num_samples": 5} | o),
  "dreg": lambda **o: system("iwae_dreg", o),
  "gdreg": lambda **o: _hierarchy(gradient="gdreg", **o),
  "vimco": lambda **o: system("sigmoid_belief_net", o),
  "gumbel_softmax": lambda **o: system("sigmoid_belief_net_relaxed", o),
  "wake_sleep": lambda **o: system("iwae", {"bound": "wake_sleep"} | o),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (i > 3)) for i, n in enumerate(CHUNKED)])
def test_chunks_give_the_same_draws_values_and_gradients(name):
  whole, parted = CHUNKED[name](), CHUNKED[name](chunk=2)  # 5 = 2 + 2 + 1
  state = tables.init(whole)
  (g, values), (h, others) = step(whole, state), step(parted, state)
  assert values.keys() == others.keys()
  np.testing.assert_allclose(list(others.values()), list(values.values()), rtol=1e-5)
  np.testing.assert_allclose(flat(h), flat(g), rtol=1e-3, atol=1e-5 * np.abs(flat(g)).max())
  assert "scan" in {e.primitive.name for e in traced(parted)[1]}


@pytest.mark.parametrize("gradient", ["reparameterised", "stl"])
def test_memory_of_chunks_does_not_grow_with_the_number_of_samples(gradient):
  def memory(num_samples, chunk):
    model = vae.Model(tables.SHAPE, latent_dim=4, hidden=(64,))
    options = {"bound": "iwae", "gradient": gradient, "num_samples": num_samples, "chunk": chunk}
    made = latent.make(model, optax.sgd(1.0), **options)
    return _temporary(made.train_step, jax.eval_shape(made.init, KEY, BATCH, {}), KEY, BATCH)

  few, whole, parted = memory(8, 0), memory(64, 0), memory(64, 8)
  assert whole > 4 * few
  assert parted < 2 * few
  assert parted < whole / 4


# The config


def configured(path="iwae_mnist", arg="test", **changes):
  config = importlib.import_module(f"configs.{path}").get_config(arg)
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize("path", tables.CONFIGS, ids=lambda p: p.stem)
def test_every_config_has_the_keys_of_precision_and_memory(path):
  config = configured(path.stem)
  assert (config.dtype, config.remat) == ("float32", False)
  assert config.principle != "latent" or config.objective.chunk == 0


def test_dtype_and_remat_of_the_config_are_set_on_the_model():
  fields = lambda **changes: {
    f.name: getattr(m, f.name) for m in [build.build(configured(**changes)).model] for f in dataclasses.fields(m)
  }
  default, other = fields(), fields(dtype="bfloat16", remat=True, **{"objective.chunk": 10})
  assert {k: v for k, v in other.items() if v != default[k]} == {"dtype": "bfloat16", "remat": True}


@pytest.mark.parametrize("config,sentence", [
  ({"dtype": "bfloat"}, "Unknown value of dtype 'bfloat'. Did you mean 'bfloat16'? Choices: bfloat16, float32."),
  ({"remat": "yes"}, "remat = 'yes'; it must be True or False."),
  ({"objective.chunk": -1}, "objective.chunk = -1; it must be a number of samples at once, or 0 for all."),
  ({"path": "course_mnist", "arg": "test,lab=bernoulli", "dtype": "bfloat16"},
   "dtype = 'bfloat16' applies to neural networks, but model 'bernoulli_product' has no field 'dtype': "
   "leave it at 'float32'."),
  ({"path": "course_mnist", "arg": "test,lab=bernoulli", "remat": True},
   "remat = True applies to neural networks, but model 'bernoulli_product' has no field 'remat': leave it at False."),
])  # fmt: skip
def test_invalid_values_raise_a_user_error(config, sentence):
  try:
    made = configured(**{k: v for k, v in config.items() if k != "remat"})
    with made.ignore_type():
      made.update({k: v for k, v in config.items() if k == "remat"})
    build.build(made)
  except errors.UserError as e:
    assert str(e) == sentence
  else:
    pytest.fail("no UserError was raised")


def test_an_unknown_dtype_raises_a_user_error():
  with pytest.raises(errors.UserError, match="dtype = 'float16'; it must be one of float32, bfloat16"):
    vae.Model(tables.SHAPE, dtype="float16").init(KEY, BATCH)
