"""A command goes on when nobody reads what it prints."""

import os
import subprocess
import sys

import pytest

from helpers import tables

pytestmark = pytest.mark.smoke

_SCRIPT = """
import os, pathlib, sys
from dgm_jax.core import streams
streams.outlast_readers()
print("first", flush=True)
sys.stdin.readline()  # until the reader is gone
for stream in (sys.stdout, sys.stderr):
  for _ in range(3):
    print("more", file=stream, flush=True)
os.write(1, b"from C")
pathlib.Path(sys.argv[1]).write_text("done")
print("at the exit")
"""


def test_a_process_outlasts_the_readers_of_its_output(tmp_path):
  done = tmp_path / "done"
  pipe = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
  process = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(done)], cwd=tables.ROOT, text=True, **pipe)
  assert process.stdout.readline() == "first\n"
  process.stdout.close()
  process.stderr.close()
  process.stdin.write("\n")
  process.stdin.close()
  assert process.wait(10) == 0
  assert done.read_text() == "done"


def test_closed_streams_are_replaced_and_others_are_written_as_before(tmp_path):
  closed = subprocess.run(
    ["sh", "-c", f"{sys.executable} -c '{_SCRIPT}' {tmp_path / 'done'} >&- 2>&-"], cwd=tables.ROOT
  )
  assert closed.returncode == 0
  text = (
    "import sys; from dgm_jax.core import streams; streams.outlast_readers(); print('ö'); print('e', file=sys.stderr)"
  )
  env = os.environ | {"PYTHONIOENCODING": "utf-8"}
  read = subprocess.run([sys.executable, "-c", text], cwd=tables.ROOT, env=env, capture_output=True)
  assert (read.stdout, read.stderr, read.returncode) == ("ö\n".encode(), b"e\n", 0)


def test_a_command_outlasts_its_reader():
  command = f"{sys.executable} -m dgm_jax --help | true; echo ${{PIPESTATUS[0]}}"
  done = subprocess.run(["bash", "-c", command], cwd=tables.ROOT, capture_output=True, text=True)
  assert (done.stdout, done.stderr) == ("0\n", "")
