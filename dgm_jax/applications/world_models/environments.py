"""What is known of environments of pictures: the car, Doom, gymnasium's with a discrete or box action; random play.

Each gives frames uint8 [64, 64, 3] and takes the action that C and M read: see controllers.squash.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.world_models import engines
from dgm_jax.core import errors

CAR, DOOM, DODGE = "CarRacing-v3", "VizdoomTakeCover", "dodge"


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
  engines.no_display()
  env = engines.made(name)
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


def make(name: str, limit: int) -> engines.Environment:
  """A new environment, of the names of `kind` but dodge, which is simulated together (dodge.py)."""
  if name == "car":
    return engines.Car(limit)
  return engines.Doom(limit) if name == "doom" else engines.Gymnasium(name, limit)


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
