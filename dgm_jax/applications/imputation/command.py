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
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.imputation import arguments, cells, columns, comparison, fit, fitted, report
from dgm_jax.core import compilation_cache, errors, files, full_disk
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import chosen, index
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import run_record

_FULL = "Files that were complete are kept; free some space, or name another --out, and start again."
_STOPPED = "The same command starts again."


def _kinds(args: argparse.Namespace, table: tables.Table) -> list[str | None]:
  """The kind that the command line sets for each column, or None; columns that are not to be used are ignored."""
  kinds: dict[int, str] = {}
  for kind, listed in (("categorical", args.categorical), ("numeric", args.numeric), ("ignored", args.ignore)):
    flag = "ignore" if kind == "ignored" else kind
    for given in listed:
      j = index(table.names, given, f"column of --{flag}", args.data)
      errors.require(j not in kinds, f"Column {given!r} of --{flag} is listed twice or also in another option.")
      kinds[j] = kind
  left_out = [j for j in table.index if j not in kinds]
  used, _ = chosen(table.names, arguments.table_options(args), args.data, left_out)
  return [kinds.get(j) if j in used else "ignored" for j in range(len(table.names))]


def _read(args: argparse.Namespace) -> tuple[tables.Table, tables.Table]:
  """(table to impute, table to fit to); both have their columns in the same order."""
  read = lambda path: tables.read(path, arguments.table_options(args))
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


def _fit(
  args: argparse.Namespace, x: np.ndarray, modelled: list[columns.Column], stop: signals.StopRequest
) -> fitted.Fitted:
  limits = fit.Limits(args.steps or fitted.steps_for(len(x)), args.minutes)
  with fitted.fit_bar(limits.max_steps) as show:

    def progress(*found):
      show(*found)
      stop.check()

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


def _impute(args: argparse.Namespace, stop: signals.StopRequest) -> None:
  start = time.monotonic()
  table, fit_table = _read(args)
  stop.check()
  known = [columns.infer(*c) for c in zip(*fit_table[:3], _kinds(args, table), strict=True)]
  modelled = [c for c in known if c.modelled]
  errors.require(
    len(modelled) > 0, f"No column of {args.fit or args.data} has two different observed values to learn from."
  )
  x = columns.encode(known, fit_table.values, fit_table.missing)
  target = x if args.fit is None else columns.encode(known, table.values, table.missing)
  methods = comparison.methods(x) if args.compare is None else args.compare
  hidden = fitted.hide(x, fitted.held_out_rate(x) if methods else 0.0, args.seed + 1)
  options = {"num_samples": args.samples, "seed": args.seed}
  model = _fit(args, np.where(hidden, np.nan, x), modelled, stop)
  compared, coverage = comparison.compare(model, x, hidden, methods, **options) if hidden.any() else ({}, None)
  missing = np.stack([where for where, c in zip(table.missing, known, strict=True) if c.modelled], 1)
  stop.check()
  with progress_bar(int(missing.any(1).sum()), description="impute", unit="row") as bar:

    def progress(rows):
      bar.update(rows)
      stop.check()

    found = cells.impute(model, target, where=missing, num_draws=args.multiple, progress=progress, **options)
  stop.check()  # the last time: once the first file is written, all are
  known = [columns.spelled(*c) for c in zip(known, table.values, table.missing, strict=True)]
  modelled = [c for c in known if c.modelled]
  out, *draws, by_cell, text, as_json = arguments.paths(args)
  with full_disk.sentence(f"--out {args.out}", args.out.parent, lambda: _FULL), arguments.writing(args.out):
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
  print("\n".join(["", "Files", *(f"  {p}" for p in arguments.paths(args))]))


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = arguments.parser(__doc__).parse_args(argv)
  arguments.check(args)
  arguments.check_outputs(args)
  compilation_cache.use()
  try:
    with signals.requests(_STOPPED) as stop:
      stop.begin()
      stop.deferred, stop.kept = True, "no incomplete file was left behind"
      _impute(args, stop)
  except errors.DivergenceError as e:
    print(f"error: {e}", file=sys.stderr)
    return 3
  except errors.StoppedError as e:
    print(f"error: {e} {_STOPPED}", file=sys.stderr)
    return signals.STOPPED
  return 0
