"""Compares the speed of a sweep's lanes with that of the same runs one after another.

  python scripts/bench_sweep.py            32 runs of bench.py's w1 (VAE), 8 seeds x 4 learning rates, 600 steps each
  python scripts/bench_sweep.py --steps=60 --rounds=1
  python scripts/bench_sweep.py --json=sweep.json

Each round executes all runs in three ways, including evaluation, figures and checkpoints:

  one by one   in one process that uses all cores and has done one run as a warm-up, so that nothing is compiled
  lanes        as one task of a sweep: one compiled program in one process that uses all cores
  sweep        as `dgm_jax sweep` divides them: lanes in one pinned process per core (on GPUs, one process per device)

The times are also printed as ratios to the first; less than 1 is faster.  The last two ways start new processes, whose
start-up is included in their time, and load their programs from the compilation cache.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from dgm_jax.sweeps import tasks
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.launchers import local

_ONE_BY_ONE = """
import json, pathlib, shutil, sys, time
from dgm_jax.core import compilation_cache
from dgm_jax.sweeps.launchers import worker
from dgm_jax.training import train
compilation_cache.use()
runs = worker.read(pathlib.Path(sys.argv[1]))
train.train_and_evaluate(runs[0][0], runs[0][1].with_name("warm"))
start = time.monotonic()
for config, folder in runs:
  train.train_and_evaluate(config, folder)
print(json.dumps(time.monotonic() - start))
"""


def configs(steps: int, seeds: int) -> list[Run]:
  """The runs: bench.py's w1 with fewer steps."""
  import bench  # imported here because it initialises JAX

  found = []
  for seed, lr in itertools.product(range(seeds), (3e-4, 1e-3, 2e-3, 3e-3)):
    config = bench.config("w1")
    with config.unlocked():
      config.seed, config.optim.lr, config.num_steps, config.log_every = seed, lr, steps, min(100, steps)
      config.checkpoint_every = 0
    found.append(Run(f"lr={lr:g},seed={seed}", {"seed": seed, "optim.lr": lr}, config.to_dict(), ()))
  return found


def _write(root: pathlib.Path, lists: list[list[Run]]) -> list[pathlib.Path]:
  return tasks.write_tasks(root, lists, {"cpus": 1, "gpus": 0})


def one_by_one(root: pathlib.Path, runs: list[Run]) -> float:
  """Seconds for all runs in a warmed-up process."""
  [path] = _write(root, [runs])
  command = [sys.executable, "-c", _ONE_BY_ONE, str(path)]
  done = subprocess.run(command, cwd=pathlib.Path(__file__).parents[1], capture_output=True, text=True)
  if done.returncode:
    raise SystemExit(done.stderr)
  return json.loads(done.stdout.splitlines()[-1])


def in_tasks(root: pathlib.Path, runs: list[Run], count: int) -> float:
  """Seconds for all runs as lanes of `count` tasks, one task per process."""
  cuts = [len(runs) * i // count for i in range(count + 1)]
  paths = _write(root, [runs[a:b] for a, b in itertools.pairwise(cuts)])
  start = time.monotonic()
  outcomes = local.launch(paths, jobs=count)
  if any(o.status for o in outcomes):
    raise SystemExit("\n".join(o.tail for o in outcomes))
  return time.monotonic() - start


def main() -> None:
  """Runs the rounds and prints the ratios."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--steps", type=int, default=600, help="training steps per run (600)")
  parser.add_argument("--seeds", type=int, default=8, help="seeds for each of the four learning rates (8)")
  parser.add_argument("--rounds", type=int, default=3, help="rounds, each with all three ways (3)")
  parser.add_argument("--json", type=pathlib.Path, help="also write all times to this file")
  args = parser.parse_args()
  runs, processes = configs(args.steps, args.seeds), len(local.slots(None, 1, 0))
  ways = {"one by one": one_by_one, "lanes": lambda *a: in_tasks(*a, 1), "sweep": lambda *a: in_tasks(*a, processes)}
  rounds = []
  for i in range(args.rounds):
    measured = {}
    # the order alternates, so that drift of the machine's speed affects all ways alike
    for name, way in list(ways.items())[:: 1 if i % 2 == 0 else -1]:
      with tempfile.TemporaryDirectory() as folder:
        measured[name] = way(pathlib.Path(folder), runs)
      print(f"round {i + 1}: {name} {measured[name]:.1f} s", file=sys.stderr, flush=True)
    rounds.append(measured)
  print(f"{len(runs)} runs of {args.steps} steps, {processes} cores or devices, median of {args.rounds} rounds")
  for name in ways:
    ratio = statistics.median(r[name] / r["one by one"] for r in rounds)
    print(f"{name:12}{statistics.median(r[name] for r in rounds):8.1f} s{ratio:8.2f}")
  if args.json:
    about = {"runs": len(runs), "steps": args.steps, "processes": processes, "command": " ".join(sys.argv)}
    args.json.write_text(json.dumps({**about, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
  main()
