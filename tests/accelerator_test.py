"""What may be wrong on an accelerator and right on a CPU: precision, other forms of a program, several devices.

The tests run on the CPU like all others, and with `bash scripts/accelerator_check.sh` on the available device.  The
reference is NumPy in float64, or numbers computed on a CPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import rng
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.inference import estimators
from dgm_jax.networks import convolutions
from dgm_jax.training import programs
from dgm_jax.training.processes import devices
from dgm_jax.training.workdir import checkpoint
from helpers import tables
from helpers.golden_steps import GOLDEN as GOLDEN_STEPS

pytestmark = [pytest.mark.accelerator, pytest.mark.slow]  # slow: on a CPU other tests cover the same
GEOMETRIES = [(3, 1, "SAME"), (4, 2, 1), (5, 3, "SAME")]
GOLDEN = ["vae", "iwae", "iwae_dreg", "vae_conv"]


def highest():
  return jax.default_matmul_precision("highest")


def convolved(x, kernel, stride, padding):
  """The definition in float64: y[i, j] = sum_ab x[s i + a - p, s j + b - p] kernel[a, b]."""
  pairs = [convolutions.conv_geometry(n, len(kernel), stride, padding) for n in x.shape[1:3]]
  x = np.pad(x.astype(np.float64), ((0, 0), *(p for _, p in pairs), (0, 0)))
  k = len(kernel)
  at = lambda i, j: x[:, i * stride : i * stride + k, j * stride : j * stride + k]
  rows = [[np.einsum("nabi,abio->no", at(i, j), kernel) for j in range(pairs[1][0])] for i in range(pairs[0][0])]
  return np.stack([np.stack(row, 1) for row in rows], 1)


def transposed(x, kernel, stride, padding, size):
  """The definition in float64: y[s i + a - p, s j + b - p] += x[i, j] kernel[a, b]."""
  k, (lows, highs) = (
    len(kernel),
    zip(*(convolutions.conv_geometry(n, len(kernel), stride, padding)[1] for n in size), strict=True),
  )
  y = np.zeros((len(x), size[0] + lows[0] + highs[0], size[1] + lows[1] + highs[1], kernel.shape[-1]))
  for i, j in np.ndindex(x.shape[1:3]):
    taps = np.einsum("ni,abio->nabo", x[:, i, j].astype(np.float64), kernel)
    y[:, i * stride : i * stride + k, j * stride : j * stride + k] += taps
  return y[:, lows[0] : lows[0] + size[0], lows[1] : lows[1] + size[1]]


@pytest.mark.parametrize("kernel,stride,padding", GEOMETRIES)
def test_convolutions_equal_float64(kernel, stride, padding):
  draw = np.random.default_rng(0)
  x, w = draw.normal(size=(4, 14, 13, 32)).astype("f"), draw.normal(size=(kernel, kernel, 32, 16)).astype("f")
  true = convolved(x, w, stride, padding)
  with highest():
    found = jax.jit(convolutions.conv_by_lax, static_argnums=(2, 3))(x, w, stride, padding)
  np.testing.assert_allclose(found, true, atol=2e-6 * kernel * np.abs(true).max())


@pytest.mark.parametrize("kernel,stride,padding", GEOMETRIES)
def test_transposed_convolutions_equal_float64(kernel, stride, padding):
  draw, size = np.random.default_rng(1), (14, 13)
  small = [convolutions.conv_geometry(n, kernel, stride, padding)[0] for n in size]
  x, w = draw.normal(size=(4, *small, 32)).astype("f"), draw.normal(size=(kernel, kernel, 32, 16)).astype("f")
  true = transposed(x, w, stride, padding, size)
  with highest():
    found = jax.jit(convolutions.conv_transpose_by_lax, static_argnums=(2, 3, 4))(x, w, stride, padding, size)
  np.testing.assert_allclose(found, true, atol=2e-6 * kernel * np.abs(true).max())


@pytest.mark.parametrize("n", [50, 784, 20_000])
def test_sums_by_a_product_keep_float32(n):
  """At the default precision of some accelerators the terms would lose all but 8 or 11 bits."""
  a = np.random.default_rng(n).normal(-100, 30, (64, n)).astype("f")
  found = jax.jit(sum_last)(a)
  np.testing.assert_allclose(found, a.astype(np.float64).sum(-1), rtol=2e-6)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("precision,tolerance", [("highest", 1e-4), (None, 2e-2)])
def test_third_step_equals_that_of_the_cpu(name, precision, tolerance):
  system = tables.SYSTEMS[name]()
  with jax.default_matmul_precision(precision):
    chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 3))
    _, metrics = chunk(tables.init(system), jax.random.key(0), tables.TRAIN)
  for key, value in GOLDEN_STEPS[name].items():
    np.testing.assert_allclose(metrics[key][-1], value, rtol=tolerance, err_msg=key)


def test_the_order_of_the_data_equals_that_of_the_cpu():
  """Streaming computes the order on the host, resident data on the device."""
  order = jax.jit(rng.epoch_indices, static_argnums=(2, 3, 4))
  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    pytest.skip("JAX_PLATFORMS excludes the CPU")
  on = lambda device: jax.device_put(jax.random.wrap_key_data(np.asarray([3, 4], np.uint32)), device)
  found, expected = (order(on(device), 7, 40, 60_000, 100) for device in (jax.local_devices()[0], cpu))
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["elbo", "iwae"])
def test_bounds_of_large_log_weights_equal_float64(name):
  log_w = np.random.default_rng(2).normal(-1e5, 300, (500, 8)).astype("f")
  value, gradient = jax.jit(jax.value_and_grad(lambda w: getattr(estimators, name)(w).sum()))(log_w)
  w = log_w.astype(np.float64)
  true = w.mean(0) if name == "elbo" else w.max(0) + np.log(np.exp(w - w.max(0)).mean(0))
  np.testing.assert_allclose(value, true.sum(), rtol=1e-6)
  assert jnp.isfinite(gradient).all()
  np.testing.assert_allclose(gradient.sum(0), 1, rtol=1e-4)


def test_many_samples_stay_finite():
  """A step with 500 importance samples for images that are extremely unlikely under the model."""
  system = tables._vae(bound="iwae", num_samples=500, gradient="dreg")
  state = tables.init(system)
  unlikely = jax.tree.map(lambda a: 100 * a, state.params["decoder"])
  state = state.replace(params=state.params | {"decoder": unlikely})
  state, metrics = jax.jit(system.train_step)(state, jax.random.key(0), jax.tree.map(lambda a: a[:64], tables.TRAIN))
  assert metrics["loss"] > 300  # 17 nats with the initial parameters
  assert all(jnp.isfinite(a).all() for a in jax.tree.leaves((state.params, metrics)))


def test_a_restored_state_continues_bitwise(tmp_path):
  system = tables.SYSTEMS["iwae_dreg"]()
  run = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 50))
  half, _ = run(tables.init(system), jax.random.key(0), tables.TRAIN)
  with checkpoint.open_manager(tmp_path) as manager:
    checkpoint.save(manager, 50, half)
  with checkpoint.open_manager(tmp_path, read_only=True) as manager:
    restored = checkpoint.restore_latest(manager, tables.init(system, seed=9))
  ends = [run(state, jax.random.key(0), tables.TRAIN) for state in (half, restored)]
  jax.tree.map(np.testing.assert_array_equal, *ends)


@pytest.mark.parametrize("name", ["iwae", "vae_conv"])
def test_devices_share_a_batch(name):
  if 64 % jax.device_count() or jax.device_count() == 1:
    pytest.skip(f"{jax.device_count()} devices")
  replicated, sharded = devices.shardings(64)
  system, found = tables.SYSTEMS[name](), []
  for sharding in (None, sharded):
    chunk = programs.make_train_chunk(system, tables.identity, 64, 5, sharding)
    data, state, key = (tables.TRAIN, tables.init(system), jax.random.key(0))
    if sharding is not None:
      data, state, key = jax.device_put((data, state, key), replicated)
    with highest():
      found.append(jax.jit(chunk)(state, key, data)[0].params)
  tables.assert_close_by_leaf(*jax.device_get(found), 1e-4)
