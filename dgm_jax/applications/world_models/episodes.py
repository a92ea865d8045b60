"""Real episodes: V and M read each frame, C acts; many slots side by side, whose processes may die."""

import collections
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import environments
from dgm_jax.applications.world_models.controllers import Controller, squash
from dgm_jax.applications.world_models.dodge import Dodge
from dgm_jax.applications.world_models.workers import LostError, Step, Workers
from dgm_jax.core import errors

RETRIES = 2


class Vector(Protocol):
  """Slots of an environment: Workers, or Dodge."""

  kind: environments.Kind
  slots: int
  limit: int

  def reset(self, seeds: Any) -> dict[int, np.ndarray]: ...

  def step(self, actions: Any) -> dict[int, Step]: ...

  def play(self, seeds: Any, play: str, keeps: bool = False) -> dict[int, dict[str, Any]]: ...


def vector(name: str, slots: int, processes: int = 2, limit: int = 0) -> Any:
  """Slots of the environment `name`, as a context."""
  return Dodge(slots, limit) if name == "dodge" else Workers(name, slots, processes, limit)


class Played(NamedTuple):
  """[N]: total reward and steps of each episode, and whether it ended before its limit."""

  total: np.ndarray
  steps: np.ndarray
  ended: np.ndarray


class Agent:
  """V, M and C as one program for a fixed number of slots.

  z_t ~ q(z | frame), a draw that depends on the episode's seed and step alone; C acts on (z_t, h_t, c_t), where h_t has
  read what was before t, as in dreams; then M reads (z_t, a_t).

  Args:
    vae, v_params: V, a model of the principle `latent` with a diagonal q, and its variables.
    memory, m_params: M and its variables; None where C reads z alone.
    controller: C.
    kind: of the environment.

  Raises:
    UserError: V and M, or V and C, have different latents.
  """

  def __init__(self, vae: Any, v_params: Any, memory: Any, m_params: Any, controller: Controller, kind: Any):
    self.vae, self.memory, self.controller = vae, memory, controller
    self._params = (v_params, m_params)
    size = vae.latent_dim
    if memory is not None:
      errors.require(memory.latent_dim == size, f"V has {size} latents, M {memory.latent_dim}: train M after this V.")
    errors.require(controller.latent_dim == size, f"V has {size} latents, C reads {controller.latent_dim}.")
    self._squash = squash(kind.action, kind.low, kind.high)
    self._act = jax.jit(self._one)
    self._encode = jax.jit(self.moments)

  def moments(self, v_params: Any, frames: jax.Array) -> jax.Array:
    """(mean, log variance) of q(z | frames uint8 [n, 64, 64, 3]), [n, 2 L]."""
    q = self.vae.apply(v_params, {"x": frames.astype(jnp.float32) / 255}, method="infer")
    return jnp.concatenate([q.mean(), jnp.log(q.variance())], -1)

  def encode(self, frames: np.ndarray) -> np.ndarray:
    """`moments` with V's own variables."""
    return np.asarray(self._encode(self._params[0], frames))

  def start(self, n: int) -> tuple[jax.Array, jax.Array]:
    """(h, c) before the first step."""
    width = self.controller.hidden if self.memory is None else self.memory.hidden
    return (jnp.zeros((n, width)),) * 2

  def _one(self, params, weights, frames, state, seed, t):
    v_params, m_params = params
    mean, log_variance = jnp.split(self.moments(v_params, frames), 2, -1)
    noise = jax.vmap(lambda s, t: jax.random.normal(jax.random.fold_in(jax.random.key(s), t), mean.shape[1:]))(seed, t)
    z = mean + jnp.exp(0.5 * log_variance) * noise
    first = (t == 0).astype(jnp.float32)
    state = tuple(jnp.where(first[:, None] > 0, 0.0, a) for a in state)
    action = self._squash(self.controller.act(weights, z, *state))
    if self.memory is not None:
      state = self.memory.apply(m_params, state, z, action, first, method="step")
    return action, state, z

  def act(self, weights: np.ndarray, frames: np.ndarray, state: Any, seed: np.ndarray, t: np.ndarray) -> tuple:
    """(action [n, A], state, z [n, L]) of n slots, each with its own weights [n, num_params]."""
    return self._act(self._params, weights, frames, state, seed, t)


class _Slots:
  """What each slot is doing."""

  def __init__(self, n: int, num_params: int):
    self.job = np.full(n, -1)
    self.weights = np.zeros((n, num_params), np.float32)
    self.frames = np.zeros((n, 64, 64, 3), np.uint8)
    self.seed, self.t = np.zeros(n, np.uint32), np.zeros(n, np.int32)
    self.total, self.idle = np.zeros(n), np.zeros(n, np.int64)

  def begin(self, slot: int, job: int, weights: np.ndarray, seed: int) -> None:
    self.job[slot], self.weights[slot], self.seed[slot] = job, weights, seed
    self.t[slot], self.total[slot], self.idle[slot] = 0, 0.0, 0


