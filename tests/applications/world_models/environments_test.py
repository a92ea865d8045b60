"""Environments: the fast car's pixels, seeds, processes that die, and frames."""

import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.applications.world_models import car, controllers, environments, episodes, frames, workers
from dgm_jax.applications.world_models.dodge import Dodge
from dgm_jax.core import errors


def driven(seed, steps, ways, moved=0.0):
  """(frame, reward, end) of all steps of the fast car and of gymnasium's; `moved`: put so far ahead of the start."""
  os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
  from gymnasium.envs.box2d import car_racing

  found = []
  for env in (car._class()(continuous=True), car_racing.CarRacing(continuous=True)):
    rng, rows = np.random.default_rng(seed), [(env.reset(seed=seed)[0], 0.0, False)]
    if moved:
      for body in (env.car.hull, *env.car.wheels):
        body.position = (body.position[0], body.position[1] + moved)
    for t in range(steps):
      rows.append(env.step(ways(rng, t))[:3])
      if rows[-1][2]:
        break
    env.close()
    found.append(rows)
  return found


def _equal(found):
  fast, slow = found
  assert [r[1:] for r in fast] == [r[1:] for r in slow]
  for t, (a, b) in enumerate(zip(fast, slow, strict=True)):
    np.testing.assert_array_equal(a[0][:84], b[0][:84], err_msg=f"frame {t}")
  return slow


def _wild(rng, t):
  return np.array([np.sin(t / 7) + 0.3 * rng.normal(), 0.8, 0.1 * (t % 9 == 0)]).clip([-1, 0, 0], 1)


def test_the_fast_car_draws_the_same_pixels():
  """The zoom of the first second, and the way off the field."""
  assert car.is_known()
  _equal(driven(0, 25, lambda rng, t: np.array([0.0, 1.0, 0.0])))
  rows = _equal(driven(1, 60, lambda rng, t: np.array([0.0, 1.0, 0.0]), moved=375.0))
  assert rows[-1][2] and rows[-1][1] == -100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_car_draws_the_same_pixels_for_300_steps(seed):
  _equal(driven(seed, 300, _wild))


def test_another_gymnasium_is_drawn_by_itself(monkeypatch):
  monkeypatch.setattr(car, "_KNOWN", {"0.0.0": "other"})
  with pytest.warns(UserWarning, match="the original is used"):
    made = car.make()
  assert type(made).__name__ == "CarRacing"


def test_frames_are_averages_of_the_upper_rows():
  picture = np.zeros((128, 128, 3), np.uint8)
  picture[:64:2] = 100
  picture[64:] = 255
  np.testing.assert_array_equal(frames.reduced(picture, 0.5)[0], np.full((64, 3), 100))
  np.testing.assert_array_equal(frames.reduced(picture)[:32], np.full((32, 64, 3), 50))
  assert frames.reduced(picture[..., 0]).shape == (64, 64, 3)
  with pytest.raises(errors.UserError, match="is no picture"):
    frames.reduced(np.zeros(4))


@pytest.mark.parametrize("play,changes", [("every", 199), ("still", 0), ("brownian", 199)])
def test_random_play(play, changes):
  kind = environments.Kind("x", "car", 3, 3, 9, play, (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0))
  way = environments.random_actions(kind, play, 0)
  actions = np.stack([next(way) for _ in range(200)])
  assert (np.diff(actions, axis=0) != 0).any(1).sum() == pytest.approx(changes, abs=3)
  assert (actions >= [-1, 0, 0]).all() and (actions <= 1).all()


def test_held_actions_last_1_to_10_steps():
  way = environments.random_actions(environments.kind("dodge"), "held", 1)
  actions = np.concatenate([next(way) for _ in range(3000)])
  runs = np.diff(np.flatnonzero(np.diff(actions)))
  assert runs.min() == 1 and runs.max() == 10 and runs.mean() == pytest.approx(5.5, abs=0.5)


class Told:
  """Slots of a game whose episodes of seed s last s steps; the steps of some rounds are lost."""

  kind, slots, limit = environments.kind("dodge"), 3, 100

  def __init__(self, lost=()):
    self._lost, self._round, self._left = list(lost), 0, {}

  def reset(self, seeds):
    self._left |= seeds
    return {slot: np.zeros((64, 64, 3), np.uint8) for slot in seeds}

  def step(self, actions):
    self._round += 1
    if self._round in self._lost:
      raise workers.LostError([0], "died")
    found = {}
    for slot in actions:
      self._left[slot] -= 1
      found[slot] = (np.zeros((64, 64, 3), np.uint8), 1.0, self._left[slot] == 0, False)
    return found

  def play(self, seeds, play, keeps=False):
    self._round += 1
    if self._round in self._lost:
      raise workers.LostError([0], "died")
    return {slot: {"total": float(seed)} for slot, seed in seeds.items()}


