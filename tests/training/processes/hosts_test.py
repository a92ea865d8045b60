"""Several processes that train one run: they equal one process, stop together, and notice the death of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, files
from dgm_jax.training.processes import hosts
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import metrics
from helpers import tables

FLAGS = (
  "--config=configs/iwae_mnist.py:test,k=5",
  "--config.num_steps=600",
  "--config.figures_every=600",
  "--config.eval_every=300",
)


def free_port():
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def start(workdir, *flags, processes=2, **env):
  """Starts the processes of one run, connected over loopback."""
  where = f"--coordinator=127.0.0.1:{free_port()}"
  others = [("--distributed", where, f"--num_processes={processes}", f"--process_id={i}") for i in range(processes)]
  return [
    subprocess.Popen(
      [sys.executable, "-m", "dgm_jax.main", *FLAGS, f"--workdir={workdir}", *flags, *(ids if processes > 1 else ())],
      cwd=tables.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, **env},
    )
    for ids in others
  ]


def wait_for_rows(processes, workdir, rows, seconds=180):
  deadline = time.monotonic() + seconds
  while len(metrics.read(workdir)) < rows and time.monotonic() < deadline:
    assert all(p.poll() is None for p in processes), [p.communicate() for p in processes if p.poll() is not None]
    time.sleep(0.01)


def ended(processes):
  """(exit status, stdout, stderr) of each."""
  printed = [p.communicate(timeout=120) for p in processes]
  return [(p.returncode, *out) for p, out in zip(processes, printed, strict=True)]


def params(workdir):
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.update_from_flattened_dict(files.flatten(json.loads((workdir / "config.json").read_text())))
  return jax.device_get(restore(config, workdir)[1].params)


def child_of(process):
  [pid] = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
  return int(pid)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("alone") / "run"
  [(status, _, printed)] = ended(start(workdir, processes=1))
  assert status == 0, printed
  return workdir


def assert_equal(workdir, alone):
  rows, others = metrics.read(workdir), metrics.read(alone)
  assert [row["step"] for row in rows] == [row["step"] for row in others]
  for row, other in zip(rows, others, strict=True):
    assert row == pytest.approx(other, rel=1e-4)
  worst = [
    np.linalg.norm(a - b) / np.linalg.norm(b)
    for a, b in zip(*map(jax.tree.leaves, (params(workdir), params(alone))), strict=True)
  ]
  assert max(worst) < 1e-5
  [a, b] = [json.loads((w / "results.json").read_text()) for w in (workdir, alone)]
  assert a["test/nll"] == pytest.approx(b["test/nll"], rel=1e-5)


@pytest.mark.slow
def test_a_kill_a_signal_and_a_resume_with_fewer_processes_change_nothing(alone, tmp_path):
  """One of two processes is killed, and the other reports it within a minute; two resume and are stopped by a signal to
  one of them; one process alone finishes the run, which equals an uninterrupted run of one process."""
  workdir = tmp_path / "run"
  processes = start(workdir, "--config.checkpoint_every=50")
  wait_for_rows(processes, workdir, 12)
  os.kill(child_of(processes[1]), signal.SIGKILL)
  killed = time.monotonic()
  found = ended(processes)
  assert time.monotonic() - killed < 60
  assert [status for status, _, _ in found] == [5, 5]
  assert "resumes:\n" in found[0][2]
  assert "was ended by SIGKILL" in found[1][2]

  processes = start(workdir, "--config.checkpoint_every=50")
  wait_for_rows(processes, workdir, 30)
  processes[1].send_signal(signal.SIGTERM)
  found = ended(processes)
  assert [status for status, _, _ in found] == [4, 4], found
  assert "Stopped by a signal to another host at step" in found[0][2]
  assert "Resuming" in found[0][1]
  assert "Resuming" not in found[1][1]
  assert json.loads((workdir / "run.json").read_text())[1]["processes"] == 2

  [(status, printed, error)] = ended(start(workdir, "--config.checkpoint_every=50", processes=1))
  assert status == 0, error
  assert "Resuming" in printed
  config = json.loads((workdir / "config.json").read_text())
  assert config["checkpoint_every"] == 50
  assert_equal(workdir, alone)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--config.data.source=streaming",), ("--config.shard_params=true",)])
def test_two_processes_equal_one(alone, flags, tmp_path):
  found = ended(start(tmp_path / "run", *flags))
  assert [status for status, _, _ in found] == [0, 0], found
  assert_equal(tmp_path / "run", alone)


@pytest.mark.slow
def test_an_error_of_the_first_process_is_reported_by_all(alone, tmp_path):
  (tmp_path / "mine.txt").write_text("mine")
  for status, _, error in ended(start(tmp_path)):
    assert status == 2
    assert error.count("holds files that are not a run's") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
  "given,sentence",
  [
    (("127.0.0.1:1", None, 0), "go together"),
    (("127.0.0.1:1", 2, 2), "--process_id = 2; it must be in 0 .. 1"),
    (("127.0.0.1", 2, 0), "must be HOST:PORT"),
    (("127.0.0.1:1", 0, 0), "--num_processes = 0"),
  ],
)
def test_invalid_flags_raise(given, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    hosts.connect(*given)


def test_srun_and_slices_of_tpu_hosts_are_detected():
  assert not hosts.expected({})
  assert not hosts.expected({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"})
  assert hosts.expected({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"})
  assert hosts.expected({"TPU_WORKER_HOSTNAMES": "a,b"})
  assert not hosts.expected({"TPU_WORKER_HOSTNAMES": "a"})
