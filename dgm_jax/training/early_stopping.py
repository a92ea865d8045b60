"""Which checkpoint is the best, and when a run ends before its last step."""

from dgm_jax.core import errors

# Words of the names of metrics for which less is better; for all others more is better.
_COSTS = {"loss", "nll", "distortion", "rate", "error", "stderr", "mse", "rmse", "mae", "l1", "brier", "ece"}
_COSTS |= {"bits", "nats", "perplexity", "aic", "bic", "icl", "kl", "gaps", "invertibility"}
_COSTS |= {"frechet", "fid", "kernel", "kid", "near"}  # distances of samples from data, and copies among them
_COUNTS = {"units", "below"}  # of what has such a value: more is better


def score(name: str, row: dict[str, float]) -> float:
  """The metric with the sign for which more is better."""
  words = set(name.rpartition("/")[2].lower().split("_"))
  return -row[name] if words & _COSTS and not words & _COUNTS else row[name]


def best_step(rows: list[dict[str, float]], name: str, steps: set[int]) -> int | None:
  """The step among `steps` with the best value of the metric, the first of equals; None if no row of them has it."""
  measured = [row for row in rows if row["step"] in steps and name in row]
  return max(measured, key=lambda row: score(name, row))["step"] if measured else None


class Ending:
  """Decides whether a run should end, from its metrics so far and the minutes of training.

  Args:
    metric: metric that selects the best checkpoint and controls early stopping; "" for neither.
    patience: end after this many evaluations without a better value of the metric; 0 for never.
    max_minutes: limit on the time of the training steps, summed over the run's processes so far; None for no limit.
    updates: end when the metric `train/decoder_updates`, the mean over a row's steps, has reached it; 0 for no limit.
  """

  def __init__(self, metric: str, patience: int, max_minutes: float | None, updates: int = 0):
    self._metric, self._patience, self._max_minutes, self._updates = metric, patience, max_minutes, updates

  def reason(self, rows: list[dict[str, float]], minutes: float) -> str | None:
    """The reason to end now, a clause for messages, or None; `minutes` is the time of the training steps so far."""
    if self._max_minutes is not None and minutes >= self._max_minutes:
      return f"its {self._max_minutes:g} minutes are used up"
    updates = rows[-1].get("train/decoder_updates", 0.0) if rows else 0.0
    if self._updates and updates >= self._updates:
      return f"its decoder has had {self._updates:,} updates"
    scores = [score(self._metric, row) for row in rows if self._metric in row]
    if self._patience and scores and len(scores) - 1 - scores.index(max(scores)) >= self._patience:
      return f"{self._metric} has not improved in {self._patience} evaluations"
    return None


def check(metric: str, patience: int, max_minutes: float | None) -> None:
  """Raises UserError if an option is invalid."""
  errors.require(patience >= 0, f"early_stopping = {patience}; it must be 0 (never) or a number of evaluations.")
  errors.require(not patience or metric != "", "early_stopping needs keep_best, the metric to watch.")
  errors.require(max_minutes is None or max_minutes > 0, f"max_minutes = {max_minutes}; it must be positive.")