class StillAgent:
  """Does nothing, in place of V, M and C."""

  controller = controllers.make("z", 2, 0, 1)

  def start(self, n):
    return jnp.zeros(n)

  def act(self, weights, frames, state, seed, t):
    return np.zeros((len(t), 1)), state, np.zeros((len(t), 2))


@pytest.mark.parametrize("lost", [(), (3,), (2, 9)])
def test_lost_episodes_are_played_again(lost):
  jobs = [(0, seed) for seed in (4, 7, 2, 5, 1)]
  found = episodes.run(Told(lost), StillAgent(), np.zeros((1, 3), np.float32), jobs)
  np.testing.assert_array_equal(found.total, [4, 7, 2, 5, 1])
  np.testing.assert_array_equal(found.steps, [4, 7, 2, 5, 1])
  totals = {}
  episodes.random_play(Told(lost), "held", [4, 7, 2, 5, 1], lambda i, e: totals.update({i: e["total"]}))
  assert totals == {0: 4, 1: 7, 2: 2, 3: 5, 4: 1}


def test_an_episode_lost_three_times_is_one_sentence():
  jobs = [(0, 50)]
  with pytest.raises(errors.UserError, match="died in the episode of seed 50, 3 times"):
    episodes.run(Told((1, 2, 3)), StillAgent(), np.zeros((1, 3), np.float32), jobs)
  with pytest.raises(errors.UserError, match="died in the episode of seed 50, 3 times"):
    episodes.random_play(Told((1, 2, 3)), "held", [50], lambda i, e: None)


def test_a_lost_track_is_cut_short():
  class Barren(Told):
    def step(self, actions):
      return {s: (f, 0.0 if self._left[s] < 40 else 1.0, e, c) for s, (f, _, e, c) in super().step(actions).items()}

  found = episodes.run(Barren(), StillAgent(), np.zeros((1, 3), np.float32), [(0, 60)], lost=10)
  assert found.steps[0] == 30 and found.total[0] == 20


def test_dodge_plays_the_same_episode_in_any_slot():
  with Dodge(4) as four, Dodge(1) as one:
    many = four.play({0: 5, 1: 6, 3: 7}, "held", keeps=True)
    alone = one.play({0: 7}, "held", keeps=True)[0]
  for name, array in alone["arrays"].items():
    np.testing.assert_array_equal(array, many[3]["arrays"][name])
  assert alone["steps"] == many[3]["steps"] == len(alone["arrays"]["frames"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["car", "doom"])
def test_the_same_seed_is_the_same_episode_in_one_process_or_four(name):
  found = []
  for processes in (1, 4):
    with workers.Workers(name, 4, processes, limit=25) as many:
      found.append(many.play({0: 11, 1: 12, 2: 13, 3: 11}, "held", keeps=True))
  for slot in range(4):
    for array in ("frames", "reward", "action"):
      np.testing.assert_array_equal(found[0][slot]["arrays"][array], found[1][slot]["arrays"][array])
  np.testing.assert_array_equal(found[0][0]["arrays"]["frames"], found[0][3]["arrays"]["frames"])
  assert (found[0][0]["arrays"]["frames"] != found[0][1]["arrays"]["frames"]).any()


@pytest.mark.slow
def test_a_killed_process_is_started_anew():
  with workers.Workers("doom", 2, 2, limit=20) as many:
    many.reset({0: 1, 1: 2})
    os.kill(many._processes[1].pid, signal.SIGKILL)
    with pytest.raises(workers.LostError) as raised:
      many.step({0: np.zeros(1), 1: np.zeros(1)})
    assert raised.value.slots == (1,)
    assert set(many.reset({0: 1, 1: 2})) == {0, 1}


@pytest.mark.slow
def test_a_hanging_process_is_started_anew():
  with workers.Workers("doom", 1, 1, limit=20, patience=20.0) as many:
    many.reset({0: 1})
    many._patience = 2.0
    os.kill(many._processes[0].pid, signal.SIGSTOP)
    with pytest.raises(workers.LostError, match="did not answer for 2 s"):
      many.step({0: np.zeros(1)})


def test_environments_that_do_not_fit_are_named():
  with pytest.raises(errors.UserError, match=r"gives Box.*, no picture"):
    environments.kind("CartPole-v1")
  with pytest.raises(errors.UserError, match="There is no environment 'None-v0'"):
    environments.kind("None-v0")


def test_a_missing_package_names_its_extra(monkeypatch):
  monkeypatch.setattr(errors, "is_installed", lambda name: False)
  with pytest.raises(errors.UserError, match=r"pip install '\.\[doom\]'"):
    environments.kind("doom")
  with pytest.raises(errors.UserError, match=r"pip install '\.\[car\]'"):
    environments.kind("car")
