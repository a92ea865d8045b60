"""Imputes the missing cells of a table by a deep latent-variable model (MIWAE; Mattei & Frellsen, 2019).

  python -m dgm_jax impute data.csv --out=imputed.csv
  python -m dgm_jax impute data.csv --out=imputed.csv --multiple=20 --proper
  python -m dgm_jax impute new.csv --fit=train.csv --out=imputed.csv --categorical=site --missing=-999,?

A table is a .csv, .tsv, .parquet or .npz file (x [N, D] and optionally mask); --out has the same suffix.  Empty cells,
NA, NaN and null are missing.  The command writes imputed.csv, in which observed cells are unchanged, and

  imputed.1.csv ... imputed.20.csv   with --multiple=20: draws from p(missing | observed)
  imputed.cells.csv                  every imputed cell: value, standard deviation and 90 % interval, or probability
  imputed.report.txt, .json          errors by column, on observed cells that were hidden from all methods

The model is fitted to observed cells only.  See dgm_jax/applications/imputation/README.md.

Exit status: 0 success, 2 a mistake in the command or the table, 3 NaN or Inf in training, 4 stopped by SIGTERM or
Ctrl-C.  A command that is stopped leaves no incomplete file.
"""

import argparse
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.imputation import baselines, cells, columns, comparison, fit, fitted, report
from dgm_jax.core import compilation_cache, errors, files
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import tables
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import folder, run_record

_MOST_LATENTS = 256


def _names(text: str) -> tuple[str, ...]:
  return tuple(name for name in text.split(",") if name)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax impute",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("data", type=pathlib.Path, help="the table whose missing cells are imputed")
  add("--out", type=pathlib.Path, required=True, help="the imputed table")
  add("--fit", type=pathlib.Path, help="inductive: another table to fit the model to")
  add("--transductive", action="store_true", help="fit the model to the imputed table itself (the default)")
  add("--overwrite", action="store_true", help="replace existing output files")
  add("--multiple", type=int, default=0, metavar="M", help="also draw M imputations, one file each")
  add(
    "--proper",
    type=int,
    nargs="?",
    const=10,
    default=0,
    metavar="B",
    help="draw them from B models (10), each fitted to a bootstrap sample of the rows: proper multiple imputation",
  )
  add("--missing", type=_names, default=(), metavar="A,B", help="further texts or numbers that mark a missing cell")
  add("--categorical", type=_names, default=(), metavar="A,B", help="columns of numbers to treat as categorical")
  add("--numeric", type=_names, default=(), metavar="A,B", help="columns to treat as numeric despite having two values")
  add("--ignore", type=_names, default=(), metavar="A,B", help="columns to copy without modelling, e.g. names or keys")
  add("--separator", default="", help="of a text file; detected if not given")
  add("--no_header", action="store_true", help="a text file has no header: its columns are column_1, column_2, ...")
  add(
    "--compare",
    type=_names,
    metavar="A,B",
    help=f"baselines to compare with, out of {', '.join(baselines.IMPUTERS)} (mean,knn and, unless the table is large, "
    "forest), or none to hide no cells for a comparison",
  )
  add("--latents", type=int, default=10, help=f"dimensions of the latent variable (10), at most {_MOST_LATENTS}")
  add("--hidden", type=int, default=128, help="width of the networks' two layers (128)")
  add("--samples", type=int, default=500, help="importance samples per row for imputation (500)")
  add("--steps", type=int, help="maximum number of training steps (10000, fewer for few rows)")
  add("--minutes", type=float, help="maximum training time in minutes")
  add("--seed", type=int, default=0, help="seed of everything random (0)")
  return parser


def _check(args: argparse.Namespace) -> None:
  """Raises UserError if an option's value is invalid or an output file cannot be written."""
  need = errors.require
  need(1 <= args.latents <= _MOST_LATENTS, f"--latents={args.latents}; it must be between 1 and {_MOST_LATENTS}.")
  for name in ("hidden", "samples"):
    need(getattr(args, name) >= 1, f"--{name}={getattr(args, name)}; it must be 1 or more.")
  need(args.steps is None or args.steps >= 1, f"--steps={args.steps}; it must be 1 or more.")
  need(args.minutes is None or args.minutes > 0, f"--minutes={args.minutes}; it must be positive.")
  need(0 <= args.seed < 2**32, f"--seed={args.seed}; it must be between 0 and 2^32 - 1.")
  need(args.multiple >= 0, f"--multiple={args.multiple}; it must be a number of imputations, or 0 for none.")
  need(
    args.proper == 0 or 2 <= args.proper <= args.multiple,
    f"--proper={args.proper} models with --multiple={args.multiple} imputations; at least 2 models are needed, and one "
    "imputation per model.",
  )
  need(
    not (args.fit and args.transductive), "--fit fits to another table, --transductive to this one; give one of them."
  )
  args.compare = () if args.compare == ("none",) else args.compare
  for name in args.compare or ():
    errors.choose("name of --compare", name, baselines.IMPUTERS)
  need(args.out.suffix == args.data.suffix, f"--out={args.out} must end in {args.data.suffix}, like the table.")
  need(args.out.parent.is_dir(), f"--out={args.out}: the folder {args.out.parent} does not exist.")
  written = [p for p in _paths(args) if p.exists()]
  need(args.overwrite or not written, f"{written[0]} already exists; --overwrite replaces it." if written else "")


