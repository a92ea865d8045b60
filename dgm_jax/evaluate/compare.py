"""Compares runs on the same test examples: paired differences with standard errors.

  python -m dgm_jax compare runs/a runs/b
  python -m dgm_jax compare runs/a_0,runs/a_1,runs/a_2 runs/b_0,runs/b_1,runs/b_2
  python -m dgm_jax compare runs/a runs/b --json > differences.json
  python -m dgm_jax compare runs/a runs/b --out=figures --format=pdf,png

All others are compared with the first.  Runs joined by commas are seeds of one method: their values are averaged
example by example before the difference is taken.  With --out, the differences are also drawn.

Exit status: 0 done, 2 runs that cannot be compared.
"""

import argparse
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, figure_style, figures, files, paths
from dgm_jax.evaluate import compare_figure, compare_samples, likelihood_kinds

_SAME = ("data", "data_digest", "transforms", "split_sizes")


class Run(NamedTuple):
  """Results of an evaluated run.

  Attributes:
    path: folder of the run.
    results: results.json, or evaluation.json if the run is not finished.
    values: {name: [N]}, one value per test example.
  """

  path: str
  results: dict[str, Any]
  values: dict[str, np.ndarray]


class Difference(NamedTuple):
  """Difference of one value between two methods, in the unit of the value, mostly nats.

  Attributes:
    name: name of the value.
    first, second: means over examples and seeds.
    difference: second - first.
    stderr: standard error of the difference over the test examples, for these trained models; of a number of samples,
      that of the two numbers taken as independent, or None.
    first_spread, second_spread: standard deviation over the seeds of the mean over examples; None for one seed.
    num_examples: N; of a number of samples, their number.
    first_kind, second_kind: what a log-likelihood is: exact, bound or estimate; "" for other values.
  """

  name: str
  first: float
  second: float
  difference: float
  stderr: float | None
  first_spread: float | None
  second_spread: float | None
  num_examples: int
  first_kind: str = ""
  second_kind: str = ""


def read(path: str) -> Run:
  """Reads the results and values of a run.

  Raises:
    UserError: the folder does not exist, or holds no results or no values.
  """
  folder = pathlib.Path(path)
  errors.require(folder.is_dir(), f"{path} is not the folder of a run.")
  results = files.read_json(folder / "results.json") or files.read_json(folder / "evaluation.json")
  evaluate = f"python -m dgm_jax evaluate --workdir={path}"
  errors.require(results is not None, f"{path} holds no results; `{evaluate}` computes them.")
  file = folder / "values.npz"
  has_any = file.exists() or compare_samples.has(results)
  errors.require(has_any, f"{path} holds no values per example (values.npz); `{evaluate}` computes them.")
  stored = files.load_arrays(file) if file.exists() else {}
  arrays = {name.removeprefix("test/"): a for name, a in stored.items()}
  values = {name: a for name, a in arrays.items() if not name.startswith(("units/", "predictive/"))}
  for name, a in values.items():
    errors.require(
      a.ndim > 0 and a.dtype.kind in "fiub",
      f"{file} is damaged: {name} is {a.dtype} of shape {a.shape}, not a number for each example.",
    )
  return Run(path, results, values)


def check(runs: Sequence[Run]) -> None:
  """Raises UserError if the runs were not evaluated on the same examples."""
  first, *others = runs
  for run in others:
    for name in _SAME:
      a, b = first.results.get(name), run.results.get(name)
      errors.require(
        a == b, f"{first.path} and {run.path} cannot be compared: {name} is {a} in the first and {b} in the second."
      )


def paired(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
  """(mean, standard error) of second - first, [N] each; infinite error for N = 1."""
  d = np.asarray(second, np.float64) - np.asarray(first, np.float64)
  return float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d))) if len(d) > 1 else float("inf")


def _mean_and_spread(runs: Sequence[Run], name: str) -> tuple[np.ndarray, float | None]:
  """(mean over the seeds of each example [N], standard deviation over the seeds of the mean over examples)."""
  values = np.stack([run.values[name] for run in runs]).astype(np.float64)
  return values.mean(0), float(values.mean(1).std(ddof=1)) if len(runs) > 1 else None


def compare(first: Sequence[Run], second: Sequence[Run]) -> list[Difference]:
  """The differences of all values that the runs have in common, for the same number of examples.

  Raises:
    UserError: the runs differ in their data, or have no values in common.
  """
  runs = [*first, *second]
  check(runs)
  names = [n for n in runs[0].values if all(n in run.values for run in runs)]
  names = [n for n in names if len({run.values[n].shape for run in runs}) == 1]
  of_samples = compare_samples.numbers([run.results for run in first], [run.results for run in second])
  paths_of_runs = ", ".join(run.path for run in runs)
  errors.require(bool(names or of_samples), f"{paths_of_runs} have no values of the same examples in common.")
  found = []
  for name in names:
    (a, spread_a), (b, spread_b) = _mean_and_spread(first, name), _mean_and_spread(second, name)
    kinds = [
      likelihood_kinds.together(likelihood_kinds.of_value(name, r.results) for r in of) for of in (first, second)
    ]
    found.append(Difference(name, float(a.mean()), float(b.mean()), *paired(a, b), spread_a, spread_b, len(a), *kinds))
  for n in of_samples:
    spreads = n.first_spread, n.second_spread
    found.append(Difference(n.name, n.first, n.second, n.second - n.first, n.stderr, *spreads, n.num_samples))
  return found


