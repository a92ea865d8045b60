"""Deep ensembles: the equally weighted mixture of the predictions of several runs (Lakshminarayanan et al., 2017).

  python -m dgm_jax ensemble runs/a runs/b runs/c

The runs must have the same data and have been evaluated with config.evaluate.predictive.  Usually they are the seeds of
one sweep, trained together as lanes of one program.  Exit status: 0 done, 2 runs that cannot be averaged.
"""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from dgm_jax.core import errors, files
from dgm_jax.core.text_tables import results_table
from dgm_jax.evaluate import compare, predictive
from dgm_jax.inference import predictions

_KEPT = "test/predictive/"


def members(runs: Sequence[str | pathlib.Path]) -> list[Mapping[str, Any]]:
  """The predictions of each run for the test set: log_py [N], y, and probs [N, C], or mean and variance [N, T].

  Raises:
    UserError: a run has no predictions, or the runs differ in their data.
  """
  compare.check([compare.read(str(path)) for path in runs])
  found = []
  for path in runs:
    arrays = files.load_arrays(pathlib.Path(path) / "values.npz")
    errors.require(
      {f"{_KEPT}y", "test/log_py"} <= arrays.keys(),
      f"{path} holds no predictions: it was evaluated without config.evaluate.predictive, or its model predicts no y.",
    )
    kept = {name.removeprefix(_KEPT): a for name, a in arrays.items() if name.startswith(_KEPT)}
    found.append(kept | {"log_py": arrays["test/log_py"]})
  return found


def mixed(parts: Sequence[Mapping[str, Any]]) -> tuple[predictions.Prediction, Any]:
  """(the mixture of the members' predictions, y)."""
  y = parts[0]["y"]
  return predictions.mixture({k: jnp.stack([part[k] for part in parts]) for k in parts[0] if k != "y"}), y


def scored(parts: Sequence[Mapping[str, Any]], num_bins: int = 15) -> dict[str, float]:
  """Scores of the mixture over the set, as in evaluate.predictive."""
  return predictive.of_values(predictions.of_examples(*mixed(parts)), num_bins)


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the scores; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax ensemble",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a member")
  runs = parser.parse_args(argv).runs
  print(results_table(scored(members(runs)) | {"members": len(runs)}), flush=True)
  return 0
