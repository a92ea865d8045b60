"""Properties that every system in tables.SYSTEMS has."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import evaluation, rng
from dgm_jax.training import programs
from dgm_jax.training.workdir import checkpoint
from helpers import tables

every_system = pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in tables.SLOW)) for name in tables.SYSTEMS]
)
# One system of each kind for the tests that compile most; the others run with --all.
CORE = {"vae", "gan_r1", "dlgm", "sigmoid_belief_net", "semi_supervised_vae"}
core_systems = pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in CORE)) for name in tables.SYSTEMS]
)


def train(name, seed, num_steps, chunk):
  """The state and the losses after num_steps, run in chunks."""
  state, key, losses = tables.initial(name, seed), jax.random.key(seed), []
  for _ in range(num_steps // chunk):
    state, metrics = tables.steps(name, chunk)(state, key, tables.TRAIN)
    losses.append(metrics["loss"])
  return state, jnp.concatenate(losses)


def frechet(a, b):
  """The Frechet distance of two normals with the moments of the samples [N, D]."""
  a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (a, b))
  first, second = np.cov(a.T), np.cov(b.T)
  values, vectors = np.linalg.eigh(second)
  root = vectors * np.sqrt(np.clip(values, 0, None))
  traces = np.trace(first) + np.trace(second)
  roots = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ first @ root), 0, None)).sum()
  return np.sum((a.mean(0) - b.mean(0)) ** 2) + traces - 2 * roots


@every_system
def test_training_improves(name):
  """Of a game of two players, whose losses need not fall: the Frechet distance of its samples falls by a quarter."""
  if name in tables.GAMES:
    draw = jax.jit(tables.system(name).sample, static_argnums=2)
    before, after = (
      frechet(draw(state, jax.random.key(5), 512), tables.TRAIN["x"])
      for state in (tables.initial(name), train(name, 0, 150, 3)[0])
    )
    assert after < 0.75 * before, (before, after)
    return
  _, losses = train(name, 0, 150, 3)
  least = {"kmeans": 0.2, "bernoulli_mixture_online": 0.5, "sequence_vae_aggressive": 0.5}.get(
    name, 1.0
  )  # nats; for kmeans a distance
  assert losses[-30:].mean() < losses[:30].mean() - least


@core_systems
def test_chunks_do_not_change_the_run(name):
  a, losses_a = train(name, 0, 24, 24)
  b, losses_b = train(name, 0, 24, 3)
  np.testing.assert_allclose(losses_a, losses_b, rtol=1e-4)
  tables.assert_close_by_leaf(a.params, b.params, 1e-4)


@core_systems
def test_vmapped_seeds_equal_separate_runs(name):
  system = tables.system(name)
  chunk = programs.make_train_chunk(system, tables.identity, 64, 20)

  def run(seed):
    key = jax.random.key(seed)
    state = system.init(rng.stream(key, "init"), tables.TRAIN, {})
    return chunk(state, key, jax.tree.map(jnp.asarray, tables.TRAIN))[0].params

  lanes = jax.jit(jax.vmap(run))(jnp.arange(3))
  for seed in range(3):
    tables.assert_close_by_leaf(jax.jit(run)(seed), jax.tree.map(lambda a, seed=seed: a[seed], lanes), 1e-5)


@core_systems
def test_a_restored_state_continues_bitwise(name, tmp_path):
  run, key = tables.steps(name, 3), jax.random.key(0)
  half, _ = run(tables.initial(name), key, tables.TRAIN)
  with checkpoint.open_manager(tmp_path) as manager:
    checkpoint.save(manager, 3, half)
  with checkpoint.open_manager(tmp_path, read_only=True) as manager:
    restored = checkpoint.restore_latest(manager, tables.initial(name, seed=9))
  jax.tree.map(np.testing.assert_array_equal, run(half, key, tables.TRAIN), run(restored, key, tables.TRAIN))


@pytest.mark.slow  # tests/training/processes/devices_test.py tests one system
def test_four_devices_equal_one():
  """Every system, with the batch split over four forced CPU devices, in a separate process."""
  code = """
