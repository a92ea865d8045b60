"""Dreams: a whole population plays in M, as one compiled program.

[population x rollouts] rows dream side by side, in segments of 100 steps.  Between two segments the rows whose dream
has ended leave, and the others are packed into the smallest of a few fixed sizes, each compiled once.  The draws of a
row depend on its own key and on its step alone, so that neither its neighbours nor the packing change a dream, but for
the rounding of products of other sizes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models.controllers import Controller
from dgm_jax.core import errors
from dgm_jax.data import dodge
from dgm_jax.models.sequences import mdn

SEGMENT, _LEAST = 100, 64


class World(NamedTuple):
  """What rows dream in: M, or known dynamics in its place.

  Attributes:
    start: n -> state, a pytree of [n, ...].
    memory: state -> (h, c) [n, H] each, which the controller reads.
    step: (params, state, z, action, first [n], uniform [n, L], normal [n, L], tau [n]) -> (state, z, reward, done).
    latent_dim: L.
    hidden: H.
  """

  start: Callable
  memory: Callable
  step: Callable
  latent_dim: int
  hidden: int


class Rows(NamedTuple):
  """The dreams that go on; every array has a leading axis of rows.

  Attributes:
    number: which row it is; candidate: whose it is.
    key: data of the row's key; tau: its temperature.
    state, z: of the world; t: its step; total: its reward so far; alive: whether it goes on.
  """

  number: jax.Array
  candidate: jax.Array
  key: jax.Array
  tau: jax.Array
  state: Any
  z: jax.Array
  t: jax.Array
  total: jax.Array
  alive: jax.Array


class Dreamt(NamedTuple):
  """[P, R]: the reward and the steps of each dream, and whether it ended before the limit."""

  total: np.ndarray
  steps: np.ndarray
  done: np.ndarray


def of_memory(model: Any) -> World:
  """The world of a trained M (models/sequences/mdn_rnn.py); `params` of its step are M's variables.

  The next z is drawn at temperature tau; the dream ends where the logit of done is positive, as in the authors' code.
  """

  def step(params, state, z, action, first, uniform, normal, tau):
    state = model.apply(params, state, z, action, first, method="step")
    p = model.apply(params, state[0], method="following")
    z = mdn.sample(mdn.at_temperature(p.z, tau[:, None, None]), uniform, normal)
    done = jnp.zeros(z.shape[0], bool) if p.done is None else p.done > 0
    return state, z, jnp.ones(z.shape[0]) if p.reward is None else p.reward, done

  zeros = lambda n: (jnp.zeros((n, model.hidden)),) * 2
  return World(zeros, lambda state: state, step, model.latent_dim, model.hidden)


def of_dodge(hidden: int = 0) -> World:
  """The true dynamics of dodge in M's place: z is its state (data/dodge.py), done its end."""

  def step(params, state, z, action, first, uniform, normal, tau):
    del params, first, normal, tau
    new, hit = dodge.step(dodge.of_latents(z), action[:, 0], uniform[:, 0])
    return state, dodge.latents(new), jnp.ones(z.shape[0]), hit

  nothing = lambda n: jnp.zeros((n, 0))
  return World(nothing, lambda state: (jnp.zeros((state.shape[0], hidden)),) * 2, step, dodge.LATENTS, hidden)


def check(tau: Any, population: int, rollouts: int) -> None:
  """Raises UserError for a temperature that is not positive, or without candidates or rollouts."""
  taus = np.atleast_1d(np.asarray(tau, np.float64))
  errors.require(bool((taus > 0).all() and np.isfinite(taus).all()), f"tau = {tau}; it must be positive.")
  errors.require(
    population >= 1 and rollouts >= 1, f"{population} candidates x {rollouts} rollouts: 1 or more of each."
  )


def _draws(seed: int, rollouts: int, num_first: int) -> tuple[np.ndarray, np.ndarray]:
  """(data of the keys, which of the stored first frames), [R, ...], of the rollouts of a seed."""
  keys = jax.random.key_data(jax.random.split(jax.random.key(seed), rollouts))
  return np.asarray(keys), np.random.default_rng(seed).integers(0, num_first, rollouts)


