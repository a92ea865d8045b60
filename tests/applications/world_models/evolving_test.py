"""Evolutions side by side in one program: each has the generations that it has alone, also after an interruption."""

import contextlib
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.applications.world_models import budgets, controllers, dreams, evolution, evolving, plans
from dgm_jax.applications.world_models.world_model import WorldModel
from dgm_jax.core import errors
from dgm_jax.data import dodge

pytest.importorskip("cma")
GENERATIONS = 3
BUDGET = budgets.of("dodge", "test")._replace(generations=GENERATIONS, check_every=2, population=4, episodes=2)
LANES = [evolving.Lane("c_tau_1.00", 1.0, 0), evolving.Lane("c_tau_1.00_seed_1", 1.0, 1)]
CONTROLLER = controllers.make("z", dodge.LATENTS, 0, 1)
DREAMER = dreams.Dreamer(dreams.of_dodge(), CONTROLLER, jnp.tanh, 100)


@pytest.fixture
def dreamt(monkeypatch):
  """The numbers of candidates of all dreams; the true game is M, and real episodes are not played."""
  starts = dodge.latents(dodge.start(jax.random.uniform(jax.random.key(9), (50, 3))))
  moments, sizes = np.concatenate([starts, np.full_like(starts, -60.0)], 1), []

  def dreamer(params, weights, *args):
    sizes.append(len(weights))
    return DREAMER(params, weights, *args)

  found = evolving.Parts(types.SimpleNamespace(controller=CONTROLLER), dreamer, None, moments)
  played = lambda plan, agent, vector, weights, *_: types.SimpleNamespace(total=np.array([weights.sum(), 1.0]))
  monkeypatch.setattr(evolving, "parts", lambda plan: found)
  monkeypatch.setattr(evolving, "real_score", played)
  monkeypatch.setattr(plans.Plan, "vector", lambda self: contextlib.nullcontext())
  return sizes


def made(folder):
  plan = plans.Plan(folder, "dodge", BUDGET, test=True)
  plan.open()
  return plan


def table(plan, lane):
  return (plan.folder(lane.name) / evolution.TABLE).read_text()


def test_lanes_are_evolutions_alone_and_go_on_where_they_were(dreamt, tmp_path):
  side_by_side, apart = made(tmp_path / "w"), made(tmp_path / "a")
  found = evolving.together(side_by_side, LANES)
  assert dreamt.count(8) == GENERATIONS and set(dreamt) == {8, 1}  # 1: the mean of a snapshot
  assert [found[lane.name]["seed"] for lane in LANES] == [0, 1]
  assert evolving.c(apart, "c_tau_1.00", 1.0) == found["c_tau_1.00"]
  evolving.together(apart, LANES[1:])
  tables = [table(side_by_side, lane) for lane in LANES]
  assert tables == [table(apart, lane) for lane in LANES] and tables[0] != tables[1]
  assert len(tables[0].splitlines()) == GENERATIONS
  folder = side_by_side.folder(LANES[1].name)  # killed in its second generation
  (folder / evolution.TABLE).write_text(tables[1].splitlines()[0] + '\n{"generation": 1, "fit')
  (folder / "results.json").unlink()
  dreamt.clear()
  assert evolving.together(side_by_side, LANES) == found
  assert table(side_by_side, LANES[1]) == tables[1] and dreamt == [4] * (GENERATIONS - 1)
  logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
  assert [row["step"] for row in logged if "step" in row] == [1, 2, 3]


def test_seeds_of_evolutions_are_checked_and_have_folders(tmp_path):
  world = WorldModel("dodge", tmp_path / "w", "test", seed=2)
  assert [world.plan.folder_of_c(1.15, s) for s in (2, 3)] == ["c_tau_1.15", "c_tau_1.15_seed_3"]
  for wrong in ([], [1, 1], [-1]):
    with pytest.raises(errors.UserError, match="different seeds of 0 or more are expected"):
      world.evolve(wrong)
  with pytest.raises(errors.UserError, match="has no finished stage 'rollouts'"):
    world.evolve([0, 1])
  assert not (tmp_path / "w").exists()
