"""Whether log p tells a model's data from another data set: AUROC of three scores, with standard errors.

A model may give another data set the higher likelihood (Nalisnick et al., 2019, "Do Deep Generative Models Know What
They Don't Know?"): an AUROC below 1/2 says so.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.evaluation import mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.sets import array
from dgm_jax.evaluate import scores
from dgm_jax.inference.predictions import delong

NEEDS = ()  # methods of the model: any with log p(x), see scores.py
RUNS = ("simpler",)  # the option that may name the folder of a run
_FILES = (".npz", ".npy", ".csv", ".tsv", ".parquet")


def check(
  *, other: str = "", num_examples: int = 2, num_samples: int = 0, num_draws: int = 1, batch_size: int = 0,
  classes: str = "", simpler: str = "",
) -> None:  # fmt: skip
  """Raises UserError for an invalid option."""
  del classes
  errors.require(other != "", "evaluate.out_of_distribution.other is missing: name a data set, or a file of examples.")
  if pathlib.Path(other).suffix not in _FILES:
    errors.choose("data set evaluate.out_of_distribution.other", other, data.names())
  errors.require(
    num_examples >= 2, f"evaluate.out_of_distribution.num_examples = {num_examples}; it must be 2 or more."
  )
  for name, value, least in (
    ("num_samples", num_samples, 0),
    ("num_draws", num_draws, 1),
    ("batch_size", batch_size, 0),
  ):
    errors.require(value >= least, f"evaluate.out_of_distribution.{name} = {value}; it must be {least} or more.")
  errors.require(
    simpler == "", f"evaluate.out_of_distribution.simpler = {simpler!r} is not the folder of a run (with config.json)."
  )


def _numbered(arrays: dict, n: int) -> dict:
  """The first n examples, numbered from 0: the noise of an example depends on its number alone."""
  found = {name: a[:n] for name, a in arrays.items()}
  return found | {"index": jax.device_get(jnp.arange(len(found["x"]), dtype=jnp.int32))}


def other_examples(experiment: Any, other: str, like: dict) -> dict:
  """The test set of a data set, or the examples of a file, in the type of the run's own.

  Args:
    experiment: the built experiment.
    other: name of the data set, or the file.
    like: examples of the run; of what these have beside x, y is taken if both have it.

  Raises:
    UserError: x is of another shape or scale, or there is no y where the model is given it.
  """
  is_file = pathlib.Path(other).suffix in _FILES
  found = array.examples(pathlib.Path(other).expanduser()) if is_file else data.load(other).test
  shape = like["x"].shape[1:]
  errors.require(
    found["x"].shape[1:] == shape,
    f"evaluate.out_of_distribution.other: x of {other!r} has shape {list(found['x'].shape[1:])}, not that of the data, "
    f"{list(shape)}.",
  )
  found = {name: found[name] for name in ("x", "y") if name in found and name in like}
  return experiment.transforms.given(found)[0]


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  other: str = "",
  num_examples: int = 2000,
  num_samples: int = 0,
  num_draws: int = 1,
  batch_size: int = 0,
  classes: str = "",
  simpler: str | Callable[..., jax.Array] = "",
) -> dict[str, Any]:
  """AUROC of scores of x that are to be higher for the test set than for another data set:

    log p(x)
    log p(x) - log p_0(x), p_0 a simpler model (Ren et al., 2019)
    -|log p(x) - m|, m the mean log p of the validation set: typicality (Nalisnick et al., 2019b), a single x at a time

  AUROC is the chance that a test example has the higher score than one of the other set, 1/2 if the score does not tell
  them apart, less if it is the higher for the other set; ± by DeLong et al. (1988), over both samples of examples.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    other: the other data set, by name, or a file of examples.
    num_examples: of each set, the first ones.
    num_samples, num_draws, batch_size, classes: of log p, see scores.make.
    simpler: folder of the run of the simpler model, of the same data before the transforms; or a function of (key,
      arrays) -> log p_0 [N]; "" for none.

  Returns:
    ood_auroc, ood_typicality_auroc and, with `simpler`, ood_ratio_auroc, and NAME_stderr of each; ood_log_px,
    ood_log_px_stderr: the mean over the other set; ood_log_px_test: over the test examples; ood_other, ood_kind: what
    the other set is and what log p is; ood_examples and ood_examples_test, their numbers.
  """
  score = scores.make(experiment, num_samples, batch_size, num_draws, classes)
  held_out = experiment.splits.valid or experiment.splits.train
  sets = {
    "test": _numbered(arrays, num_examples),
    "other": _numbered(other_examples(experiment, other, arrays), num_examples),
    "reference": _numbered(held_out, num_examples),
  }
  with progress_bar(sum(len(a["x"]) for a in sets.values()), description="log p", unit="example") as bar:
    found = {name: score(state, key, a, bar.update) for name, a in sets.items()}
  log_p = {name: f.log_p for name, f in found.items()}
  typical = mean_and_error(log_p["reference"])[0]
  each = {"": log_p, "typicality_": {name: -jnp.abs(a - typical) for name, a in log_p.items()}}
  if simpler:
    each["ratio_"] = {name: log_p[name] - simpler(key, sets[name]) for name in ("test", "other")}
  results: dict[str, Any] = {}
  for name, values in each.items():
    area, error = delong(jnp.asarray(values["other"]), jnp.asarray(values["test"]))
    results |= {f"ood_{name}auroc": float(area), f"ood_{name}auroc_stderr": float(error)}
  results["ood_log_px"], results["ood_log_px_stderr"] = mean_and_error(log_p["other"])
  results["ood_log_px_test"] = mean_and_error(log_p["test"])[0]
  counts = {"ood_examples": len(log_p["other"]), "ood_examples_test": len(log_p["test"])}
  return results | counts | {"ood_other": other, "ood_kind": found["test"].kind}
