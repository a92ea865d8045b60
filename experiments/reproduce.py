"""Reproduces a paper's tables and figures: runs what they need, and writes the published numbers beside ours.

  python -m dgm_jax reproduce --list
  python -m dgm_jax reproduce --plan=10
  python -m dgm_jax reproduce burda2016 --table=1 --budget=quick
  python -m dgm_jax reproduce burda2016 --table=1 --budget=short --manual_dir=FOLDER --cells=vae-1,iwae-5
  python -m dgm_jax reproduce rainforth2018 --figure=2 --format=pdf
  python -m dgm_jax reproduce --page_of_results

Budgets: quick, minutes on two cores; short, an hour or so; paper, the full recipe.  Finished runs are never repeated:
the same command continues with the remaining ones.  ROOT/index.html is the report of everything reproduced under ROOT;
text and JSON are beside the runs, in ROOT/PAPER/ITEM/BUDGET/.

Exit status: 0 all runs are finished, 2 the command is invalid, 3 some runs failed, 4 stopped (the same command
continues).
"""

import argparse
import math
import pathlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType

from dgm_jax.core import errors, figure_style, figures, paths
from dgm_jax.experiments.harness import committed, page, paper, planning, reports, stages
from dgm_jax.sweeps import definition, drive, states, tasks
from dgm_jax.sweeps.launchers import options as launcher_options
from dgm_jax.sweeps.launchers.options import LAUNCHERS
from dgm_jax.training.processes import signals

_USER_ERROR = 2  # exit status


def _hours(text: str) -> float:
  """A number of hours above 0."""
  try:
    hours = float(text)
  except ValueError:
    hours = math.nan
  if not 0 < hours < math.inf:
    raise argparse.ArgumentTypeError(f"{text!r} must be a number of hours above 0")
  return hours


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax reproduce",
    description=__doc__,
    epilog="--launcher.NAME=VALUE is an option of the launcher; `python -m dgm_jax sweep --help` lists them.",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("paper", nargs="?", default="", help="for example burda2016; --list shows all papers")
  add("--list", action="store_true", help="show papers, tables, figures and the cost of each budget")
  add("--plan", type=_hours, metavar="HOURS", help="show what else fits in so many hours of two cores, cheapest first")
  add(
    "--page_of_results",
    action="store_true",
    help="write ROOT/results.html, the tables and figures of all committed results; runs nothing",
  )
  add("--table", help="number of a table of the paper, for example 1")
  add("--figure", help="number of a figure, for example 2; with neither --table nor --figure, all tables and figures")
  add("--budget", default="quick", help="quick, short or paper; default: quick")
  add("--root", type=paths.folder_of("--root"), default=pathlib.Path("runs/reproduce"), help="default: runs/reproduce")
  add("--cells", default="", metavar="NAMES", help="run only these cells and what they start from: vae-1,iwae-5")
  add("--manual_dir", default="", metavar="FOLDER", help="folder with the published raw files of the data set")
  add("--launcher", default="local", choices=sorted(LAUNCHERS), help="where processes run; default: local")
  add("--jobs", type=int, help="number of processes at once")
  add("--max_lanes", type=int, default=0, metavar="N", help="most runs in one program; 0: as many as fit")
  add("--cpus", type=int, default=1, help="cores per process; default: 1")
  add("--gpus", type=int, help="GPUs per process; default: 1 if this machine has any; 0 for none")
  add("--memory", type=float, default=0.0, metavar="GB", help="memory that a process may use; 0: all of its device")
  add("--retry_failed", action="store_true", help="retry runs that ended with NaN or an error")
  add("--format", default="png", help="formats of the figures besides PNG, such as pdf,svg")
  add("--save", action="store_true", help="save the finished numbers (of --cells, or of all) in experiments/results/")
  return parser


def parsed(argv: Sequence[str]) -> argparse.Namespace:
  """The arguments of a command line, with those of the launcher as `launcher_options`.

  Raises:
    UserError: an unknown option or an invalid value.
  """
  args, rest = _parser().parse_known_args(launcher_options.with_short_names(argv))
  own = launcher_options.dotted(rest, ("launcher",), launcher_options.flags(args.launcher))["launcher"]
  args.launcher_options = launcher_options.parse(args.launcher, own)
  return args


def chosen_items(module: ModuleType, table: str | None, figure: str | None, budget: str) -> list[str]:
  """The items named on the command line; without any, all items that have the budget.

  Raises:
    UserError: unknown table, figure or budget.
  """
  named = [f"{kind}={value}" for kind, value in (("table", table), ("figure", figure)) if value is not None]
  if not named:
    errors.choose("budget", budget, paper.BUDGETS)
    named = [item for item, budgets in module.RUNS.items() if budget in budgets]
  for item in named:
    paper.budget(module, item, budget)
  return named


def chosen_cells(budget: paper.Budget, cells: str) -> dict[str, list[str]]:
  """{cell: its runs} for the comma-separated names in `cells`, or for all cells if it is empty.

  Raises:
    UserError: unknown cell.
  """
  every = stages.run_names(budget)
  named = [errors.choose("cell", cell.strip(), every) for cell in filter(None, cells.split(","))]
  return {cell: every[cell] for cell in named or every}


