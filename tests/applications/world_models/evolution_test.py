"""CMA-ES: known functions are solved, a killed evolution ends with the same parameters, seeds are never shared."""

import json

import numpy as np
import pytest

from dgm_jax.applications.world_models import evolution, seeds
from dgm_jax.core import errors

N = 20
_WEIGHTS = 10 ** (3 * np.arange(N) / (N - 1))
FUNCTIONS = {
  "sphere": lambda x: -np.square(x - 0.5).sum(1),
  "ellipsoid": lambda x: -(_WEIGHTS * np.square(x - 0.5)).sum(1),
}


@pytest.mark.parametrize("name,generations", [("sphere", 150), ("ellipsoid", 400)])
def test_known_functions_are_solved(name, generations):
  search = evolution.Evolution(N, population=16, sigma=0.5)
  for _ in range(generations):
    search.tell(FUNCTIONS[name](search.ask()))
  np.testing.assert_allclose(search.mean, 0.5, atol=1e-4)


def test_l2_draws_the_parameters_to_zero():
  means = []
  for l2 in (0.0, 10.0 * N):
    search = evolution.Evolution(N, population=16, sigma=0.5, l2=l2)
    for _ in range(120):
      search.tell(FUNCTIONS["sphere"](search.ask()))
    means.append(search.mean.mean())
  np.testing.assert_allclose(means, [0.5, 0.5 / 11], atol=1e-3)  # argmin of (x - 1/2)^2 + 10 x^2


@pytest.mark.parametrize("killed", [1, 4, 7])
def test_a_killed_evolution_ends_with_the_same_parameters(killed, tmp_path):
  """What is written when it is killed is the table, with half of a line behind it."""

  def run(generations, rows=()):
    search = evolution.replayed(evolution.Evolution(N, population=8, seed=3), rows)
    table = evolution.Table(tmp_path, rows)
    while search.generation < generations:
      g, fitness = search.generation, FUNCTIONS["ellipsoid"](search.ask())
      table.write(g, fitness)
      search.tell(fitness)
    table.close()
    return search

  whole = run(9)
  run(killed)
  with open(tmp_path / evolution.TABLE, "a") as f:
    f.write('{"generation": 9, "fit')
  np.random.seed(killed)  # noqa: NPY002, the global generator has no influence
  resumed = run(9, evolution.read(tmp_path))
  np.testing.assert_array_equal(resumed.mean, whole.mean)
  np.testing.assert_array_equal(resumed.ask(), whole.ask())
  assert [row["generation"] for row in evolution.read(tmp_path)] == list(range(9))


def test_a_damaged_line_is_named(tmp_path):
  rows = [{"generation": g, "fitness": [1.0] * 4} for g in range(3)]
  lines = [json.dumps(row) for row in rows]
  (tmp_path / evolution.TABLE).write_text("\n".join([lines[0], lines[1][:20], lines[2]]) + "\n")
  with pytest.raises(errors.UserError, match="damaged in line 2"):
    evolution.read(tmp_path)
  (tmp_path / evolution.TABLE).write_text("\n".join([lines[0], lines[2]]) + "\n")
  with pytest.raises(errors.UserError, match="damaged in line 2"):
    evolution.read(tmp_path)
  assert evolution.read(tmp_path / "none") == []


@pytest.mark.parametrize("given,named", [
  ({"population": 3}, "population = 3; CMA-ES needs 4"),
  ({"sigma": 0.0}, "sigma = 0"),
  ({"l2": -1.0}, "l2 = -1"),
])  # fmt: skip
def test_mistakes_are_named(given, named):
  with pytest.raises(errors.UserError, match=named):
    evolution.Evolution(N, **given)


def test_a_fitness_that_is_not_finite_is_refused():
  search = evolution.Evolution(N, population=4)
  search.ask()
  with pytest.raises(errors.UserError, match="generation 0 must be 4 finite numbers"):
    search.tell([1.0, np.nan, 0.0, 0.0])


def test_a_missing_package_is_one_sentence(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "cma", None)
  with pytest.raises(errors.UserError, match=r"pip install '\.\[worlds\]'"):
    evolution.Evolution(N)


def test_no_episode_is_of_two_purposes():
  found = {purpose: set(seeds.of(purpose, 0, 5000)) for purpose in seeds.PURPOSES}
  assert all(len(s) == 5000 for s in found.values())
  assert len(set.union(*found.values())) == 5000 * len(found)
  assert seeds.of("training", 0, 4, first=6) == seeds.of("training", 0, 10)[6:]
  assert seeds.of("test", 0, 3) != seeds.of("test", 1, 3)
  assert {seeds.purpose_of(s) for s in found["test"]} == {"test"}
