"""rollouts: episodes of an environment, as frames for V or as sequences for M of a world model.

A folder of archives, one for each episode (data/files/rollouts.py), such as `dgm_jax world-models` writes.  Without a
folder they are random play in the toy game dodge (data/dodge.py), whose latents are its state.
"""

import hashlib
import json
import pathlib

import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.data import dodge
from dgm_jax.data.files import rollouts
from dgm_jax.data.published import cache
from dgm_jax.data.splits import Splits

MEMBERS = ("frames", "latents")
_LOG_VARIANCE = -8.0  # of latents that are the game's state


def _simulated(n: int, seed: int) -> list[dict[str, np.ndarray]]:
  """n episodes of dodge by random play."""
  key = jax.random.key(seed)
  actions = dodge.held_actions(jax.random.fold_in(key, 2), dodge.TIME_LIMIT, n)
  states, done, valid = dodge.play(key, actions)
  z, actions, done, valid = (np.asarray(a) for a in (dodge.latents(states), actions, done, valid))
  found = []
  for i in range(n):
    steps = int(valid[:, i].sum())
    moments = np.concatenate([z[:steps, i], np.full((steps, dodge.LATENTS), _LOG_VARIANCE)], 1)
    found.append({
      "moments": moments.astype(np.float32), "action": actions[:steps, i, None], "reward": np.ones(steps, np.float32),
      "done": done[:steps, i],
    })  # fmt: skip
  return found


def _frames_of(episodes: list[dict[str, np.ndarray]]) -> np.ndarray:
  z = np.concatenate([e["moments"][:, : dodge.LATENTS] for e in episodes])
  return np.concatenate([np.asarray(dodge.frame(dodge.of_latents(z[i : i + 500]))) for i in range(0, len(z), 500)])


def _toy(member: str, episodes: int, length: int, seed: int) -> Splits:
  played = _simulated(episodes + max(4, episodes // 10), seed)
  train, test = played[:episodes], played[episodes:]
  about = {"environment": "dodge", "latent_dim": dodge.LATENTS, "action_dim": 1}
  if member == "frames":
    return Splits({"x": _frames_of(train)}, None, {"x": _frames_of(test)}, about)
  whole = lambda part: {"x": np.concatenate([rollouts.pieces(e, length) for e in part])}
  return Splits(whole(train), None, whole(test), about)


def _frames(folder: pathlib.Path, most: int, least: int, test_fraction: float) -> Splits:
  """Frames of a folder, mapped from one file that is made of the episodes once."""
  used = [(p.name, s.st_size, s.st_mtime_ns) for p in rollouts.listed(folder) for s in (p.stat(),)]
  key = hashlib.sha256(json.dumps([1, used, most, least, test_fraction]).encode()).hexdigest()[:16]

  def write(target: pathlib.Path) -> None:
    paths, steps, shape = rollouts.sound(folder, "frames", least)
    errors.require(len(paths) >= 2, f"{folder} has one episode that can be read; two or more are needed.")
    for part, indices in zip(("train", "test"), rollouts.split(paths, test_fraction), strict=True):
      some = [[a[i] for i in indices] for a in (paths, steps)]
      share = 0 if most == 0 else max(1, round(most * (1 - test_fraction if part == "train" else test_fraction)))
      count = sum(some[1]) if share == 0 else min(share, sum(some[1]))
      array, at = cache.create(target / part / "x.npy", np.dtype(np.uint8), (count, *shape)), 0

      def take(path: pathlib.Path, rows: np.ndarray) -> None:
        nonlocal at
        array[at : at + len(rows)] = rollouts.read(path, "frames")["frames"][rows]
        at += len(rows)

      rollouts.rows_of(*some, share, take)
      array.flush()
    cache.save_about(target, {"episodes": len(paths)})

  found = cache.cached(folder / f"frames-{key}", ("train", "test"), write, what=str(folder))
  return Splits(found["train"], None, found["test"], dict(found.about))


def _sequences(folder: pathlib.Path, length: int, least: int, test_fraction: float) -> Splits:
  paths, _, shape = rollouts.sound(folder, "moments", least)
  errors.require(len(paths) >= 2, f"{folder} has one episode that can be read; two or more are needed.")
  episodes = [rollouts.read(p, "moments") for p in paths]
  train, test = rollouts.split(paths, test_fraction)
  whole = lambda indices: {"x": np.concatenate([rollouts.pieces(episodes[i], length) for i in indices])}
  about = {"episodes": len(paths), "latent_dim": shape[0] // 2, "action_dim": episodes[0]["action"].shape[1]}
  return Splits(whole(train), None, whole(test), about)


def load(
  member: str,
  path: str = "",
  episodes: int = 200,
  max_frames: int = 0,
  length: int = 100,
  least_steps: int = 0,
  test_fraction: float = 0.05,
  split_seed: int = 0,
) -> Splits:
  """x uint8 [N, 64, 64, 3] of rollouts/frames; float32 [N, length, W] of rollouts/latents, see rollouts.pieces.

  Args:
    member: frames or latents.
    path: folder of the episodes; "" for random play in dodge.
    episodes: of dodge, for training.
    max_frames: at most so many frames, evenly spaced; 0 for all.
    length: steps of a sequence.
    least_steps: only episodes of more steps (100 in the paper's code).
    test_fraction: share of the episodes that are for the test.
    split_seed: of random play in dodge.

  Raises:
    UserError: an invalid number, or no episodes that can be read.
  """
  errors.choose("rollouts", member, MEMBERS)
  errors.require(length >= 2, f"data.length = {length}; a sequence has 2 steps or more.")
  errors.require(episodes >= 1, f"data.episodes = {episodes}; it must be 1 or more.")
  errors.require(0 < test_fraction < 1, f"data.test_fraction = {test_fraction}; it must be between 0 and 1.")
  errors.require(min(max_frames, least_steps) >= 0, "data.max_frames and data.least_steps must be 0 or more.")
  if not path:
    return _toy(member, episodes, length, split_seed)
  folder = pathlib.Path(path).expanduser().absolute()
  if member == "frames":
    return _frames(folder, max_frames, least_steps, test_fraction)
  return _sequences(folder, length, least_steps, test_fraction)
