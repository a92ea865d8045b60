"""SIGTERM at random instants, from the imports to the final evaluation, of every command that trains.

Each command ends within the grace period; once training has begun with status 4 and a sentence, before that by the
signal.  What it leaves is resumed, and ends bit for bit like an uninterrupted run.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import files
from dgm_jax.training.processes import signals
from helpers import tables

_CONFIG = "configs/iwae_mnist.py:test,k=5"
_STEPS = {"num_steps": 400, "eval_every": 200, "figures_every": 400, "checkpoint_every": 20}
_FLAGS = [f"--config.{name}={value}" for name, value in _STEPS.items()]
_EVALUATION = "--config.evaluate.importance_sampling.num_samples=500"  # long enough to be hit


def _dgm_jax(*words):
  return [sys.executable, "-m", "dgm_jax", *map(str, words)]


def _task(folder):
  """A task of three lanes, and its worker."""
  path = folder / "tasks" / "0000.json"
  if not path.exists():
    runs = []
    for seed in range(3):
      config = iwae_mnist.get_config("test,k=5")
      config.update({"seed": seed} | _STEPS)
      runs.append({"name": f"{seed}", "workdir": f"../runs/{seed}", "config": config.to_dict()})
    path.parent.mkdir(parents=True)
    files.write_json(path, {"format": 1, "runs": runs, "resources": {"cpus": 1, "gpus": 0}})
  return [sys.executable, "-m", "dgm_jax.sweeps.launchers.worker", str(path)]


COMMANDS = {  # the command in a folder, and how often it gets a signal
  "main": (lambda f: _dgm_jax("train", f"--config={_CONFIG}", *_FLAGS, _EVALUATION, f"--workdir={f / 'run'}"), 30),
  "worker": (_task, 10),
  "sweep": (
    lambda f: _dgm_jax("sweep", f"--config={_CONFIG}", *_FLAGS, "--sweep.seed=0:2", "--jobs=1", f"--root={f}"),
    10,
  ),
  "reproduce": (
    lambda f: _dgm_jax("reproduce", "burda2016", "--table=2", "--budget=test", "--jobs=1", f"--root={f}"),
    10,
  ),
}


def _begun(folder):
  """Number of processes that have trained a run in the folder."""
  return sum(len(files.read_json(path) or ()) for path in folder.rglob("run.json"))


def _start(command):
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
  return subprocess.Popen(command, cwd=tables.ROOT, text=True, process_group=0, **pipes)


def _results(folder):
  """What every run has to end with, by its place."""
  paths = [
    p for name in ("metrics.jsonl", "results.json") for p in folder.rglob(name) if (p.parent / "run.json").exists()
  ]
  return {str(path.relative_to(folder)): path.read_text() for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_signals_at_random_instants_change_nothing(name, tmp_path):
  make, count = COMMANDS[name]
  instants, seen, number = random.Random(name), [], 0
  start = time.monotonic()
  whole = _start(make(tmp_path / "whole"))
  assert whole.communicate()[1] is not None
  assert whole.returncode == 0
  duration, expected = time.monotonic() - start, _results(tmp_path / "whole")
  assert expected
  while len(seen) < count:
    folder = tmp_path / f"stopped{number}"
    folder.mkdir(exist_ok=True)
    before = _begun(folder)
    process = _start(make(folder))
    time.sleep(instants.uniform(0, duration))
    has_begun = _begun(folder) > before
    process.send_signal(signal.SIGTERM)
    try:
      _, printed = process.communicate(timeout=signals.GRACE_S + 10)
    finally:
      if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0 or (process.returncode == -signal.SIGTERM and _results(folder) == expected):
      # all was written: it was about to end, or had ended
      assert _results(folder) == expected
      number += 1
      continue
    seen.append((process.returncode, has_begun))
    assert process.returncode in ((4,) if has_begun else (4, -signal.SIGTERM)), printed
    assert process.returncode != 4 or re.search("[Ss]topped", printed), printed
    assert "Traceback" not in printed
  last = _start(make(folder))
  printed = last.communicate()
  assert last.returncode == 0, printed
  assert _results(folder) == expected
  assert {status for status, _ in seen} == {4, -signal.SIGTERM}, seen