def plan(
  budget: paper.Budget, common: dict[str, str], cells: str, folder: pathlib.Path = pathlib.Path()
) -> tuple[list[definition.Run], set[str]]:
  """(all runs of a sweep, the names of the chosen ones and of the runs they start from).

  Raises:
    UserError: unknown cell, or a value that the config does not accept.
  """
  chosen, from_run = {name for names in chosen_cells(budget, cells).values() for name in names}, stages.starts(budget)
  for name in list(chosen):
    while (name := from_run.get(name, "")) and name not in chosen:
      chosen.add(name)
  runs = stages.make_runs(budget, definition.typed_common(budget.config, {**budget.common, **common}), folder)
  return runs, chosen


def _sweep(folder: pathlib.Path, budget: paper.Budget, args: argparse.Namespace) -> int:
  old = tasks.read(folder)
  manual_dir = args.manual_dir or (old.common.get("data.manual_dir", "") if old else "")
  common = {"data.manual_dir": manual_dir} if manual_dir else {}
  runs, wanted = plan(budget, common, args.cells, folder)
  found = tasks.define(
    budget.config,
    definition.typed_common(budget.config, {**budget.common, **common}),
    runs,
    shlex.join(sys.orig_argv),
  )
  options = drive.Options(
    args.launcher, args.jobs, args.max_lanes, args.memory, args.cpus, args.gpus, args.launcher_options
  )
  from_run, left, status = stages.starts(budget), [run for run in runs if run.name in wanted], drive.FINISHED
  is_ready = lambda run: run.name not in from_run or states.is_finished(folder, from_run[run.name])
  with signals.requests() as stop:
    while status != drive.STOPPED and (ready := [run for run in left if is_ready(run)]):
      stop.check()
      status = max(status, drive.run(folder, found, ready, options, args.retry_failed))
      left = [run for run in left if run not in ready]
  return status


def attempt(name: str, module: ModuleType, item: str, args: argparse.Namespace) -> tuple[int, dict | None]:
  """`run` for one of several items: a UserError (missing data, say) is printed, so that the other items still run."""
  try:
    return run(name, module, item, args)
  except errors.UserError as e:
    print(f"error: {name} --{item}: {e}", file=sys.stderr, flush=True)
    return _USER_ERROR, None


def run(name: str, module: ModuleType, item: str, args: argparse.Namespace) -> tuple[int, dict]:
  """Runs what remains of an item and writes its report; returns the exit status and the report."""
  budget, formats = paper.budget(module, item, args.budget), figure_style.parse_formats(args.format)
  folder = paper.folder(args.root, name, item, args.budget)
  print(f"{name} --{item} --budget={args.budget}: {budget.what}\n{folder}", flush=True)
  progress = lambda: (reports.num_finished(folder, module, item, args.budget), len(list(folder.glob("measured/*"))))
  start, before = time.monotonic(), progress()
  try:
    if budget.compute is not None:
      errors.require(not args.cells, f"--cells chooses training runs; {item} has none.")
      with signals.requests() as stop:
        stop.begin()
        budget.compute(folder / "runs" / "computed")
      status = drive.FINISHED
    else:
      status = _sweep(folder, budget, args)
      if budget.measure is not None and status != drive.STOPPED:
        with signals.requests() as stop, figures.writing(dict.fromkeys(("png", *formats))):
          stop.begin()
          stop.check()
          budget.measure(folder, stages.run_names(budget))
  finally:
    after, every = progress(), len(reports.run_names(module, item, args.budget))
    if (folder / "runs").is_dir() and not (before == after and after[0] == every):
      reports.add_session(folder, time.monotonic() - start)
  found = reports.write(args.root, name, module, item, args.budget, formats)
  print(f"\n{reports.as_text(found)}", flush=True)
  return status, found


def _until_stopped(do: Callable[[str], tuple[int, dict | None]], items: Sequence[str]) -> list:
  """[do(item)] for all items up to the first that was stopped."""
  done: list = []
  with signals.requests() as stop:
    for item in items:
      stop.check()
      done.append(do(item))
      if done[-1][0] == drive.STOPPED:
        break
  return done


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  with signals.requests(f"The same command continues:\n  {shlex.join(sys.orig_argv)}"):
    return _main(sys.argv[1:] if argv is None else argv)


def _main(argv: Sequence[str]) -> int:
  args = parsed(argv)
  if args.list:
    print(planning.listing(), flush=True)
    return 0
  if args.plan is not None:
    print(planning.as_text(args.plan), flush=True)
    return 0
  if args.page_of_results:
    print(f"Page: {committed.write(args.root / 'results.html')}", flush=True)
    return 0
  errors.require(bool(args.paper), f"Name a paper: {', '.join(paper.names())}; --list shows what each has.")
  figure_style.parse_formats(args.format)
  module = paper.load(args.paper)
  items = chosen_items(module, args.table, args.figure, args.budget)
  do = run if len(items) == 1 else attempt
  statuses, found = zip(*_until_stopped(lambda item: do(args.paper, module, item, args), items), strict=True)
  print(f"Report: {page.write(args.root)}", flush=True)
  for report in filter(None, found if args.save else ()):
    cells = chosen_cells(paper.budget(module, report["item"], args.budget), args.cells) if args.cells else None
    print(f"Saved in {reports.save(report, cells)}", flush=True)
  return max(statuses)


if __name__ == "__main__":
  sys.exit(errors.run_command(main))
