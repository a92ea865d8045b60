"""Faults during a run: signals, kills, a second process, full disks, NaN.  All are real, none is mocked."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, files
from dgm_jax.core.system import TrainState
from dgm_jax.training import train
from dgm_jax.training.diagnostics import nan_debug
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, metrics
from dgm_jax.training.workdir.folder import create
from helpers import processes, tables

CONFIG = "--config=configs/iwae_mnist.py:test,k=5"
LONG = (CONFIG, "--config.num_steps=600", "--config.figures_every=600", "--config.eval_every=300")


def command(*flags):
  return [sys.executable, "-m", "dgm_jax.main", *flags]


def main(*flags, **env):
  return subprocess.run(command(*flags), cwd=tables.ROOT, capture_output=True, text=True, env={**os.environ, **env})


def start(*flags, **env):
  return subprocess.Popen(
    command(*flags),
    cwd=tables.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, **env},
  )


def wait_for_rows(process, workdir, rows, seconds=120):
  deadline = time.monotonic() + seconds
  while len(metrics.read(workdir)) < rows and process.poll() is None and time.monotonic() < deadline:
    time.sleep(0.005)
  assert process.poll() is None, process.communicate()


def arrays(workdir):
  """The arrays of the newest checkpoint."""
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.update_from_flattened_dict(files.flatten(json.loads((workdir / "config.json").read_text())))
  return jax.device_get(restore(config, workdir)[1])


def assert_same_run(a, b):
  for name in ("metrics.jsonl", "results.json"):
    assert (a / name).read_text() == (b / name).read_text()
  jax.tree.map(np.testing.assert_array_equal, arrays(a), arrays(b))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The uninterrupted run."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  done = processes.main(*LONG, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir


def test_three_kills_and_three_signals_at_random_instants_change_nothing(whole, tmp_path):
  """Two after the logs were opened, mostly during the compilation; four after the next row of the metrics."""
  workdir, instants, seen = tmp_path / "run", random.Random(1), []
  flags = (*LONG, "--config.checkpoint_every=40", f"--workdir={workdir}")
  for i, number in enumerate((signal.SIGTERM, signal.SIGKILL) * 3):
    look = starts if i < 2 else metrics.read
    before = len(look(workdir))

    def send(child, number=number, look=look, before=before):
      deadline = time.monotonic() + 60
      while len(look(workdir)) == before and time.monotonic() < deadline:
        time.sleep(0.01)
      time.sleep(instants.uniform(0, 0.3))
      os.kill(child, number)

    done = processes.main(*flags, meanwhile=send)
    assert done.returncode == (4 if number == signal.SIGTERM else -number), done.stderr
    if number == signal.SIGTERM:
      said = re.search(r"error: Stopped by SIGTERM[^\n]*( saved|kept)\. The same command resumes:\n  (.*)", done.stderr)
      assert said and said[2].endswith(str(workdir)), done.stderr
      assert "Traceback" not in done.stderr
    seen.append(max(checkpoint.steps(workdir), default=0))
  assert processes.main(*flags).returncode == 0
  assert seen[-1] > 0, seen
  assert_same_run(workdir, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_printed_command_resumes(whole, number, tmp_path):
  workdir = tmp_path / "run"
  process = start(*LONG, "--config.checkpoint_every=600", f"--workdir={workdir}")
  wait_for_rows(process, workdir, 5)
  process.send_signal(number)
  _, printed = process.communicate(timeout=60)
  assert process.returncode == 4
  assert f"Stopped by {number.name} at step" in printed
  assert "Traceback" not in printed
  [step] = [int(p.name) for p in (workdir / "checkpoints").iterdir()]
  assert step == metrics.read(workdir)[-1]["step"]
  resuming = printed.rstrip().splitlines()[-1]
  resumed = subprocess.run(resuming, shell=True, cwd=tables.ROOT, capture_output=True, text=True)
  assert f"Resuming {workdir} at step {step} of 600." in resumed.stdout, resumed.stderr
  assert_same_run(workdir, whole)


@pytest.mark.slow
def test_a_second_process_is_rejected_and_a_dead_process_holds_no_lock(whole, tmp_path):
  workdir = tmp_path / "run"
  first = start(*LONG, f"--workdir={workdir}")
  wait_for_rows(first, workdir, 2)
  second = main(*LONG, f"--workdir={workdir}")
  assert second.returncode == 2
  assert f"is being trained by process {first.pid} on {os.uname().nodename}" in second.stderr
  assert main("--mode=sample", f"--workdir={whole}").returncode == 0  # reading needs no lock
  first.kill()
  first.wait()
  assert main(*LONG, f"--workdir={workdir}").returncode == 0
  assert_same_run(workdir, whole)


def starts(workdir):
  return json.loads((workdir / "run.json").read_text()) if (workdir / "run.json").exists() else []


def kill_at_random(flags, workdir, kills, seed, **env):
  """Sends SIGKILL after random times, some while a checkpoint is being written; then lets the run finish."""
  delays = random.Random(seed)
  for i in range(kills):
    process = start(*flags, f"--workdir={workdir}", **env)
    while len(starts(workdir)) == i and process.poll() is None:
      time.sleep(0.01)  # no kill during the imports
    wait_for_rows(process, workdir, len(metrics.read(workdir)) + 1)
    time.sleep(delays.uniform(0, 1))
    process.kill()
    process.communicate()
  done = main(*flags, f"--workdir={workdir}", **env)
  assert done.returncode == 0, done.stderr
  assert len(starts(workdir)) == kills + 1


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_thirty_random_kills_change_nothing(devices, tmp_path):
  flags = (CONFIG, "--config.num_steps=6000", "--config.eval_every=500", "--config.checkpoint_every=10")
  env = {"XLA_FLAGS": tables.xla_flags(devices)}
  done = main(*flags, f"--workdir={tmp_path / 'whole'}", **env)
  assert done.returncode == 0, done.stderr
  kill_at_random(flags, tmp_path / "killed", kills=30, seed=devices, **env)
  assert len([s for s in starts(tmp_path / "killed") if s["from_step"] > 0]) > 20
  assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 3 MB."""
  folder = tmp_path / "disk"
  folder.mkdir()
  if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True).returncode:
    pytest.skip("mounting a tmpfs needs root")
  yield folder
  subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_signal_while_a_checkpoint_is_read_does_not_delete_it(whole, monkeypatch):
  """A signal must not be mistaken for a read error, after which a checkpoint is deleted as damaged."""
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.update_from_flattened_dict(files.flatten(json.loads((whole / "config.json").read_text())))
  steps = checkpoint.steps(whole)
  state = restore(config, whole, averaged=False)[1]
  with checkpoint.open_manager(whole) as manager:

    def signalled(*args, **kwargs):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(1)

    monkeypatch.setattr(manager, "restore", signalled)
    with pytest.raises(KeyboardInterrupt):
      checkpoint.restore_latest(manager, state, repair=True)
  assert checkpoint.steps(whole) == steps


