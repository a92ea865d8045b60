"""The programs of every system lower for GPUs and TPUs on a machine that has neither, with the branches taken there."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from dgm_jax.core import platforms
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.networks.remat import remat
from helpers import tables

PLATFORMS = ("cuda", "tpu")
# One of each kind of network and principle; the others run with --all.
FAST = ("vae_conv", "sigmoid_belief_net", "gaussian_mixture", "mcem", "lda", "diffusion")
BATCH = jax.tree.map(lambda a: jax.ShapeDtypeStruct((6, *a.shape[1:]), a.dtype), tables.TRAIN)


def lowered(f, *args, on=PLATFORMS):
  """The text of f's program, traced anew as on the first of these platforms and lowered for all of them."""
  with platforms.tracing_for(on[0]):
    return jax.jit(lambda *args: f(*args)).trace(*args).lower(lowering_platforms=on).as_text()


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in tables.SYSTEMS]
)
def test_training_evaluation_and_samples_lower_for_gpus_and_tpus(name):
  system, key = tables.system(name), jax.random.key(0)
  state = jax.eval_shape(lambda batch: system.init(key, batch, {}), BATCH)

  def every_step(state, key, batch):
    draws = system.sample(state, key, 3) if system.sample else None
    return system.train_step(state, key, batch), system.eval_step(state, key, batch), draws

  text = lowered(every_step, state, key, BATCH)
  if name in ("vae_conv", "vae_residual"):
    assert "stablehlo.convolution" in text
    assert "stablehlo.convolution" not in lowered(every_step, state, key, BATCH, on=("cpu",))


def test_rematerialisation_and_sums_take_the_form_of_the_platform():
  """A barrier and a plain sum on a GPU; on a CPU, which removes barriers, x tied to the cotangent and a product."""
  layer = nn.Dense(4)
  x = jnp.ones((2, 4))
  variables = layer.init(jax.random.key(0), x)

  def loss(x):
    squared = lambda layers, x: layers[0](x) ** 2
    return jnp.sum(sum_last(remat(True, squared, [layer.bind(variables)], x)))

  gradient = jax.grad(loss)
  on_gpu, on_cpu = (lowered(gradient, x, on=(platform,)) for platform in ("cuda", "cpu"))
  assert "optimization_barrier" in on_gpu
  assert "optimization_barrier" not in on_cpu
  sums = [lowered(lambda x: sum_last(x), x, on=(platform,)) for platform in ("cuda", "cpu")]
  assert ["dot_general" in text for text in sums] == [False, True]
