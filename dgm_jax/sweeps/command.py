"""Runs a sweep, or a search: many runs of one config, as few compiled programs, on one machine or many.

  python -m dgm_jax sweep --config=configs/iwae_mnist.py:quick --root=runs/rates --sweep.optim.lr=1e-3,3e-3 \\
      --sweep.seed=0:4
  python -m dgm_jax sweep --config=configs/iwae_mnist.py --root=runs/table1 --name=table1 --launcher=slurm --gpus=1 \\
      --launcher.time=8:00:00
  python -m dgm_jax sweep --config=configs/vae_mnist.py:quick --root=runs/found --search=tpe --trials=60 \\
      --metric=valid/log_px --pruner=median '--sweep.optim.lr=log_uniform(1e-4,1e-2)' --sweep.batch_size=50,100
  python -m dgm_jax sweep ... --dry_run      the plan: what runs together and why, memory, a command for each run

  --config.PATH=VALUE    a value that all runs have
  --sweep.PATH=VALUES    an axis: values separated by commas, integers a:b, or (in a search) log_uniform(low,high),
                         uniform(low,high), integers(low,high); the sweep is the product of all axes and of the
                         config's sweep(); --sweep.arg.NAME=VALUES varies the config file's argument
  --launcher.NAME=VALUE  an option of the launcher, see below

Finished runs are never repeated: the same command continues with the remaining runs, and may add more.
Exit status: 0 all runs are finished, 2 a mistake in the command, 3 some runs failed, 4 stopped (the same command
continues).
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from dgm_jax.core import errors, paths
from dgm_jax.sweeps import axes, axis_texts, definition, drive, tasks
from dgm_jax.sweeps.launchers import options as launcher_options
from dgm_jax.sweeps.launchers.options import LAUNCHERS
from dgm_jax.sweeps.planning import describe
from dgm_jax.sweeps.search import search, study
from dgm_jax.training.processes import signals

_GROUPS = ("config", "sweep", "launcher")


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax sweep",
    description=__doc__,
    epilog=launcher_options.text(),
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--config", required=True, metavar="FILE[:ARG]", help="config file and its argument")
  add("--root", required=True, type=paths.folder_of("--root"), help="folder of the sweep, new or unfinished")
  add("--name", default="", help="use sweep_NAME() of the config file instead of sweep()")
  add("--dry_run", action="store_true", help="print the plan and the commands; write and train nothing")
  add(
    "--plan",
    default="trace",
    choices=("trace", "compile"),
    help="trace estimates memory in seconds; compile also compiles every program, for its exact memory and the time of "
    "a step (default: trace)",
  )
  add("--launcher", default="local", choices=sorted(LAUNCHERS), help="where processes run (default: local)")
  add("--jobs", type=int, help="processes at once")
  add("--max_lanes", type=int, default=0, metavar="N", help="the most runs in one program (default: 0, as many as fit)")
  add(
    "--memory",
    type=float,
    default=0.0,
    metavar="GB",
    help="memory that a process may use, of its GPU or, without one, of its machine (default: 0, all that the device "
    "has)",
  )
  add("--cpus", type=int, default=1, help="cores of a process (default: 1)")
  add(
    "--gpus",
    type=int,
    help="GPUs of a process (default: 1 if this machine has any; needed for a cluster if it has none, 0 for no GPUs)",
  )
  add("--metric", default="", help="metric to show and sort by; of a search the one to optimise: valid/log_px")
  add("--retry_failed", action="store_true", help="retry runs that ended with NaN or a mistake")
  add("--search", choices=study.SAMPLERS, help="let Optuna propose the values")
  add(
    "--trials",
    type=int,
    default=100,
    help="trials of a search in all, those of earlier commands included (default: 100)",
  )
  add("--batch", type=int, default=8, help="trials of a search at once (default: 8)")
  add("--pruner", default="none", choices=study.PRUNERS, help="stop trials that lag behind (default: none)")
  add("--search_seed", type=int, default=0, help="seed of the sampler")
  return parser


def parsed(argv: Sequence[str]) -> tuple[argparse.Namespace, dict[str, dict[str, str]], drive.Options]:
  """(arguments, {"config", "sweep", "launcher": {path: text}}, options) of a command line.

  Raises:
    UserError: an unknown option or an invalid value.
  """
  args, rest = _parser().parse_known_args(launcher_options.with_short_names(argv))
  given = launcher_options.dotted(rest, _GROUPS, launcher_options.flags(args.launcher))
  return args, given, _options(args, given["launcher"])


def _options(args: argparse.Namespace, own: dict[str, str]) -> drive.Options:
  for name, value, least in (
    ("max_lanes", args.max_lanes, 0),
    ("memory", args.memory, 0),
    ("cpus", args.cpus, 1),
    ("gpus", args.gpus or 0, 0),
  ):
    errors.require(value >= least, f"--{name}={value}; it must be {least} or more.")
  return drive.Options(
    args.launcher,
    args.jobs,
    args.max_lanes,
    args.memory,
    args.cpus,
    args.gpus,
    launcher_options.parse(args.launcher, own),
    args.metric,
    args.plan == "compile",
  )


def _dry_run(root: pathlib.Path, runs: list[definition.Run], options: drive.Options, retry: bool) -> int:
  if sentence := drive.check(options):
    print(f"! {sentence}", flush=True)
  todo = drive.left(root, runs, retry)
  jobs = drive.number_of_jobs(options)
  if len(todo) < len(runs):
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are done.")
  if todo:
    print(describe.describe(drive.make_plan(todo, options, in_process=False), jobs))
    print("\nOne command for each run, for any scheduler:")
    print("\n".join(definition.shell_command(run, root) for run in todo), flush=True)
  return 0


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  with signals.requests(f"To resume:\n  {shlex.join(sys.orig_argv)}"):
    return _main(sys.argv[1:] if argv is None else argv)


def _main(argv: Sequence[str]) -> int:
  args, given, options = parsed(argv)
  errors.require_package("pandas")  # of the report, which comes last
  common = definition.typed_common(args.config, given["config"])
  axis_values = {path: axis_texts.parse_values(path, text) for path, text in given["sweep"].items()}
  sweep = definition.overrides_of(args.config, args.name, axis_values)
  if args.search:
    errors.require(not args.dry_run, "--dry_run is for sweeps: a search does not know its runs beforehand.")
    errors.require(not args.retry_failed, "--retry_failed is for sweeps: a search proposes other values.")
    space = axes.space_of(definition.typed_space(args.config, common, sweep))
    searched = study.Search(
      args.config, common, space, args.metric, args.search, args.pruner, args.trials, args.batch, args.search_seed
    )
    status = search.run(args.root, searched, options)
  else:
    runs = definition.make_runs(args.config, common, sweep)
    if args.dry_run:
      tasks.check(args.root, tasks.define(args.config, common, runs))
      return _dry_run(args.root, runs, options, args.retry_failed)
    found = tasks.define(args.config, common, runs, shlex.join(sys.orig_argv))
    status = drive.run(args.root, found, runs, options, args.retry_failed)
  if not drive.detached(options):
    from dgm_jax.sweeps import report  # pandas takes a second, which a dry run need not wait

    print(report.write(args.root, args.metric), flush=True)
  return status
