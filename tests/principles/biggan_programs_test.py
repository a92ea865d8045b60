"""Programs of BigGAN: the published size lowers for a GPU; a tiny one steps on four devices with divided parameters."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

from dgm_jax.core import platforms
from dgm_jax.models.adversarial import biggan
from dgm_jax.principles import adversarial
from helpers import tables

pytestmark = pytest.mark.slow


def test_a_step_of_the_published_network_is_lowered_for_a_gpu():
  """128 x 128, ch 96, 158.4 million parameters, bfloat16 with remat, two updates of the discriminator."""
  model = biggan.Model(data_shape=(128, 128, 3), data_classes=1000, latent_dim=120, dtype="bfloat16", remat=True)
  system = adversarial.make(model, optax.adam(1e-4, 0.0), loss="hinge", num_discriminator=2)
  shape = jax.ShapeDtypeStruct
  batch = {"x": shape((16, 128, 128, 3), jnp.float32), "y": shape((16,), jnp.int32)}
  with platforms.tracing_for("cuda"):
    state = jax.eval_shape(
      lambda: system.init(jax.random.key(0), {k: jnp.zeros(v.shape, v.dtype) for k, v in batch.items()}, {})
    )
    text = (
      jax.jit(system.train_step).trace(state, jax.random.key(0), batch).lower(lowering_platforms=("cuda",)).as_text()
    )
  assert sum(a.size for a in jax.tree.leaves(state.params)) == 70_433_988 + 87_982_370
  assert "stablehlo.convolution" in text
  assert "bf16" in text


def test_four_devices_with_divided_parameters_equal_one():
  """In separate processes, whose batch normalisation has the moments of the whole batch."""
  code = """
import conftest, jax, json, jax.numpy as jnp, numpy as np, optax
from dgm_jax.models.adversarial import biggan
from dgm_jax.principles import adversarial
from dgm_jax.training.processes import devices
model = biggan.Model(data_shape=(32, 32, 3), data_classes=4, width=4, latent_dim=16, shared_dim=4, attention=(16,))
system = adversarial.make(model, optax.sgd(1e-2), loss="hinge")
batch = {"x": jax.random.uniform(jax.random.key(1), (8, 32, 32, 3)), "y": jnp.arange(8) % 4}
replicated, sharded = devices.shardings(8)
init = lambda: system.init(jax.random.key(0), batch, {})
placed = devices.state_shardings(jax.eval_shape(init), sharded.mesh, DEVICES > 1)
state = jax.jit(init, out_shardings=placed)()
batch = jax.device_put(batch, sharded if DEVICES > 1 else replicated)
with devices.use_mesh(sharded.mesh):
  step = jax.jit(system.train_step, out_shardings=(placed, None))
  for i in range(2):
    state, metrics = step(state, jax.random.key(i), batch)
  prepared = jax.jit(system.prepare)(state, jax.random.key(9))
  moments = [float(abs(a).sum()) for a in jax.tree.leaves(prepared.variables["batch_stats"])]
print(json.dumps([jax.device_count(), {k: float(v) for k, v in metrics.items()}, moments]))
"""
  found = {}
  for count in (1, 4):
    env = os.environ | {"XLA_FLAGS": tables.xla_flags(count)}
    env["PYTHONPATH"] = os.pathsep.join([str(tables.ROOT / "tests"), str(tables.ROOT)])
    command = [sys.executable, "-c", code.replace("DEVICES", str(count))]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found[count] = json.loads(done.stdout.splitlines()[-1])
    assert found[count][0] == count
  assert found[1][1] == pytest.approx(found[4][1], rel=1e-3, abs=1e-5)
  assert found[1][2] == pytest.approx(found[4][2], rel=1e-3)
