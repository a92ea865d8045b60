"""Fills the holes of a table by a deep latent-variable model of what is observed (MIWAE; Mattei & Frellsen, 2019).

  python -m dgm_jax impute data.csv --out=imputed.csv
  python -m dgm_jax impute data.csv --out=imputed.csv --multiple=20 --proper
  python -m dgm_jax impute new.csv --fit=train.csv --out=imputed.csv --categorical=site --missing=-999,?

A table is .csv, .tsv, .parquet or .npz (x [N, D], perhaps mask); --out has the same ending.  Empty cells, NA, NaN and
null are missing.  Beside imputed.csv, whose observed cells are those of the table, letter for letter, are written

  imputed.1.csv ... imputed.20.csv   with --multiple=20: draws from p(missing | observed)
  imputed.cells.csv                  every imputed cell: value, standard deviation and 90 % interval, or probability
  imputed.report.txt, .json          errors on observed cells that were hidden from all methods, by column

Training sees observed cells alone.  See dgm_jax/applications/imputation/README.md.

Exit status: 0 done, 2 a mistake in the command or the table, 3 NaN or Inf, 4 stopped by SIGTERM or Ctrl-C: then no
file is half there.
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
  add("data", type=pathlib.Path, help="the table whose holes are filled")
  add("--out", type=pathlib.Path, required=True, help="the table, filled")
  add("--fit", type=pathlib.Path, help="inductive: the table that the model is fitted to instead")
  add("--transductive", action="store_true", help="fit to the table itself, which is the default")
  add("--overwrite", action="store_true", help="files of an earlier call may be replaced")
  add("--multiple", type=int, default=0, metavar="M", help="so many imputations are drawn, a file each")
  add(
    "--proper",
    type=int,
    nargs="?",
    const=10,
    default=0,
    metavar="B",
    help="draw them from B models (10), each fitted to a bootstrap sample of the rows: proper multiple imputation",
  )
  add("--missing", type=_names, default=(), metavar="A,B", help="cells that mean missing, texts or numbers")
  add("--categorical", type=_names, default=(), metavar="A,B", help="columns of classes, though they hold numbers")
  add("--numeric", type=_names, default=(), metavar="A,B", help="columns of numbers, though they hold only two")
  add("--ignore", type=_names, default=(), metavar="A,B", help="columns that are left as they are: names, keys")
  add("--separator", default="", help="of a text file; it is found out")
  add("--no_header", action="store_true", help="the first line of a text file holds no names: column_1, column_2, ...")
  add(
    "--compare",
    type=_names,
    metavar="A,B",
    help=f"methods of {', '.join(baselines.IMPUTERS)} (mean,knn, and forest of tables that are not large), or none: no "
    "cell is hidden for it",
  )
  add("--latents", type=int, default=10, help=f"dimensions of the latent variable (10), at most {_MOST_LATENTS}")
  add("--hidden", type=int, default=128, help="width of the networks' two layers (128)")
  add("--samples", type=int, default=500, help="importance samples a row for imputation (500)")
  add("--steps", type=int, help="of training at most (10000, fewer for few rows)")
  add("--minutes", type=float, help="of training at most")
  add("--seed", type=int, default=0, help="of everything random (0)")
  return parser


def _check(args: argparse.Namespace) -> None:
  """Refuses numbers and names that cannot be."""
  need = errors.require
  need(1 <= args.latents <= _MOST_LATENTS, f"--latents={args.latents}; it must be between 1 and {_MOST_LATENTS}.")
  for name in ("hidden", "samples"):
    need(getattr(args, name) >= 1, f"--{name}={getattr(args, name)}; it must be 1 or more.")
  need(args.steps is None or args.steps >= 1, f"--steps={args.steps}; it must be 1 or more.")
  need(args.minutes is None or args.minutes > 0, f"--minutes={args.minutes}; it must be positive.")
  need(0 <= args.seed < 2**32, f"--seed={args.seed}; it must be in 0 .. 2^32 - 1.")
  need(args.multiple >= 0, f"--multiple={args.multiple}; it must be a number of imputations, or 0 for none.")
  need(
    args.proper == 0 or 2 <= args.proper <= args.multiple,
    f"--proper={args.proper} models draw the --multiple={args.multiple} imputations: there must be 2 models or more, "
    "and as many imputations or more.",
  )
  need(
    not (args.fit and args.transductive), "--fit fits to another table, --transductive to this one; give one of them."
  )
  args.compare = () if args.compare == ("none",) else args.compare
  for name in args.compare or ():
    errors.choose("name of --compare", name, baselines.IMPUTERS)
  need(args.out.suffix == args.data.suffix, f"--out={args.out} must end in {args.data.suffix}, as the table does.")
  need(args.out.parent.is_dir(), f"--out={args.out}: there is no folder {args.out.parent}.")
  written = [p for p in _paths(args) if p.exists()]
  need(args.overwrite or not written, f"{written[0]} exists; --overwrite replaces it." if written else "")


def _paths(args: argparse.Namespace) -> list[pathlib.Path]:
  """The table, multiple imputations, cells, and both reports."""
  names = [*map(str, range(1, args.multiple + 1))]
  beside = [args.out.with_suffix(f".{name}{args.out.suffix}") for name in names]
  return [args.out, *beside, *(args.out.with_suffix(s) for s in (".cells.csv", ".report.txt", ".report.json"))]


def _kinds(args: argparse.Namespace, names: Sequence[str]) -> list[str | None]:
  """What is said of each column."""
  kinds: dict[str, str] = {}
  for kind, listed in (("categorical", args.categorical), ("numeric", args.numeric), ("ignored", args.ignore)):
    flag = "ignore" if kind == "ignored" else kind
    for name in listed:
      errors.choose(f"column of --{flag}", name, names)
      errors.require(name not in kinds, f"Column {name!r} is named twice, by --{flag} at last.")
      kinds[name] = kind
  return [kinds.get(name) for name in names]


def _read(args: argparse.Namespace) -> tuple[tables.Table, tables.Table]:
  """(the table to fill, that to fit to, its columns in the same order)."""
  read = lambda path: tables.read(path, args.missing, args.separator, not args.no_header)
  table = read(args.data)
  errors.require(
    any(gone.any() for gone in table.missing),
    f"{args.data} has no missing cell: there is nothing to impute (--missing=MARKER says what stands for one).",
  )
  if args.fit is None:
    return table, table
  other = read(args.fit)
  left = [name for name in table.names if name not in other.names]
  errors.require(not left, f"{args.fit} has no column {left[0]!r}, which {args.data} has." if left else "")
  order = [other.names.index(name) for name in table.names]
  return table, other._replace(
    names=table.names, values=[other.values[j] for j in order], missing=[other.missing[j] for j in order]
  )


def _filling(
  known: Sequence[columns.Column], found: cells.Imputed, x: np.ndarray, table: tables.Table
) -> dict[int, Any]:
  """{number of a column of the table: values of its missing cells}; x [C]."""
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
  missing = np.stack([gone for gone, c in zip(table.missing, known, strict=True) if c.modelled], 1)
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
  """Does what the command line says; returns the exit status."""
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
    print("error: stopped; no file is half there.", file=sys.stderr)
    return 4
  return 0


if __name__ == "__main__":
  sys.exit(errors.run_command(main))
