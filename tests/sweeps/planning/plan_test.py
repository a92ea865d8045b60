"""Runs are lanes of one program if tracing finds that they differ only in its inputs; tasks fit in memory."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.core import errors, memory
from dgm_jax.principles.latent import latent
from dgm_jax.sweeps import axes, definition
from dgm_jax.sweeps.planning import describe, grouping, plan, trace
from dgm_jax.training.build import build
from helpers import tables

TEST = f"{tables.ROOT / 'configs/iwae_mnist.py'}:test"
BUILDER = grouping.Builder()  # loads the data once


def groups_of(*parts, common=()):
  return grouping.group(definition.make_runs(TEST, dict(common), axes.product(*parts)), BUILDER)


def test_runs_with_other_seeds_and_rates_are_lanes_and_few_programs_are_traced():
  before = BUILDER.count
  (group,) = groups_of({"optim.lr": [1e-4, 1e-3, 1e-2], "objective.beta": [0.5, 1.0], "seed": range(3)})
  assert len(group.runs) == 18
  assert BUILDER.count - before == 1 + 2  # the first, and other values of all keys at once


@pytest.mark.parametrize(
  "path, values, why",
  [
    ("batch_size", [50, 100], "batch_size is 50 here, 100 in others: different shapes"),
    ("optim.warmup", [0.0, 0.1], "optim.warmup is 0.0 here: not an input of the program"),
    ("model.args.latent_dim", [4, 8], "model.args.latent_dim is 4 here, 8 in others: different shapes"),
    ("objective.gradient", ["reparameterised", "dreg"], "dreg in others: different operations"),
    ("num_steps", [40, 80], "num_steps is 40 here, 80 in others: a different constant in the program"),
    (
      "checkpoint_every",
      [10, 20],
      "checkpoint_every is 10 here, 20 in others: changes the training loop, not the program",
    ),
    ("evaluate.importance_sampling.num_samples", [20, 40], "changes the training loop"),
  ],
)
def test_values_that_are_not_inputs_of_the_program_separate_groups(path, values, why):
  first, second = groups_of({path: values, "seed": range(2)})
  assert [len(first.runs), len(second.runs)] == [2, 2]
  assert why in grouping.why(first, [second])
  assert grouping.why(second, [first])
  assert grouping.why(first, []) == ""


def test_init_from_does_not_separate_groups_and_must_hold_a_checkpoint(tmp_path):
  for name in "ab":
    (tmp_path / name / "checkpoints").mkdir(parents=True)
  starts = [{"init_from": str(tmp_path / name), "seed": seed} for seed, name in enumerate("ab")]
  (group,) = grouping.group(definition.make_runs(TEST, {}, [{"seed": 5}, *starts]), BUILDER)
  assert len(group.runs) == 3
  with pytest.raises(
    errors.UserError, match=r"Run init_from=nowhere,seed=1: init_from = 'nowhere' holds no checkpoint"
  ):
    grouping.group(definition.make_runs(TEST, {}, [starts[0], {"init_from": "nowhere", "seed": 1}]), BUILDER)


def test_runs_with_different_positive_warmup_are_lanes():
  assert len(groups_of({"optim.warmup": [0.1, 0.2]})) == 1


def bake(monkeypatch, of_beta):
  """Makes `latent` put a constant that depends on config.objective.beta into its programs."""
  make = latent.make

  def baked(model, tx, *, beta, **options):
    system, constant = make(model, tx, beta=beta, **options), of_beta(beta)

    def train_step(state, key, batch):
      state, values = system.train_step(state, key, batch)
      return state, values | {"baked": jnp.sum(values["loss"] * constant)}

    return system._replace(train_step=train_step)

  monkeypatch.setattr(latent, "make", baked)


@pytest.mark.parametrize(
  "of_beta",
  [
    float,
    pytest.param(lambda beta: np.full(3, beta, np.float32), marks=pytest.mark.slow),
    pytest.param(lambda beta: jnp.full(3, beta), marks=pytest.mark.slow),
  ],
  ids=["float", "np", "jnp"],
)
def test_a_float_that_is_baked_in_is_found_and_separates_the_runs(monkeypatch, of_beta):
  bake(monkeypatch, of_beta)
  found = groups_of({"objective.beta": [0.25, 0.5], "seed": range(2)})
  assert [len(g.runs) for g in found] == [2, 2]
  assert "objective.beta is 0.25 here, 0.5 in others: a different constant" in grouping.why(found[0], found[1:])


@pytest.mark.slow
def test_of_many_values_only_a_few_and_all_special_values_are_traced(monkeypatch):
  monkeypatch.setattr(grouping, "_TRACED", 3)
  before = BUILDER.count
  assert len(groups_of({"seed": range(2, 300)})) == 1
  assert BUILDER.count - before == 2
  assert len(groups_of({"objective.beta": [i / 100 for i in range(300)]})) == 1
  assert BUILDER.count - before == 2 + 1 + 6  # six of 300, one of which is the first, and 1
  bake(monkeypatch, lambda beta: 1.0 if beta == 1 else 2.0)
  found = groups_of({"objective.beta": [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]})  # all but 1 have one program
  assert sorted(len(g.runs) for g in found) == [1, 6]
  assert min(found, key=lambda g: len(g.runs)).runs[0].overrides == {"objective.beta": 1.0}


def test_the_error_of_an_invalid_run_names_the_run():
  with pytest.raises(errors.UserError, match=r"Run optim.lr=-1.0: optim.lr = -1.0; it must be positive"):
    groups_of({"optim.lr": [1e-3, -1.0]})


def test_hashes_distinguish_constants_shapes_and_operations():
  x = jax.ShapeDtypeStruct((3,), jnp.float32)
  of = lambda f, x=x: trace.hashes(jax.make_jaxpr(f)(x))
  one = of(lambda x: jnp.sin(x) * jnp.arange(3.0))
  assert one == of(lambda y: jnp.sin(y) * jnp.arange(3.0))
  constant = np.array([0.0, 1.0, 2.5], np.float32)
  a, b = of(lambda x: x * constant), of(lambda x: x * (constant + 1e-6))
  assert (a["texts"] != b["texts"], a["shapes"] == b["shapes"], a["operations"] == b["operations"]) == (True,) * 3
  assert of(lambda x: jax.lax.scan(lambda c, _: (c * 2.0, None), x, None, 3)[0]) != of(
    lambda x: jax.lax.scan(lambda c, _: (c * 2.5, None), x, None, 3)[0]
  )
  assert of(lambda x: x - x[::-1])["texts"] != of(lambda x: x[::-1] - x)["texts"]


def test_peak_memory_equals_a_count_by_hand():
  x = jax.ShapeDtypeStruct((100, 100), jnp.float32)
  matrix = 40_000
  two = jax.make_jaxpr(lambda x: ((x @ x) @ x) @ x)(x)  # each product is alive only together with the previous one
  assert memory.peak(two) == 2 * matrix
  kept = jax.make_jaxpr(lambda x: (lambda a, b: (a @ b) @ a)(x @ x, x @ x @ x))(x)
  assert memory.peak(kept) == 3 * matrix
  fused = jax.make_jaxpr(lambda x: jnp.sum(jnp.tanh(jnp.exp(x) + 1)))(x)
  assert memory.peak(fused) == 4
  loop = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 5, lambda i, c: (c @ x) @ x, x))(x)
  assert 2 * matrix <= memory.peak(loop) <= 4 * matrix


@pytest.fixture
def optimised():
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", os.environ["JAX_PLATFORMS"] == "cpu")


@pytest.mark.parametrize(
  "overrides",
  [{}, pytest.param({"batch_size": 500, "model.args.hidden": "(200,200)"}, marks=pytest.mark.slow)],
  ids=["small", "large"],
)
def test_memory_is_estimated_within_a_factor_of_three(optimised, overrides):
  run = definition.make_run(f"{tables.ROOT / 'configs/vae_mnist.py'}:test", {}, overrides)
  (group,) = grouping.group([run], BUILDER)
  chunk, arguments = trace.functions(group.config, group.experiment)["train_chunk"]
  found = jax.jit(chunk, donate_argnums=0).lower(*arguments).compile().memory_analysis()
  state = memory.tree_bytes(arguments[0])
  estimated = memory.peak(group.programs.jaxprs["train_chunk"]) - state
  assert 1 / 3 < estimated / found.temp_size_in_bytes < 3
  assert plan.cost(group)[0] >= state + estimated


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("sizes", [[1], [16], [12, 4], [5, 5, 5], [1, 1, 30]])
def test_jobs_get_equal_shares_of_the_lanes(sizes, jobs):
  caps = plan.divide(sizes, jobs)
  pieces = [plan._pieces(range(n), cap) for n, cap in zip(sizes, caps, strict=True)]
  assert [sum(len(p) for p in group) for group in pieces] == sizes
  assert max(len(p) for group in pieces for p in group) <= -(-sum(sizes) // jobs)
  assert all(max(map(len, group)) - min(map(len, group)) <= 1 for group in pieces)


def test_groups_are_cut_to_fit_in_memory_and_a_run_that_does_not_fit_raises():
  groups = groups_of({"seed": range(7)})
  lane, once = plan.cost(groups[0])
  room = lambda lanes: (once + lanes * lane) / plan._USABLE[False]
  made = plan.arrange(groups, 1, 0, room(3.5))
  assert made.groups[0].fit == 3
  assert sorted(len(names) for _, names in made.tasks) == [2, 2, 3]
  assert sorted(name for _, names in made.tasks for name in names) == sorted(run.name for run in groups[0].runs)
  assert "valid/log_px" in made.metrics
  assert [len(names) for _, names in plan.arrange(groups, 1, 1, room(9)).tasks] == [1] * 7
  with pytest.raises(errors.UserError, match=r"Run seed=0 does not fit in memory: it needs about .* MB, plus .* GB"):
    plan.arrange(groups, 1, 0, room(0.5))
  text = describe.describe(made, 1)
  assert "7 runs in 1 compiled programs" in text
  assert "is an estimate, " in text


@pytest.mark.slow
def test_compiled_programs_give_the_memory_that_xla_allocates(optimised):
  groups = groups_of({"seed": range(4)})
  lane, once = plan.cost(groups[0])
  made = plan.arrange(groups, 1, 0, 1e12, compile=True)
  (planned,) = made.groups
  chunk, arguments = trace.functions(groups[0].config, groups[0].experiment)["train_chunk"]
  lanes = lambda tree: jax.tree.map(lambda a: jax.ShapeDtypeStruct((4, *a.shape), a.dtype), tree)
  program = jax.jit(jax.vmap(chunk, (0, 0, None)), donate_argnums=0)
  found = program.lower(lanes(arguments[0]), lanes(arguments[1]), arguments[2]).compile().memory_analysis()
  most = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
  assert planned.compiled.lanes == 4
  assert planned.compiled.num_bytes >= most - found.alias_size_in_bytes
  data = sum(a.nbytes for a in groups[0].experiment.splits.train.values())
  assert planned.lane_bytes == (planned.compiled.num_bytes - data) // 4
  assert memory.MEASURED.low <= lane / planned.lane_bytes <= 1.5 * memory.MEASURED.high
  assert planned.compiled.step > 0
  text = describe.describe(made, 1)
  assert "according to XLA" in text
  assert "is an estimate" not in text
  room = (once + 2.5 * planned.lane_bytes) / plan._USABLE[True]  # two lanes fit by XLA's account
  cut = plan.arrange(groups, 1, 0, room, compile=True)
  assert [len(names) for _, names in cut.tasks] == [2, 2]
  assert cut.groups[0].compiled.lanes == 2


def test_memory_of_other_machines_is_not_that_of_this_one(monkeypatch):
  monkeypatch.setattr(memory, "available", lambda device: 8e9)
  assert plan._limit("here", 0.0, 2) == (4e9, "")  # two processes share this machine
  assert plan._limit("here", 40.0, 2) == plan._limit("gpu", 40.0, 2) == (40e9, "")
  limit, about = plan._limit("cpu", 0.0, 2)  # each has its own machine
  assert (limit, "--memory=GB" in about) == (8e9, True)
  limit, about = plan._limit("gpu", 0.0, 2)
  expected = (16e9, "assumed of a GPU") if jax.default_backend() == "cpu" else (8e9, "as on this machine")
  assert (limit, about.startswith(expected[1])) == (expected[0], True)
  (group,) = groups_of({"seed": [0]})
  ram, device = plan.cost(group, in_ram=True), plan.cost(group, in_ram=False)
  assert ram[0] == device[0]
  assert ram[1] - device[1] > 0.5e9  # no process of Python is in the memory of a GPU


_PLANNER = """
import time
from dgm_jax.sweeps.planning import plan
if __name__ == "__main__":
  pool = plan._one_process()
  pool.submit(time.sleep, 0).result()
  print(next(iter(pool._processes)), flush=True)
  time.sleep(100)
