"""Sweeps on one machine, with real processes: cores, attempts, signals, crashes."""

import fcntl
import json
import math
import os
import pathlib
import signal
import sys
import threading
import time

import pytest

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import local, machine, outcomes, processes
from helpers import sweep_tasks
from helpers.sweep_tasks import WORKER, events, wait_until

CORES = sorted(os.sched_getaffinity(0))


def launch(paths, **options):
  return local.launch(paths, worker=WORKER, **options)


def test_all_tasks_finish_once_in_order_and_their_output_is_logged(tmp_path):
  paths, seen = sweep_tasks.write(tmp_path, 5, runs=2), []
  found = launch(paths, on_change=seen.append)
  assert found == [(path, 0, 1, "") for path in paths]
  assert sorted(seen) == sorted(found)
  assert len(events(tmp_path, "finish")) == 10
  assert "working on" in (tmp_path / "tasks" / "0003.log").read_text()


def test_launching_again_repeats_nothing_and_appends_to_the_logs(tmp_path):
  paths = sweep_tasks.write(tmp_path, 2)
  launch(paths)
  before = events(tmp_path)
  assert [o.status for o in launch(paths)] == [0, 0]
  assert events(tmp_path) == before
  assert (tmp_path / "tasks" / "0000.log").read_text().count("working on") == 2


def test_each_process_sees_only_its_core(tmp_path):
  launch(sweep_tasks.write(tmp_path, 2 * len(CORES), steps=6))
  seen = [(e["cores"], e["OMP_NUM_THREADS"]) for e in events(tmp_path, "start")]
  assert {tuple(cores) for cores, _ in seen} == {(core,) for core in CORES}
  assert {threads for _, threads in seen} == {"1"}
  assert sweep_tasks.most_at_once(tmp_path) == len(CORES)


