"""dodge: a toy game with known dynamics, in pure JAX.  Balls fall; the player at the bottom moves left or right.

The unit is a pixel of the 64 x 64 frame.  Two balls fall at 3 pixels a step, 32 pixels apart; when the lower one has
left the window, a new one enters at the top, at a uniformly random place.  An episode ends when a ball touches the
player, or after `TIME_LIMIT` steps; each step is worth 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

SIDE, TIME_LIMIT, LATENTS = 64, 200, 5
_SPEED, _FALL, _APART = 3.0, 3.0, 32.0
_LOW, _HIGH, _ROW = 5.0, 59.0, 58.0  # where the player and the balls may be; the player's row
_HALF, _RADIUS = 5.0, 4.0  # of the player's width; of a ball
_THRESHOLD = 1 / 3  # of an action in [-1, 1]
_COLOURS = ((24.0, 24.0, 64.0), (80.0, 220.0, 80.0), (240.0, 90.0, 60.0))  # background, player, balls


class State(NamedTuple):
  """player [...]: its place; ball_x, ball_y [..., 2]: the lower ball first."""

  player: jax.Array
  ball_x: jax.Array
  ball_y: jax.Array


def _place(uniform: jax.Array) -> jax.Array:
  return _LOW + (_HIGH - _LOW) * uniform


def start(uniform: jax.Array) -> State:
  """The first state, from uniform numbers [..., 3]."""
  x = _place(uniform)
  y = jnp.broadcast_to(jnp.asarray([_APART, 0.0]), (*x.shape[:-1], 2))
  return State(x[..., 0], x[..., 1:], y)


def step(state: State, action: jax.Array, uniform: jax.Array) -> tuple[State, jax.Array]:
  """(the next state, whether a ball touches the player) after action [...]; uniform [...] places a new ball.

  Below -1/3 the player moves left, above 1/3 right.
  """
  way = (action > _THRESHOLD).astype(jnp.float32) - (action < -_THRESHOLD)
  player = jnp.clip(state.player + _SPEED * way, _LOW, _HIGH)
  x, y = state.ball_x, state.ball_y + _FALL
  gone = y[..., :1] > SIDE + _RADIUS
  new = _place(uniform)[..., None]
  x = jnp.where(gone, jnp.concatenate([x[..., 1:], new], -1), x)
  y = jnp.where(gone, jnp.concatenate([y[..., 1:], y[..., 1:] - _APART], -1), y)
  near = (jnp.abs(x - player[..., None]) < _HALF + _RADIUS - 1) & (jnp.abs(y - _ROW) < _RADIUS + 2)
  return State(player, x, y), near.any(-1)


def frame(state: State) -> jax.Array:
  """The picture, uint8 [..., 64, 64, 3]; edges are smoothed, so that places between pixels are seen."""
  at = jnp.arange(SIDE) + 0.5
  lead = state.player.shape
  rows, columns = at[:, None], at[None, :]
  wide = lambda a: a.reshape(*lead, 1, 1)
  cover = lambda distance, size: jnp.clip(size + 0.5 - distance, 0.0, 1.0)
  player = cover(jnp.abs(columns - wide(state.player)), _HALF) * cover(jnp.abs(rows - _ROW), 2.0)
  balls = jnp.zeros((*lead, SIDE, SIDE))
  for i in range(2):
    distance = jnp.hypot(columns - wide(state.ball_x[..., i]), rows - wide(state.ball_y[..., i]))
    balls = jnp.maximum(balls, cover(distance, _RADIUS))
  back, of_player, of_ball = (jnp.asarray(c) for c in _COLOURS)
  picture = back + player[..., None] * (of_player - back)
  picture = picture + balls[..., None] * (of_ball - picture)
  return jnp.round(picture).astype(jnp.uint8)


def latents(state: State) -> jax.Array:
  """The state as numbers near [-1, 1], [..., 5]: the player, then x and y of the lower and of the upper ball."""
  parts = [state.player, state.ball_x[..., 0], state.ball_y[..., 0], state.ball_x[..., 1], state.ball_y[..., 1]]
  return (jnp.stack(parts, -1) - SIDE / 2) / (SIDE / 2)


def of_latents(z: jax.Array) -> State:
  """The inverse of `latents`."""
  at = z * (SIDE / 2) + SIDE / 2
  return State(at[..., 0], at[..., 1:4:2], at[..., 2:5:2])


def play(key: jax.Array, actions: jax.Array) -> tuple[State, jax.Array, jax.Array]:
  """(states [T, n], done [T, n], valid [T, n]) of n episodes with given actions [T, n].

  done is 1 at the step after which an episode ends, valid until then.
  """
  first = start(jax.random.uniform(jax.random.fold_in(key, 0), (actions.shape[1], 3)))
  uniform = jax.random.uniform(jax.random.fold_in(key, 1), actions.shape)

  def one(carry, now):
    state, over = carry
    new, hit = step(state, *now)
    return (new, over | hit), (state, hit & ~over, ~over)

  _, found = jax.lax.scan(one, (first, jnp.zeros(actions.shape[1], bool)), (actions, uniform))
  return found


def held_actions(key: jax.Array, length: int, n: int, most: int = 10) -> jax.Array:
  """Random play [T, n]: uniform numbers in [-1, 1], each held for 1 to `most` steps, as often as the other."""
  keys = jax.random.split(key, 3)
  drawn = jax.random.uniform(keys[0], (length, n), minval=-1.0)
  lasts = jax.random.randint(keys[1], (length, n), 1, most + 1)

  def one(carry, now):
    action, left = carry
    new, last = now
    action = jnp.where(left == 0, new, action)
    left = jnp.where(left == 0, last, left) - 1
    return (action, left), action

  return jax.lax.scan(one, (jnp.zeros(n), jnp.zeros(n, jnp.int32)), (drawn, lasts))[1]
