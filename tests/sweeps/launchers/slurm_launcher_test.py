"""Sweeps with submitit: always with its local executor, and with a real SLURM where one is available."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import slurm_launcher
from helpers import sweep_tasks
from helpers.sweep_tasks import WORKER, events, wait_until

pytest.importorskip("submitit")


def launch(paths, **options):
  return slurm_launcher.launch(paths, worker=WORKER, **{"cluster": "local", **options})


def check_all_ends(tmp_path, **options):
  paths = [
    *sweep_tasks.write(tmp_path / "a", 4),
    *sweep_tasks.write(tmp_path / "b", 1, ends=[-signal.SIGKILL]),
    *sweep_tasks.write(tmp_path / "c", 1, ends=[1, 1, 1]),
    *sweep_tasks.write(tmp_path / "d", 1, ends=[3]),
  ]
  seen = []
  found = launch(paths, on_change=seen.append, **options)
  assert [o.task for o in found] == paths
  assert sorted(seen) == sorted(found)
  assert [(o.status, o.attempts) for o in found] == [(0, 1)] * 4 + [(0, 2), (1, 2), (3, 1)]
  assert found[5].tail.splitlines()[-1] == "this is the last line, before status 1"
  assert len(events(tmp_path / "a", "finish")) == 4
  assert {e["OMP_NUM_THREADS"] for e in events(tmp_path / "a", "start")} == {"1"}
  assert {e["cwd"] for e in events(tmp_path / "a", "start")} == {os.getcwd()}
  assert (tmp_path / "a" / "slurm").is_dir()


def check_stop(tmp_path, **options):
  process = sweep_tasks.launcher("slurm_launcher", sweep_tasks.write(tmp_path, 3, steps=2400), **options)
  wait_until(lambda: len(events(tmp_path, "start")) == 2)
  process.send_signal(signal.SIGTERM)
  found = json.loads(process.communicate(timeout=60)[0])
  assert [(o["status"], o["tail"]) for o in found] == [(4, "")] * 3
  assert len(events(tmp_path, "stop")) == len(events(tmp_path, "start")) == 2
  assert {number for e in events(tmp_path, "stop") for number in e["signals"]} == {signal.SIGTERM}
  assert not any(sweep_tasks.alive(e["pid"]) for e in events(tmp_path, "start"))


def test_tasks_finish_a_crash_is_retried_and_failures_are_reported(tmp_path):
  check_all_ends(tmp_path, jobs=4)


def test_after_a_signal_the_workers_save_and_stop(tmp_path):
  check_stop(tmp_path, jobs=2, cluster="local")


@pytest.mark.parametrize("detach", [True, False])
def test_a_job_that_reaches_its_time_limit_resumes_from_its_checkpoint(detach, tmp_path):
  paths = sweep_tasks.write(tmp_path, 1, steps=60)
  process = sweep_tasks.launcher("slurm_launcher", paths, cluster="local", detach=detach)
  wait_until(lambda: len(events(tmp_path, "start")) == 1)
  os.kill(events(tmp_path, "start")[0]["ppid"], signal.SIGUSR2)  # as SLURM does before the limit
  wait_until(lambda: len(events(tmp_path, "finish")) == 1)
  if not detach:
    [outcome] = json.loads(process.communicate(timeout=60)[0])
    assert (outcome["status"], outcome["attempts"]) == (0, 1)
  [stop] = events(tmp_path, "stop")
  assert [e["step"] for e in events(tmp_path, "start")] == [0, stop["step"]]
  assert 0 < stop["step"] < 60


def test_detached_jobs_are_listed_and_continue(tmp_path, capfd):
  assert launch(sweep_tasks.write(tmp_path, 2), detach=True) == []
  assert capfd.readouterr().out.startswith("2 tasks were submitted as jobs ")
  wait_until(lambda: len(events(tmp_path, "finish")) == 2)


@pytest.mark.parametrize(
  ("limit", "expected"),
  [(30, 30), ("30", 30), ("30:01", 31), ("8:00:00", 480), ("2-12", 3600), ("1-00:30", 1470), ("1-00:00:30", 1441)],
)
def test_time_limits_in_the_format_of_slurm_are_parsed(limit, expected):
  assert slurm_launcher.minutes(limit) == expected


@pytest.mark.parametrize("limit", ["soon", "", "0", "1:2:3:4", "-5"])
def test_invalid_time_limits_raise(limit, tmp_path):
  with pytest.raises(errors.UserError, match=f"--launcher.time={limit} is not a (positive )?time limit"):
    launch(sweep_tasks.write(tmp_path, 1), time=limit)


def test_user_errors_name_the_problem(tmp_path, monkeypatch):
  paths = sweep_tasks.write(tmp_path, 1)
  with pytest.raises(errors.UserError, match="Unknown option 'partitoin' of SLURM"):
    launch(paths, partitoin="main")
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(errors.UserError, match='Could not detect "srun"'):
    launch(paths, cluster="slurm")
  monkeypatch.setitem(sys.modules, "submitit", None)
  with pytest.raises(errors.UserError, match=r"needs the package submitit, .*: pip install '.\[sweep\]'"):
    launch(paths)


@pytest.fixture
def slurm():
  """Skips the test if no SLURM is available."""
  if shutil.which("sinfo") is None:
    pytest.skip("there is no SLURM: sinfo is not installed")
  done = subprocess.run(["sinfo", "-h", "-t", "idle,mixed"], capture_output=True, text=True, timeout=60)
  if done.returncode or not done.stdout.strip():
    pytest.skip(f"SLURM has no idle node: {done.stderr.strip() or 'sinfo lists none'}")


@pytest.mark.slow
def test_slurm_tasks_finish_a_crash_is_retried_and_failures_are_reported(slurm, tmp_path):
  check_all_ends(tmp_path, cluster="slurm", memory=0.5, time=5, slurm_comment="test")


@pytest.mark.slow
def test_slurm_after_a_signal_the_workers_save_and_stop(slurm, tmp_path):
  check_stop(tmp_path, cluster="slurm", memory=0.5, time=5, jobs=2)


@pytest.mark.slow
def test_slurm_a_job_that_reaches_its_time_limit_resumes_from_its_checkpoint(slurm, tmp_path):
  [outcome] = launch(sweep_tasks.write(tmp_path, 1, steps=800), cluster="slurm", memory=0.5, time=1)
  assert (outcome.status, outcome.attempts) == (0, 1)
  stops, starts = events(tmp_path, "stop"), events(tmp_path, "start")
  assert len(stops) >= 1
  assert [e["step"] for e in starts] == [0, *(e["step"] for e in stops)]


@pytest.mark.slow
def test_slurm_a_job_that_may_not_be_requeued_is_resubmitted(slurm, tmp_path):
  paths = sweep_tasks.write(tmp_path, 1, steps=100)
  process = sweep_tasks.launcher("slurm_launcher", paths, memory=0.5, time=5, slurm_no_requeue="true")
  wait_until(lambda: len(events(tmp_path, "start")) == 1)
  os.kill(events(tmp_path, "start")[0]["ppid"], signal.SIGUSR2)
  [outcome] = json.loads(process.communicate(timeout=60)[0])
  assert (outcome["status"], outcome["attempts"]) == (0, 1)
  [stop] = events(tmp_path, "stop")
  assert [e["step"] for e in events(tmp_path, "start")] == [0, stop["step"]]


@pytest.mark.slow
def test_slurm_a_rejected_job_raises_a_user_error(slurm, tmp_path):
  with pytest.raises(errors.UserError, match=r"could not be submitted: .*invalid partition"):
    launch(sweep_tasks.write(tmp_path, 2), cluster="slurm", partition="nowhere")


@pytest.mark.slow
def test_slurm_a_killed_job_counts_as_a_crash(slurm, tmp_path):
  paths = sweep_tasks.write(tmp_path, 1, steps=2400)
  process = sweep_tasks.launcher("slurm_launcher", paths, memory=0.5, time=5)
  for count in (1, 2):
    wait_until(lambda: len(events(tmp_path, "start")) == count)
    os.kill(events(tmp_path, "start")[-1]["ppid"], signal.SIGKILL)
  [outcome] = json.loads(process.communicate(timeout=60)[0])
  assert (outcome["status"], outcome["attempts"]) == (-signal.SIGKILL, 2)
