"""Runs on several devices: the numbers equal those of one device, for any mesh."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors
from dgm_jax.training import build, lanes
from dgm_jax.training.processes import devices
from helpers import tables

MESHES = ((20, 0, False), (20, 2, True), (5, 0, False), (1, 4, True))  # batch_size, sample_devices, shard_params


def first_losses(batch_size, sample_devices=0, shard_params=False, steps=10):
  """(losses, held-out metrics, size of the largest parameter's part on one device, mesh) after a few steps."""
  config = iwae_mnist.get_config("test,k=8")
  config.batch_size, config.log_every = batch_size, steps
  config.sample_devices, config.shard_params = sample_devices, shard_params
  experiment = build.build(config)
  engine = lanes.Lone(experiment, [config], "valid")
  with devices.use_mesh(engine.mesh):
    state = engine.join(engine.fresh())
    engine.start(state, 0)
    state, values = engine.train(state, steps)
    [values] = engine.each(values)
    [held_out] = engine.evaluate(state)
  greatest = max(jax.tree.leaves(state.params), key=lambda a: a.size)
  return values["loss"].tolist(), held_out, greatest.addressable_shards[0].data.size, dict(engine.mesh.shape)


@pytest.fixture(scope="module")
def on_four():
  """first_losses of each mesh, on four forced devices."""
  code = "import conftest, json, devices_test as t; print(json.dumps([t.first_losses(*m) for m in t.MESHES]))"
  env = os.environ | {"XLA_FLAGS": tables.xla_flags(4)}
  folders = (pathlib.Path(__file__).parent, tables.ROOT / "tests", tables.ROOT)
  env["PYTHONPATH"] = os.pathsep.join(map(str, folders))
  done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  return dict(zip(MESHES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("mesh", MESHES)
def test_four_devices_equal_one_for_any_mesh(on_four, mesh):
  losses, held_out, _, _ = on_four[mesh]
  expected, expected_held_out, _, _ = first_losses(mesh[0])
  assert losses == pytest.approx(expected, rel=1e-5)
  assert held_out == pytest.approx(expected_held_out, rel=1e-5)


def test_devices_left_over_by_the_batch_share_the_samples(on_four):
  assert [on_four[mesh][3] for mesh in MESHES] == [
    {"data": 4, "samples": 1},
    {"data": 2, "samples": 2},
    {"data": 1, "samples": 4},
    {"data": 1, "samples": 4},
  ]


def test_sharded_parameters_are_split(on_four):
  whole = 784 * 32
  assert [on_four[mesh][2] for mesh in MESHES] == [whole, whole // 2, whole, whole]


def test_samples_are_multiplied_on_the_devices_that_share_them():
  """Each of 2 x 2 devices multiplies half of the samples of half of the examples."""
  code = """
import jax, jax.numpy as jnp
from dgm_jax.inference import samples
from dgm_jax.training.processes import devices
_, sharded = devices.shardings(8, 6, 2)
f = lambda batch, z: jnp.tanh(z @ jnp.ones((16, 32)) + batch["x"]).sum(-1)
with devices.use_mesh(sharded.mesh):
  x = jax.device_put(jnp.ones((8, 32)), sharded)
  run = lambda x, z: samples.over_samples(f, {"x": x}, z)
  move = lambda x, z: run(x, jax.lax.with_sharding_constraint(z, jax.P(None, "data")))
  text = jax.jit(move).lower(x, jnp.ones((6, 8, 16))).compile().as_text()
assert "f32[12,32]" in text and "f32[24,32]" not in text and "f32[48,32]" not in text, text
"""
  env = {**os.environ, "XLA_FLAGS": tables.xla_flags(4)}
  done = subprocess.run([sys.executable, "-c", code], cwd=tables.ROOT, capture_output=True, text=True, env=env)
  assert done.returncode == 0, done.stderr[-2000:]


def test_too_many_sample_devices_raise():
  with pytest.raises(errors.UserError, match="sample_devices = 2; it must be 0"):
    devices.shardings(8, 4, 2)  # on one device
