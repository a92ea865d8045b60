"""Scores the examples of a file: log p of every row under a trained run.

  python -m dgm_jax score --workdir=RUN new.csv --out=scores.csv
  python -m dgm_jax score --workdir=RUN digits.npz --out=scores.csv --num_samples=500
  python -m dgm_jax score --workdir=RUN lines.txt --out=scores.csv

FILE is .csv, .tsv, .parquet, .npy or .npz (x, and y where the model needs it), with x as the run's data have it before
the transforms; of a run of text, lines (.txt),
without empty ones.  The output has a line for each row:

  row      from 0
  log_px   nats, of x before the transforms where these have a Jacobian; log_py of a model of y given x
  kind     exact; bound: on average at most log p; or estimate
  stderr   Monte Carlo standard error of log_px: 0 if nothing is random, empty if it was found by a single draw

Models with a density are scored by it, others with latent variables by importance sampling, the rest by their own
bound.  The noise is that of the run's final evaluation: its test set in a file gets the values of values.npz.

Exit status: 0 the scores are written, 2 a mistake in the command, or a model without log p.
"""

import argparse
import csv
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import compilation_cache, errors, files, full_disk, paths
from dgm_jax.core.progress import progress_bar
from dgm_jax.data import conditioning
from dgm_jax.data.files import readers, tokens
from dgm_jax.data.files.table_options import Options, listed
from dgm_jax.data.given import without_missing
from dgm_jax.data.sets import array
from dgm_jax.evaluate import scores, training_statistics
from dgm_jax.training import checks
from dgm_jax.training.experiment import evaluation_key
from dgm_jax.training.restore import of_run

_TEXTS = (".txt", ".text")


