"""The arguments of `dgm_jax sentences` and `dgm_jax molecules`, of which each of their commands has its own."""

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.applications.sentences import inputs
from dgm_jax.applications.sentences import paths as latent_paths
from dgm_jax.core import errors, paths

BEAM = 5
_OF_DRAWS = {"num": 10, "temperature": 1.0, "seed": 0}  # not with --codes
_LEAST = {"beam": 1, "num": 1, "draws": 0, "num_samples": 2, "steps": 2}


class Kind(NamedTuple):
  """What one model generates, and which commands it has beside the common ones.

  Attributes:
    things: what it generates, "sentences": the name of the command, too.
    commands: {name: help}.  `reconstruct`, `interpolate`, `encode` and `score` have the common options.
    draw: the name of the command that draws, or decodes codes.
    draw_suffixes: the endings of its output file.
    tables: the commands that write a .csv file.
    in_file: help of --file.
    file: an example of its name.
    of_draws: {name: default} of further options of `draw` that --codes excludes.
    least: {name: the least value} of further options.
    add_own: (add_argument, name of a command) -> None; adds further options to that command.
  """

  things: str
  commands: Mapping[str, str]
  draw: str
  draw_suffixes: tuple[str, ...]
  tables: tuple[str, ...]
  in_file: str
  file: str
  of_draws: Mapping[str, Any]
  least: Mapping[str, int]
  add_own: Callable[[Callable[..., Any], str], None]

  def suffixes(self, command: str) -> tuple[str, ...]:
    """The endings of the files that a command writes."""
    if command in self.tables:
      return (".csv",)
    return self.draw_suffixes if command == self.draw else (".html",)


class Given(NamedTuple):
  """A checked command line: its arguments, the lines, what a line is called in messages, and the output file."""

  args: argparse.Namespace
  lines: list[str]
  name: str
  out: pathlib.Path | None


