"""The arguments of the imputation command, and their checks."""

import argparse
import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator

from dgm_jax.applications.imputation import baselines
from dgm_jax.applications.imputation.combined import METHODS
from dgm_jax.core import errors, files
from dgm_jax.core.paths import named
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import Options

_MOST_LATENTS = 256
MIWAE = "miwae"
_OF_MIWAE = {"latents": 10, "hidden": 128, "samples": 500, "models": 1}
_OF_NETWORKS = {"hidden": 256, "models": 3, "steps": 2000}


def _names(text: str) -> tuple[str, ...]:
  return tuple(name for name in text.split(",") if name)


def parser(description: str) -> argparse.ArgumentParser:
  """The command's parser."""
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax impute",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = made.add_argument
  add("data", type=pathlib.Path, help="the table whose missing cells are imputed")
  add("--out", type=pathlib.Path, required=True, help="the imputed table")
  add("--fit", type=pathlib.Path, help="inductive: another table to fit the model to")
  add("--transductive", action="store_true", help="fit the model to the imputed table itself (the default)")
  add("--overwrite", action="store_true", help="replace existing output files")
  _add_method_options(add)
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
  _add_table_options(add)
  add(
    "--categorical",
    type=_names,
    default=(),
    metavar="A,B",
    help="columns of numbers to treat as categorical, by name or index",
  )
  add("--numeric", type=_names, default=(), metavar="A,B", help="columns to treat as numeric despite having two values")
  add("--ignore", type=_names, default=(), metavar="A,B", help="columns to copy without modelling, e.g. names or keys")
  add(
    "--compare",
    type=_names,
    metavar="A,B",
    help=f"baselines to compare with, out of {', '.join(baselines.IMPUTERS)} (mean,knn and, unless the table is large, "
    "forest), or none to hide no cells for a comparison",
  )
  add("--latents", type=int, help=f"miwae: dimensions of the latent variable (10), at most {_MOST_LATENTS}")
  add("--hidden", type=int, help="width of the networks' layers (miwae: 128, otherwise 256)")
  add("--samples", type=int, help="miwae: importance samples per row for imputation (500)")
  add("--steps", type=int, help="maximum number of training steps (miwae: 10000, fewer for few rows; otherwise 2000)")
  add("--minutes", type=float, help="maximum training time in minutes")
  add("--seed", type=int, default=0, help="seed of everything random (0)")
  return made


def _add_method_options(add: Callable) -> None:
  add(
    "--method",
    help=f"{', '.join(METHODS)}, or miwae; auto (the default) weighs all but miwae by column, by their errors on "
    "hidden entries",
  )
  add("--models", type=int, help="number of networks whose predictions are mixed (auto and orderless: 3, miwae: 1)")
  add(
    "--mechanism",
    choices=("ignorable", "self_masking"),
    default="ignorable",
    help="self_masking: whether a number is missing may depend on the number itself (not-MIWAE; for numbers alone)",
  )
  add(
    "--hide_inputs",
    type=float,
    default=0.0,
    metavar="R",
    help="miwae: hide up to this share of the observed cells from the encoder in training, at random (0)",
  )


def _add_table_options(add: Callable) -> None:
  """The flags of table_options.Options, the same options as those of config.data for the data set `array`."""
  add("--missing", type=_names, default=(), metavar="A,B", help="further texts or numbers that mark a missing cell")
  add("--columns", type=_names, default=(), metavar="A,B", help="columns to model, by name or index; others are copied")
  add("--target", default="", metavar="A", help="the column that is to be predicted later: copied without modelling")
  add("--separator", default="", help="of a text file, one character or tab; detected if not given")
  add("--decimal", default=".", help="decimal mark of a text file, '.' or ','")
  add(
    "--no_header",
    action="store_true",
    help="the first line holds data, also if it is not of numbers alone: columns are column_1, column_2, ...",
  )


def table_options(args: argparse.Namespace) -> Options:
  """How the command's tables are read."""
  return Options(
    args.separator, args.decimal, args.missing, args.columns, args.target, False if args.no_header else None
  )


