"""Sweeps on Ray, with real cluster nodes on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import ray_launcher
from helpers import sweep_tasks
from helpers.sweep_tasks import WORKER, events, wait_until

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = pytest.importorskip("ray")


def test_a_local_ray_finishes_tasks_retries_a_crash_and_reports_failures(tmp_path):
  paths = [
    *sweep_tasks.write(tmp_path / "a", 3),
    *sweep_tasks.write(tmp_path / "b", 1, ends=[-signal.SIGKILL]),
    *sweep_tasks.write(tmp_path / "c", 1, ends=[1, 1, 1]),
    *sweep_tasks.write(tmp_path / "d", 1, ends=[3]),
  ]
  seen = []
  found = ray_launcher.launch(paths, jobs=2, worker=WORKER, on_change=seen.append)
  assert not ray.is_initialized()
  assert [o.task for o in found] == paths
  assert sorted(seen) == sorted(found)
  assert [(o.status, o.attempts) for o in found] == [(0, 1)] * 3 + [(0, 2), (1, 2), (3, 1)]
  assert found[4].tail.splitlines()[-1] == "this is the last line, before status 1"
  starts = events(tmp_path / "a", "start")
  assert {len(e["cores"]) for e in starts} == {1}
  assert {(e["OMP_NUM_THREADS"], e["CUDA_VISIBLE_DEVICES"]) for e in starts} == {("1", "")}
  assert {e["cwd"] for e in starts} == {os.getcwd()}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_the_workers_save_and_stop(number, tmp_path):
  paths = sweep_tasks.write(tmp_path, 4, steps=1200)
  process = sweep_tasks.launcher("ray_launcher", paths, jobs=2)
  wait_until(lambda: len(events(tmp_path, "start")) == 2)
  process.send_signal(number)
  found = json.loads(process.communicate(timeout=30)[0])
  assert [(o["status"], o["attempts"], o["tail"]) for o in found] == [(4, 1, "")] * 2 + [(4, 0, "")] * 2
  assert [e["signals"] for e in events(tmp_path, "stop")] == [[signal.SIGTERM]] * 2


@pytest.mark.slow
def test_no_worker_outlives_a_killed_launcher(tmp_path):
  process = sweep_tasks.launcher("ray_launcher", sweep_tasks.write(tmp_path, 2, steps=2400), jobs=2)
  wait_until(lambda: len(events(tmp_path, "start")) == 2)
  process.kill()
  wait_until(lambda: not any(sweep_tasks.alive(e["pid"]) for e in events(tmp_path, "start")), 30)


@pytest.mark.slow
def test_after_the_loss_of_a_node_nothing_is_lost_or_repeated(tmp_path):
  """Two nodes with one core each; when one is removed, its task resumes on the other from its checkpoint."""
  from ray.cluster_utils import Cluster

  paths = sweep_tasks.write(tmp_path, 6, steps=80)
  cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
  try:
    second = cluster.add_node(num_cpus=1)
    process = sweep_tasks.launcher("ray_launcher", paths, address=cluster.address)
    wait_until(lambda: len(events(tmp_path, "start")) == 2)
    time.sleep(1)
    cluster.remove_node(second, allow_graceful=False)
    found = json.loads(process.communicate(timeout=150)[0].splitlines()[-1])  # Ray reports the loss above it
  finally:
    cluster.shutdown()
  assert [(o["status"], o["attempts"]) for o in found] == [(0, 1)] * 6  # the loss does not count as a crash of a worker
  assert len(events(tmp_path, "finish")) == 6
  assert len({e["run"] for e in events(tmp_path, "finish")}) == 6
  starts = events(tmp_path, "start")
  assert len(starts) == 7
  [again] = [e for e in starts if e["step"] > 0]  # another worker resumed from the checkpoint
  [lost] = [e for e in starts if e["run"] == again["run"] and e["step"] == 0]
  assert lost["pid"] in [e["pid"] for e in starts[:2]]
  assert not any(sweep_tasks.alive(e["pid"]) for e in starts)


def test_a_closed_port_raises_a_user_error(tmp_path):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  start = time.monotonic()
  with pytest.raises(errors.UserError, match=f"No Ray cluster answers at --launcher.address={address} .*refused"):
    ray_launcher.launch(sweep_tasks.write(tmp_path, 1), address=address)
  assert time.monotonic() - start < 20


@pytest.mark.parametrize(
  ("answer", "message"), [(None, "no reply"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a Ray cluster")]
)
def test_a_server_that_is_not_ray_raises_a_user_error(answer, message, tmp_path):
  with socket.create_server(("127.0.0.1", 0)) as server:

    def serve():
      connection, _ = server.accept()
      if answer:
        connection.sendall(answer)
      connection.recv(100)
      time.sleep(8)
      connection.close()

    threading.Thread(target=serve, daemon=True).start()
    address = f"127.0.0.1:{server.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(errors.UserError, match=message):
      ray_launcher.launch(sweep_tasks.write(tmp_path, 1), address=address)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("address", ["nonsense", "host:port", ":6379"])
def test_an_invalid_address_raises_a_user_error(address, tmp_path):
  with pytest.raises(errors.UserError, match="is not HOST:PORT"):
    ray_launcher.launch(sweep_tasks.write(tmp_path, 1), address=address)


def test_without_ray_the_error_gives_the_install_command(tmp_path):
  code = (
    "import pathlib, sys\n"
    "sys.modules['ray'] = None\n"
    "from dgm_jax.core import errors\n"
    "from dgm_jax.sweeps.launchers import ray_launcher\n"
    "try:\n"
    "  ray_launcher.launch([pathlib.Path(sys.argv[1])])\n"
    "except errors.UserError as e:\n"
    "  print(e)\n"
  )
  path = sweep_tasks.write(tmp_path, 1)[0]
  done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
  assert done.stdout == ("--launcher=ray needs the package ray, which is not installed: pip install '.[sweep]'.\n"), (
    done.stderr
  )
