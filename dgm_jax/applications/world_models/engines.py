"""The environments themselves: the car, Doom, those of gymnasium; each gives frames uint8 [64, 64, 3]."""

import contextlib
import os
import pathlib
import tempfile
from typing import Any, Protocol

import numpy as np

from dgm_jax.applications.world_models import frames
from dgm_jax.core import errors

_CAR_ROWS, _DOOM_ROWS = 84 / 96, 400 / 480  # what is above the panels


class Environment(Protocol):
  """One environment; an episode is (seed, actions) -> frames and rewards."""

  def reset(self, seed: int) -> np.ndarray:
    """The first frame."""

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
    """(frame, reward, whether it ended, whether it was cut at its limit)."""

  def close(self) -> None:
    """Ends it."""


def no_display() -> None:
  """Lets SDL draw without a display and without sound."""
  os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
  os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


class Car:
  """CarRacing-v3: steering, gas, brake; 1,000 steps; a lap ends at 95 % of the tiles, as termination."""

  def __init__(self, limit: int = 1000):
    no_display()
    from dgm_jax.applications.world_models import car

    self._env, self._limit, self._t = car.make(), limit, 0

  def reset(self, seed: int) -> np.ndarray:
    """The first frame of a track."""
    self._t = 0
    return frames.reduced(self._env.reset(seed=seed)[0], _CAR_ROWS)

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
    """See Environment."""
    picture, reward, ended, _, _ = self._env.step(np.asarray(action, np.float64))
    self._t += 1
    return frames.reduced(picture, _CAR_ROWS), float(reward), bool(ended), self._t >= self._limit

  def close(self) -> None:
    """Ends it."""
    self._env.close()


class Doom:
  """take_cover of vizdoom: left below -1/3, right above 1/3, one action a tic, reward 1 a tic, 2,100 tics."""

  def __init__(self, limit: int = 2100):
    vizdoom = errors.import_package("vizdoom", "Doom")
    game = vizdoom.DoomGame()
    folder = pathlib.Path(vizdoom.__file__).parent / "scenarios"
    game.load_config(str(folder / "take_cover.cfg"))
    self._folder = tempfile.TemporaryDirectory(prefix="dgm_doom_")  # of the engine's settings, else of this folder
    game.set_doom_config_path(f"{self._folder.name}/_vizdoom.ini")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_episode_timeout(0)
    game.set_mode(vizdoom.Mode.PLAYER)
    self._game, self._limit, self._started, self._t = game, limit, False, 0

  def reset(self, seed: int) -> np.ndarray:
    """The first frame."""
    self._game.set_seed(seed % 2**31)
    if self._started:
      self._game.new_episode()
    else:
      with contextlib.chdir(self._folder.name):  # where the engine leaves files
        self._game.init()
      self._started = True
    self._t = 0
    self._frame = self._seen()
    return self._frame

  def _seen(self) -> np.ndarray:
    return frames.reduced(self._game.get_state().screen_buffer, _DOOM_ROWS)

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
    """See Environment; behind the end the last frame stays."""
    a = float(np.ravel(action)[0])
    reward = self._game.make_action([a < -1 / 3, a > 1 / 3], 1)
    self._t += 1
    ended = self._game.is_player_dead() or self._game.is_episode_finished()
    if not self._game.is_episode_finished():
      self._frame = self._seen()
    return self._frame, float(reward), bool(ended), self._t >= self._limit

  def close(self) -> None:
    """Ends it."""
    self._game.close()
    self._folder.cleanup()


class Gymnasium:
  """An environment of gymnasium whose observation is a picture, and whose action is discrete or a bounded box."""

  def __init__(self, name: str, limit: int):
    no_display()
    self._env, self._limit, self._t = made(name), limit, 0
    self._discrete = type(self._env.action_space).__name__ == "Discrete"

  def reset(self, seed: int) -> np.ndarray:
    """The first frame."""
    self._t = 0
    return frames.reduced(self._env.reset(seed=seed)[0])

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
    """See Environment."""
    space = self._env.action_space
    given = space.start + int(np.argmax(action)) if self._discrete else np.asarray(action, space.dtype)
    given = given if self._discrete else given.reshape(space.shape)
    picture, reward, ended, cut, _ = self._env.step(given)
    self._t += 1
    return frames.reduced(picture), float(reward), bool(ended), bool(cut) or self._t >= self._limit

  def close(self) -> None:
    """Ends it."""
    self._env.close()


def made(name: str) -> Any:
  """An environment of gymnasium's names.  Raises UserError if there is none, or a package is missing."""
  gymnasium = errors.import_package("gymnasium", "An environment")
  try:
    return gymnasium.make(name)
  except gymnasium.error.DependencyNotInstalled as e:
    raise errors.UserError(f"Environment {name!r} cannot start: {str(e).rstrip('.')}.") from e
  except (gymnasium.error.Error, ImportError) as e:
    raise errors.UserError(f"There is no environment {name!r}: {str(e).splitlines()[0].rstrip('.')}.") from e