@pytest.mark.parametrize("jobs", [1, 3])
def test_at_most_jobs_concurrent_processes_divide_the_cores(jobs, tmp_path):
  launch(sweep_tasks.write(tmp_path, 4), jobs=jobs)
  assert sweep_tasks.most_at_once(tmp_path) == jobs
  cores = [e["cores"] for e in events(tmp_path, "start")]
  assert {len(c) for c in cores} == ({len(CORES)} if jobs == 1 else {max(1, len(CORES) // 3)})


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_the_affinity_of_the_launcher_is_respected(tmp_path):
  paths = sweep_tasks.write(tmp_path, 2)
  try:
    os.sched_setaffinity(0, CORES[-1:])
    launch(paths)
  finally:
    os.sched_setaffinity(0, CORES)
  assert [e["cores"] for e in events(tmp_path, "start")] == [CORES[-1:]] * 2
  assert sweep_tasks.most_at_once(tmp_path) == 1


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_task_that_requests_more_cores_gets_them(tmp_path):
  launch(sweep_tasks.write(tmp_path, 2, cpus=2))
  assert {len(e["cores"]) for e in events(tmp_path, "start")} == {len(CORES) // (len(CORES) // 2)}


@pytest.mark.parametrize("end", [1, -signal.SIGKILL])
def test_a_crashed_task_is_retried_once_from_its_checkpoint(end, tmp_path):
  paths = sweep_tasks.write(tmp_path, 1, steps=8, ends=[end])
  assert launch(paths) == [(paths[0], 0, 2, "")]
  assert [e["step"] for e in events(tmp_path, "start")] == [0, 3]


@pytest.mark.parametrize("end", [1, -signal.SIGKILL, -signal.SIGSEGV])
def test_two_crashes_are_reported_with_the_end_of_the_log(end, tmp_path):
  [outcome] = launch(sweep_tasks.write(tmp_path, 1, ends=[end] * 3))
  assert (outcome.status, outcome.attempts) == (end, 2)
  last = "this is the last line, before status 1" if end == 1 else "about to die"
  assert outcome.tail.splitlines()[-1] == last


@pytest.mark.parametrize(("end", "tail"), [(2, True), (3, True), (4, False)])
def test_user_errors_divergence_and_stops_are_not_retried(end, tail, tmp_path):
  [outcome] = launch(sweep_tasks.write(tmp_path, 1, ends=[end] * 3))
  assert (outcome.status, outcome.attempts, bool(outcome.tail)) == (end, 1, tail)
  assert len(events(tmp_path, "start")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_the_workers_save_and_no_other_task_starts(number, tmp_path):
  paths = sweep_tasks.write(tmp_path, 4, steps=400)
  process = sweep_tasks.launcher("local", paths, jobs=2)
  wait_until(lambda: len(events(tmp_path, "start")) == 2)
  os.killpg(process.pid, number)  # as a terminal does with Ctrl-C: to the whole group
  found = json.loads(process.communicate(timeout=30)[0])
  assert [(o["status"], o["attempts"], o["tail"]) for o in found] == [(4, 1, "")] * 2 + [(4, 0, "")] * 2
  stops = events(tmp_path, "stop")
  assert [e["signals"] for e in stops] == [[signal.SIGTERM]] * 2  # once each
  assert process.returncode == 0


def test_a_second_signal_kills(tmp_path):
  (tmp_path / "stubborn.py").write_text(
    "import pathlib, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: None)\n"
    "pathlib.Path(sys.argv[1]).with_suffix('.up').touch()\n"
    "time.sleep(100)\n"
    "time.sleep(100)\n"
  )
  paths = sweep_tasks.write(tmp_path, 1)
  process = sweep_tasks.launcher("local", paths, worker=[sys.executable, str(tmp_path / "stubborn.py")])
  wait_until(lambda: paths[0].with_suffix(".up").exists())
  process.send_signal(signal.SIGTERM)
  time.sleep(0.5)
  assert process.poll() is None
  process.send_signal(signal.SIGTERM)
  assert json.loads(process.communicate(timeout=10)[0])[0]["status"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a process when its parent ends")
def test_workers_of_a_killed_launcher_save_and_the_next_launcher_resumes(tmp_path):
  paths = sweep_tasks.write(tmp_path, 2, steps=60)
  process = sweep_tasks.launcher("local", paths, jobs=2)
  wait_until(lambda: len(events(tmp_path, "start")) == 2)
  process.kill()
  process.wait()
  found = launch(paths, jobs=2)  # at once, while the first ones still hold the locks
  assert [o.status for o in found] == [0, 0]
  assert not any(sweep_tasks.alive(e["pid"]) for e in events(tmp_path, "start"))
  stops, starts = events(tmp_path, "stop"), events(tmp_path, "start")
  assert len(stops) == 2
  assert sorted(e["step"] for e in starts[2:]) == sorted(e["step"] for e in stops)


def test_the_worker_of_a_locked_run_fails_when_the_patience_ends(tmp_path):
  paths = sweep_tasks.write(tmp_path, 1)
  (tmp_path / "runs" / "0_0").mkdir(parents=True)
  with open(tmp_path / "runs" / "0_0" / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write("somebody")
    lock.flush()
    [outcome] = launch(paths, patience=0.5)
  assert outcome.status == 2
  assert "is held by somebody; waiting" in outcome.tail


def test_children_of_a_crashed_worker_are_killed(tmp_path):
  (tmp_path / "parent.py").write_text(
    "import os, pathlib, subprocess, sys\n"
    "p = subprocess.Popen(['sleep', '100'])\n"
    "open(pathlib.Path(sys.argv[1]).with_suffix('.pids'), 'a').write(f'{p.pid} ')\n"
    "os._exit(9)\n"
  )
  paths = sweep_tasks.write(tmp_path, 1)
  [outcome] = local.launch(paths, worker=[sys.executable, str(tmp_path / "parent.py")])
  assert (outcome.status, outcome.attempts) == (9, 2)
  pids = paths[0].with_suffix(".pids").read_text().split()
  assert len(pids) == 2
  wait_until(lambda: not any(sweep_tasks.alive(pid) for pid in pids), 5)


def test_an_exception_in_the_callback_stops_the_workers(tmp_path):
  def fail(outcome):
    raise ZeroDivisionError

  paths = sweep_tasks.write(tmp_path, 1, steps=1) + sweep_tasks.write(tmp_path / "long", 1, steps=400)
  with pytest.raises(ZeroDivisionError):
    launch(paths, jobs=2, on_change=fail)
  wait_until(lambda: len(events(tmp_path / "long", "stop")) == 1 or not events(tmp_path / "long", "start"), 10)


def test_launching_works_in_a_thread(tmp_path):
  found = []
  thread = threading.Thread(target=lambda: found.extend(launch(sweep_tasks.write(tmp_path, 1))))
  thread.start()
  thread.join(30)
  assert [o.status for o in found] == [0]


def test_user_errors_name_the_problem(tmp_path, monkeypatch):
  paths = sweep_tasks.write(tmp_path, 1)
  assert launch([]) == []
  with pytest.raises(errors.UserError, match="--jobs=0; it must be 1 or more"):
    launch(paths, jobs=0)
  with pytest.raises(errors.UserError, match="asks for 1 GPUs, but none are available here"):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    launch(sweep_tasks.write(tmp_path, 1, gpus=1))
  (tmp_path / "tasks" / "0000.json").write_text("{")
  with pytest.raises(errors.UserError, match="cannot be read as a sweep's task"):
    launch(paths)
  [outcome] = local.launch(sweep_tasks.write(tmp_path, 1), worker=["/no/such/program"])
  assert outcome.status == 1
  assert "No such file or directory" in outcome.tail


NVIDIA_SMI = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c)
  MIG 3g.20gb     Device  0: (UUID: MIG-11111111-aaaa)
  MIG 3g.20gb     Device  1: (UUID: MIG-22222222-bbbb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-7d00aaaa)
"""


@pytest.fixture
def nvidia(tmp_path, monkeypatch):
  """Provides an nvidia-smi that lists two GPUs, one of them divided into MIG slices."""
  program = tmp_path / "bin" / "nvidia-smi"
  program.parent.mkdir()
  program.write_text(f"#!/bin/sh\ncat <<'END'\n{NVIDIA_SMI}END\n")
  program.chmod(0o755)
  monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
  for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
    monkeypatch.delenv(name, raising=False)


def test_one_process_runs_per_gpu_or_mig_slice(nvidia, tmp_path):
  launch(sweep_tasks.write(tmp_path, 6))
  devices = [e["CUDA_VISIBLE_DEVICES"] for e in events(tmp_path, "start")]
  assert set(devices) == {"MIG-11111111-aaaa", "MIG-22222222-bbbb", "1"}
  assert sweep_tasks.most_at_once(tmp_path) == 3
  with pytest.raises(errors.UserError, match="--jobs=4 is more than this machine's GPUs allow; at most 3"):
    launch(sweep_tasks.write(tmp_path, 6), jobs=4)
  with pytest.raises(errors.UserError, match="asks for 4 GPUs, but only 3 are available here"):
    launch(sweep_tasks.write(tmp_path, 6, gpus=4))


@pytest.mark.parametrize(
  ("visible", "expected"),
  [("2,3", ["2", "3"]), ("", []), ("-1", []), ("1,-1,0", ["1"]), ("GPU-5c89852c", ["GPU-5c89852c"])],
)
def test_visible_devices_are_honoured(visible, expected, nvidia, monkeypatch):
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
  assert machine.gpus() == expected
  if len(expected) == 2:
    assert [slot.env["CUDA_VISIBLE_DEVICES"] for slot in local.slots(None, 1, 0)] == expected
    assert [slot.env["CUDA_VISIBLE_DEVICES"] for slot in local.slots(None, 1, 2)] == ["2,3"]
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  assert machine.gpus() == []


def test_only_one_process_uses_a_tpu(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "tpu")
  [slot] = local.slots(None, 1, 0)
  assert slot.cores == machine.share(machine.cores(), machine.quota())
  with pytest.raises(errors.UserError, match="only one process at a time can use a TPU"):
    local.slots(2, 1, 0)


@pytest.mark.parametrize(
  ("files", "cores"),
  [
    ({"cpu.max": "150000 100000\n"}, 1.5),
    ({"cpu.max": "max 100000\n"}, math.inf),
    ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
    ({}, math.inf),
  ],
)
def test_the_quota_of_a_container_limits_the_cores(files, cores, tmp_path):
  for name, text in files.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
  assert machine.quota(tmp_path) == cores
  mine = tuple(range(10, 18))
  shared = machine.share(mine, cores)
  assert set(shared) <= set(mine)
  assert len(shared) == min(8, math.ceil(min(cores, 8)))


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_core_is_borrowed_only_once_at_a_time(tmp_path, monkeypatch):
  monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
  with machine.borrowed(1) as first, machine.borrowed(1) as second:
    assert len(first) == len(second) == 1
    assert first != second
  with machine.borrowed(1) as again:
    assert again == first


def _as_link(folder):
  (folder.parent / "elsewhere").mkdir(mode=0o700)
  folder.symlink_to("elsewhere")


def _of_another(folder):
  folder.mkdir(mode=0o700)
  if os.geteuid():
    pytest.skip("only root can give a folder away")
  os.chown(folder, 65534, -1)


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
@pytest.mark.parametrize("make", [_as_link, _of_another, lambda f: f.mkdir() or f.chmod(0o755), pathlib.Path.touch])
def test_cores_are_borrowed_only_in_a_folder_of_ones_own(make, tmp_path, monkeypatch):
  monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
  make(tmp_path / f"dgm_jax_cores_{os.getuid()}")
  with pytest.raises(errors.UserError, match="is not a folder that only this account can open"), machine.borrowed(1):
    pass
  [path] = sweep_tasks.write(tmp_path / "a", 1)
  assert processes.run(WORKER, path, 1) == outcomes.MISTAKE
  assert "or set TMPDIR to another temporary folder" in path.with_suffix(".log").read_text()
  assert not list((tmp_path / "elsewhere").glob("*"))


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_link_among_the_locks_of_cores_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
  folder = tmp_path / f"dgm_jax_cores_{os.getuid()}"
  folder.mkdir(mode=0o700)
  (tmp_path / "target").write_text("precious")
  (folder / str(min(CORES))).symlink_to(tmp_path / "target")
  with pytest.raises(errors.UserError, match="is a symbolic link, which is not followed"), machine.borrowed(1):
    pass
  assert (tmp_path / "target").read_text() == "precious"


def test_the_tail_of_a_long_log_is_read_from_its_end(tmp_path):
  log = tmp_path / "long.log"
  log.write_text("".join(f"line {i}\n" for i in range(100_000)))
  assert outcomes.tail(log, lines=3).splitlines() == ["line 99997", "line 99998", "line 99999"]
  assert outcomes.tail(pathlib.Path("/no/such/log")) == ""


def test_the_default_worker_is_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = sweep_tasks.write(tmp_path, 1)[0].relative_to(tmp_path)
  code = "import dgm_jax.sweeps, sys; print('imported'); assert sys.argv[1].endswith('tasks/0000.json')"
  process = processes.start([sys.executable, "-c", code], path)
  assert process.wait(60) == 0
  assert "imported" in path.with_suffix(".log").read_text()
