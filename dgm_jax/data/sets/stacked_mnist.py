"""stacked_mnist: three digits as the channels of one image, 1,000 modes (Metz et al., 2017; Lin et al., 2018)."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.sets import mnist, mnist5k
from dgm_jax.data.splits import Splits

SOURCES = ("mnist", "mnist5k")
NUM_MODES = 1000


def stack(x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> dict[str, np.ndarray]:
  """The images of digits `indices` [N, 3], red, green and blue: x [N, H, W, 3], y = 100 red + 10 green + blue [N]."""
  return {
    "x": np.moveaxis(np.asarray(x)[indices, :, :, 0], 1, -1),
    "y": (np.asarray(y)[indices].astype(np.int64) @ [100, 10, 1]).astype(np.int32),
  }


def load(
  data_dir: str | None = None, manual_dir: str | None = None, train_size: int = 128_000, test_size: int = 10_000,
  digits: str = "mnist", split_seed: int = 0,
) -> Splits:  # fmt: skip
  """x uint8 [N, 28, 28, 3], y int32 [N] in 0 .. 999; no validation split.

  Three digits are drawn independently, with replacement, for each image: those of the training images from the training
  digits, those of the test images from the test digits.  That is the fixed draw of Lin et al.; with the transform
  `restack` the training digits are combined afresh at every step, as in Metz et al. (2017).

  Args:
    data_dir, manual_dir: of the digits, see prepare.prepared.
    train_size, test_size: number of images.
    digits: mnist, or mnist5k, 5,000 digits that come with this package.
    split_seed: seed of the draw.
  """
  errors.choose("value of data.digits of stacked_mnist", digits, SOURCES)
  errors.require(
    min(train_size, test_size) >= 1, f"data: train_size = {train_size} and test_size = {test_size} must be 1 or more."
  )
  loaded = mnist.load(data_dir, manual_dir) if digits == "mnist" else mnist5k.load(data_dir)
  rng, parts = np.random.RandomState(split_seed), []
  for part, n in ((loaded.train, train_size), (loaded.test, test_size)):
    parts.append(stack(part["x"], part["y"], rng.randint(0, len(part["y"]), (n, 3))))
  classes = tuple(f"{number:03d}" for number in range(NUM_MODES))
  return Splits(parts[0], None, parts[1], {"classes": classes, "channels": "digits"})