def parse(kind: Kind, description: str | None, argv: Sequence[str] | None) -> Given:
  """Parses and checks a command line, before the run is loaded.

  Raises:
    UserError: an option that the command does not have, a wrong value, no lines, or a bad output file.
  """
  made = argparse.ArgumentParser(
    prog=f"python -m dgm_jax {kind.things}",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  commands = made.add_subparsers(dest="what", required=True, metavar="COMMAND")
  # a parser for each command: with one for all, the lines would have to stand before the options
  parsers = {name: commands.add_parser(name, help=what, allow_abbrev=False) for name, what in kind.commands.items()}
  for name, of_one in parsers.items():
    _add_common(of_one.add_argument, kind, name)
    kind.add_own(of_one.add_argument, name)
  args, unknown = made.parse_known_args(argv)
  _refuse(kind, args.what, parsers[args.what], unknown)
  if args.what == kind.draw:
    _settle(args, _OF_DRAWS | kind.of_draws, kind.things)
  _check_values(args, _LEAST | kind.least)
  return Given(args, *_lines(kind, args), _out(kind, args))


def _add_common(add: Callable[..., Any], kind: Kind, command: str) -> None:
  """Adds the options that a command has for sentences and for molecules."""
  things = kind.things
  if command != kind.draw:
    many = "two" if command == "interpolate" else "each as one argument"
    add("lines", nargs="*", metavar=things.upper(), help=f"{things}, {many}")
    add("--file", help=f"{kind.in_file}, instead of {things}")
  add("--workdir", required=True, help="folder of the run")
  needed = ", which it needs" if command in kind.tables else ""
  add("--out", help=f"the file to write{needed}: {' or '.join(kind.suffixes(command))}")
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--overwrite", action="store_true", help="replace an existing output file")
  if command == kind.draw:
    add("--codes", help=f"a .csv of codes that encode wrote, whose {things} are decoded instead")
    add("--num", type=int, help=f"number of {things} (10)")
    add("--temperature", type=float, help="logits are divided by it (1); 0: the likeliest tokens")
  if command == "reconstruct":
    add("--draws", type=int, default=3, help="further reconstructions from draws of z (3)")
  if command == "interpolate":
    add("--steps", type=int, default=7, help=f"{things} of the path with its ends (7)")
    add("--kind", default="linear", help="linear (default) or spherical")
  if command == "score":
    add("--num_samples", type=int, default=100, help="importance samples of each line (100)")
  if command in (kind.draw, "reconstruct", "score"):
    add("--seed", type=int, default=None if command == kind.draw else 0, help="of draws (0)")
  if command not in kind.tables:
    of, default = ("with --codes: ", None) if command == kind.draw else ("", BEAM)
    add("--beam", type=int, default=default, help=f"{of}beginnings that the search keeps ({BEAM}); 1: greedy")


def _refuse(kind: Kind, command: str, parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
  """Raises UserError for what a command does not take."""
  if options := [word.partition("=")[0] for word in unknown if word.startswith("-")]:
    choices = [option for option in parser._option_string_actions if option.startswith("--")]
    raise errors.unknown(f"option of {command}", options[0], choices)
  errors.require(
    not unknown or command != kind.draw, f"{command} takes no {kind.things}; --num says how many it draws."
  )
  errors.require(
    not unknown, f"{' '.join(map(repr, unknown))}: give all {kind.things} in one place, not on both sides of options."
  )


def _settle(args: argparse.Namespace, of_draws: Mapping[str, Any], things: str) -> None:
  """Fills in the options of the command that draws: some are for codes and the others for draws."""
  unused = of_draws if args.codes else ("beam",)
  given = [name for name in unused if getattr(args, name) is not None]
  here = f"the {things} of --codes"
  use = f"is for draws, not for {here}" if args.codes else f"is for {here}, not draws"
  errors.require(not given, f"--{given[0] if given else ''} {use}.")
  for name, value in {**of_draws, "beam": BEAM}.items():
    if getattr(args, name) is None:
      setattr(args, name, value)


def _check_values(args: argparse.Namespace, least: Mapping[str, int]) -> None:
  for option, value in vars(args).items():
    if value is not None and option in least:
      errors.require(value >= least[option], f"--{option}={value}; it must be {least[option]} or more.")
  if args.what == "interpolate":
    errors.choose("value of --kind", args.kind, latent_paths.KINDS)


def _lines(kind: Kind, args: argparse.Namespace) -> tuple[list[str], str]:
  """(the lines, what a line is called in messages)."""
  if args.what == kind.draw:
    return [], ""
  things, one = kind.things, kind.things.removesuffix("s")
  errors.require(not (args.file and args.lines), f"Give {things} or --file, not both.")
  lines = inputs.read(paths.named("--file", args.file)) if args.file else args.lines
  errors.require(bool(lines), f"{args.what} needs {things}: give them as arguments, or --file={kind.file}.")
  errors.require(
    args.what != "interpolate" or len(lines) == 2, f"interpolate takes two {things}; there are {len(lines)}."
  )
  name = f"{args.file}, line" if args.file else one
  for i, line in enumerate(lines, 1):
    errors.require(bool(line.strip()), f"{name} {i} is empty.")
  return list(lines), name


def _out(kind: Kind, args: argparse.Namespace) -> pathlib.Path | None:
  """The output file."""
  what, suffixes = args.what, kind.suffixes(args.what)
  errors.require(
    args.out is not None or what not in kind.tables, f"{what} writes a table: name it with --out=TABLE.csv."
  )
  if args.out is None:
    return None
  out = paths.named("--out", args.out)
  errors.require(out.suffix in suffixes, f"--out {out}: {what} writes {' or '.join(suffixes)}; give it that ending.")
  errors.require(args.overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
  errors.require(out.absolute().parent.is_dir(), f"--out {out}: its folder does not exist.")
  return out
