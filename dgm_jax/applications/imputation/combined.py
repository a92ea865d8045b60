"""Imputation by several methods, combined by evidence: entries that were hidden from all of them.

Of the observed entries two disjoint parts are hidden from every method.  The first, the evidence, decides when the
networks stop, the weights of the methods by column (weights.py), how far rows that agree are believed (hot_deck.py),
the lengths of intervals and the temperature of classes (calibration.py).  The second is for the report alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.imputation import (
  baselines,
  calibration,
  conditional_nets,
  evidence,
  weights,
)
from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation.conditional_nets import Nets
from dgm_jax.applications.imputation.evidence import Agreeing, Said
from dgm_jax.applications.imputation.spread import Spread
from dgm_jax.core import errors

LEAST = 20  # observed entries of a column from which it is learnt
CANDIDATES = ("orderless", "forest", "mice", "knn", "mean")
METHODS = ("auto", *CANDIDATES)
_ROWS, _GATED = 10_000, 3000  # rows with evidence, and those by which agreeing rows are believed
_LARGE = {"forest": 300_000, "knn": 300_000, "mice": 2_000_000}  # cells above which `auto` leaves a method out


class Combined(NamedTuple):
  """A fitted combination.

  Attributes:
    spread: the layout of the table.
    methods: the K names.
    parts: the K fitted methods; the networks are conditional_nets.Nets.
    weights: [D, K].
    agreeing: rows that others may agree with; None if they are not used.
    factors: of the half-widths of intervals, [D].
    temperature: of classes.
    sparse: columns with too few observed entries to learn from: they get their mean, or their commonest class.
    seconds: run time of each method's fit.
  """

  spread: Spread
  methods: tuple[str, ...]
  parts: tuple[Any, ...]
  weights: np.ndarray
  agreeing: Agreeing | None
  factors: np.ndarray
  temperature: float
  sparse: tuple[int, ...]
  seconds: tuple[float, ...]

  @property
  def nets(self) -> Nets | None:
    """The networks, if they are among the methods."""
    return next((part for part in self.parts if isinstance(part, Nets)), None)


class Values(NamedTuple):
  """The combination for n rows.

  Attributes:
    features: means and probabilities, [n, F].
    low, high: 90 % intervals of numbers in standard deviations, [n, D].
    share: the weight of rows that agree, [n, D].
  """

  features: np.ndarray
  low: np.ndarray
  high: np.ndarray
  share: np.ndarray


def methods_for(method: str, size: int) -> tuple[str, ...]:
  """The candidates of a method; `auto` leaves out those that take too long for a table of `size` cells.

  Another method than `auto` comes with the mean, for the columns from which nothing can be learnt.

  Raises:
    UserError: there is no such method.
  """
  errors.choose("method", method, METHODS)
  if method == "auto":
    return tuple(name for name in CANDIDATES if size <= _LARGE.get(name, size))
  return tuple(dict.fromkeys((method, "mean")))


def hide(x: np.ndarray, rate: float, seed: int) -> np.ndarray:
  """Observed entries to hide, each with probability `rate`; bool [N, D].

  They lie in at most 10,000 rows; columns with fewer than 20 observed entries keep theirs.
  """
  seen, generator = ~np.isnan(x), np.random.default_rng([seed, 7])
  rows = np.zeros(len(x), bool)
  rows[generator.permutation(len(x))[:_ROWS]] = True
  return (generator.random(x.shape) < rate) & seen & (seen.sum(0) >= LEAST) & rows[:, None]


def _fit_method(name: str, seen, hidden, x, spread: Spread, seed: int, options: dict[str, Any]) -> Any:
  if name == "orderless":
    return conditional_nets.fit(seen, hidden, x, spread, seed=seed, **options)
  return baselines.make(name, spread.num_classes, seed).fit(seen)


def _again(part: Any, name: str, x: np.ndarray, spread: Spread, seed: int) -> Any:
  """A method with the hidden entries, too."""
  if isinstance(part, Nets):
    return conditional_nets.more(part, x, seed)
  return baselines.make(name, spread.num_classes, seed).fit(x)


def _expected(part: baselines.Imputer, spread: Spread, x: np.ndarray) -> np.ndarray:
  """Features [n, F] in the units of the spread, which are not those of a method that was fitted to further entries."""
  features = part.expect(x)
  for d, at, of_numbers in spread.parts():
    if of_numbers:
      column = spread.columns[d]
      features[:, at] = (features[:, at] * part.scale_[d] + part.mean_[d] - column.loc) / column.scale
  return features


def say(parts: Sequence[Any], spread: Spread, x: np.ndarray) -> Said:
  """What each method says of rows x [n, D], NaN where missing."""
  nets = [conditional_nets.say(part, x) for part in parts if isinstance(part, Nets)]
  found = iter(nets)
  features = [next(found).features if isinstance(part, Nets) else _expected(part, spread, x) for part in parts]
  return Said(np.stack(features), nets[0] if nets else None)


def fit(
  x: np.ndarray,
  columns: Sequence[tables.Column],
  hidden: np.ndarray,
  methods: Sequence[str],
  *,
  seed: int = 0,
  agree: bool = True,
  refit: bool = True,
  started: Callable[[str], Any] = lambda name: None,
  **options: Any,
) -> Combined:
  """Fits the methods to x [N, D], NaN where missing, without the hidden entries; combines them by these.

  Args:
    x: numbers in the table's units, classes as their indices; without the entries of the report.
    columns: the D columns.
    hidden: the evidence, bool [N, D].
    methods: names of CANDIDATES, "mean" among them.
    seed: of everything random.
    agree: whether rows that agree take part, where several methods are weighed or networks impute.
    refit: whether the methods are finally fitted to the hidden entries, too.
    started: called with the name of each method before its fit.
    options: num_models, limits, width and progress of conditional_nets.fit.
  """
  seen, rows = np.where(hidden, np.nan, x), hidden.any(1)
  spread, dim = Spread(tables.scaled(columns, seen)), x.shape[1]
  sparse = tuple(np.flatnonzero((~np.isnan(x)).sum(0) < LEAST).tolist())
  parts, seconds = [], []
  for name in methods:
    started(name)
    start = time.monotonic()
    parts.append(_fit_method(name, seen, hidden, x, spread, seed, options))
    seconds.append(time.monotonic() - start)
  alone = np.eye(len(methods))[[list(methods).index("mean") if d in sparse else 0 for d in range(dim)]]
  made = Combined(spread, tuple(methods), tuple(parts), alone, None, np.ones(dim), 1.0, sparse, tuple(seconds))
  if not rows.any():
    return made
  started("weights")
  made = _weighed(made, seen, x, hidden, seed, agree)
  if not refit:
    return made
  started("all entries")
  return made._replace(
    parts=tuple(_again(part, name, x, spread, seed) for part, name in zip(parts, methods, strict=True))
  )


def _weighed(made: Combined, seen: np.ndarray, x: np.ndarray, hidden: np.ndarray, seed: int, agree: bool) -> Combined:
  """The combination with its weights, gates and calibration."""
  spread, rows, fallback = made.spread, hidden.any(1), made.methods.index("mean")
  truth, where, said = x[rows], hidden[rows], say(made.parts, spread, seen[rows])
  found = evidence.by_column(spread, said.features, truth, where, made.sparse)
  chosen, of_columns = len(made.methods) > 2, made.weights
  if chosen:
    of_columns = weights.fit(found, len(made.methods), fallback)
  features = evidence.stacked(spread, said.features, of_columns)
  others = evidence.out_of_fold(spread, said, found, len(truth), fallback) if chosen else features
  near = None
  if agree and (chosen or made.nets is not None):
    scores = evidence.normal_maps(spread, seen)
    few, near = slice(_GATED), evidence.agreeing(spread, scores, seen, seed)._replace(sparse=made.sparse)
    fitted = evidence.fit_gates(near, seen[rows][few], truth[few], where[few], features[few])
    others, _ = fitted.move(seen[rows], others)
    near = None
    if max(fitted.gates) > 0:
      whole = evidence.agreeing(spread, scores, x, seed)
      near = fitted._replace(deck=whole.deck)
  factors, temperature = evidence.calibrate(spread, said, others, truth, where)
  return made._replace(weights=of_columns, agreeing=near, factors=factors, temperature=temperature)


def combine(model: Combined, x: np.ndarray) -> tuple[Values, Said]:
  """The combination for rows x [n, D], NaN where missing, and what each method says."""
  spread, said = model.spread, say(model.parts, model.spread, x)
  features = evidence.stacked(spread, said.features, model.weights)
  share = np.zeros_like(features)
  if model.agreeing is not None:
    features, share = model.agreeing.move(x, features)
  for _, at, of_numbers in spread.parts():
    if not of_numbers:
      features[:, at] = calibration.sharpened(features[:, at], model.temperature)
  first = evidence.first(spread)
  centre = features[:, first]
  low, high = calibration.stretched(centre, *evidence.around(spread, said, centre), model.factors)
  return Values(features, low, high, share[:, first]), said