def _paths(args: argparse.Namespace) -> list[pathlib.Path]:
  """Output paths: the imputed table, the multiple imputations, the cells, and both reports."""
  names = [*map(str, range(1, args.multiple + 1))]
  multiple = [args.out.with_suffix(f".{name}{args.out.suffix}") for name in names]
  return [args.out, *multiple, *(args.out.with_suffix(s) for s in (".cells.csv", ".report.txt", ".report.json"))]


def _kinds(args: argparse.Namespace, names: Sequence[str]) -> list[str | None]:
  """The kind that the command line sets for each column, or None."""
  kinds: dict[str, str] = {}
  for kind, listed in (("categorical", args.categorical), ("numeric", args.numeric), ("ignored", args.ignore)):
    flag = "ignore" if kind == "ignored" else kind
    for name in listed:
      errors.choose(f"column of --{flag}", name, names)
      errors.require(name not in kinds, f"Column {name!r} of --{flag} is listed twice or also in another option.")
      kinds[name] = kind
  return [kinds.get(name) for name in names]


def _read(args: argparse.Namespace) -> tuple[tables.Table, tables.Table]:
  """(table to impute, table to fit to); both have their columns in the same order."""
  read = lambda path: tables.read(path, args.missing, args.separator, not args.no_header)
  table = read(args.data)
  errors.require(
    any(missing.any() for missing in table.missing),
    f"{args.data} has no missing cell: there is nothing to impute (--missing=A,B adds markers of missing cells).",
  )
  if args.fit is None:
    return table, table
  other = read(args.fit)
  absent = [name for name in table.names if name not in other.names]
  errors.require(not absent, f"{args.fit} has no column {absent[0]!r}, which {args.data} has." if absent else "")
  order = [other.names.index(name) for name in table.names]
  return table, other._replace(
    names=table.names, values=[other.values[j] for j in order], missing=[other.missing[j] for j in order]
  )


def _filling(
  known: Sequence[columns.Column], found: cells.Imputed, x: np.ndarray, table: tables.Table
) -> dict[int, Any]:
  """{index of a column of the table: values of its missing cells}, from imputed values x [C]."""
  fills, modelled = {}, [j for j, c in enumerate(known) if c.modelled]
  for d, j in enumerate(modelled):
    values = x[found.column == d].tolist()
    if known[j].kind != "real":
      values = list(map(int, values))
    fills[j] = values if known[j].numeric else [known[j].classes[code] for code in values]
  for j, column in enumerate(known):
    if column.kind == "constant":
      fills[j] = [column.classes[0]] * int(table.missing[j].sum())
  return fills


def _fit(args: argparse.Namespace, x: np.ndarray, modelled: list[columns.Column]) -> fitted.Fitted:
  limits = fit.Limits(args.steps or fitted.steps_for(len(x)), args.minutes)
  with progress_bar(limits.max_steps, description="fit") as bar:

    def progress(steps, score):
      bar.set_postfix({} if score is None else {"held out": f"{score:.3f}"}, refresh=False)
      bar.update(min(steps, limits.max_steps) - bar.n)

    widths, models = (args.hidden, args.hidden), max(args.proper, 1)
    return fitted.fit(
      x,
      modelled,
      latent_dim=args.latents,
      hidden=widths,
      limits=limits,
      held_out=fitted.held_out_rate(x),
      num_models=models,
      seed=args.seed,
      progress=progress,
    )


def _impute(args: argparse.Namespace) -> None:
  start = time.monotonic()
  table, fit_table = _read(args)
  known = [columns.infer(*c) for c in zip(*fit_table[:3], _kinds(args, table.names), strict=True)]
  modelled = [c for c in known if c.modelled]
  errors.require(
    len(modelled) > 0, f"No column of {args.fit or args.data} has two different observed values to learn from."
  )
  x = columns.encode(known, fit_table.values, fit_table.missing)
  target = x if args.fit is None else columns.encode(known, table.values, table.missing)
  methods = comparison.methods(x) if args.compare is None else args.compare
  hidden = fitted.hide(x, fitted.held_out_rate(x) if methods else 0.0, args.seed + 1)
  options = {"num_samples": args.samples, "seed": args.seed}
  model = _fit(args, np.where(hidden, np.nan, x), modelled)
  compared, coverage = comparison.compare(model, x, hidden, methods, **options) if hidden.any() else ({}, None)
  missing = np.stack([where for where, c in zip(table.missing, known, strict=True) if c.modelled], 1)
  with progress_bar(int(missing.any(1).sum()), description="impute", unit="row") as bar:
    found = cells.impute(model, target, where=missing, num_draws=args.multiple, progress=bar.update, **options)
  out, *draws, by_cell, text, as_json = _paths(args)
  with folder.disk_errors(args.out.parent):
    for path, drawn in zip((out, *draws), (found.x, *found.draws), strict=True):
      table.write(path, _filling(known, found, drawn, table))
    report.write_cells(by_cell, modelled, found)
    about = report.make(args, known, table, len(x), model, found, compared, coverage, int(hidden.sum()))
    about |= {
      "command": shlex.join(sys.orig_argv),
      "versions": run_record.versions(),
      "seconds": time.monotonic() - start,
    }
    files.write_json(as_json, about)
    files.write_text(text, report.text(about))
  print(report.text(about), end="")
  print("\n".join(["", "Files", *(f"  {p}" for p in _paths(args))]))


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  _check(args)
  compilation_cache.use()
  try:
    with signals.StopRequest():
      _impute(args)
  except errors.DivergenceError as e:
    print(f"error: {e}", file=sys.stderr)
    return 3
  except errors.StoppedError:
    print("error: stopped; no incomplete file was left behind.", file=sys.stderr)
    return 4
  return 0
