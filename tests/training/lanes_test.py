"""Lanes of one program equal single runs, for systems of any kind, and do not affect one another."""

import json
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors
from dgm_jax.core.system import System, TrainState
from dgm_jax.training import build, lanes, train
from dgm_jax.training.experiment import hyper_parameters
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, metrics
from helpers import tables

POINTS = [(seed, lr) for seed in (0, 1) for lr in (1e-3, 3e-3)]


def configs(points=POINTS, **given):
  found = []
  for seed, lr in points:
    config = iwae_mnist.get_config("test,k=5")
    config.seed, config.optim.lr, config.log_every = seed, lr, 20
    config.update(given)
    found.append(config)
  return found


def adversarial():
  """A linear generator and a linear critic with an optimiser each; the generator's learning rate differs by lane."""

  def init(key, batch, hparams):
    g, d = jax.random.normal(key, (2, 8, batch["x"][0].size)) * 0.1
    txs = optax.scale_by_adam(), optax.scale_by_rms()
    return TrainState(
      jnp.int32(0), {"g": g, "d": d}, tuple(t.init(p) for t, p in zip(txs, (g, d), strict=True)), {}, hparams
    )

  def train_step(state, key, batch):
    x, z = batch["x"].reshape(len(batch["x"]), -1), jax.random.normal(key, (len(batch["x"]), 8))
    critic = lambda d, x: jnp.tanh(x @ d.T).sum(-1)
    fake = lambda g: jax.nn.sigmoid(z @ g)
    g, d = state.params["g"], state.params["d"]
    loss_d, grad_d = jax.value_and_grad(lambda d: jnp.mean(critic(d, fake(g)) - critic(d, x)))(d)
    grad_g = jax.grad(lambda g: -jnp.mean(critic(d, fake(g))))(g)
    up_g, opt_g = optax.scale_by_adam().update(grad_g, state.opt_state[0])
    up_d, opt_d = optax.scale_by_rms().update(grad_d, state.opt_state[1])
    params = {"g": g - state.hparams["optim.lr"] * up_g, "d": d - 1e-3 * up_d}
    return state.replace(step=state.step + 1, params=params, opt_state=(opt_g, opt_d)), {"loss": loss_d}

  return init, train_step


def em():
  """Stepwise EM of a mixture of Bernoullis (Cappe & Moulines, 2009), without gradients; lanes differ in step size."""

  def init(key, batch, hparams):
    means = jax.random.uniform(key, (5, batch["x"][0].size), minval=0.3, maxval=0.7)
    params = {"weights": jnp.full(5, 0.2), "sums": 0.2 * means}
    return TrainState(jnp.int32(0), params, (), {}, hparams)

  def train_step(state, key, batch):
    x, p = batch["x"].reshape(len(batch["x"]), -1), state.params
    means = jnp.clip(p["sums"] / p["weights"][:, None], 1e-3, 1 - 1e-3)
    log_joint = jnp.log(p["weights"]) + x @ jnp.log(means).T + (1 - x) @ jnp.log1p(-means).T
    r = jax.nn.softmax(log_joint)
    new = {"weights": r.mean(0), "sums": r.T @ x / len(x)}
    rate = 100 * state.hparams["optim.lr"]
    params = jax.tree.map(lambda old, new: (1 - rate) * old + rate * new, p, new)
    loss = -jax.nn.logsumexp(log_joint, 1).mean()
    return state.replace(step=state.step + 1, params=params), {"loss": loss}

  return init, train_step


def experiments():
  whole = build.build(configs()[0])
  systems = {name: System(*make(), whole.system.eval_step, whole.system.sample) for name, make in SYSTEMS.items()}
  return {"vae": whole} | {name: whole._replace(system=s) for name, s in systems.items()}


SYSTEMS = {"adversarial": adversarial, "em": em}


def trained_states(programs, steps=20):
  state = programs.join(programs.fresh())
  programs.start(state, 0)
  state, values = programs.train(state, steps)
  return state, programs.each(values)


def worst(a, b):
  """The largest relative difference between the leaves of two trees."""
  a, b = jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b))
  return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


# of a VAE the files are compared below: those of lanes and of a lone run
@pytest.mark.parametrize("name", [pytest.param("vae", marks=pytest.mark.slow), *SYSTEMS])
def test_lanes_equal_single_runs(name):
  experiment = experiments()[name]
  experiment = experiment._replace(system=experiment.system._replace(pictures=None))
  several = lanes.Lanes(experiment, configs(), "valid")
  state, values = trained_states(several)
  assert jax.tree.leaves(state.params)[0].shape[0] == len(POINTS)
  for i, config in enumerate(configs()):
    hparams = hyper_parameters(config)
    alone, [metrics_alone] = trained_states(lanes.Lone(experiment._replace(hparams=hparams), [config], "valid"))
    assert worst(several.split(state, i).params, alone.params) < 1e-5
    np.testing.assert_allclose(values[i]["loss"], metrics_alone["loss"], rtol=1e-4)
  finals = [values[i]["loss"][-1] for i in range(len(POINTS))]
  assert len(set(finals)) == len(POINTS)  # seeds and rates matter


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """(folder, configs, outcomes) of three lanes, one of which diverges."""
  root = tmp_path_factory.mktemp("lanes")
  cs = configs([(0, 1e-3), (1, 1e30), (2, 1e-3)], checkpoint_every=20)
  return root, cs, train.train_runs(cs, [root / str(i) for i in range(3)])


