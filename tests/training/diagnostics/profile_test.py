"""A profiled chunk of steps: its trace, its table, and the unchanged numbers of the run."""

import json
import os

import pytest

from dgm_jax.training.diagnostics import profile
from helpers.processes import CONFIG, main

STREAM, COMPUTE = {"pid": 1, "tid": 13}, {"pid": 1, "tid": 20}


def event(name, start, duration, track, **args):
  return {"ph": "X", "name": name, "ts": start, "dur": duration, **track, "args": args}


@pytest.mark.slow
def test_a_chunk_is_recorded_and_the_run_stays_the_same(tmp_path):
  flags = [f"--config={CONFIG}", "--config.num_steps=40"]
  plain, profiled = tmp_path / "plain", tmp_path / "profiled"
  assert main(*flags, f"--workdir={plain}").returncode == 0
  done = main(*flags, f"--workdir={profiled}", "--profile")
  assert done.returncode == 0, done.stderr
  for name in ("metrics.jsonl", "results.json"):
    assert (plain / name).read_text() == (profiled / name).read_text()

  assert len(list((profiled / "profile").rglob("*.xplane.pb"))) == 1
  assert len(list((profiled / "profile").rglob("*.trace.json.gz"))) == 1
  text = (profiled / "profile" / "operations.txt").read_text()
  assert text in done.stdout
  rows = [line.split() for line in text.partition("\n\n")[0].splitlines()[1:]]
  calls = {row[0]: int(row[1].replace(",", "")) for row in rows if row[1] != "others"}
  products = [n for n in calls if n.startswith(("dot", "ynn_fusion"))]  # jax 0.12 fuses products
  assert products
  assert min(calls[n] for n in products) >= 8  # of 10 steps; an operation of two threads may be recorded by one
  assert not any(n.startswith(("$", "Thunk", "end:")) for n in calls)
  shares = [float(row[-1].rstrip("%")) / 100 for row in rows]
  assert 0.05 < sum(shares) <= 1.05 * os.cpu_count()
  assert shares[:-1] == sorted(shares[:-1], reverse=True)
  assert json.loads((profiled / "run.json").read_text())[0]["wall_s"]["train"] > 0


@pytest.mark.parametrize(
  "flags,named",
  [(["--config.num_steps=19"], "only 19 are left"), (["--mode=evaluate"], "--profile is for --mode=train")],
)
def test_what_cannot_be_recorded_is_reported(flags, named, tmp_path):
  done = main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", "--profile", *flags)
  assert done.returncode == 2, done.stderr
  assert named in done.stderr


def test_operations_of_a_gpu_are_read_from_its_streams():
  """Events as in CUPTI's traces: the line "XLA Ops" repeats the stream, and the host only launches."""
  meta = lambda what, name, **track: {"ph": "M", "name": what, **track, "args": {"name": name}}
  events = [
    meta("process_name", "/device:GPU:0", pid=1),
    meta("process_name", "/host:CPU", pid=7),
    meta("thread_name", "Stream #13(Compute,MemcpyD2D)", **STREAM),
    meta("thread_name", "XLA Ops", **COMPUTE),
    event("sm90_gemm", 0, 30, STREAM, hlo_op="dot.3"),
    event("sm90_gemm", 40, 30, STREAM, hlo_op="dot.3"),
    event("loop_add_fusion", 70, 20, STREAM, hlo_op="loop_add_fusion"),
    event("MemcpyD2D", 90, 5, STREAM),
    event("dot.3", 0, 30, COMPUTE, hlo_op="dot.3"),
    event("$train.py:1 step", 0, 100, {"pid": 7, "tid": 1}),
    event("dot.3", 0, 100, {"pid": 7, "tid": 1}, hlo_op="dot.3"),
  ]
  assert profile.costs(events) == [
    ("dot.3 (sm90_gemm)", 2, 0.06),
    ("loop_add_fusion", 1, 0.02),
    ("MemcpyD2D", 1, 0.005),
  ]


def test_the_cost_of_an_operation_excludes_those_inside_it():
  track = {"pid": 7, "tid": 1}
  events = [
    event("while.1", 0, 100, track, hlo_op="while.1"),
    event("dot.2", 10, 30, track, hlo_op="dot.2"),
    event("dot.2", 50, 40, track, hlo_op="dot.2"),
    event("ThunkExecutor::Execute", 0, 100, track),
  ]
  found = profile.costs(events)
  assert found == [("dot.2", 2, 0.07), ("while.1", 1, 0.03)]
  assert "dot.2" in profile.table(found, 1e-4)
  assert "70.0%" in profile.table(found, 1e-4)