def check(args: argparse.Namespace) -> None:
  """Raises UserError if an option's value is invalid or an output file cannot be written."""
  need = errors.require
  _resolve(args)
  need(1 <= args.latents <= _MOST_LATENTS, f"--latents={args.latents}; it must be between 1 and {_MOST_LATENTS}.")
  for name in ("hidden", "samples", "models"):
    need(getattr(args, name) >= 1, f"--{name}={getattr(args, name)}; it must be 1 or more.")
  need(0 <= args.hide_inputs < 1, f"--hide_inputs={args.hide_inputs}; it must be at least 0 and less than 1.")
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
  _check_paths(args)


def _resolve(args: argparse.Namespace) -> None:
  """Chooses the method, and fills in the options that depend on it; refuses those that the method does not have."""
  of_miwae = args.proper or args.mechanism != "ignorable"
  if args.method is None:
    args.method = MIWAE if of_miwae else "auto"
  errors.choose("value of --method", args.method, (*METHODS, MIWAE))
  if args.method != MIWAE:
    given = [n for n in ("latents", "samples") if getattr(args, n) is not None] + ["proper"] * bool(args.proper)
    given += ["hide_inputs"] * bool(args.hide_inputs)
    given += ["mechanism"] * (args.mechanism != "ignorable")
    errors.require(not given, f"--{given and given[0]} goes with --method=miwae, not with --method={args.method}.")
    errors.require(
      args.compare in (None, ("none",)),
      f"--compare goes with --method=miwae: --method={args.method} is compared with the methods that it combines; "
      "--compare=none hides no cells.",
    )
  else:
    errors.require(
      not (args.proper and args.models), "--proper sets the number of models, so that --models cannot be given."
    )
  for name, value in (_OF_MIWAE | (_OF_NETWORKS if args.method != MIWAE else {})).items():
    if getattr(args, name) is None:
      setattr(args, name, value)


def _check_paths(args: argparse.Namespace) -> None:
  need = errors.require
  for option, label in (("data", "The table"), ("out", "--out"), ("fit", "--fit")):
    if (given := getattr(args, option)) is not None:
      setattr(args, option, named(label, given))  # ~ is the user's home
  suffixes = tables.SUFFIXES
  need(args.data.suffix in suffixes, f"{args.data}: its name must end in one of {', '.join(suffixes)}.")
  need(args.out.suffix == args.data.suffix, f"--out={args.out} must end in {args.data.suffix}, like the table.")
  need(args.out.parent.is_dir(), f"--out={args.out}: the folder {args.out.parent} does not exist.")
  for path in paths(args):
    with writing(path):  # its name may be too long
      need(not path.is_dir(), f"--out={args.out}: {path} is a folder.")
      same = [p for p in (args.data, args.fit) if p and p.exists() and path.exists() and path.samefile(p)]
    need(not same, f"--out={args.out} would write over the input {same and same[0]}; name another file.")
  written = [p for p in paths(args) if p.exists()]
  need(args.overwrite or not written, f"{written[0]} already exists; --overwrite replaces it." if written else "")


class _Tried(Exception):
  pass


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Context in which an error of the system becomes a UserError that names the file."""
  try:
    yield
  except OSError as e:
    raise errors.UserError(f"{path} cannot be written: {e.strerror or e}; no incomplete file was left behind.") from e


def check_outputs(args: argparse.Namespace) -> None:
  """Writes and removes a small file in place of each output, so that the fit is not in vain.

  Raises:
    UserError: an output cannot be written.
  """
  for path in paths(args):
    writable = not path.exists() or os.access(path, os.W_OK)
    errors.require(writable, f"{path} cannot be written: it is read-only.")
    with writing(path), contextlib.suppress(_Tried), files.whole(path) as temporary:
      temporary.write_bytes(bytes(2**12))
      raise _Tried  # `whole` then removes the temporary file and leaves `path` alone


def paths(args: argparse.Namespace) -> list[pathlib.Path]:
  """Output paths: the imputed table, the multiple imputations, the cells, and both reports."""
  names = [*map(str, range(1, args.multiple + 1))]
  multiple = [args.out.with_suffix(f".{name}{args.out.suffix}") for name in names]
  return [args.out, *multiple, *(args.out.with_suffix(s) for s in (".cells.csv", ".report.txt", ".report.json"))]