@pytest.mark.slow
def test_a_full_disk_loses_nothing(small_disk, whole, tmp_path):
  """First there is no room for a checkpoint, then not even for a line of the log; with room the run ends as usual."""
  workdir = small_disk / "run"
  flags = (*LONG, "--config.checkpoint_every=50", f"--workdir={workdir}")
  keeping = (*flags, "--config.keep_checkpoints=20")
  for _ in range(2):
    done = main(*keeping)
    assert done.returncode == 2
    [step] = re.findall(
      r"is full \([\d.]+ MB are left\). The checkpoint of step (\d+) is complete; free some space", done.stderr
    )
    assert "Traceback" not in done.stderr
    with open(small_disk / "filling", "ab", buffering=0) as filling, pytest.raises(OSError, match="No space left"):
      while True:
        filling.write(bytes(4096))
  shutil.copytree(workdir, tmp_path / "run")
  moved = [flag.replace(str(workdir), str(tmp_path / "run")) for flag in keeping]
  assert f"at step {step} of 600" in main(*moved).stdout
  assert_same_run(tmp_path / "run", whole)


def test_a_checkpoint_without_room_raises_before_writing(small_disk):
  with checkpoint.open_manager(small_disk) as manager, pytest.raises(OSError, match=r"takes 4.0 MB; \d.\d MB are left"):
    checkpoint.save(manager, 1, TrainState(np.int32(1), np.zeros(1_000_000, np.float32), (), {}, {}))
  assert not [p for p in (small_disk / "checkpoints").iterdir() if p.name.startswith("1")]


def test_debug_names_the_operation_that_gave_nan(tmp_path):
  """The learning rate explodes at step 51; a second replay starts from the state that the first one saved."""
  config = iwae_mnist.get_config("test,k=5")
  config.num_steps, config.checkpoint_every = 200, 10
  config.optim.boundaries, config.optim.scales = (0.25,), (1e38,)
  with pytest.raises(errors.DivergenceError, match="--mode=debug names the operation"):
    train.train_and_evaluate(config, tmp_path)
  sentence = nan_debug.replay(config, tmp_path)
  assert "At step 52 metric" in sentence
  assert "(nan) encountered in" in sentence
  assert "dgm_jax/" in sentence
  assert [int(p.name) for p in (tmp_path / "debug" / "checkpoints").iterdir()] == [51]
  assert nan_debug.replay(config, tmp_path) == sentence


def test_debug_reports_that_all_steps_are_finite(tmp_path):
  config = iwae_mnist.get_config("test,k=5")
  config.num_steps = 10
  create(tmp_path, config.to_dict())
  assert nan_debug.replay(config, tmp_path) == "All steps up to 10 are finite."
