"""The tables of the imputation command: read, with the kinds of their columns, and filled."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.imputation import arguments, cells, columns
from dgm_jax.core import errors
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import chosen, index


def kinds(args: argparse.Namespace, table: tables.Table) -> list[str | None]:
  """The kind that the command line sets for each column, or None; columns that are not to be used are ignored."""
  found: dict[int, str] = {}
  for kind, listed in (("categorical", args.categorical), ("numeric", args.numeric), ("ignored", args.ignore)):
    flag = "ignore" if kind == "ignored" else kind
    for given in listed:
      j = index(table.names, given, f"column of --{flag}", args.data)
      errors.require(j not in found, f"Column {given!r} of --{flag} is listed twice or also in another option.")
      found[j] = kind
  left_out = [j for j in table.index if j not in found]
  used, _ = chosen(table.names, arguments.table_options(args), args.data, left_out)
  return [found.get(j) if j in used else "ignored" for j in range(len(table.names))]


def read(args: argparse.Namespace) -> tuple[tables.Table, tables.Table]:
  """(table to impute, table to fit to); both have their columns in the same order."""
  of_file = lambda path: tables.read(path, arguments.table_options(args))
  table = of_file(args.data)
  errors.require(
    any(missing.any() for missing in table.missing),
    f"{args.data} has no missing cell: there is nothing to impute (--missing=A,B adds markers of missing cells).",
  )
  if args.fit is None:
    return table, table
  other = of_file(args.fit)
  absent = [name for name in table.names if name not in other.names]
  errors.require(not absent, f"{args.fit} has no column {absent[0]!r}, which {args.data} has." if absent else "")
  order = [other.names.index(name) for name in table.names]
  return table, other._replace(
    names=table.names, values=[other.values[j] for j in order], missing=[other.missing[j] for j in order]
  )


def filling(
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
