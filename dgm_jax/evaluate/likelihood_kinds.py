"""What a reported log-likelihood is: exact, a bound on log p(x), or an estimate of it."""

from collections.abc import Iterable, Mapping
from typing import Any

EXACT, BOUND, ESTIMATE = "exact", "bound", "estimate"
_ALWAYS = {"elbo": BOUND, "ais_log_px": BOUND, "exact_log_px": ESTIMATE, "exact_elbo": ESTIMATE}  # these by quadrature


def of_value(name: str, results: Mapping[str, Any]) -> str:
  """The kind of the value `name` of a run; "" for other values, and where the results do not say it.

  Args:
    name: name of a value per example, such as "log_px".
    results: the results of the run, with names "test/...".
  """
  if name != "log_px":
    return _ALWAYS.get(name, "")
  by_samples = BOUND if "test/likelihood_samples" in results else ""  # importance sampling: below log p(x) on average
  return results.get("test/likelihood_kind", by_samples)


def together(kinds: Iterable[str]) -> str:
  """The kind of several runs: theirs if they agree, else all of them."""
  return " and ".join(dict.fromkeys(kind for kind in kinds if kind))


def caveat(first: str, second: str) -> str:
  """A sentence if the difference of log p(x) of two kinds is not that of two models, else ""."""
  if first == second or not (first and second):
    return ""
  return (
    f"log_px is {first} in the first and {second} in the second: their difference holds the gap of a bound, or the "
    "error of an estimate, besides that of the models."
  )
