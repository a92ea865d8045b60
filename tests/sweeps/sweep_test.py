"""Sweeps from command to report, with real workers: each run finishes once, even if processes are killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dgm_jax.core import files
from dgm_jax.training.workdir import metrics
from helpers import processes, tables
from helpers.sweep_tasks import wait_until

COMMAND = [sys.executable, "scripts/sweep.py", "--config=configs/iwae_mnist.py:test,k=5"]


def start(root, *flags, **env):
  return subprocess.Popen(
    [*COMMAND, f"--root={root}", *flags],
    cwd=tables.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, **env},
  )


def sweep(root, *flags):
  process = start(root, *flags)
  stdout, stderr = process.communicate()
  return process.returncode, stdout, stderr


def folders(root):
  return sorted((root / "runs").iterdir()) if (root / "runs").is_dir() else []


def rows(root):
  return sum(len(metrics.read(folder)) for folder in folders(root))


@pytest.mark.slow
def test_a_sweep_can_gain_runs_and_repeats_none(tmp_path):
  root = tmp_path / "sweep"
  two, three = (("--sweep.seed=0", f"--sweep.optim.lr={rates}") for rates in ("1e-3,3e-3", "1e-4,1e-3,3e-3"))
  status, stdout, stderr = sweep(root, *two, "--jobs=1", "--metric=test/nll")
  assert status == 2
  assert "Unknown metric 'test/nll'" in stderr  # it is not measured during training
  assert not root.exists()
  status, stdout, stderr = sweep(root, *two, "--jobs=1")
  assert status == 0, stderr
  assert "2 runs in 1 compiled programs" in stdout
  names = ["optim.lr=0.0001,seed=0", "optim.lr=0.001,seed=0", "optim.lr=0.003,seed=0"]
  assert [(f.name, (f / "results.json").exists()) for f in folders(root)] == [(name, True) for name in names[1:]]
  before = [(f / "run.json").read_text() for f in folders(root)]
  assert json.loads(before[0])[0]["lanes"] == 2

  status, stdout, stderr = sweep(root, *three, "--jobs=1", "--metric=valid/log_px")
  assert status == 0, stderr
  assert "1 runs in 1 compiled programs" in stdout
  assert [f.name for f in folders(root)] == names
  assert [(f / "run.json").read_text() for f in folders(root)[1:]] == before
  assert "Best: optim.lr=0.003" in stdout

  status, stdout, stderr = sweep(root, *three)
  assert (status, "nothing is left to train" in stdout) == (0, True)
  status, stdout, stderr = sweep(root, *two)
  assert status == 2
  assert "it has runs that are not in this one: optim.lr=0.0001" in stderr


FLAGS = ("--config.num_steps=300", "--config.eval_every=100", "--config.checkpoint_every=20", "--sweep.seed=0:10")
RATE = "--sweep.optim.lr=1e-3"


@pytest.mark.slow
def test_a_sweep_that_is_killed_three_times_has_every_result_once(tmp_path):
  """SIGKILL to all processes of a sweep of twenty runs, at three stages of progress."""
  root = tmp_path / "sweep"
  flags = (*FLAGS, "--config.figures_every=300", "--sweep.optim.lr=1e-3,3e-3", "--max_lanes=4")
  for least in (30, 200, 400):
    process = start(root, *flags)
    wait_until(lambda least=least: rows(root) >= least, 300)
    process.kill()
    subprocess.run(["pkill", "-9", "-f", f"dgm_jax.sweeps.launchers.worker {root}"], check=False)
    process.communicate()
  process = start(root, *flags)
  _, stderr = process.communicate()
  assert process.returncode == 0, stderr
  assert len(folders(root)) == 20
  nlls = []
  for folder in folders(root):
    nlls.append(files.read_json(folder / "results.json")["test/nll"])
    starts = [s["from_step"] for s in files.read_json(folder / "run.json")]
    assert starts == sorted(set(starts)) or starts.count(0) > 1  # killed before the first checkpoint
    assert [row["step"] for row in metrics.read(folder)] == list(range(0, 301, 10))
  assert len(set(nlls)) == 20

  whole = tmp_path / "whole"
  assert sweep(whole, *flags)[0] == 0
  for folder in folders(root):
    rest = files.read_json(whole / "runs" / folder.name / "results.json")
    assert files.read_json(folder / "results.json")["test/nll"] == pytest.approx(rest["test/nll"], rel=1e-4)


@pytest.mark.slow
def test_a_sweep_on_two_nodes_of_ray_survives_the_loss_of_one(tmp_path):
  pytest.importorskip("ray")
  from ray.cluster_utils import Cluster

  root = tmp_path / "sweep"
  cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
  try:
    second = cluster.add_node(num_cpus=1)
    flags = (*FLAGS, RATE, "--config.figures_every=300", "--max_lanes=2", "--jobs=2")
    process = start(root, *flags, "--launcher=ray", f"--launcher.address={cluster.address}", "--gpus=0")
    wait_until(lambda: len([f for f in folders(root) if metrics.read(f)]) >= 4, 300)
    time.sleep(2)
    cluster.remove_node(second, allow_graceful=False)
    stdout, stderr = process.communicate(timeout=900)
  finally:
    cluster.shutdown()
  assert process.returncode == 0, (stdout, stderr)
  assert len(folders(root)) == 10
  finished = 0
  for folder in folders(root):
    assert (folder / "results.json").exists()
    finished += sum("finished" in s for s in files.read_json(folder / "run.json"))
    assert [row["step"] for row in metrics.read(folder)] == list(range(0, 301, 10))
  assert finished == 10  # no run finished twice


def test_invalid_commands_fail_before_anything_is_launched(tmp_path):
  root = tmp_path / "sweep"
  for flags, sentence in (
    (["--sweep.keep_best=valid/nope,valid/log_px"], "Unknown metric of keep_best 'valid/nope'"),
    (["--sweep.optim.lr=1e-3", "--launcher.adress=here", "--launcher=ray"], "Did you mean '--launcher.address'"),
    (["--launcher=ray", "--launcher.address=127.0.0.1:1", "--launcher.gpus=0"], "at --launcher.address=127.0.0.1:1 "),
    (["--sweep.optim.lr=1e-3", "--retry_failed", "--search=tpe"], "--retry_failed is for sweeps"),
  ):
    done = processes.dgm_jax("sweep", COMMAND[-1], f"--root={root}", "--sweep.seed=0", *flags)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr
    assert not root.exists()


@pytest.mark.slow
def test_a_failed_run_is_retried_on_request(tmp_path):
  root = tmp_path / "sweep"
  flags = ("--sweep.seed=0", "--sweep.optim.lr=1e-3,1e30", "--jobs=1")
  assert sweep(root, *flags)[0] == 3
  bad = root / "runs" / "optim.lr=1e+30,seed=0"
  assert files.read_json(bad / "failure.json")["step"] == 2
  assert len(files.read_json(bad / "run.json")) == 1
  status, stdout, _ = sweep(root, *flags)
  assert (status, "nothing is left to train" in stdout) == (3, True)
  assert len(files.read_json(bad / "run.json")) == 1
  assert sweep(root, *flags, "--retry_failed")[0] == 3
  assert len(files.read_json(bad / "run.json")) == 2
  assert files.read_json(bad / "failure.json")["step"] == 2


@pytest.mark.slow
def test_a_stopped_sweep_resumes(tmp_path):
  root = tmp_path / "sweep"
  flags = (*FLAGS, RATE, "--config.figures_every=300", "--jobs=1")
  flags = tuple(f.replace("0:10", "0:2") for f in flags)
  process = start(root, *flags)
  wait_until(lambda: rows(root) >= 8, 120)
  process.send_signal(signal.SIGTERM)
  stdout, stderr = process.communicate()
  assert process.returncode == 4, (stdout, stderr)
  assert "runs are not finished. To resume:\n" in stderr
  assert not any((f / "results.json").exists() for f in folders(root))
  status, stdout, stderr = sweep(root, *flags)
  assert status == 0, stderr
  for folder in folders(root):
    assert files.read_json(folder / "run.json")[1]["from_step"] > 0
