"""Which checkpoint is the best, and when a run ends before its last step."""

from dgm_jax.core import errors

# of these less is better, of all other metrics more
_COSTS = ("loss", "nll", "distortion", "rate", "error")


def score(name: str, row: dict[str, float]) -> float:
  """The metric, or minus a metric of which less is better: more is better."""
  return -row[name] if name.rpartition("/")[2] in _COSTS else row[name]


def best_step(rows: list[dict[str, float]], name: str, steps: set[int]) -> int | None:
  """The step, of those given, whose row has the best metric; the first of equals."""
  measured = [row for row in rows if row["step"] in steps and name in row]
  return max(measured, key=lambda row: score(name, row))["step"] if measured else None


class Ending:
  """Says why a run should end now, as a function of its metrics so far and of the minutes it was trained.

  Args:
    metric: what the best checkpoint, and early stopping, go by; "" for neither.
    patience: end after so many evaluations without a better value of the metric; 0 for never.
    max_minutes: end when the training steps, in all processes that worked on the run, took so long; None for never.
  """

  def __init__(self, metric: str, patience: int, max_minutes: float | None):
    self._metric, self._patience, self._max_minutes = metric, patience, max_minutes

  def reason(self, rows: list[dict[str, float]], minutes: float) -> str | None:
    """A clause that says why, or None; `minutes` is how long it was trained so far."""
    if self._max_minutes is not None and minutes >= self._max_minutes:
      return f"its {self._max_minutes:g} minutes are used up"
    scores = [score(self._metric, row) for row in rows if self._metric in row]
    if self._patience and scores and len(scores) - 1 - scores.index(max(scores)) >= self._patience:
      return f"{self._metric} has not improved in {self._patience} evaluations"
    return None


def check(metric: str, patience: int, max_minutes: float | None) -> None:
  """Refuses options that cannot be."""
  errors.require(patience >= 0, f"early_stopping = {patience}; it must be 0 (never) or a number of evaluations.")
  errors.require(not patience or metric != "", "early_stopping needs keep_best, the metric to go by.")
  errors.require(max_minutes is None or max_minutes > 0, f"max_minutes = {max_minutes}; it must be positive.")
