"""A GIF of a real episode beside what V sees of it, and beside a dream that begins with the same frame."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.world_models import dreams, episodes, evolving, seeds
from dgm_jax.applications.world_models.plans import Plan
from dgm_jax.core import errors, files

_SCALE, _MOST = 3, 300  # of the pictures' size; frames


def chosen_folder(plan: Plan) -> str:
  """The folder of the controller that the stage score chose; before, of the first temperature."""
  done = files.read_json(plan.folder("score") / "results.json")
  return done["chosen"] if done else next(iter(plan.controllers()))


def decoded(agent: episodes.Agent, z: np.ndarray) -> np.ndarray:
  """E[x | z] as frames, uint8 [n, 64, 64, 3]."""
  run = jax.jit(lambda params, z: agent.vae.apply(params, z, method="reconstruct"))
  found = [np.asarray(run(agent._params[0], z[i : i + 100])) for i in range(0, len(z), 100)]
  return np.round(255 * np.clip(np.concatenate(found), 0, 1)).astype(np.uint8)


def dream(
  found: evolving.Parts, plan: Plan, weights: np.ndarray, first: np.ndarray, tau: float, seed: int
) -> np.ndarray:
  """z of one dream from (mean, log variance) [2 L] of its first frame, [T, L], until its end."""
  agent, memory = found.agent, found.agent.memory
  mean, log_variance = np.split(first, 2)
  world, key = dreams.of_memory(memory), jax.random.key(seed)
  squash = agent._squash

  @jax.jit
  def run(params, weights):
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(jax.random.fold_in(key, 0), mean.shape)

    def one(carry, t):
      state, z, over = carry
      action = squash(agent.controller.act(weights[None], z[None], *state))
      first = (t == 0).astype(jnp.float32)[None]
      draws = jax.random.split(jax.random.fold_in(key, 1 + t))
      uniform, normal = jax.random.uniform(draws[0], z.shape), jax.random.normal(draws[1], z.shape)
      state, new, _, done = world.step(
        params, state, z[None], action, first, uniform[None], normal[None], jnp.full(1, tau)
      )
      return (state, new[0], over | done[0]), (z, over)

    return jax.lax.scan(one, (world.start(1), z, jnp.zeros((), bool)), jnp.arange(min(plan.limit, _MOST)))[1]

  z, over = map(np.asarray, run(found.m_params, jnp.asarray(weights)))
  return z[~over]


def play(plan: Plan, out: pathlib.Path, seed: int, tau: float, overwrite: bool) -> dict[str, Any]:
  """Plays one episode (of the seeds of the purpose "selection"), writes the GIF, returns {total, steps, dreamt}.

  From left to right: the real frame; V's reconstruction; a dream of M at temperature tau from the same first frame,
  where C reads M.  The shorter one keeps its last frame.

  Raises:
    UserError: no .gif, a file that exists, tau <= 0, or no controller yet.
  """
  errors.require(out.suffix == ".gif", f"--out {out}: a .gif is written; give it that ending.")
  errors.require(overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
  errors.require(out.absolute().parent.is_dir(), f"--out {out}: its folder does not exist.")
  dreams.check(tau, 1, 1)
  found, seen, codes = evolving.parts(plan), [], []
  weights = evolving.weights_of(plan.folder(chosen_folder(plan)))

  def watch(job: int, frame: np.ndarray, z: np.ndarray) -> None:
    del job
    seen.append(frame.copy())
    codes.append(z.copy())

  with plan.vector() as vector:
    of = seeds.of("selection", plan.seed, 1, 1000 + seed)
    played = episodes.run(vector, found.agent, weights[None], [(0, of[0])], watch=watch)
  rows = [np.stack(seen), decoded(found.agent, np.stack(codes))]
  dreamt = None
  if found.agent.memory is not None:
    first = found.agent.encode(seen[0][None])[0]
    z = dream(found, plan, weights, first, tau, seed)
    rows, dreamt = [*rows, decoded(found.agent, z)], len(z)
  write(out, rows)
  return {"total": float(played.total[0]), "steps": int(played.steps[0]), "dreamt": dreamt}


def write(out: pathlib.Path, rows: list[np.ndarray]) -> None:
  """Writes films [T_i, 64, 64, 3] side by side as a GIF."""
  from PIL import Image

  length = min(_MOST, max(map(len, rows)))
  padded = [np.concatenate([r[:length], np.repeat(r[-1:], max(0, length - len(r)), 0)]) for r in rows]
  gap = np.full((length, 64, 2, 3), 255, np.uint8)
  film = np.concatenate([a for row in padded for a in (row, gap)][:-1], 2)
  film = film.repeat(_SCALE, 1).repeat(_SCALE, 2)
  pictures = [Image.fromarray(frame) for frame in film]
  with files.whole(out) as temporary:
    pictures[0].save(temporary, "GIF", save_all=True, append_images=pictures[1:], duration=40, loop=0)
