"""Imputation of corrupted counts, the benchmark of scVI (Lopez et al., 2018), with its corruptions."""

from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples

NEEDS = ("infer", "px_z")  # methods of the model
KINDS = ("published", "each", "binomial")
_RATE, _KEPT, _BINOMIAL = 0.1, 0.1, 0.2


def check(*, corruption: str = "each", batch_size: int = 1, seed: int = 0) -> None:
  """Raises UserError for an invalid option."""
  errors.choose("evaluate.count_imputation.corruption", corruption, KINDS)
  errors.require(batch_size >= 1, f"evaluate.count_imputation.batch_size = {batch_size}; it must be 1 or more.")
  errors.require(seed >= 0, f"evaluate.count_imputation.seed = {seed}; it must be 0 or more.")


def corrupted(x: np.ndarray, kind: str, seed: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
  """(x with a tenth of its non-zero entries changed, (rows, columns) of these entries).

  each        each chosen entry is kept with probability 0.1, else 0: what the paper describes
  published   all chosen entries are multiplied by ONE Bernoulli(0.1) draw, as the authors' code does: usually all are
              zeroed, and once in ten times nothing changes
  binomial    each chosen entry becomes Binomial(x, 0.2)
  """
  errors.choose("corruption", kind, KINDS)
  rng = np.random.RandomState(seed)
  rows, columns = np.nonzero(x)
  chosen = rng.choice(len(rows), int(_RATE * len(rows)), replace=False)
  rows, columns = rows[chosen], columns[chosen]
  found, values = x.copy(), x[rows, columns]
  if kind == "binomial":
    found[rows, columns] = rng.binomial(values, _BINOMIAL)
  else:
    found[rows, columns] = values * rng.binomial(1, _KEPT, len(values) if kind == "each" else None)
  return found, (rows, columns)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  corruption: str = "each",
  batch_size: int = 200,
  seed: int = 0,
) -> dict[str, Any]:
  """The median absolute error of mu, at z = E_q[z | corrupted x], in the corrupted entries of the test cells.

  mu is the mean of the negative binomial or Poisson, without the extra zeros of a zero-inflated one, as in the authors'
  code; imputation_l1_with_zeros is of E[x|z] = (1 - pi) mu, which for the other likelihoods is the same.
  The library is that of the corrupted cell.  The model was trained on uncorrupted cells, other than in the paper, where
  training saw the corrupted ones: numbers compare only with the same protocol.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test cells.
    corruption: see `corrupted`.
    batch_size: cells at once.
    seed: of the corruption.

  Returns:
    imputation_l1 (median), imputation_l1_mean, imputation_l1_with_zeros (median), imputation_entries;
    imputation_corruption names the corruption.
  """
  x = np.asarray(arrays["x"]).astype(np.int64)
  changed, (rows, columns) = corrupted(x, corruption, seed)
  empty = changed.sum(1) == 0
  changed[empty] = x[empty]  # a cell without counts has no library
  given = {k: v for k, v in arrays.items() if k != "log_factorials"} | {"x": changed.astype(np.int32)}

  def eval_step(state, key, batch):
    del key
    model = experiment.model.bind({"params": state.params, **state.variables})
    p = model.px_z(batch, model.infer(batch).mean())
    return {"mu": getattr(p, "counts", p).mean(), "with_zeros": p.mean()}

  found = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)(state, key, given)
  used = ~empty[rows]
  errors_of = {n: np.abs(np.asarray(mean)[rows, columns] - x[rows, columns])[used] for n, mean in found.items()}
  error = errors_of["mu"]
  return {
    "imputation_l1": float(np.median(error)),
    "imputation_l1_mean": float(np.mean(error)),
    "imputation_l1_with_zeros": float(np.median(errors_of["with_zeros"])),
    "imputation_entries": int(used.sum()),
    "imputation_corruption": corruption,
  }
