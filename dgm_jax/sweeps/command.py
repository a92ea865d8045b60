"""Runs a sweep, or a search: many runs of one config, as few compiled programs, on one machine or many.

  python -m dgm_jax sweep --config=configs/iwae_mnist.py:quick --root=runs/rates --sweep.optim.lr=1e-3,3e-3 \\
      --sweep.seed=0:4
  python -m dgm_jax sweep --config=configs/iwae_mnist.py --root=runs/table1 --name=table1 --launcher=slurm --jobs=6
  python -m dgm_jax sweep --config=configs/vae_mnist.py:quick --root=runs/found --search=tpe --trials=60 \\
      --metric=valid/log_px --pruner=median '--sweep.optim.lr=log_uniform(1e-4,1e-2)' --sweep.batch_size=50,100
  python -m dgm_jax sweep ... --dry_run      the plan: what runs together and why, memory, time, a command for each run

  --config.PATH=VALUE    a value that all runs have
  --sweep.PATH=VALUES    an axis: values separated by commas, integers a:b, or (in a search) log_uniform(low,high),
                         uniform(low,high), integers(low,high); the sweep is the product of all axes and of the
                         config's sweep(); --sweep.arg.NAME=VALUES varies the config file's argument
  --launcher.NAME=VALUE  an option of the launcher

Finished runs are never repeated: the same command continues with the remaining runs, and may add more.
Exit status: 0 all runs are finished, 2 a mistake in the command, 3 some runs failed, 4 stopped (the same command
continues).
"""

import argparse
import ast
import pathlib
import shlex
import sys

from dgm_jax.core import errors
from dgm_jax.sweeps import axes, definition, drive, report, tasks
from dgm_jax.sweeps.planning import plan
from dgm_jax.sweeps.search import search, study

_GROUPS = ("config", "sweep", "launcher")


def _paths(arguments: list[str]) -> dict[str, dict[str, str]]:
  """{"config": {path: text}, "sweep": ..., "launcher": ...} of --config.PATH=TEXT or --config.PATH TEXT ..."""
  found: dict[str, dict[str, str]] = {group: {} for group in _GROUPS}
  rest = list(arguments)
  while rest:
    flag, equals, text = rest.pop(0).partition("=")
    group, _, path = flag.removeprefix("--").partition(".")
    known = flag.startswith("--") and group in _GROUPS and path
    errors.require(bool(known), f"Unknown option {flag!r}; --help lists the options.")
    errors.require(bool(equals or rest), f"{flag} needs a value.")
    errors.require(path not in found[group], f"{flag} is given twice.")
    found[group][path] = text if equals else rest.pop(0)
  return found


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax sweep",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--config", required=True, metavar="FILE[:ARG]", help="config file and its argument")
  add("--root", required=True, type=pathlib.Path, help="folder of the sweep, new or unfinished")
  add("--name", default="", help="use sweep_NAME() of the config file instead of sweep()")
  add("--dry_run", action="store_true", help="print the plan and the commands; write and train nothing")
  add("--launcher", default="local", choices=sorted(drive.LAUNCHERS), help="where processes run (default: local)")
  add("--jobs", type=int, help="processes at once")
  add("--max_lanes", type=int, default=0, metavar="N", help="the most runs in one program (default: 0, as many as fit)")
  add(
    "--memory",
    type=float,
    default=0.0,
    metavar="GB",
    help="memory that a process may use (default: 0, all that the device has)",
  )
  add("--cpus", type=int, default=1, help="cores of a process (default: 1)")
  add("--gpus", type=int, help="GPUs of a process (default: 1 where there are any)")
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


def _options(args: argparse.Namespace, own: dict[str, str]) -> drive.Options:
  for name, value, least in (("max_lanes", args.max_lanes, 0), ("memory", args.memory, 0), ("cpus", args.cpus, 1)):
    errors.require(value >= least, f"--{name}={value}; it must be {least} or more.")

  def value(text):
    try:
      return ast.literal_eval(text)
    except (ValueError, SyntaxError):
      return text

  values = {name: value(text) for name, text in own.items()}
  return drive.Options(args.launcher, args.jobs, args.max_lanes, args.memory, args.cpus, args.gpus, values, args.metric)


def _dry_run(root: pathlib.Path, runs: list[definition.Run], options: drive.Options, retry: bool) -> int:
  todo = drive.left(root, runs, retry)
  jobs = drive.number_of_jobs(options)
  if len(todo) < len(runs):
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are done.")
  if todo:
    print(plan.describe(drive.make_plan(todo, options, timed=True), jobs))
    print("\nOne command for each run, for any scheduler:")
    print("\n".join(definition.shell_command(run, root) for run in todo), flush=True)
  return 0


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  args, rest = _parser().parse_known_args(argv)
  given = _paths(rest)
  options = _options(args, given["launcher"])
  drive.check_launcher(options)
  common = definition.typed_common(args.config, given["config"])
  axis_values = {path: axes.parse_values(path, text) for path, text in given["sweep"].items()}
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
  print(report.write(args.root, args.metric), flush=True)
  return status