class Dreamer:
  """Compiled dreams of one world and one kind of controller.

  Args:
    world: M, or known dynamics.
    controller: what acts.
    squash: raw action -> action.
    limit: steps after which a dream is cut.
    compacts: whether rows whose dream has ended leave; False for comparisons.
  """

  def __init__(
    self, world: World, controller: Controller, squash: Callable, limit: int, compacts: bool = True
  ):  # fmt: skip
    self.world, self.controller, self.limit = world, controller, limit
    self._squash, self._compacts = squash, compacts
    self._start = jax.jit(self._first_rows)
    self._segment = jax.jit(self._run, donate_argnums=2)
    self._take = jax.jit(lambda rows, index: jax.tree.map(lambda a: a[index], rows))

  def _first_rows(self, moments, candidate, keys, tau, which):
    """Rows at step 0: z ~ N(mu, sigma^2) of a stored first frame; `which` [n] chooses it."""
    mean, log_variance = jnp.split(moments[which], 2, -1)
    draw = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(jax.random.wrap_key_data(k), 0), mean.shape[1:]))
    z = mean + jnp.exp(0.5 * log_variance) * draw(keys)
    n = len(candidate)
    zero = jnp.zeros(n)
    number = jnp.arange(n, dtype=jnp.int32)
    state = jax.tree.map(jnp.copy, self.world.start(n))  # (h, c) may be one array, and is donated
    return Rows(number, candidate, keys, tau, state, z, zero.astype(jnp.int32), zero, jnp.ones(n, bool))

  def _run(self, params, weights, rows):
    of_row, (size,) = weights[rows.candidate], (self.world.latent_dim,)

    def draws(key, t):
      key = jax.random.fold_in(jax.random.wrap_key_data(key), 1 + t)
      both = jax.random.split(key)
      return jax.random.uniform(both[0], (size,)), jax.random.normal(both[1], (size,))

    def one(rows, _):
      memory = self.world.memory(rows.state)
      action = self._squash(self.controller.act(of_row, rows.z, *memory))
      uniform, normal = jax.vmap(draws)(rows.key, rows.t)
      first = (rows.t == 0).astype(jnp.float32)
      state, z, reward, done = self.world.step(params, rows.state, rows.z, action, first, uniform, normal, rows.tau)
      t = rows.t + rows.alive
      total = rows.total + jnp.where(rows.alive, reward, 0.0)
      alive = rows.alive & ~done & (t < self.limit)
      return rows._replace(state=state, z=z, t=t, total=total, alive=alive), None

    return jax.lax.scan(one, rows, None, SEGMENT)[0]

  def sizes(self, n: int) -> list[int]:
    """The numbers of rows that programs are compiled for."""
    found = [n]
    while self._compacts and found[-1] > _LEAST:
      found.append(-(-found[-1] // 2))
    return found

  def __call__(
    self,
    params: Any,
    weights: np.ndarray,
    rollouts: int,
    moments: np.ndarray,
    seed: int | np.ndarray,
    tau: float | np.ndarray = 1.0,
  ) -> Dreamt:
    """Dreams of P candidates, R rollouts of each.

    Rollout r has the same first frame and the same random numbers for every candidate of a seed.  Seeds and
    temperatures may differ, so that the populations of several evolutions dream as one program.

    Args:
      params: M's variables.
      weights: float32 [P, num_params].
      rollouts: R.
      moments: (mean, log variance) of stored first frames, [M, 2 L].
      seed: of first frames and draws, a number or [P].
      tau: temperature, a number or [P].

    Raises:
      UserError: tau <= 0, or nothing to dream.
    """
    population = len(weights)
    check(tau, population, rollouts)
    errors.require(
      moments.shape[-1] == 2 * self.world.latent_dim,
      f"The first frames have {moments.shape[-1] // 2} latents, M has {self.world.latent_dim}.",
    )
    n = population * rollouts
    candidate = np.repeat(np.arange(population, dtype=np.int32), rollouts)
    seeds, of_candidate = np.unique(np.broadcast_to(np.asarray(seed), (population,)), return_inverse=True)
    keys, which = map(np.stack, zip(*(_draws(int(s), rollouts, len(moments)) for s in seeds), strict=True))
    keys, which = (np.concatenate(a[of_candidate]) for a in (keys, which))
    taus = np.broadcast_to(np.asarray(tau, np.float32), (population,))[candidate]
    rows = self._start(jnp.asarray(moments), candidate, keys, taus, which)
    total, steps, done = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, bool)
    weights = jnp.asarray(weights, jnp.float32)
    while True:
      rows = self._segment(params, weights, rows)
      host = jax.device_get((rows.number, rows.total, rows.t, rows.alive))
      number, new_total, t, alive = host
      real = number >= 0
      total[number[real]], steps[number[real]] = new_total[real], t[real]
      done[number[real]] = ~alive[real] & (t[real] < self.limit)
      left = np.flatnonzero(alive & real)
      if not left.size:
        break
      rows = self._packed(rows, left, n)
    shaped = lambda a: a.reshape(population, rollouts)
    return Dreamt(shaped(total), shaped(steps), shaped(done))

  def _packed(self, rows: Rows, left: np.ndarray, n: int) -> Rows:
    """The rows that go on, in the smallest size that holds them; those that fill it up are no longer counted."""
    size = min(s for s in self.sizes(n) if s >= left.size)
    if size == len(rows.number):
      return rows
    index = np.resize(left, size)
    kept = self._take(rows, index)
    extra = np.arange(size) >= left.size
    return kept._replace(number=jnp.where(extra, -1, kept.number), alive=kept.alive & ~extra)
