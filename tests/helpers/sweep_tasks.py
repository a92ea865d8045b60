"""Tasks of a sweep with a fake worker, this file: it sleeps instead of training but has the interface of a worker.

Each run counts its steps in runs/NAME/checkpoint and logs its events in runs/NAME/events; a worker ends, crashes or is
stopped as the task specifies.
"""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

STEP = 0.05
WORKER = (sys.executable, __file__)


def write(root, count, *, steps=4, ends=(), cpus=1, gpus=0, runs=1):
  """Writes `count` tasks of `runs` runs and returns their files; the i-th worker of a task ends with status ends[i]."""
  (root / "tasks").mkdir(parents=True, exist_ok=True)
  paths = []
  for i in range(count):
    described = [
      {"name": f"{i}_{j}", "workdir": f"../runs/{i}_{j}", "config": {"steps": steps, "ends": ends}} for j in range(runs)
    ]
    task = {"format": 1, "runs": described, "resources": {"cpus": cpus, "gpus": gpus}}
    paths.append(root / "tasks" / f"{i:04d}.json")
    paths[-1].write_text(json.dumps(task))
  return paths


def events(root, kind=None):
  """Events of all runs in the order of time: [{"event", "run", "time", "pid", "step", ...}]."""
  found = []
  for path in (root / "runs").glob("*/events"):
    found += [json.loads(line) | {"run": path.parent.name} for line in path.read_text().splitlines()]
  return [e for e in sorted(found, key=lambda e: e["time"]) if kind in (None, e["event"])]


def most_at_once(root):
  """The largest number of runs that were worked on at the same time."""
  ends = [e["time"] for e in events(root) if e["event"] in ("finish", "stop")]
  starts = [e["time"] for e in events(root, "start")]
  return max(sum(s <= t for s in starts) - sum(e <= t for e in ends) for t in starts)


def alive(pid):
  """Whether a process is running (and no zombie)."""
  try:
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


def wait_until(true, seconds=60):
  deadline = time.monotonic() + seconds
  while not true():
    assert time.monotonic() < deadline, "timed out"
    time.sleep(0.02)


def launcher(module, paths, **options):
  """Starts a process that launches tasks and finally prints their outcomes as JSON."""
  code = (
    "import json, pathlib, sys\n"
    f"from dgm_jax.sweeps.launchers import {module}\n"
    "paths, options = json.loads(sys.argv[1])\n"
    f"outcomes = {module}.launch([pathlib.Path(p) for p in paths], **options)\n"
    "print(json.dumps([o._asdict() | {'task': str(o.task)} for o in outcomes]))\n"
  )
  arguments = json.dumps([[str(p) for p in paths], {"worker": WORKER, **options}])
  command = [sys.executable, "-c", code, arguments]
  folder = pathlib.Path(__file__).parents[2]
  return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, process_group=0)


def note(run, kind, **more):
  with open(run / "events", "a") as file:
    print(json.dumps({"event": kind, "time": time.time(), "pid": os.getpid(), **more}), file=file)


def work(folder, config, signals):
  """Works on one run, holding its lock; returns the status with which its worker ends."""
  folder.mkdir(parents=True, exist_ok=True)
  if (folder / "results.json").exists():
    return 0
  with open(folder / "lock", "a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    checkpoint = folder / "checkpoint"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    threads = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    note(
      folder, "start", step=step, cores=sorted(os.sched_getaffinity(0)), ppid=os.getppid(), cwd=os.getcwd(), **threads
    )
    begun = len([line for line in (folder / "events").read_text().splitlines() if '"start"' in line])
    while step < config["steps"]:
      time.sleep(STEP)
      step += 1
      if begun <= len(config["ends"]) and step >= config["steps"] // 2:
        return config["ends"][begun - 1]
      if signals:
        checkpoint.write_text(str(step))
        time.sleep(2 * STEP)  # time in which a second signal would be noticed
        note(folder, "stop", step=step, signals=list(signals))
        return 4
      checkpoint.write_text(str(step))
    with open(folder / "results.json", "x") as file:
      json.dump({"step": step}, file)
    note(folder, "finish", step=step)
  return 0


def main(task):
  signals = []
  signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
  print(f"working on {task}", flush=True)
  task = pathlib.Path(task)
  worst = 0
  for run in json.loads(task.read_text())["runs"]:
    try:
      status = work(task.parent / run["workdir"], run["config"], signals)
    except BlockingIOError:
      print("error: another process has it", flush=True)
      status = 2
    if status < 0:
      print("about to die", flush=True)
      os.kill(os.getpid(), -status)
      time.sleep(10)
    worst = worst or status
    if status == 4:
      break
  if worst:
    print(f"this is the last line, before status {worst}", flush=True)
  sys.exit(worst)


if __name__ == "__main__":
  main(*sys.argv[1:])