def warnings(first: Sequence[Run], second: Sequence[Run]) -> list[str]:
  """Caveats of the comparison, one sentence each."""
  runs, found = [*first, *second], []
  kinds = [
    likelihood_kinds.together(likelihood_kinds.of_value("log_px", r.results) for r in of) for of in (first, second)
  ]
  sentences = likelihood_kinds.caveat(*kinds), compare_samples.caveat([run.results for run in runs])
  found += filter(None, sentences)
  for name in sorted({k for run in runs for k in run.results if k.endswith(("_samples", "/num_draws"))}):
    numbers = list(dict.fromkeys(run.results.get(name, "none") for run in runs))
    if len(numbers) > 1:
      found.append(f"{name} differs ({', '.join(map(str, numbers))}): a bound is tighter with more samples.")
  for name in sorted({k for run in runs for k in run.values}):
    sizes = {len(run.values[name]) if name in run.values else 0 for run in runs}
    if len(sizes) > 1:
      found.append(f"{name} is left out: the runs have it for {', '.join(map(str, sorted(sizes)))} examples.")
  return found


def table(differences: Sequence[Difference]) -> str:
  """A text table, one line per difference, numbers to four decimals."""
  show = lambda v: "" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v)
  head = ("value", "first", "second", "difference", "stderr", "sd of first", "sd of second", "examples")
  rows = [(*head, "kind of first", "kind of second"), *(tuple(map(show, d)) for d in differences)]
  spreads = any(d.first_spread is not None or d.second_spread is not None for d in differences)
  kinds = any(d.first_kind or d.second_kind for d in differences)
  hidden = (() if spreads else (5, 6)) + (() if kinds else (8, 9))
  rows = [[cell for i, cell in enumerate(row) if i not in hidden] for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  align = lambda i, cell: f"{cell:<{widths[i]}}" if i == 0 else f"{cell:>{widths[i]}}"
  return "\n".join("  ".join(align(i, cell) for i, cell in enumerate(row)) for row in rows)


def as_json(comparisons: Sequence[tuple[str, str, list[Difference], list[str]]]) -> str:
  """JSON: a list of comparisons {"first", "second": arguments, "differences": [...], "warnings": [...]}.

  The fields of a difference are those of Difference; null stands for no or an infinite number.
  """
  finite = lambda v: None if isinstance(v, float) and not math.isfinite(v) else v
  found = [
    {
      "first": folders(first),
      "second": folders(second),
      "differences": [{k: finite(v) for k, v in d._asdict().items()} for d in differences],
      "warnings": sentences,
    }
    for first, second, differences, sentences in comparisons
  ]
  return json.dumps(found, indent=2, allow_nan=False)


def folders(argument: str) -> list[str]:
  """The folders that commas separate; a name such as optim.lr=0.001,seed=0, of a run of a sweep, has commas itself.

  Raises:
    UserError: there is nothing before or after a comma.
  """
  found, rest = [], argument.split(",")
  errors.require(all(rest), f"{argument!r}: a folder's name is missing at a comma.")
  while rest:
    taken = next((n for n in range(1, len(rest) + 1) if pathlib.Path(",".join(rest[:n])).is_dir()), 1)
    found.append(",".join(rest[:taken]))
    rest = rest[taken:]
  return found


def _title(argument: str) -> str:
  """The name of a method in a figure: its first folder, and how many seeds it has besides."""
  first, *more = folders(argument)
  return f"{first} and {len(more)} more" if more else first


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the comparisons; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("runs", nargs="+", metavar="RUN[,RUN...]", help="the folder of a run, or of several seeds")
  parser.add_argument("--json", action="store_true", help="print the differences as JSON")
  parser.add_argument(
    "--out", type=paths.folder_of("--out"), help="folder of a figure of the differences, differences.FORMAT"
  )
  parser.add_argument("--format", default="", help="formats of the figure, such as pdf,svg,png; default: png")
  given = parser.parse_args(argv)
  arguments, formats = given.runs, figure_style.parse_formats(given.format or "png")
  errors.require(given.out is not None or not given.format, "--format needs --out, the folder of the figure.")
  errors.require(len(arguments) >= 2, "Name two runs or more: python -m dgm_jax compare runs/a runs/b.")
  first, *others = [[read(path) for path in folders(argument)] for argument in arguments]
  found = [
    (arguments[0], name, compare(first, second), warnings(first, second))
    for name, second in zip(arguments[1:], others, strict=True)
  ]
  drawn = []
  if given.out is not None:
    with figures.writing(formats):
      drawable = lambda found: [d for d in found if not d.name.startswith("samples_")]
      titled = {_title(name): drawable(differences) for _, name, differences, _ in found}
      drawn = compare_figure.save(given.out / "differences.png", _title(arguments[0]), titled)
  if given.json:
    print(as_json(found), flush=True)
    return 0
  for _, name, differences, sentences in found:
    print(f"{name} minus {arguments[0]}\n{table(differences)}")
    print("".join(f"{sentence}\n" for sentence in sentences), flush=True)
  if drawn:
    print("Files\n" + "\n".join(f"  {path}" for path in drawn), flush=True)
  return 0