import conftest, jax, json
from helpers import tables
from dgm_jax.training import programs
from dgm_jax.training.processes import devices
replicated, sharded = devices.shardings(64)
for name, make in tables.SYSTEMS.items():
  system = make()
  chunk = programs.make_train_chunk(system, tables.identity, 64, 5, sharded if DEVICES > 1 else None)
  data, state = jax.device_put((tables.TRAIN, tables.init(system)), replicated)
  _, metrics = jax.jit(chunk)(state, jax.device_put(jax.random.key(0), replicated), data)
  print(json.dumps([jax.device_count(), {k: float(v[-1]) for k, v in metrics.items()}]))
"""
  found = {}
  for count in (1, 4):
    env = os.environ | {"XLA_FLAGS": tables.xla_flags(count)}
    env["PYTHONPATH"] = os.pathsep.join([str(tables.ROOT / "tests"), str(tables.ROOT)])
    command = [sys.executable, "-c", code.replace("DEVICES", str(count))]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found[count] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [n for n, _ in found[count]] == [count] * len(tables.SYSTEMS)
  for (_, one), (_, four) in zip(found[1], found[4], strict=True):
    assert one == pytest.approx(four, rel=1e-4, abs=1e-6)  # of a penalty near 0 only the rounding is left


@every_system
def test_seeds_differ(name):
  _, a = train(name, 0, 3, 3)
  _, b = train(name, 1, 3, 3)
  assert abs(a - b).max() > 1e-3


@every_system
def test_eval_step_is_per_example(name):
  system = tables.system(name)
  batch = jax.tree.map(lambda a: a[:7], tables.TEST)
  values = jax.jit(system.eval_step)(tables.initial(name), jax.random.key(1), batch)
  assert values
  for value in values.values():
    assert value.shape == (7,)
    assert jnp.isfinite(value).all()


def test_mean_over_a_ragged_set_is_exact():
  """For every batch size, a deterministic eval_step has the mean that numpy computes."""
  system = tables.system("vae")

  def eval_step(state, key, batch):
    del state, key
    return {"first": batch["x"].sum((1, 2, 3)) ** 2}

  expected = float(np.mean(tables.TEST["x"].astype(np.float64).sum((1, 2, 3)) ** 2))
  for batch_size in (1, 7, 32, 101, 500):
    evaluate = evaluation.make_evaluate(system._replace(eval_step=eval_step), tables.identity, batch_size)
    assert evaluate(None, jax.random.key(0), tables.TEST) == {"first": pytest.approx(expected, rel=1e-6)}


@every_system
def test_samples_have_the_shape_of_the_data(name):
  system = tables.system(name)
  if system.sample is None:  # a conditional model p(y given x)
    if system.pictures is not None:  # of x given a context
      shown = jax.eval_shape(system.pictures, tables.initial(name), jax.random.key(0), tables.TEST)
      assert shown["samples"].shape[:3] == (101, *tables.SHAPE[:2])
    return
  state = tables.initial(name)
  x = jax.jit(system.sample, static_argnums=2)(state, jax.random.key(0), 3)
  assert x.shape == (3, *tables.SHAPE)
  assert name in tables.REAL or set(np.unique(x)) <= {0.0, 1.0}
  pictures = jax.jit(system.pictures)(state, jax.random.key(0), jax.tree.map(lambda a: a[:5], tables.TEST))
  assert pictures["samples"].shape == (5, *tables.SHAPE)
  if "reconstructions" in pictures and name != "grammar_vae":  # no encoder; x given to the model as rules
    np.testing.assert_array_equal(pictures["reconstructions"][:, 0], tables.TEST["x"][:5])


def test_an_eval_step_of_wrong_shape_raises_an_error():
  run = evaluation.make_evaluate_examples(lambda state, key, batch: {"mean": jnp.mean(batch["x"])}, tables.identity, 10)
  with pytest.raises(ValueError, match="not \\[B"):
    run(None, jax.random.key(0), tables.TEST)


@pytest.mark.parametrize("start,length", [(0, 3), (5, 7), (6, 20), (13, 1)])
def test_data_order_depends_only_on_the_step(start, length):
  key, n, batch_size = jax.random.key(0), 50, 7
  whole = rng.epoch_indices(key, 0, 40, n, batch_size)
  part = jax.jit(functools.partial(rng.epoch_indices, length=length, n=n, batch_size=batch_size))(key, start)
  np.testing.assert_array_equal(part, whole[start : start + length])
  for epoch in range(5):  # 7 batches of 7: 49 different examples, the 50th is dropped
    assert len(set(np.ravel(whole[7 * epoch : 7 * epoch + 7]).tolist())) == 49
  assert (whole[:7] != whole[7:14]).any()
