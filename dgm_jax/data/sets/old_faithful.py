"""old_faithful: 272 eruptions of the geyser, duration and waiting time to the next, in minutes.  No download.

The table is R's `faithful` (Härdle: Smoothing Techniques, with Implementation in S, 1991; Azzalini & Bowman: A look at
some data on the Old Faithful geyser, Applied Statistics 39, 1990, have more of the record), with the rows of
csv/datasets/faithful.csv in https://github.com/vincentarelbundock/Rdatasets: measurements of the National Park Service.
The values are not standardised; the transform `standardize` does that.
"""

import pathlib

import numpy as np

from dgm_jax.data.splits import Splits, at_random

_FILE = pathlib.Path(__file__).with_suffix(".csv")
COLUMNS = ("eruptions", "waiting")


def load(
  test_fraction: float = 0.1, valid_fraction: float = 0.0, split_seed: int = 0, everything: bool = False
) -> Splits:
  """x float32 [N, 2]: eruptions and waiting, minutes.

  Args:
    test_fraction, valid_fraction, split_seed: see splits.at_random.
    everything: train, valid and test are each all 272 rows.
  """
  rows = {"x": np.loadtxt(_FILE, np.float32, delimiter=",", skiprows=1)}
  if everything:
    return Splits(rows, rows, rows, {"columns": COLUMNS})
  return at_random(rows, valid_fraction, test_fraction, split_seed, {"columns": COLUMNS})
