"""Complete tables, masks by seed, and the methods that impute them."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.imputation import baselines, columns, combined_report
from dgm_jax.applications.imputation.combined import combine
from dgm_jax.applications.imputation.fit import Limits

UCI = ("banknote", "breast", "concrete", "red", "white", "yeast")
CARRIED = (
  "cancer",
  "diabetes",
  "grapes",
  "digits",
)  # by scikit-learn; grapes is its wine, with the cultivar as a class
_TREES = 50


class Table(NamedTuple):
  """A complete table.

  Attributes:
    x: [N, D], classes as their indices.
    num_classes: for each column, C or 0 for numbers.
  """

  x: np.ndarray
  num_classes: tuple[int, ...]


@functools.cache
def load(name: str) -> Table:
  """A table by name; "wines" is red and white with the colour as a class, digits have their class, too."""
  if name == "wines":
    red, white = load("red").x, load("white").x
    colour = np.repeat([0.0, 1.0], [len(red), len(white)])[:, None]
    return Table(np.concatenate([np.concatenate([red, white]), colour], 1), (0,) * red.shape[1] + (2,))
  if name in UCI:
    from dgm_jax.data.sets import uci

    x = np.asarray(uci.load(name, everything=True).parts()["train"]["x"], np.float64)
    return _varying(x)
  from sklearn import datasets

  maker = {"cancer": "breast_cancer", "grapes": "wine"}.get(name, name)
  options = {"scaled": False} if name == "diabetes" else {}
  found = getattr(datasets, f"load_{maker}")(**options)
  table = _varying(np.asarray(found.data, np.float64))
  if name in ("grapes", "digits"):
    target = found.target[:, None].astype(float)
    return Table(np.concatenate([table.x, target], 1), (*table.num_classes, int(target.max()) + 1))
  return table


def _varying(x: np.ndarray) -> Table:
  x = x[:, [len(np.unique(c)) > 2 for c in x.T]]
  return Table(x, (0,) * x.shape[1])


def _intercept(logits: np.ndarray, rate: float) -> float:
  """b with mean sigmoid(logits + b) = rate, by bisection."""
  low, high = -100.0, 100.0
  for _ in range(60):
    middle = (low + high) / 2
    share = np.mean(0.5 * (1 + np.tanh((logits + middle) / 2)))
    low, high = (low, middle) if share > rate else (middle, high)
  return low


def hidden(x: np.ndarray, mechanism: str, rate: float, seed: int) -> np.ndarray:
  """True where an entry of x [N, D] goes missing.

  mcar: each with probability `rate`.  mar: three columns in ten are always observed and decide the others by a logistic
  regression with random weights (Muzellec et al., 2020).  mnar: values above the column's mean, with the probability
  that makes the column's rate `rate`, at most 1, so that it may be less.
  """
  g = np.random.default_rng([seed, 23])
  uniform = g.random(x.shape)
  if mechanism == "mcar":
    return uniform < rate
  z = (x - x.mean(0)) / x.std(0)
  if mechanism == "mnar":
    above = z > 0
    return above & (uniform < np.minimum(1, rate / above.mean(0)))
  seen, rest = np.split(g.permutation(x.shape[1]), [max(1, round(0.3 * x.shape[1]))])
  logits = z[:, seen] @ g.normal(size=(len(seen), len(rest)))
  logits /= logits.std(0)
  p = np.zeros(x.shape)
  p[:, rest] = np.stack([0.5 * (1 + np.tanh((a + _intercept(a, rate)) / 2)) for a in logits.T], 1)
  return uniform < p


def _missforest(num_classes: tuple[int, ...], seed: int) -> Any:
  from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

  options = {"n_estimators": _TREES, "max_features": "sqrt", "n_jobs": -1, "random_state": seed}
  made = baselines.Chained(
    RandomForestRegressor(**options), RandomForestClassifier(**options), [max(1, c) for c in num_classes], 5
  )
  return baselines.Imputer(made, num_classes)


def _fit(method: str, table: Table, seen: np.ndarray, seed: int, options: dict) -> Callable:
  """Rows [n, D] -> (features in standard deviations of the complete table, low, high or None)."""
  if method in ("auto", "orderless"):
    kinds = [
      columns.Column(str(d), "categorical" if c else "real", tuple(range(c))) for d, c in enumerate(table.num_classes)
    ]
    parts = combined_report.hide(seen, method, seed, report=False)
    of_nets = {"limits": Limits(options["steps"]), "num_models": options["models"], "width": options["width"]}
    model, _ = combined_report.fit(seen, kinds, method, parts, seed=seed, **of_nets)

    def values(x):
      found = combine(model, x)[0]
      return found.features, [(c.loc, c.scale) for c in model.spread.columns], (found.low, found.high)

    return values
  made = (
    _missforest(table.num_classes, seed) if method == "missforest" else baselines.make(method, table.num_classes, seed)
  )
  made.fit(seen)
  return lambda x: (made.expect(x), list(zip(made.mean_, made.scale_, strict=True)), None)


def measure(table: Table, method: str, missing: np.ndarray, seed: int, **options: int) -> dict[str, np.ndarray]:
  """Errors of one method on one mask, scalars.

  mse: of standardised numbers; wrong: share of wrong classes; log_loss: nats per class; coverage: of 90 % intervals of
  numbers; seconds: of the fit and the imputation.  What a method or a table lacks is NaN.
  """
  start = time.monotonic()
  seen = np.where(missing, np.nan, table.x)
  features, units, interval = _fit(method, table, seen, seed, options)(seen)
  seconds = time.monotonic() - start
  square, inside, wrong, log_p, at = [], [], [], [], 0
  for d, classes in enumerate(table.num_classes):
    rows, truth = missing[:, d], table.x[:, d]
    part = features[rows, at : at + max(1, classes)]
    at += max(1, classes)
    if classes:
      p = np.maximum(part[np.arange(len(part)), truth[rows].astype(int)], 1e-3)
      wrong.append(part.argmax(1) != truth[rows])
      log_p.append(np.log(p))
      continue
    loc, scale = units[d]
    square.append(np.square((part[:, 0] * scale + loc - truth[rows]) / truth.std()))
    if interval is not None:
      low, high = (a[rows, d] * scale + loc for a in interval)
      inside.append((low <= truth[rows]) & (truth[rows] <= high))
  mean = lambda parts: np.float64(np.concatenate(parts).mean()) if parts else np.float64(np.nan)
  found = {"mse": mean(square), "wrong": mean(wrong), "log_loss": -mean(log_p), "coverage": mean(inside)}
  return found | {"seconds": np.float64(seconds)}
