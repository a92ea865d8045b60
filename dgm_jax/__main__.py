"""The command line of dgm_jax.

  python -m dgm_jax COMMAND ...          the same as `dgm_jax COMMAND ...` where the package is installed
  python -m dgm_jax COMMAND --help       what a command takes
  python -m dgm_jax --config=FILE ...    without a command: train
  python -m dgm_jax --version            the version

A command about one run takes --workdir=RUN.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import dgm_jax


class Command(NamedTuple):
  """A command, imported only when it is called.

  Attributes:
    module: its module, with main(argv) -> exit status; for a mode of dgm_jax.main, run(mode, argv).
    help: what it does, in a line.
  """

  module: str
  help: str


_MAIN = "dgm_jax.main"
COMMANDS = {
  "train": Command(_MAIN, "train (or resume) a run and evaluate it"),
  "evaluate": Command(_MAIN, "evaluate a checkpoint of a run on the test set"),
  "sample": Command(_MAIN, "draw samples from a checkpoint of a run"),
  "debug": Command(_MAIN, "replay a run that reached NaN or Inf and name the operation"),
  "sweep": Command("dgm_jax.sweeps.command", "run many runs of one config, or search for the best"),
  "sweep-report": Command("dgm_jax.sweeps.report_command", "report a sweep: tables with errors over seeds, curves"),
  "pack": Command("dgm_jax.api.pack_command", "make one file of a trained run, which dgm_jax.load reads anywhere"),
  "compare": Command("dgm_jax.evaluate.compare", "compare runs: paired differences with standard errors"),
  "ensemble": Command("dgm_jax.evaluate.ensemble", "score the deep ensemble of several runs"),
  "impute": Command("dgm_jax.applications.imputation.command", "impute the missing cells of a table"),
  "score": Command("dgm_jax.api.score_command", "log p of every row of a file, under a run"),
  "colourise": Command("dgm_jax.applications.colour.command", "find colours for grey photographs"),
  "compress": Command("dgm_jax.applications.compression.command", "compress a file by an autoregressive model"),
  "molecules": Command(
    "dgm_jax.applications.molecules.command", "draw, reconstruct, interpolate, score, search molecules by a VAE"
  ),
  "sentences": Command(
    "dgm_jax.applications.sentences.command", "draw, complete, interpolate, score sentences by a VAE"
  ),
  "single-cell": Command(
    "dgm_jax.applications.single_cell.command", "scVI of a file of single cells: latent space, page"
  ),
  "world-models": Command(
    "dgm_jax.applications.world_models.command", "V, M and C of a game: train inside its dream, score, play"
  ),
  "reproduce": Command("dgm_jax.experiments.reproduce", "reproduce tables and figures of papers"),
  "prepare-data": Command("dgm_jax.data.published.command", "download, verify and prepare data sets"),
}


def usage() -> str:
  """The list of commands."""
  width = max(map(len, COMMANDS))
  return f"{__doc__}\nCommands\n" + "\n".join(f"  {name:<{width}}  {c.help}" for name, c in COMMANDS.items())


def run_named(name: str, arguments: Sequence[str]) -> int:
  """Runs a command of COMMANDS; returns the exit status."""
  from dgm_jax.core import errors

  if COMMANDS[name].module == _MAIN:
    return importlib.import_module(_MAIN).run(name, arguments)
  return errors.run_command(lambda: importlib.import_module(COMMANDS[name].module).main(list(arguments)))


def moved(name: str) -> int:
  """Answers `python -m dgm_jax.NAME`, a former command, with its present name; returns the exit status."""
  print(f"error: python -m dgm_jax.{name} is now called python -m dgm_jax {name}.", file=sys.stderr)
  return 2


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command that the arguments name; returns the exit status."""
  from dgm_jax.core import streams

  streams.prepare()
  arguments = list(sys.argv[1:] if argv is None else argv)
  if not arguments or arguments[0] in ("--help", "-h", "help"):
    print(usage())
    return 0
  if arguments[0] == "--version":
    print(f"dgm_jax {dgm_jax.__version__}")
    return 0
  if arguments[0].startswith("-"):
    return run_named("train", arguments)
  from dgm_jax.core import errors

  def run_command() -> int:
    return run_named(errors.choose("command", arguments[0].replace("_", "-"), COMMANDS), arguments[1:])

  return errors.run_command(run_command)


if __name__ == "__main__":
  sys.exit(main())
