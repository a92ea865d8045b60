"""Profile of a chunk of training steps: a trace for TensorBoard and Perfetto, and the most expensive operations.

On the CPU an operation is an event of the host with an argument `hlo_op`, the name of its instruction; other events, of
the executor and of Python, have none.  On an accelerator it is an event of the device: of a GPU's streams, whose events
are kernels and copies, or of a TPU's line "XLA Ops".
"""

import contextlib
import gzip
import json
import pathlib
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import jax

from dgm_jax.core import files

_ROWS = 25
_NAME_WIDTH = 60


class Cost(NamedTuple):
  """The cost of all calls of one operation, without the operations that run inside it."""

  name: str
  calls: int
  milliseconds: float


def _names(events: list[dict], what: str) -> dict[tuple, str]:
  """Names of processes or threads by (pid, tid)."""
  return {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("ph") == "M" and e.get("name") == what}


def _tracks(events: list[dict]) -> set[tuple] | None:
  """(pid, tid) of the threads with the operations of accelerators; None if there are no accelerators."""
  devices = [pid for (pid, _), name in _names(events, "process_name").items() if name.startswith("/device:")]
  threads = _names(events, "thread_name")
  found = set()
  for device in devices:  # a GPU's trace may repeat its streams as "XLA Ops"
    kinds = [{t for t, name in threads.items() if t[0] == device and name.startswith(k)} for k in ("Stream", "XLA Ops")]
    found |= kinds[0] or kinds[1]
  return found or None


def _name(event: dict) -> str:
  """The instruction, and the kernel that computes it if its name is different."""
  kernel, operation = event["name"], event.get("args", {}).get("hlo_op")
  return kernel if operation in (None, kernel) else f"{operation} ({kernel})"


def _own_times(events: list[dict]) -> Iterator[tuple[dict, float]]:
  """(event, its microseconds without those of events inside it), for the events of one thread."""
  own, around = [], []  # around: indices of the events that have not ended
  events = sorted(events, key=lambda e: (e["ts"], -e["dur"]))
  for i, event in enumerate(events):
    own.append(event["dur"])
    while around and events[around[-1]]["ts"] + events[around[-1]]["dur"] <= event["ts"]:
      around.pop()
    if around:
      own[around[-1]] -= event["dur"]
    around.append(i)
  return zip(events, (max(t, 0.0) for t in own), strict=True)


def costs(events: list[dict]) -> list[Cost]:
  """The cost of every operation of a trace ("traceEvents" of a *.trace.json), the most expensive first."""
  tracks, by_track = _tracks(events), defaultdict(list)
  for event in (e for e in events if e.get("ph") == "X"):
    track = event["pid"], event["tid"]
    if "hlo_op" in event.get("args", {}) if tracks is None else track in tracks:
      by_track[track].append(event)
  calls, times = defaultdict(int), defaultdict(float)
  for part in by_track.values():
    for event, own in _own_times(part):
      calls[_name(event)] += 1
      times[_name(event)] += own / 1e3
  return sorted((Cost(name, calls[name], times[name]) for name in times), key=lambda c: -c.milliseconds)


def table(found: list[Cost], wall_seconds: float) -> str:
  """The most expensive operations, one per line, with their shares of the wall time."""
  shown = [f"{c.name[:_NAME_WIDTH]:{_NAME_WIDTH}}" for c in found[:_ROWS]]
  lines = [f"{'operation':{_NAME_WIDTH}}{'calls':>9}{'total ms':>12}{'share':>8}"]
  for name, c in zip(shown, found, strict=False):
    lines.append(f"{name}{c.calls:9,}{c.milliseconds:12,.2f}{c.milliseconds / wall_seconds / 1e3:8.1%}")
  rest, total = found[_ROWS:], sum(c.milliseconds for c in found)
  if rest:
    milliseconds = sum(c.milliseconds for c in rest)
    name = f"{len(rest)} others"
    share = milliseconds / wall_seconds / 1e3
    lines.append(f"{name:{_NAME_WIDTH}}{sum(c.calls for c in rest):9,}{milliseconds:12,.2f}{share:8.1%}")
  lines.append(
    f"\nThe chunk took {wall_seconds * 1e3:,.2f} ms, its operations {total:,.2f} ms, where parallel operations "
    "are all counted."
  )
  return "\n".join(lines)


@contextlib.contextmanager
def recorded(folder: pathlib.Path, wanted: bool = True) -> Iterator[None]:
  """Context that records what runs inside: jax.profiler's trace and operations.txt, also printed, in `folder`."""
  if not wanted:
    yield
    return
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0  # Python's calls would slow down what is measured
  with jax.profiler.trace(str(folder), profiler_options=options):
    start = time.monotonic()
    yield
    seconds = time.monotonic() - start
  newest = max(folder.rglob("*.trace.json.gz"), key=lambda p: p.stat().st_mtime)
  with gzip.open(newest) as file:
    text = table(costs(json.load(file)["traceEvents"]), seconds)
  files.write_text(folder / "operations.txt", text + "\n")
  print(f"\n{text}\nTrace: {newest}", flush=True)