def _parser() -> argparse.ArgumentParser:
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax score",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = made.add_argument
  add("file", help="the examples")
  add("--workdir", required=True, type=paths.folder_of("--workdir"), metavar="RUN", help="folder of the run")
  add("--out", required=True, metavar="FILE", help="the .csv file to write")
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--num_samples", type=int, default=0, help="importance samples, or draws of a bound (default: the run's, or 10)")
  add("--num_draws", type=int, default=0, help="draws of the noise of `dequantize` (default: the run's)")
  add("--batch_size", type=int, default=0, help="examples at once (default: the run's)")
  add("--target", default="", help="column of a table that is y (default: the run's data.target)")
  add("--overwrite", action="store_true", help="replace an existing output file")
  return made


def _needs_y(config: Mapping[str, Any], experiment: Any) -> bool:
  transforms = config["data"].get("transforms", ())
  labelled = any(name.partition(":")[0].strip() == "labelled" for name in transforms)
  return labelled or conditioning.gives_labels(transforms) or scores.method_of(experiment) == "predictive"


def _table_options(config: Mapping[str, Any], experiment: Any, target: str, needs_y: bool) -> Options:
  """How a table is read: as the run's own table was, with its columns; y only where the model needs it."""
  data = config["data"]
  if data["name"] != "array":
    return Options(target=target if needs_y else "")
  columns = experiment.splits.about.get("columns", listed(data.get("columns")))
  return Options(
    data.get("separator") or "",
    data.get("decimal") or ".",
    listed(data.get("missing")),
    tuple(columns),
    (target or data.get("target") or "") if needs_y else "",
    data.get("header"),
  )


def read(path: pathlib.Path, config: Mapping[str, Any], experiment: Any, target: str = "") -> dict[str, np.ndarray]:
  """The examples of a file as a run's evaluation takes them: x, index, and mask, y or length.

  Args:
    path: the file.
    config: of the run.
    experiment: the built experiment.
    target: the column of a table that is y; "" for the run's own.

  Raises:
    UserError: the file cannot be read or does not fit the model.
  """
  model, about = experiment.model, experiment.splits.about
  shape = tuple(model.data_shape)
  if "tokens" in about and path.suffix in _TEXTS:
    errors.require(
      "windows" not in about,
      f"{path}: the run is of windows of a text, not of lines; give windows of token ids as .npy [N, {shape[0]}].",
    )
    lines = [line for file in readers.text_files(path) for line in readers.lines(file)]
    found = tokens.rows_of(lines, about, math.prod(shape))
    return {"index": np.arange(len(lines), dtype=np.int32)} | found
  errors.require(path.suffix not in _TEXTS, f"{path} is a text, and the run is not of text; give a table or an array.")
  shape = experiment.transforms.shape
  needs_y = _needs_y(config, experiment)
  arrays = array.examples(path, _table_options(config, experiment, target, needs_y))
  given = list(arrays["x"].shape)
  errors.require(
    arrays["x"][0].size == math.prod(shape),
    f"{path}: x is of shape {given}; [N, {', '.join(map(str, shape))}] is expected.",
  )
  errors.require(not needs_y or "y" in arrays, f"{path}: the model needs the y of each example; add y, or --target.")
  arrays = {name: arrays[name] for name in ("x", "mask", "y") if name in arrays and (name != "y" or needs_y)}
  arrays |= {name: a.reshape(-1, *shape) for name, a in arrays.items() if name != "y"}
  takes_mask = getattr(model, "takes_mask", False)
  arrays, (least, greatest) = experiment.transforms.given(without_missing(arrays, takes_mask))
  low, high = checks.support(model)
  errors.require(
    (low <= least and greatest <= high) or least > greatest,
    f"{path}: x has values in [{least:g}, {greatest:g}] after the run's transforms; the model expects "
    f"[{low:g}, {high:g}].",
  )
  return {"index": np.arange(given[0], dtype=np.int32)} | arrays


def score_file(
  workdir: pathlib.Path,
  path: pathlib.Path,
  checkpoint: str = "latest",
  num_samples: int = 0,
  num_draws: int = 0,
  batch_size: int = 0,
  target: str = "",
) -> scores.Scores:
  """log p of every row of a file; options that are 0 or empty are those of the run's final evaluation.

  Raises:
    UserError: there is no such run or file, the file does not fit the model, or the model has no log p.
  """
  config, experiment, state = of_run(workdir, checkpoint)
  evaluate = config.get("evaluate", {})
  method = scores.method_of(experiment)
  own = evaluate.get({"density": "exact_likelihood"}.get(method, method), {})
  arrays = read(path, config, experiment, target)
  options: dict[str, Any] = {"batch_size": batch_size or own.get("batch_size", 0)}
  if method == "density":
    options |= {"num_draws": num_draws or own.get("num_draws", 1), "classes": own.get("classes", "")}
  else:
    errors.require(num_draws == 0, "--num_draws is for models that know their density; give --num_samples.")
  run = scores.make(experiment, num_samples=num_samples or own.get("num_samples", 0), **options)
  key = evaluation_key()
  if method == "density":
    state = training_statistics.as_evaluated(experiment, state, key, own)
  with progress_bar(len(arrays["x"]), description="log p", unit="example") as bar:
    return run(state, key, arrays, bar.update)


def as_csv(found: scores.Scores) -> str:
  """The table that the command writes."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(["row", found.name, "kind", "stderr"])
  for i, (log_p, error) in enumerate(zip(np.asarray(found.log_p), np.asarray(found.error), strict=True)):
    shown = "" if np.isnan(error) else "0" if error == 0 else f"{error:.3g}"
    writer.writerow([i, f"{log_p:.9g}", found.kind, shown])
  return out.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  path, out = paths.named("the file", args.file), paths.named("--out", args.out)
  for name, value in (
    ("num_samples", args.num_samples),
    ("num_draws", args.num_draws),
    ("batch_size", args.batch_size),
  ):
    errors.require(value >= 0, f"--{name}={value}; it must be 1 or more.")
  errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
  errors.require(out.suffix == ".csv", f"--out {out}: name a .csv file.")
  errors.require(out.absolute() != path.absolute(), f"--out {out} is the input; name another file.")
  errors.require(args.overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
  compilation_cache.use()
  found = score_file(
    args.workdir, path, args.checkpoint, args.num_samples, args.num_draws, args.batch_size, args.target
  )
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "Nothing was kept."):
    files.write_with(out, lambda p: p.write_text(as_csv(found), "utf-8"))
  log_p = np.asarray(found.log_p, np.float64)
  error = log_p.std(ddof=1) / math.sqrt(len(log_p)) if len(log_p) > 1 else math.nan
  print(
    f"{out}: {len(log_p):,} rows, mean {found.name} {log_p.mean():.4f} ± {error:.4f} nats ({found.kind}, by "
    f"{found.method})."
  )
  return 0
