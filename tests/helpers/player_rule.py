"""Weights of players of images by a rule, for which PyTorch's outputs are in tests/networks/players.npz."""

import zlib

import numpy as np


def weight(name, shape):
  """The array of this name, "generator/block0/conv1/kernel", float32: a function of its name and shape alone.

  u are of length one, variances and gains near one, biases and means small; kernels have the variance 2 / inputs.
  """
  rng, last = np.random.RandomState(zlib.crc32(name.encode())), name.split("/")[-1]
  if last == "u":
    u = rng.standard_normal(shape)
    return (u / np.linalg.norm(u)).astype(np.float32)
  if last in ("var", "scale"):
    return (0.5 + rng.uniform(size=shape)).astype(np.float32)
  if len(shape) < 2:
    return (
      np.float32(0.5 * rng.standard_normal(shape)) if last == "gain" else np.float32(0.1 * rng.standard_normal(shape))
    )
  return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)


def filled(tree, prefix=""):
  """The tree {name: ... shapes} with arrays by the rule."""
  if hasattr(tree, "shape"):
    return weight(prefix, tuple(tree.shape))
  return {name: filled(part, f"{prefix}/{name}" if prefix else name) for name, part in tree.items()}


def inputs():
  """(z [3, 128], y [3], images [3, 32, 32, 3] in [0, 1])."""
  rng = np.random.RandomState(0)
  i, j = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
  waves = np.stack([np.sin(i / 5 + c) * np.cos(j / 4 - c) for c in range(9)], 0).reshape(3, 3, 32, 32)
  images = np.clip(0.5 + 0.3 * waves + 0.1 * rng.standard_normal((3, 3, 32, 32)), 0, 1)
  return (
    rng.standard_normal((3, 128)).astype(np.float32),
    np.array([0, 2, 1]),
    images.transpose(0, 2, 3, 1).astype(np.float32),
  )