def run(
  vector: Vector,
  agent: Agent,
  weights: np.ndarray,
  jobs: Sequence[tuple[int, int]],
  lost: int = 0,
  watch: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
) -> Played:
  """Plays episodes, one after another in every slot.

  Args:
    vector: slots of the environment.
    agent: V, M and C.
    weights: parameters of the candidates, [P, num_params].
    jobs: (candidate, seed) of each episode.
    lost: an episode is cut after so many steps without a positive reward (in training); 0: never.
    watch: called with (job, frame, z) before every step.

  Raises:
    UserError: the process of an episode died or hung three times.
  """
  slots, n = _Slots(vector.slots, agent.controller.num_params), len(jobs)
  found = Played(np.zeros(n), np.zeros(n, np.int64), np.zeros(n, bool))
  queue, state = _Queue(jobs, vector.kind.name), agent.start(vector.slots)
  while queue.left or (slots.job >= 0).any():
    fresh = {}
    for slot in map(int, np.flatnonzero(slots.job < 0)):
      if queue.left:
        job = queue.left.popleft()
        slots.begin(slot, job, weights[jobs[job][0]], jobs[job][1])
        fresh[slot] = jobs[job][1]
    active = [int(s) for s in np.flatnonzero(slots.job >= 0)]
    try:
      for slot, frame in (vector.reset(fresh) if fresh else {}).items():
        slots.frames[slot] = frame
      action, state, z = agent.act(slots.weights, slots.frames, state, slots.seed, slots.t)
      if watch is not None:
        for slot in active:
          watch(int(slots.job[slot]), slots.frames[slot], np.asarray(z[slot]))
      action = np.asarray(action)
      stepped = vector.step({slot: action[slot] for slot in active})
    except LostError as e:
      # the others of this round may have stepped: all episodes that were running are played again
      queue.put_back([int(slots.job[s]) for s in active if s not in e.slots])
      queue.put_back([int(slots.job[s]) for s in active if s in e.slots], e.why)
      slots.job[:] = -1
      continue
    for slot, (frame, reward, ended, cut) in stepped.items():
      _advance(slots, slot, frame, reward, ended, cut or (lost and slots.idle[slot] >= lost - 1 and reward <= 0), found)
  return found


class _Queue:
  """Episodes that are to be played; `jobs` has (candidate, seed) of each."""

  def __init__(self, jobs: Sequence[tuple[int, int]], environment: str):
    self.left, self._jobs, self._environment = collections.deque(range(len(jobs))), jobs, environment
    self._tries = np.zeros(len(jobs), int)

  def put_back(self, jobs: Sequence[int], why: str = "") -> None:
    """Episodes to be played again; `why` their process failed, if it did: UserError at the third time."""
    self.left.extendleft(reversed(jobs))
    for job in jobs if why else ():
      self._tries[job] += 1
      errors.require(
        self._tries[job] <= RETRIES,
        f"The process of environment {self._environment} {why} in the episode of seed {self._jobs[job][1]}, "
        f"{self._tries[job]} times; what was finished before is kept.",
      )


def _advance(slots: _Slots, slot: int, frame: np.ndarray, reward: float, ended: bool, cut: Any, found: Played) -> None:
  slots.frames[slot] = frame
  slots.t[slot] += 1
  slots.total[slot] += reward
  slots.idle[slot] = 0 if reward > 0 else slots.idle[slot] + 1
  if ended or cut:
    job = slots.job[slot]
    found.total[job], found.steps[job], found.ended[job] = slots.total[slot], slots.t[slot], ended
    slots.job[slot] = -1


def random_play(
  vector: Vector, play: str, seeds: Sequence[int], done: Callable[[int, dict[str, Any]], None], keeps: bool = False
) -> None:
  """Plays episodes of random play; done(i, episode) is called with each, see workers.stored.

  Raises:
    UserError: the process of an episode died or hung three times.
  """
  queue = _Queue([(0, seed) for seed in seeds], vector.kind.name)
  while queue.left:
    jobs = {slot: queue.left.popleft() for slot in range(min(vector.slots, len(queue.left)))}
    try:
      for slot, episode in vector.play({s: seeds[i] for s, i in jobs.items()}, play, keeps).items():
        done(jobs[slot], episode)
    except LostError as e:
      queue.put_back([i for s, i in jobs.items() if s not in e.slots])
      queue.put_back([i for s, i in jobs.items() if s in e.slots], e.why)
