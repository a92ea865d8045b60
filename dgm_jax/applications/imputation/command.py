"""Imputes the missing cells of a table by several methods, weighed by their errors on cells hidden for the purpose.

  python -m dgm_jax impute data.csv --out=imputed.csv
  python -m dgm_jax impute data.csv --out=imputed.csv --multiple=20
  python -m dgm_jax impute data.csv --out=imputed.csv --method=miwae --multiple=20 --proper
  python -m dgm_jax impute new.csv --fit=train.csv --out=imputed.csv --categorical=site --missing=-999,?

A table is a .csv, .tsv, .parquet or .npz file (x [N, D] and optionally mask); --out has the same suffix.  Empty cells,
NA, NaN and null are missing.  The command writes imputed.csv, in which observed cells are unchanged, and

  imputed.1.csv ... imputed.20.csv   with --multiple=20: draws from p(missing | observed)
  imputed.cells.csv                  every imputed cell: value, standard deviation and 90 % interval, or probability
  imputed.report.txt, .json          errors by column, on observed cells that were hidden from all methods

--method=auto, the default, combines networks (orderless), extra trees, chained ridge regressions, nearest neighbours
and the mean; --method=miwae is a deep latent-variable model (Mattei & Frellsen, 2019).  Each is fitted to observed
cells only.  See dgm_jax/applications/imputation/README.md.

Exit status: 0 success, 2 a mistake in the command or the table, 3 NaN or Inf in training, 4 stopped by SIGTERM or
Ctrl-C.  A command that is stopped leaves no incomplete file.
"""

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dgm_jax.applications.imputation import (
  arguments,
  cells,
  columns,
  combined,
  combined_cells,
  combined_report,
  command_tables,
  comparison,
  fit,
  fitted,
  report,
)
from dgm_jax.core import compilation_cache, errors, files, full_disk
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.files import tables
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import run_record

_FULL = "Files that were complete are kept; free some space, or name another --out, and start again."
_STOPPED = "The same command starts again."


class _Made(NamedTuple):
  """What a method makes of a table.

  Attributes:
    columns: the modelled columns.
    found: the imputed cells.
    about: its part of the report, see report.make.
  """

  columns: Sequence[columns.Column]
  found: cells.Imputed
  about: report.Method


class _Tables(NamedTuple):
  """The encoded tables [N, D]: the one to fit to, the one to impute, and which cells of the latter are missing."""

  fit: np.ndarray
  target: np.ndarray
  missing: np.ndarray


def _fit(
  args: argparse.Namespace, x: np.ndarray, modelled: list[columns.Column], stop: signals.StopRequest
) -> fitted.Fitted:
  limits = fit.Limits(args.steps or fitted.steps_for(len(x)), args.minutes)
  with fitted.fit_bar(limits.max_steps) as show:

    def progress(*found):
      show(*found)
      stop.check()

    return fitted.fit(
      x,
      modelled,
      latent_dim=args.latents,
      hidden=(args.hidden, args.hidden),
      limits=limits,
      held_out=fitted.held_out_rate(x),
      num_models=max(args.proper, args.models),
      bootstrap=args.proper > 0,
      mechanism=args.mechanism,
      hide_inputs=args.hide_inputs,
      seed=args.seed,
      progress=progress,
    )


def _by_miwae(args: argparse.Namespace, t: _Tables, modelled: list[columns.Column], stop: signals.StopRequest) -> _Made:
  fit.check_mechanism(args.mechanism, [c.likelihood for c in modelled])
  methods = comparison.methods(t.fit) if args.compare is None else args.compare
  hidden = fitted.hide(t.fit, fitted.held_out_rate(t.fit) if methods else 0.0, args.seed + 1)
  options = {"num_samples": args.samples, "seed": args.seed}
  model = _fit(args, np.where(hidden, np.nan, t.fit), modelled, stop)
  compared, coverage = comparison.compare(model, t.fit, hidden, methods, **options) if hidden.any() else ({}, None)
  stop.check()
  with _imputing(t, stop) as progress:
    found = cells.impute(model, t.target, where=t.missing, num_draws=args.multiple, progress=progress, **options)
  about = report.of_miwae(args, model, compared, coverage, int(hidden.sum()), found)
  return _Made(modelled, found, about)


def _by_combination(
  args: argparse.Namespace, t: _Tables, modelled: list[columns.Column], stop: signals.StopRequest
) -> _Made:
  hidden = combined_report.hide(t.fit, args.method, args.seed, report=args.compare is None)
  combined_cells.check_draws(args.multiple, combined.methods_for(args.method, t.fit.size))
  with fitted.fit_bar(args.steps) as show:

    def progress(*found):
      show(*found)
      stop.check()

    model, measured = combined_report.fit(
      t.fit,
      modelled,
      args.method,
      hidden,
      seed=args.seed,
      started=lambda name: stop.check(),
      num_models=args.models,
      limits=fit.Limits(args.steps, args.minutes),
      width=args.hidden,
      progress=progress,
    )
  with _imputing(t, stop) as progress:
    options = {"where": t.missing, "num_draws": args.multiple, "seed": args.seed}
    found = combined_cells.impute(model, t.target, progress=progress, **options)
  return _Made(model.spread.columns, found, combined_report.about(args, model, measured))


@contextlib.contextmanager
def _imputing(t: _Tables, stop: signals.StopRequest) -> Iterator[Callable[[int], None]]:
  with progress_bar(int(t.missing.any(1).sum()), description="impute", unit="row") as bar:

    def progress(rows):
      bar.update(rows)
      stop.check()

    yield progress


def _impute(args: argparse.Namespace, stop: signals.StopRequest) -> None:
  start = time.monotonic()
  table, fit_table = command_tables.read(args)
  stop.check()
  known = [columns.infer(*c) for c in zip(*fit_table[:3], command_tables.kinds(args, table), strict=True)]
  modelled = [c for c in known if c.modelled]
  errors.require(
    len(modelled) > 0, f"No column of {args.fit or args.data} has two different observed values to learn from."
  )
  x = columns.encode(known, fit_table.values, fit_table.missing)
  target = x if args.fit is None else columns.encode(known, table.values, table.missing)
  missing = np.stack([where for where, c in zip(table.missing, known, strict=True) if c.modelled], 1)
  make = _by_miwae if args.method == arguments.MIWAE else _by_combination
  made = make(args, _Tables(x, target, missing), modelled, stop)
  stop.check()  # the last time: once the first file is written, all are
  known = [columns.spelled(*c) for c in zip(known, table.values, table.missing, strict=True)]
  _write(args, table, known, len(x), made, start)


def _write(
  args: argparse.Namespace, table: tables.Table, known: list[columns.Column], rows: int, made: _Made, start: float
) -> None:
  found, modelled = made.found, [c for c in known if c.modelled]
  out, *draws, by_cell, text, as_json = arguments.paths(args)
  with full_disk.sentence(f"--out {args.out}", args.out.parent, lambda: _FULL), arguments.writing(args.out):
    for path, drawn in zip((out, *draws), (found.x, *found.draws), strict=True):
      table.write(path, command_tables.filling(known, found, drawn, table))
    report.write_cells(by_cell, modelled, found)
    about = report.make(args, known, table, rows, made.about)
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
