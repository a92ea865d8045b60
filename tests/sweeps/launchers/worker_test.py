"""The worker of a task: if it is killed at any time, the next worker finishes with the same results."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, files
from dgm_jax.sweeps.launchers import worker
from dgm_jax.training.workdir import metrics
from helpers import tables


def write_task(root, points, **given):
  runs = []
  for seed, lr in points:
    config = iwae_mnist.get_config("test,k=5")
    config.seed, config.optim.lr = seed, lr
    config.update({"num_steps": 400, "eval_every": 200, "figures_every": 400, "checkpoint_every": 20, **given})
    name = f"lr={lr:g},seed={seed}"
    runs.append({"name": name, "workdir": f"../runs/{name}", "config": config.to_dict()})
  path = root / "tasks" / "0000.json"
  path.parent.mkdir(parents=True)
  files.write_json(path, {"format": 1, "runs": runs, "resources": {"cpus": 1, "gpus": 0}})
  return path


def start(path):
  command = [sys.executable, "-m", "dgm_jax.sweeps.launchers.worker", str(path)]
  return subprocess.Popen(command, cwd=tables.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def folders(path):
  return sorted((path.parents[1] / "runs").iterdir())


def wait_for_step(process, path, step, seconds=120):
  """Waits until some run has reached a step."""
  deadline = time.monotonic() + seconds
  while time.monotonic() < deadline and process.poll() is None:
    rows = [metrics.read(folder) for folder in (path.parents[1] / "runs").glob("*")]
    if any(r and r[-1]["step"] >= step for r in rows):
      return
    time.sleep(0.01)
  raise AssertionError(process.communicate())


POINTS = [(0, 1e-3), (1, 1e-3), (0, 3e-3)]


@pytest.mark.slow
def test_a_task_whose_workers_are_killed_and_stopped_has_the_same_results(tmp_path):
  whole = write_task(tmp_path / "whole", POINTS)
  process = start(whole)
  assert process.wait() == 0, process.communicate()
  killed = write_task(tmp_path / "killed", POINTS)
  for step, number in ((60, signal.SIGKILL), (150, signal.SIGTERM), (260, signal.SIGKILL)):
    process = start(killed)
    wait_for_step(process, killed, step)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (4 if number == signal.SIGTERM else -number)
  process = start(killed)
  assert process.wait() == 0, process.communicate()
  assert len(folders(killed)) == 3
  for a, b in zip(folders(whole), folders(killed), strict=True):
    for name in ("metrics.jsonl", "results.json"):
      assert (a / name).read_text() == (b / name).read_text()
    starts = [s["from_step"] for s in json.loads((b / "run.json").read_text())]
    assert starts[0] == 0
    assert all(np.diff(starts) > 0)


def test_finished_and_failed_runs_are_skipped_and_a_diverged_one_is_reported(tmp_path):
  path = write_task(tmp_path, [(0, 1e-3), (1, 1e30)], num_steps=40, eval_every=40, figures_every=40)
  process = start(path)
  _, stderr = process.communicate()
  assert process.returncode == 3
  assert "lr=1e+30,seed=1: train/" in stderr
  assert "Traceback" not in stderr
  good, bad = folders(path)
  assert files.read_json(bad / "failure.json")["step"] == 2
  assert not (bad / "results.json").exists()
  before = [(p, p.stat().st_mtime_ns) for p in sorted(good.rglob("*")) + sorted(bad.rglob("*"))]
  assert worker.work(path) == 3
  assert before == [(p, p.stat().st_mtime_ns) for p in sorted(good.rglob("*")) + sorted(bad.rglob("*"))]


@pytest.mark.slow
def test_a_run_that_is_asked_to_end_keeps_its_checkpoint_and_the_others_continue(tmp_path):
  path = write_task(tmp_path, [(0, 1e-3), (1, 1e-3)], checkpoint_every=400)
  process = start(path)
  wait_for_step(process, path, 30)
  pruned, other = folders(path)
  files.write_json(pruned / "stop.json", {"reason": "the median is better"})
  assert process.wait() == 0, process.communicate()
  assert (other / "results.json").exists()
  assert not (pruned / "results.json").exists()
  last = metrics.read(pruned)[-1]["step"]
  assert 30 <= last < 400
  assert (pruned / "checkpoints" / str(last)).is_dir()
  assert worker.work(path) == 0
  assert metrics.read(pruned)[-1]["step"] == last


@pytest.mark.slow
def test_an_invalid_run_is_reported_and_the_others_continue(tmp_path, capsys):
  """The folder of one run holds a foreign file; the other two runs are still lanes of one program."""
  path = write_task(tmp_path, POINTS, num_steps=40, eval_every=40, figures_every=40)
  strange = tmp_path / "runs" / "lr=0.001,seed=0"
  strange.mkdir(parents=True)
  (strange / "mine.txt").write_text("mine")
  assert worker.work(path) == 3
  assert "lr=0.001,seed=0: --workdir" in capsys.readouterr().err
  assert "holds files that are not a run's" in files.read_json(strange / "failure.json")["error"]
  assert {p.name for p in strange.iterdir()} == {"mine.txt", "failure.json"}
  others = [f for f in folders(path) if f != strange]
  assert all((f / "results.json").exists() for f in others)


def test_invalid_tasks_raise_user_errors(tmp_path, capsys):
  assert worker.main([str(tmp_path / "none.json")]) == 2
  assert "is not a task of a sweep" in capsys.readouterr().err
  path = write_task(tmp_path, [(0, 1e-3)])
  files.write_json(path, {"format": 2, "runs": []})
  with pytest.raises(errors.UserError, match="has format 2; this version reads 1"):
    worker.read(path)
  assert os.listdir(tmp_path) == ["tasks"]
