"""Follows a run from outside, by the metrics it logs."""

import json
import pathlib
import subprocess
import time


def rows(workdir: pathlib.Path) -> list[dict]:
  """The completely written rows of the metrics file, without step 0."""
  path = workdir / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  parsed = [json.loads(line) for line in lines if line.endswith("\n")]
  return [row for row in parsed if row.get("step")]


def watch(process: subprocess.Popen, workdir: pathlib.Path, seconds: float, patience: float) -> list[tuple[float, int]]:
  """(time, step) of the logged chunks until `seconds` after the first one, or `patience` seconds without any."""
  seen, deadline = [], time.monotonic() + patience
  while process.poll() is None and time.monotonic() < deadline:
    logged = rows(workdir)
    if logged and (not seen or logged[-1]["step"] > seen[-1][1]):
      deadline = deadline if seen else time.monotonic() + seconds
      seen.append((time.monotonic(), logged[-1]["step"]))
    time.sleep(0.02)
  return seen