"""


def test_the_planning_process_ends_with_the_command_that_is_killed(tmp_path):
  (tmp_path / "planner.py").write_text(_PLANNER)
  command = [sys.executable, str(tmp_path / "planner.py")]
  here = os.environ | {"PYTHONPATH": str(tables.ROOT)}
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tables.ROOT, env=here) as process:
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while (running := pathlib.Path(f"/proc/{child}").exists()) and time.monotonic() < deadline:
      time.sleep(0.1)
    if running:
      os.kill(child, signal.SIGKILL)
  assert not running


def test_data_loaded_once_give_the_same_experiment():
  config = ConfigDict(definition.make_run(TEST, {}, {}).config)
  alone, shared = build(config), grouping.Builder()(config)[0]
  assert trace.trace(config, alone).texts == trace.trace(config, shared).texts


def test_inputs_that_another_group_lacks_are_shown_as_absent():
  programs = trace.Programs({}, {"a": "1"}, {}, {"a": "1"}, ())
  here = grouping.Group(
    [], None, None, programs, {"principle": "monte_carlo_em"}, frozenset({"objective.target_acceptance"})
  )
  there = here._replace(static={"principle": "latent"}, inputs=frozenset({"objective.beta"}))
  sentence = grouping.why(here, [there])
  assert "objective.target_acceptance is absent in others: not an input of their program" in sentence
  assert "objective.beta is absent here: not an input of the program" in sentence


def test_runs_with_aggressive_updates_are_no_lanes():
  """A vmapped step would compute all updates, and the mutual information, at every step."""
  groups = groups_of({"seed": range(3)})
  for group in groups:
    with group.config.unlocked():
      group.config.objective.aggressive = 5
  made = plan.arrange(groups, 1, 0, 1e12)
  assert [len(names) for _, names in made.tasks] == [1, 1, 1]
  assert "one run at a time" in made.groups[0].why