def test_each_lane_writes_the_folder_of_a_single_run(runs, tmp_path):
  root, cs, outcomes = runs
  alone = train.train_and_evaluate(cs[2], tmp_path / "alone")
  names = lambda folder: {p.name for part in (".", "figures", "checkpoints") for p in (folder / part).iterdir()}
  assert names(root / "2") == names(tmp_path / "alone")
  assert outcomes[2]["test/nll"] == pytest.approx(alone["test/nll"], rel=1e-5)
  assert outcomes[2].keys() == alone.keys()
  assert outcomes[2]["seed"] == 2
  for row, other in zip(metrics.read(root / "2"), metrics.read(tmp_path / "alone"), strict=True):
    assert row == pytest.approx(other, rel=1e-4)
  _, one = restore(cs[2], tmp_path / "alone")
  _, lane = restore(cs[2], root / "2")
  assert worst(lane.params, one.params) < 1e-5


def test_a_lane_that_diverges_ends_alone(runs):
  root, _, outcomes = runs
  assert isinstance(outcomes[1], errors.DivergenceError)
  assert outcomes[1].step == 2
  assert not (root / "1" / "results.json").exists()
  assert [row["step"] for row in metrics.read(root / "1")] == [0]
  assert [row["step"] for row in metrics.read(root / "0")] == [0, 20, 40]


def test_a_lane_is_resumed_alone_and_finished_lanes_are_not_repeated(runs, tmp_path):
  """A lane that lost its last checkpoint and its results is trained again from the one before, without the others."""
  root, cs, outcomes = runs
  before = json.loads((root / "0" / "run.json").read_text())
  for name in ("results.json", "checkpoints/40"):
    (root / "2" / name).rename(tmp_path / name.replace("/", "_"))
  again = train.train_runs([cs[0], cs[2]], [root / "0", root / "2"])
  assert again[0] == outcomes[0]
  assert json.loads((root / "0" / "run.json").read_text()) == before
  assert json.loads((root / "2" / "run.json").read_text())[-1]["from_step"] == 20
  assert again[1]["test/nll"] == pytest.approx(outcomes[2]["test/nll"], rel=1e-5)


@pytest.mark.slow
def test_runs_on_streamed_data_are_trained_one_after_another(runs, tmp_path):
  _, _, outcomes = runs
  cs = configs([(0, 1e-3), (2, 1e-3)], checkpoint_every=20)
  for c in cs:
    c.data.source = "streaming"
  found = train.train_runs(cs, [tmp_path / "0", tmp_path / "2"])
  assert [o["test/nll"] for o in found] == pytest.approx([outcomes[i]["test/nll"] for i in (0, 2)], rel=1e-5)
  assert json.loads((tmp_path / "0" / "run.json").read_text())[0]["lanes"] == 1


def test_lanes_continue_together_from_the_newest_common_step(tmp_path):
  (tmp_path / "a" / "checkpoints" / "20").mkdir(parents=True)
  (tmp_path / "a" / "checkpoints" / "40").mkdir()
  (tmp_path / "b" / "checkpoints" / "20").mkdir(parents=True)
  (tmp_path / "c").mkdir()
  (tmp_path / "d" / "checkpoints" / "20").mkdir(parents=True)
  (tmp_path / "d" / "checkpoints" / "400").mkdir()
  for folder in tmp_path.glob("*/checkpoints/*"):
    (folder / "_CHECKPOINT_METADATA").write_text("{}")  # as of an earlier version, which wrote no manifest
  a, b, c, d = ((None, tmp_path / name) for name in "abcd")
  assert train._cohorts([a, b]) == [[a, b]]
  assert train._cohorts([a, b, c]) == [[c], [b], [a]]
  assert train._cohorts([a, d]) == [[a], [d]]  # d would lose 380 steps, and a 20
  assert train._cohorts([c]) == [[c]]
  assert train._cohorts([]) == []


@pytest.mark.slow
def test_lanes_that_saved_different_steps_are_resumed(tmp_path):
  """One lane lost its newest checkpoint, the other's is damaged: both end as if nothing had happened."""
  cs = configs([(0, 1e-3), (1, 1e-3)], checkpoint_every=10, log_every=10, num_steps=60, keep_checkpoints=6)
  folders = [tmp_path / "0", tmp_path / "1"]
  whole = train.train_runs(cs, folders)
  before = [(f / "metrics.jsonl").read_text() for f in folders]
  for f, steps in zip(folders, ((40, 50, 60), (50, 60)), strict=True):
    (f / "results.json").unlink()
    for step in steps:
      shutil.rmtree(f / "checkpoints" / str(step))
  for file in (folders[1] / "checkpoints" / "40").rglob("*"):
    if file.is_file():
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  assert train.train_runs(cs, folders) == whole
  assert [(f / "metrics.jsonl").read_text() for f in folders] == before
  for c, f in zip(cs, folders, strict=True):
    assert json.loads((f / "run.json").read_text())[1]["from_step"] == 30
    assert checkpoint.steps(f) == {10, 20, 30, 40, 50, 60}
    assert restore(c, f, "40")[1].step == 40


@pytest.mark.slow
def test_lanes_are_split_over_devices():
  """Four lanes on four forced devices equal the same lanes on one device."""
  code = """
import conftest, jax, json
import lanes_test as t
from dgm_jax.training import build, lanes
programs = lanes.Lanes(build.build(t.configs()[0]), t.configs(), "valid")
state, values = t.trained_states(programs)
assert len({s.device for s in jax.tree.leaves(state.params)[0].addressable_shards}) == jax.device_count()
print(json.dumps([v["loss"].tolist() for v in values]))
"""
  found = []
  for count in (1, 4):
    env = os.environ | {"XLA_FLAGS": tables.xla_flags(count)}
    env["PYTHONPATH"] = os.pathsep.join(
      map(str, (tables.ROOT / "tests" / "training", tables.ROOT / "tests", tables.ROOT))
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found.append(json.loads(done.stdout.splitlines()[-1]))
  np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
