"""dodge as an environment (data/dodge.py): many games at once, in this process, with the interface of Workers."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import environments
from dgm_jax.applications.world_models.workers import Step, stored
from dgm_jax.data import dodge as game


@functools.cache
def _programs() -> tuple[Any, Any]:
  def start(key):
    state = game.start(jax.random.uniform(jax.random.fold_in(key, 0), (3,)))
    return state, game.frame(state)

  def step(state, key, t, action):
    new, hit = game.step(state, action, jax.random.uniform(jax.random.fold_in(key, 1 + t)))
    return new, game.frame(new), hit

  return jax.jit(jax.vmap(start)), jax.jit(jax.vmap(step))


class Dodge:
  """Slots of dodge.  The draws of an episode depend on its seed and step alone."""

  def __init__(self, slots: int, limit: int = 0):
    self.kind, self.slots = environments.kind("dodge"), slots
    self.limit = limit or self.kind.limit
    self._seed, self._t = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    self._start, self._step = _programs()
    self._state = self._start(self._keys())[0]

  def _keys(self) -> jax.Array:
    return jax.vmap(jax.random.key)(jnp.asarray(self._seed, jnp.uint32))

  def reset(self, seeds: Mapping[int, int]) -> dict[int, np.ndarray]:
    """See Workers."""
    for slot, seed in seeds.items():
      self._seed[slot], self._t[slot] = seed, 0
    is_new = np.isin(np.arange(self.slots), list(seeds))
    state, frames = self._start(self._keys())
    pick = lambda new, old: jnp.where(is_new.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    self._state = jax.tree.map(pick, state, self._state)
    return {slot: np.asarray(frames[slot]) for slot in seeds}

  def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, Step]:
    """See Workers."""
    given = np.zeros(self.slots, np.float32)
    for slot, action in actions.items():
      given[slot] = np.ravel(action)[0]
    self._state, frames, hit = self._step(self._state, self._keys(), jnp.asarray(self._t), jnp.asarray(given))
    frames, hit, found = np.asarray(frames), np.asarray(hit), {}
    for slot in actions:
      self._t[slot] += 1
      found[slot] = (frames[slot], 1.0, bool(hit[slot]), bool(self._t[slot] >= self.limit))
    return found

  def play(self, seeds: Mapping[int, int], play: str, keeps: bool = False) -> dict[int, dict[str, Any]]:
    """See Workers; the episodes of all slots together."""
    ways = {slot: environments.random_actions(self.kind, play, seed) for slot, seed in seeds.items()}
    frames = self.reset(seeds)
    rows: dict[int, list] = {slot: [] for slot in seeds}
    while ways:
      actions = {slot: next(way) for slot, way in ways.items()}
      for slot, (frame, reward, ended, cut) in self.step(actions).items():
        rows[slot].append((frames[slot], actions[slot], reward, ended))
        frames[slot] = frame
        if ended or cut:
          del ways[slot]
    return {slot: stored(seeds[slot], found, keeps) for slot, found in rows.items()}

  def close(self) -> None:
    """Nothing to end."""

  def __enter__(self) -> "Dodge":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
