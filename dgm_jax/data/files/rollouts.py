"""Files of episodes that world models are trained on.

A folder has one archive for each episode, NUMBER.npz, of the arrays

  frames uint8 [n, 64, 64, 3], or moments float32 [n, 2 L]: what was seen before each step, or V's (mean, log variance)
  action float32 [n, A]; reward float32 [n]; done bool [n], 1 if the step ended the episode; seed
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from dgm_jax.core import errors, files

SEEN = ("frames", "moments")


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
  """The files of episodes, by number.  Raises UserError if there is none."""
  errors.require(folder.is_dir(), f"{folder} does not exist, or is no folder of rollouts.")
  found = sorted(p for p in folder.glob("*.npz") if p.stem.isdigit())
  errors.require(bool(found), f"{folder} has no rollouts (NUMBER.npz).")
  return found


def write(folder: pathlib.Path, number: int, arrays: dict[str, np.ndarray]) -> pathlib.Path:
  """Writes an episode beside its name, then renames it; returns its path."""
  path = folder / f"{number:06d}.npz"
  files.save_plain_arrays(path, **arrays)
  return path


def read(path: pathlib.Path, seen: str) -> dict[str, np.ndarray]:
  """The arrays of an episode.

  Args:
    path: its file.
    seen: what it must have, "frames" or "moments".

  Raises:
    UserError: it is damaged, or holds something else.
  """
  found = files.load_arrays(path)
  needed = (seen, "action", "reward", "done")
  missing = [name for name in needed if name not in found]
  errors.require(not missing, f"{path} is damaged: it has no {', '.join(missing)}.")
  lengths = {len(found[name]) for name in needed}
  errors.require(len(lengths) == 1 and min(lengths) > 0, f"{path} is damaged: its arrays have lengths {lengths}.")
  ranks = {"frames": (np.uint8, 4), "moments": (np.float32, 2)}
  dtype, rank = ranks[seen]
  is_right = found[seen].dtype == dtype and found[seen].ndim == rank and found["action"].ndim == 2
  errors.require(is_right, f"{path} is damaged: {seen} are {found[seen].dtype} of shape {found[seen].shape}.")
  return found


def sound(folder: pathlib.Path, seen: str, least: int = 0) -> tuple[list[pathlib.Path], list[int], tuple[int, ...]]:
  """(the files that can be read, of more than `least` steps; their numbers of steps; the shape of what was seen).

  Damaged ones are named in a warning and left out.

  Raises:
    UserError: none is left, or they have different shapes.
  """
  kept, steps, shapes = [], [], {}
  for path in listed(folder):
    try:
      arrays = read(path, seen)
    except errors.UserError as e:
      logging.warning("%s It is left out.", e)
      continue
    if len(arrays["reward"]) > least:
      kept.append(path)
      steps.append(len(arrays["reward"]))
      shapes[arrays[seen].shape[1:]] = path
  errors.require(bool(kept), f"{folder} has no episode of more than {least} steps that can be read.")
  errors.require(
    len(shapes) == 1, f"{folder} has episodes of several kinds: {seen} of shapes {', '.join(map(str, shapes))}."
  )
  return kept, steps, next(iter(shapes))


def num_pieces(steps: int, length: int) -> int:
  """The number of sequences of an episode."""
  return max(1, -(-(steps - 1) // (length - 1)))


def pieces(arrays: dict[str, np.ndarray], length: int) -> np.ndarray:
  """An episode as sequences for M, float32 [k, length, W], W = 2 L + A + 4; see models/sequences/mdn_rnn.py.

  Sequences overlap by one step, so that every step but the last has its successor; the last one is filled with zeros.
  """
  n = len(arrays["reward"])
  first = np.zeros(n, np.float32)
  first[0] = 1.0
  single = [arrays["reward"], arrays["done"], first, np.ones(n)]
  rows = np.concatenate([arrays["moments"], arrays["action"], np.stack(single, 1)], 1).astype(np.float32)
  starts = range(0, (length - 1) * num_pieces(n, length), length - 1)
  found = np.zeros((len(starts), length, rows.shape[1]), np.float32)
  for i, start in enumerate(starts):
    part = rows[start : start + length]
    found[i, : len(part)] = part
  return found


def split(paths: Sequence[Any], test_fraction: float) -> tuple[list[int], list[int]]:
  """(indices of the training episodes, of the test episodes): every k-th of those in order is for the test."""
  every = max(2, round(1 / test_fraction))
  test = [i for i in range(len(paths)) if i % every == every - 1] or [len(paths) - 1]
  return [i for i in range(len(paths)) if i not in set(test)], test


def rows_of(paths: Sequence[pathlib.Path], steps: Sequence[int], most: int, take: Callable) -> int:
  """Calls take(path, indices of steps) for each episode, with at most `most` steps in all (0: all), evenly spaced.

  Returns how many.
  """
  total = sum(steps)
  wanted = total if most == 0 else min(most, total)
  chosen = np.unique(np.linspace(0, total - 1, wanted).astype(np.int64))
  ends = np.cumsum(steps)
  for path, end, n in zip(paths, ends, steps, strict=True):
    inside = chosen[(chosen >= end - n) & (chosen < end)] - (end - n)
    if inside.size:
      take(path, inside)
  return len(chosen)
