"""Runs commands in their own processes, without the seconds that starting Python and importing JAX take.

A server imports the package once and forks for every command; the child has its own standard output, error, working
folder and exit status.  Only the import is shared: JAX has not yet been used when the server forks.  Commands that need
other environment variables or process groups are started as usual (helpers.processes).

As a script: reads {"argv", "cwd", "stdout", "stderr"} line by line, and answers each with the process id of the child
and then its exit status.
"""

import atexit
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile


class Server:
  """Starts with its first command, and ends with this process."""

  def __init__(self):
    self._process = None

  def _start(self) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:1] + [os.environ.get("PYTHONPATH", "")])}
    root = pathlib.Path(__file__).parents[2]
    self._process = subprocess.Popen(
      [sys.executable, __file__], cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(self._process.stdin.close)

  def run(self, argv: list[str], cwd: pathlib.Path, meanwhile=None) -> subprocess.CompletedProcess:
    """Runs `python -m dgm_jax ARGV`; argv[0] = "main" stands for `python -m dgm_jax.main`.

    While it runs, meanwhile(its process id) is called, which may wait, and send it a signal.
    """
    if self._process is None or self._process.poll() is not None:
      self._start()
    with tempfile.TemporaryDirectory() as folder:
      out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
      request = {"argv": argv, "cwd": str(cwd), "stdout": str(out), "stderr": str(err)}
      self._process.stdin.write(json.dumps(request) + "\n")
      self._process.stdin.flush()
      child = int(self._process.stdout.readline())
      if meanwhile is not None:
        meanwhile(child)
      answer = self._process.stdout.readline()
      assert answer, f"the server ended with status {self._process.wait(5)} at {argv}"
      status = int(answer)
      return subprocess.CompletedProcess(argv, status, out.read_text(), err.read_text())


def _child(request: dict) -> int:
  """Runs the command of a request in this process; returns its exit status."""
  for descriptor, name in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
  os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
  os.chdir(request["cwd"])
  sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
  words = request["argv"]
  is_main = words[:1] == ["main"]
  module, words = ("dgm_jax.main", words[1:]) if is_main else ("dgm_jax", words)
  sys.argv, sys.orig_argv = [module, *words], [sys.executable, "-m", module, *words]
  import traceback

  from dgm_jax import __main__, main

  try:
    return main.run() if is_main else __main__.main()
  except SystemExit as e:
    if isinstance(e.code, str):
      print(e.code, file=sys.stderr)
    return e.code if isinstance(e.code, int) else 0 if e.code is None else 1
  except BaseException:
    traceback.print_exc()
    return 1


_PRELOADED = (
  "dgm_jax.main",
  "dgm_jax.data.published.command",
  "dgm_jax.evaluate.active_units",
  "dgm_jax.evaluate.importance_sampling",
  "dgm_jax.models.vae.vae",
  "dgm_jax.principles.latent.latent",
  "dgm_jax.sweeps.command",
  "dgm_jax.experiments.reproduce",
)


def _serve() -> None:
  sys.path.insert(0, os.getcwd())
  for name in _PRELOADED:  # before the first fork
    importlib.import_module(name)
  answers = os.dup(1)
  for line in sys.stdin:
    child = os.fork()
    if child == 0:
      status = 1
      try:
        status = _child(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
      finally:
        os._exit(status)
    os.write(answers, f"{child}\n".encode())
    _, ended = os.waitpid(child, 0)
    os.write(answers, f"{os.waitstatus_to_exitcode(ended)}\n".encode())


if __name__ == "__main__":
  _serve()
