"""Environments of pictures: the car, Doom, any of gymnasium with a picture and a discrete or box action.

Each gives frames uint8 [64, 64, 3] and takes the action that C and M read: see controllers.squash.
"""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple, Protocol

import numpy as np

from dgm_jax.applications.world_models import frames
from dgm_jax.core import errors

CAR, DOOM, DODGE = "CarRacing-v3", "VizdoomTakeCover", "dodge"
_CAR_ROWS, _DOOM_ROWS = 84 / 96, 400 / 480  # what is above the panels


class Kind(NamedTuple):
  """What is known of an environment without starting it.

  Attributes:
    name: of it.
    action: kind of action, see controllers.squash; low, high: of a box.
    outputs: numbers that C gives; action_dim: numbers that M reads.
    limit: steps of an episode.
    play: random play for V and M, see `random_actions`.
  """

  name: str
  action: str
  outputs: int
  action_dim: int
  limit: int
  play: str
  low: tuple[float, ...] = ()
  high: tuple[float, ...] = ()


class Environment(Protocol):
  """One environment; an episode is (seed, actions) -> frames and rewards."""

  def reset(self, seed: int) -> np.ndarray:
    """The first frame."""

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
    """(frame, reward, whether it ended, whether it was cut at its limit)."""

  def close(self) -> None:
    """Ends it."""


def _no_display() -> None:
  """SDL draws without a display and without sound."""
  os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
  os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


class Car:
  """CarRacing-v3: steering, gas, brake; 1,000 steps; a lap ends at 95 % of the tiles, as termination."""

  def __init__(self, limit: int = 1000):
    _no_display()
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
    _no_display()
    self._env, self._limit, self._t = _made(name), limit, 0
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


def _made(name: str) -> Any:
  gymnasium = errors.import_package("gymnasium", "An environment")
  try:
    return gymnasium.make(name)
  except gymnasium.error.DependencyNotInstalled as e:
    raise errors.UserError(f"Environment {name!r} cannot start: {str(e).rstrip('.')}.") from e
  except (gymnasium.error.Error, ImportError) as e:
    raise errors.UserError(f"There is no environment {name!r}: {str(e).splitlines()[0].rstrip('.')}.") from e


def kind(name: str) -> Kind:
  """What is known of an environment: car, doom, dodge, or a name of gymnasium's, which is started once.

  Raises:
    UserError: a package is missing, there is no such environment, or its observation or its action does not fit.
  """
  if name == "car":
    errors.require_package("Box2D")
    errors.require_package("gymnasium")
    return Kind(CAR, "car", 3, 3, 1000, "brownian", (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0))
  if name == "doom":
    errors.require_package("vizdoom")
    return Kind(DOOM, "tanh", 1, 1, 2100, "held", (-1.0,), (1.0,))
  if name == "dodge":
    return Kind(DODGE, "tanh", 1, 1, 200, "held", (-1.0,), (1.0,))
  _no_display()
  env = _made(name)
  try:
    return _kind_of(name, env)
  finally:
    env.close()


def _kind_of(name: str, env: Any) -> Kind:
  seen, acted = env.observation_space, env.action_space
  shape = getattr(seen, "shape", None) or ()
  errors.require(
    str(getattr(seen, "dtype", "")) == "uint8" and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))),
    f"Environment {name!r} gives {seen}, no picture (uint8 [H, W, 3]).",
  )
  limit = getattr(env.spec, "max_episode_steps", None) or 1000
  if type(acted).__name__ == "Discrete":
    n = int(acted.n)
    return Kind(name, "one_hot", n, n, limit, "held", (0.0,) * n, (1.0,) * n)
  box = type(acted).__name__ == "Box" and np.isfinite(acted.low).all() and np.isfinite(acted.high).all()
  errors.require(box, f"Environment {name!r} takes {acted}; a discrete action or a bounded box is expected.")
  low, high = (tuple(map(float, np.ravel(a))) for a in (acted.low, acted.high))
  return Kind(name, "box", len(low), len(low), limit, "brownian", low, high)


def make(name: str, limit: int) -> Environment:
  """A new environment, of the names of `kind` but dodge, which is simulated together (dodge.py)."""
  if name == "car":
    return Car(limit)
  return Doom(limit) if name == "doom" else Gymnasium(name, limit)


def about(name: str) -> dict[str, Any]:
  """What results record: the environment, and the versions of the wheels that it is made of."""
  packages = {"car": ("gymnasium", "Box2D", "pygame-ce"), "doom": ("vizdoom",), "dodge": ()}.get(name, ("gymnasium",))
  versions: dict[str, str] = {}
  for package in packages:
    try:
      versions[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      continue
  found = {"environment": kind(name).name, "wheels": versions}
  if name == "car":
    from dgm_jax.applications.world_models import car

    found["drawing"] = "fast" if car.is_known() else "gymnasium's"
  return found


def random_actions(kind: Kind | Mapping[str, Any], play: str, seed: int) -> Any:
  """An endless sequence of actions, float32 [action_dim].

  Args:
    kind: of the environment.
    play: "every" (drawn uniformly at every step), "held" (each for 1 to 10 steps), "still" (0, or the first of
      several), "brownian" (a random walk in the box, as of Tallec, Blier & Kalainathan, 2018).
    seed: of the draws.
  """
  errors.choose("random play", play, ("every", "held", "still", "brownian"))
  k = kind if isinstance(kind, Kind) else Kind(**kind)
  rng = np.random.default_rng([seed, 1])
  low, high = np.asarray(k.low), np.asarray(k.high)

  def drawn():
    return np.eye(k.outputs)[rng.integers(k.outputs)] if k.action == "one_hot" else rng.uniform(low, high)

  action = drawn()
  still = np.eye(k.outputs)[0] if k.action == "one_hot" else np.clip(0.0, low, high)
  while True:
    if play == "still":
      yield still.astype(np.float32)
      continue
    for _ in range(int(rng.integers(1, 11)) if play == "held" else 1):
      yield np.asarray(action, np.float32)
    if play == "brownian":
      action = np.clip(action + rng.normal(size=low.shape) * (high - low) / 2 * np.sqrt(1 / 50), low, high)
    else:
      action = drawn()
